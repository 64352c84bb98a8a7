//! A language model of letters: how well it foresees Shakespeare, and what it writes.

use std::time::Instant;

use cairn_autograd::Var;
use cairn_datasets::text::{CharTokenizer, Vocabulary, WindowDataset};
use cairn_datasets::tiny_shakespeare;
use cairn_datasets::{Loader, registry, synthetic};
use cairn_nn::{
    Context as Pass, Dropout, Embedding, EmbeddingLayer, Linear, Lstm, Module, RecurrentLayer, Sequences,
    State, cross_entropy,
};
use cairn_optim::{Adam, Optimizer, Sampling, clip_by_global_norm};
use cairn_tensor::{Rng, Tensor, rng};

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
const DROPOUT: f32 = 0.2;
/// Characters that are written in the end.
const WRITTEN: usize = 600;
/// Sentences of the stand-in.
const STAND_IN: usize = 12_000;

#[derive(Module)]
struct Writer {
    embedding: EmbeddingLayer,
    lstm: RecurrentLayer,
    head: Linear,
}

impl Writer {
    fn new(letters: usize, units: usize, rng: &mut Rng) -> cairn_nn::Result<Self> {
        Ok(Writer {
            embedding: Embedding::new(letters, 64).layer(rng)?,
            lstm: Lstm::new(units).layers(2).dropout(DROPOUT).layer(64, rng)?,
            head: Linear::new(units, letters, rng)?,
        })
    }

    /// Scores of the next letter at every step, and the states to go on from.
    fn forward(
        &self,
        ids: &Tensor<u32>,
        states: Option<&[State]>,
        cx: &mut Pass,
    ) -> cairn_nn::Result<(Var, Vec<State>)> {
        let x = self.embedding.forward(ids)?;
        let (h, states) = self.lstm.run(&x, Sequences { states, ..Default::default() }, cx)?;
        let h = Dropout::new(DROPOUT).apply(&h, cx)?;
        // No gradient flows from one stretch into the one before.
        Ok((self.head.forward(&h)?, states.iter().map(State::detach).collect()))
    }
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || Ok(synthetic::text(STAND_IN, seed));
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
    let mut model = Writer::new(letters.len(), units, &mut rng(seed))?;

    let stretches = WindowDataset::in_rows(train.to_vec(), ROWS, TIME)?;
    let loader = Loader::new(&stretches).batch_size(ROWS);
    let steps = (epochs * loader.batches()) as f64;
    let (mut adam, mut pass, mut step) = (Adam::new(RATE), Pass::train(seed), 0.0);
    let (mut training, mut testing) = (Vec::new(), Vec::new());
    for epoch in 0..epochs {
        let (began, mut states, mut sum, mut batches): (_, Option<Vec<State>>, _, _) =
            (Instant::now(), None, 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (x, y) = batch?;
            let (scores, next) = model.forward(&x, states.as_deref(), &mut pass)?;
            let loss = cross_entropy(&scores, &y)?;
            sum += f64::from(loss.item()?);
            batches += 1;
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 1.0)?;
            // Half a cosine from the full rate to none (Loshchilov and Hutter 2017).
            adam.set_learning_rate(RATE * 0.5 * (1.0 + (std::f64::consts::PI * step / steps).cos()));
            adam.step(&mut model, &gradients)?;
            states = Some(next);
            step += 1.0;
        }
        let took = seconds(began.elapsed().as_secs_f64());
        training.push(sum / f64::from(batches));
        testing.push(loss_of(&model, test)?);
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
    let written = write(&model, &letters, &test[..1], &sampling, &mut rng(seed))?;
    ctx.show("Written at a temperature of 0.8 from the best 95 %", &Sample::new(written));
    Ok(())
}

/// The mean loss of a text read from its beginning to its end in one go.
fn loss_of(model: &Writer, ids: &[u32]) -> anyhow::Result<f64> {
    // A few readers begin at different places, so that registers are full; each begins knowing nothing.
    let windows = WindowDataset::in_rows(ids.to_vec(), 16, TIME)?;
    let (mut states, mut sum, mut batches): (Option<Vec<State>>, _, _) = (None, 0.0, 0);
    for batch in Loader::new(&windows).batch_size(16).epoch(0)? {
        let (x, y) = batch?;
        let (loss, next) = cairn_autograd::no_grad(|| {
            let (scores, next) = model.forward(&x, states.as_deref(), &mut Pass::eval())?;
            Ok::<_, cairn_nn::Error>((cross_entropy(&scores, &y)?.item()?, next))
        })?;
        sum += f64::from(loss);
        batches += 1;
        states = Some(next);
    }
    Ok(sum / f64::from(batches))
}

/// Goes on from `begin`, a letter at a time.
fn write(
    model: &Writer,
    letters: &Vocabulary,
    begin: &[u32],
    sampling: &Sampling,
    rng: &mut Rng,
) -> anyhow::Result<String> {
    let (mut ids, mut states): (Vec<u32>, Option<Vec<State>>) = (begin.to_vec(), None);
    let mut written = ids.clone();
    for _ in 0..WRITTEN {
        let x = Tensor::from_slice(&ids, [1, ids.len()])?;
        let (scores, next) =
            cairn_autograd::no_grad(|| model.forward(&x, states.as_deref(), &mut Pass::eval()))?;
        let last = scores.value().index(1, ids.len() - 1)?.index(0, 0)?;
        ids = vec![sampling.draw(&last, rng)?];
        written.extend(&ids);
        states = Some(next);
    }
    Ok(letters.decode(&written)?.concat())
}
