//! A language model of letters: how well it foresees Shakespeare, and what it writes.

// The model is that of the example, so that what is copied from there is what was checked.
#[path = "../../../optim/examples/char_lm/model.rs"]
mod model;

use std::time::Instant;

use cairn_datasets::text::{CharTokenizer, Vocabulary, WindowDataset};
use cairn_datasets::tiny_shakespeare;
use cairn_datasets::{Loader, registry, synthetic};
use cairn_nn::generate::Sampling;
use cairn_nn::{Context as Pass, State, cross_entropy};
use cairn_optim::{Adam, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use self::model::Writer;
use crate::check::{Bars, Check, Context};
use crate::format::{count, seconds};
use crate::report::{LineChart, Sample};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "charlm",
    title: "A language model of letters",
    about: "Two LSTM layers of 256 units learn Shakespeare letter by letter, by truncated backpropagation through time with \
            states carried from stretch to stretch. The bar is for the mean loss on the last tenth of the text, in nats a \
            character.",
    data: &[&registry::TINY_SHAKESPEARE],
    run,
};

/// Of the loss.
const BARS: Bars = Bars { full: 1.60, quick: 2.40, stand_in: 0.55, stand_in_quick: 1.50 };
const EPOCHS: usize = 6;
/// Stretches read side by side, and their length.
const ROWS: usize = 32;
const TIME: usize = 64;
const RATE: f64 = 3e-3;
/// Characters that are written in the end.
const WRITTEN: usize = 600;
/// Sentences of the stand-in.
const STAND_IN: usize = 12_000;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || Ok(synthetic::text(STAND_IN, seed)?);
    let mut text = ctx.load(&registry::TINY_SHAKESPEARE, tiny_shakespeare::load, stand_in)?;
    if ctx.quick() {
        // A third of the training text, and as much less to test on.
        let cut = text.char_indices().nth(text.chars().count() / 3).map_or(text.len(), |(at, _)| at);
        text.truncate(cut);
    }
    let letters = Vocabulary::builder().padding(None).texts([&text], &CharTokenizer).build()?;
    let ids = letters.encode(&text, &CharTokenizer)?;
    let (train, test) = ids.split_at(ids.len() * 9 / 10);
    let sizes = [train.len(), test.len(), letters.len()].map(|n| count(n as u64));
    ctx.say(format!("{} characters to train on, {} to test on, {} different", sizes[0], sizes[1], sizes[2]));
    let (epochs, units) = if ctx.quick() { (3, 128) } else { (EPOCHS, 256) };
    let model = Writer::new(letters.len(), units, &mut rng(seed))?;

    let stretches = WindowDataset::in_rows(train.to_vec(), ROWS, TIME)?;
    let loader = Loader::new(&stretches).batch_size(ROWS);
    let steps = (epochs * loader.batches()) as f64;
    let (mut adam, mut step) = (Adam::new(RATE), 0u64);
    let (mut training, mut testing) = (Vec::new(), Vec::new());
    for epoch in 0..epochs {
        let (began, mut states, mut sum, mut batches): (_, Option<Vec<State>>, _, _) =
            (Instant::now(), None, 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (x, y) = batch?;
            let mut pass = Pass::train(seed).at_step(step);
            let (scores, next) = model.forward(&x, states.as_deref(), &mut pass)?;
            let loss = cross_entropy(&scores, &y)?;
            sum += f64::from(loss.item()?);
            batches += 1;
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 1.0)?;
            // Half a cosine from the full rate to none (Loshchilov and Hutter 2017).
            let done = step as f64 / steps;
            adam.set_learning_rate(RATE * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()));
            adam.step(&model, &gradients)?;
            states = Some(next);
            step += 1;
        }
        let took = seconds(began.elapsed().as_secs_f64());
        training.push(sum / f64::from(batches));
        testing.push(model.loss_of(test)?);
        let (loss, held, n) = (training[epoch], testing[epoch], epoch + 1);
        ctx.say(format!("epoch {n}/{epochs}: loss {loss:.4}, on the last tenth {held:.4}, {took}"));
    }
    let bar = ctx.bar(&BARS);
    ctx.metric("nats per character", testing.last().copied().unwrap_or(f64::NAN), Bar::AtMost(bar));
    let chart = LineChart::new("epoch", "nats a character")
        .epochs("training", training)
        .epochs("the last tenth", testing);
    ctx.show("Loss", &chart);
    let sampling = Sampling::new().temperature(0.8).top_p(0.95);
    // It has rarely seen a text begin, so it is given a stretch to get into.
    let written = model.write(&test[..TIME.min(test.len())], WRITTEN, &sampling, &mut rng(seed))?;
    ctx.show(
        "Written at a temperature of 0.8 from the best 95 %",
        &Sample::new(letters.decode(&written)?.concat()),
    );
    Ok(())
}
