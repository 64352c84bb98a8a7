//! A small GPT of letters, by the recipe that nanoGPT gives for a laptop.

use std::time::Instant;

use cairn_autograd::no_grad;
use cairn_datasets::text::{CharTokenizer, Vocabulary, WindowDataset};
use cairn_datasets::tiny_shakespeare;
use cairn_datasets::{Loader, registry, synthetic};
use cairn_nn::generate::{Generate, Sampling, Written};
use cairn_nn::{Context as Pass, Module, cross_entropy};
use cairn_optim::schedules::{Chained, Cosine, Linear, Schedule};
use cairn_optim::{AdamW, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use crate::check::{Bars, Check, Context};
use crate::format::{count, seconds};
use crate::models::gpt::Gpt;
use crate::report::{LineChart, Sample};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "gpt",
    title: "A GPT of letters",
    about: "A transformer of 4 layers, 4 heads and 128 features, the embedding tied to the output, reads Shakespeare 64 letters at a \
            time, 12 stretches a step, for 2,000 steps of AdamW: nanoGPT's recipe for a CPU, and its figure of 1.88 nats a character \
            as the bar, here on all of the last tenth of the text.",
    data: &[&registry::TINY_SHAKESPEARE],
    run,
};

/// Of the loss on the last tenth.
const BARS: Bars = Bars { full: 1.88, quick: 2.75, stand_in: 0.60, stand_in_quick: 1.90 };
const STEPS: u64 = 2000;
const QUICK_STEPS: u64 = 200;
const CONTEXT: usize = 64;
const BATCH: usize = 12;
/// Layers, heads, features.
const SIZES: [usize; 3] = [4, 4, 128];
const RATE: f64 = 1e-3;
/// How often the loss is measured in between, and on how much of the last tenth.
const MEASURED: u64 = 250;
const PART: usize = 20_000;
/// Windows that are measured at a time.
const WINDOWS: usize = 64;
/// Sentences of the stand-in.
const STAND_IN: usize = 12_000;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || Ok(synthetic::text(STAND_IN, seed)?);
    let text = ctx.load(&registry::TINY_SHAKESPEARE, tiny_shakespeare::load, stand_in)?;
    let letters = Vocabulary::builder().padding(None).texts([&text], &CharTokenizer).build()?;
    let ids = letters.encode(&text, &CharTokenizer)?;
    let (train, test) = ids.split_at(ids.len() * 9 / 10);
    let model = Gpt::new(letters.len(), CONTEXT, SIZES, &mut rng(seed))?;
    let sizes = [train.len(), test.len(), letters.len(), model.parameter_count()].map(|n| count(n as u64));
    ctx.say(format!(
        "{} characters to train on, {} to test on, {} different with that for unknown ones; {} parameters",
        sizes[0], sizes[1], sizes[2], sizes[3]
    ));

    let steps = if ctx.quick() { QUICK_STEPS } else { STEPS };
    let windows = WindowDataset::new(train.to_vec(), CONTEXT, 1)?;
    let loader = Loader::new(&windows).batch_size(BATCH).shuffle(seed);
    let schedule = Chained::new().add(Linear::warm_up(100)).add(Cosine::new(steps).floor(0.1));
    let mut adam = AdamW::new(RATE).betas(0.9, 0.99).weight_decay(0.1);
    let (began, mut sum) = (Instant::now(), 0.0);
    let (mut training, mut testing) = (Vec::new(), Vec::new());
    for (step, batch) in (0..steps).zip(loader.epoch(0)?) {
        let (x, y) = batch?;
        let loss = cross_entropy(&model.forward(&x, &mut Pass::train(seed).at_step(step))?, &y)?;
        sum += f64::from(loss.item()?);
        let mut gradients = loss.backward()?;
        clip_by_global_norm(&model, &mut gradients, 1.0)?;
        adam.set_learning_rate(RATE * schedule.factor(step));
        adam.step(&model, &gradients)?;
        let done = step + 1;
        if done % MEASURED == 0 {
            let (loss, held) = (sum / MEASURED as f64, loss_of(&model, &test[..PART.min(test.len())])?);
            ctx.say(format!("step {done}/{steps}: loss {loss:.4}, on the last tenth {held:.4}"));
            training.push((done as f64, loss));
            testing.push((done as f64, held));
            sum = 0.0;
        }
    }
    let took = began.elapsed().as_secs_f64();
    let tokens = steps * (BATCH * CONTEXT) as u64;
    ctx.say(format!("{}, {} characters a second", seconds(took), count((tokens as f64 / took) as u64)));
    let bar = ctx.bar(&BARS);
    ctx.metric("nats per character", loss_of(&model, test)?, Bar::AtMost(bar));
    if !training.is_empty() {
        let chart = LineChart::new("step", "nats a character");
        ctx.show("Loss", &chart.line("training", training).line("part of the last tenth", testing));
    }
    let sampling = Sampling::new().temperature(0.8).top_p(0.95);
    let generate = Generate::new(CONTEXT - 1).sampling(sampling).seed(seed);
    let prompts: Vec<&[u32]> = test.chunks(CONTEXT).take(6).map(|stretch| &stretch[..1]).collect();
    let written = generate.batch(&model, model.cache(prompts.len())?, &prompts)?;
    let spelled =
        |text: Written| -> anyhow::Result<String> { Ok(letters.decode(&text.complete()?)?.concat()) };
    let written = written.into_iter().map(spelled).collect::<anyhow::Result<Vec<String>>>()?;
    ctx.show(
        "Written at a temperature of 0.8 from the best 95 %, six stretches of 63",
        &Sample::new(written.join("\n…\n")),
    );
    Ok(())
}

/// The mean loss of a text, in nats a character: of each stretch by itself, as in training.
fn loss_of(model: &Gpt, ids: &[u32]) -> anyhow::Result<f64> {
    let windows = WindowDataset::new(ids.to_vec(), CONTEXT, CONTEXT)?;
    let (mut sum, mut characters) = (0.0, 0.0);
    for batch in Loader::new(&windows).batch_size(WINDOWS).epoch(0)? {
        let (x, y) = batch?;
        let scores = no_grad(|| model.forward(&x, &mut Pass::eval()))?;
        let weight = y.len() as f64;
        sum += weight * f64::from(cross_entropy(&scores, &y)?.item()?);
        characters += weight;
    }
    Ok(sum / characters)
}
