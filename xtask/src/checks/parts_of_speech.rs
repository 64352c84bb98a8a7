//! Words and their parts of speech, for every check that tags them: the data, a training with its figures, and what the report shows.

// The data set and the models are those of the example, so that what is copied from there is what was checked.
#[path = "../../../optim/examples/tagger/model.rs"]
pub(super) mod model;

use std::time::Instant;

use cairn_autograd::Var;
use cairn_datasets::conllu::{self, Sentence, UPOS};
use cairn_datasets::{Loader, registry, synthetic};
use cairn_nn::{Context as Pass, Module};
use cairn_optim::{Optimizer, clip_by_global_norm};
use cairn_tensor::Tensor;

use self::model::{Batch, Tagged};
use crate::check::{Bars, Context};
use crate::format::{count, seconds};
use crate::report::{Confusion, LineChart, Table};
use crate::results::Bar;

/// Sentences of a batch.
const BATCH: usize = 32;
/// Stand-in sentences to train on and to test on.
const STAND_IN: [usize; 2] = [6_000, 500];
/// Words shown.
const SHOWN: usize = 30;

/// The sentences to train on and to test on.
pub(super) fn load(ctx: &mut Context<'_>) -> anyhow::Result<(Vec<Sentence>, Vec<Sentence>)> {
    let read = |dir: &_| {
        let treebank = conllu::load_english_ewt(dir)?;
        Ok((treebank.train, treebank.test))
    };
    let seed = ctx.seed();
    let stand_in =
        || Ok((synthetic::sentences(STAND_IN[0], seed)?, synthetic::sentences(STAND_IN[1], seed + 1)?));
    let (train, test) = ctx.load(&registry::UD_ENGLISH_EWT, read, stand_in)?;
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} sentences to train on, {} to test on", sizes[0], sizes[1]));
    Ok((train, test))
}

/// A tagger as its training sees it.
pub(super) trait Tags: Module {
    /// The mean loss of a word, given the tags of all words, sentence after sentence.
    fn loss(&self, batch: &Batch, tags: &Tensor<u32>, pass: &mut Pass) -> cairn_nn::Result<Var>;

    /// The likeliest tags of all words, sentence after sentence.
    fn tag(&self, batch: &Batch) -> cairn_nn::Result<Vec<u32>>;
}

/// How long and how fast a tagger learns.
pub(super) struct Course<R> {
    pub(super) epochs: usize,
    /// The learning rate, given the epochs that are behind, whole and in parts, as a share of all.
    pub(super) rate: R,
    /// The largest norm of a step's gradients.
    pub(super) clip: f32,
}

/// Trains, measures on the test set after each epoch, and shows how it went. `lengths` are those of the sentences to train on.
pub(super) fn train(
    ctx: &mut Context<'_>,
    model: &impl Tags,
    optimizer: &mut impl Optimizer,
    (train, lengths): (&Tagged, Vec<usize>),
    (test, sentences): (&Tagged, &[Sentence]),
    course: &Course<impl Fn(f64) -> f64>,
    bars: &Bars,
) -> anyhow::Result<()> {
    let (seed, epochs) = (ctx.seed(), course.epochs);
    let loader = Loader::new(train).batch_size(BATCH).shuffle(seed).group_by_length(lengths)?;
    let (mut step, mut curve, mut tagged) = (0, Vec::new(), Vec::new());
    let steps = (epochs * loader.batches()) as f64;
    for epoch in 0..epochs {
        let (began, mut sum, mut seen) = (Instant::now(), 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (input, tags) = batch?;
            let loss = model.loss(&input, &tags, &mut Pass::train(seed).at_step(step))?;
            sum += f64::from(loss.item()?) * tags.len() as f64;
            seen += tags.len();
            let mut gradients = loss.backward()?;
            clip_by_global_norm(model, &mut gradients, course.clip)?;
            optimizer.set_learning_rate((course.rate)(step as f64 / steps));
            optimizer.step(model, &gradients)?;
            step += 1;
        }
        let took = began.elapsed().as_secs_f64();
        tagged = predict(model, test)?;
        let accuracy = share_right(&tagged);
        curve.push(accuracy);
        let (loss, took, n) = (sum / seen as f64, seconds(took), epoch + 1);
        ctx.say(format!("epoch {n}/{epochs}: loss {loss:.4}, test accuracy {accuracy:.4}, {took}"));
    }
    let bar = ctx.bar(bars);
    ctx.metric("test accuracy", share_right(&tagged), Bar::AtLeast(bar));
    show(ctx, sentences, &tagged, curve);
    Ok(())
}

/// True and predicted tag of each word of a part, in order.
fn predict(model: &impl Tags, data: &Tagged) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for batch in Loader::new(data).batch_size(4 * BATCH).epoch(0)? {
        let (input, tags) = batch?;
        pairs.extend(tags.iter().zip(model.tag(&input)?));
    }
    Ok(pairs)
}

fn share_right(pairs: &[(u32, u32)]) -> f64 {
    pairs.iter().filter(|(truth, predicted)| truth == predicted).count() as f64 / pairs.len() as f64
}

fn show(ctx: &mut Context<'_>, test: &[Sentence], tagged: &[(u32, u32)], curve: Vec<f64>) {
    ctx.show("Accuracy", &LineChart::new("epoch", "accuracy").epochs("test", curve));
    let mut confusion = Confusion::new(UPOS);
    tagged.iter().for_each(|&(truth, predicted)| confusion.add(truth as usize, predicted as usize));
    ctx.show("Confusion matrix of the test set", &confusion);
    let mut table = Table::new(["word", "is", "tagged"]);
    let words = test.iter().flat_map(|sentence| &sentence.words);
    for (word, &(truth, predicted)) in words.zip(tagged).take(SHOWN) {
        let [truth, predicted] = [truth, predicted].map(|tag| UPOS[tag as usize].to_owned());
        table.row([word.form.clone(), truth, predicted]);
    }
    ctx.show("The first words of the test set", &table);
}
