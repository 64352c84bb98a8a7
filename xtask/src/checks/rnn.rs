//! Parts of speech with a stacked bidirectional LSTM over words and their letters.

// The model is that of the example, so that what is copied from there is what was checked.
#[path = "../../../optim/examples/tagger/model.rs"]
pub(super) mod model;

use cairn_datasets::conllu::{self, Sentence, UPOS};
use cairn_datasets::{Loader, registry, synthetic};
use cairn_nn::{Context as Pass, Model, cross_entropy};
use cairn_optim::{Adam, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use self::model::{Tagged, Tagger, Vocabularies};
use crate::check::{Bars, Check, Context};
use crate::format::{count, seconds};
use crate::report::{Confusion, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "rnn",
    title: "Parts of speech, with stacked LSTMs",
    about: "Words of the English Web Treebank are tagged with 17 parts of speech by two bidirectional LSTM layers of 128 units \
            a direction, over word embeddings and a bidirectional LSTM over each word's letters; no vectors from elsewhere. \
            The bar is for the share of right tags in the test set.",
    data: &[&registry::UD_ENGLISH_EWT],
    run,
};

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.92, quick: 0.85, stand_in: 0.97, stand_in_quick: 0.90 };
const EPOCHS: usize = 8;
const BATCH: usize = 32;
const RATE: f64 = 2e-3;
/// Stand-in sentences to train on and to test on.
const STAND_IN: [usize; 2] = [6_000, 500];

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = load(ctx)?;
    let vocabularies = Vocabularies::of(&train)?;
    let (train_data, test_data) = (Tagged::new(&train, &vocabularies)?, Tagged::new(&test, &vocabularies)?);
    let seed = ctx.seed();
    let model = Tagger::new(&vocabularies, &mut rng(seed))?;
    let epochs = if ctx.quick() { 1 } else { EPOCHS };
    let mut curve = Vec::new();
    let lengths = train.iter().map(|sentence| sentence.words.len()).collect();
    let loader = Loader::new(&train_data).batch_size(BATCH).shuffle(seed).group_by_length(lengths)?;
    let (mut adam, mut step) = (Adam::new(RATE), 0);
    for epoch in 0..epochs {
        // Down to nothing in a straight line.
        adam.set_learning_rate(RATE * (1.0 - epoch as f64 / epochs as f64));
        let (began, mut sum, mut seen) = (std::time::Instant::now(), 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (input, tags) = batch?;
            let scores = model.forward(&input, &mut Pass::train(seed).at_step(step))?;
            let loss = cross_entropy(&scores, &tags)?;
            sum += f64::from(loss.item()?) * tags.len() as f64;
            seen += tags.len();
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 5.0)?;
            adam.step(&model, &gradients)?;
            step += 1;
        }
        let took = began.elapsed().as_secs_f64();
        let accuracy = share_right(&predict(&model, &test_data)?);
        curve.push(accuracy);
        let (loss, took, n) = (sum / seen as f64, seconds(took), epoch + 1);
        ctx.say(format!("epoch {n}/{epochs}: loss {loss:.4}, test accuracy {accuracy:.4}, {took}"));
    }
    let tagged = predict(&model, &test_data)?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", share_right(&tagged), Bar::AtLeast(bar));
    show(ctx, &test, &tagged, &curve);
    Ok(())
}

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

/// True and predicted tag of each word of a part, in order.
fn predict(model: &Tagger, data: &Tagged) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for batch in Loader::new(data).batch_size(4 * BATCH).epoch(0)? {
        let (input, tags) = batch?;
        let predicted = model.predict_batch(&input)?.argmax(-1)?;
        pairs.extend(tags.iter().zip(predicted.iter()));
    }
    Ok(pairs)
}

pub(super) fn share_right(pairs: &[(u32, u32)]) -> f64 {
    pairs.iter().filter(|(truth, predicted)| truth == predicted).count() as f64 / pairs.len() as f64
}

pub(super) fn show(ctx: &mut Context<'_>, test: &[Sentence], tagged: &[(u32, u32)], curve: &[f64]) {
    let chart = crate::report::LineChart::new("epoch", "accuracy").epochs("test", curve.to_vec());
    ctx.show("Accuracy", &chart);
    let mut confusion = Confusion::new(UPOS);
    tagged.iter().for_each(|&(truth, predicted)| confusion.add(truth as usize, predicted as usize));
    ctx.show("Confusion matrix of the test set", &confusion);
    let mut table = Table::new(["word", "is", "tagged"]);
    let words = test.iter().flat_map(|sentence| &sentence.words);
    for (word, &(truth, predicted)) in words.zip(tagged).take(30) {
        let [truth, predicted] = [truth, predicted].map(|tag| UPOS[tag as usize].to_owned());
        table.row([word.form.clone(), truth, predicted]);
    }
    ctx.show("The first words of the test set", &table);
}
