//! Sentences of film reviews, for or against, by a convolution over words: lookup, convolution over time, maximum over
//! time, all as a struct with a derived `Module`.

// The model is that of the example, so that what is copied from there is what was checked.
#[path = "../../../optim/examples/text_cnn/model.rs"]
mod model;

use cairn_datasets::text::{LabelledText, SequenceDataset, Vocabulary, WhitespaceTokenizer};
use cairn_datasets::{Dataset as _, mr_polarity, registry, synthetic};
use cairn_nn::{Model, Module, SparseCategoricalCrossentropy};
use cairn_optim::{Adam, Fit, History, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use self::model::{TextCnn, encode};
use super::training;
use crate::check::{Bars, Check, Context};
use crate::format::{count, value};
use crate::report::{Confusion, KeyFigures, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "textcnn",
    title: "Film reviews, with a convolution over words",
    about: "CNN-rand of Kim (2014) on single sentences of film reviews: windows of 3, 4 and 5 words with 100 maps each, \
            maximum over time, dropout of one half, batches of 50. A tenth is held out, and the mean of three seeds, each \
            with a division of its own, is judged; the paper gives 0.761 by ten-fold cross-validation.",
    data: &[&registry::MR_POLARITY],
    run,
};

const SEEDS: u64 = 3;
/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.75, quick: 0.62, stand_in: 0.94, stand_in_quick: 0.80 };
/// Invented reviews, where the real ones are not at hand.
const STAND_IN: usize = 8000;
/// Sentences of the training part that a quick run uses.
const QUICK: usize = 3000;
/// Passes over the training part; with more, the sentences are learnt by heart.
const EPOCHS: usize = 4;
/// Sentences shown of those it was surest of and wrong about.
const SHOWN: usize = 12;

/// Sentences as numbers, a tenth of them held out.
struct Division {
    words: usize,
    train: SequenceDataset,
    test: SequenceDataset,
    held_out: Vec<LabelledText>,
}

fn divide(sentences: &[LabelledText], seed: u64, quick: bool) -> anyhow::Result<Division> {
    let order = Tensor::permutation(sentences.len(), &mut rng(seed))?.to_vec();
    let shuffled: Vec<LabelledText> = order.iter().map(|&i| sentences[i as usize].clone()).collect();
    let (held_out, train) = shuffled.split_at(shuffled.len() / 10);
    let train = &train[..if quick { train.len().min(QUICK) } else { train.len() }];
    let texts = train.iter().map(|sentence| &sentence.text);
    let vocabulary = Vocabulary::builder().min_count(2).texts(texts, &WhitespaceTokenizer).build()?;
    let (train, test) = (encode(train, &vocabulary)?, encode(held_out, &vocabulary)?);
    Ok(Division { words: vocabulary.len(), train, test, held_out: held_out.to_vec() })
}

struct Trained {
    model: TextCnn,
    history: History,
    trainer: Trainer<Tensor<u32>>,
}

fn train(division: &Division, seed: u64) -> anyhow::Result<Trained> {
    let model = TextCnn::new(division.words, &mut rng(seed))?;
    let mut trainer =
        Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(EPOCHS).batch_size(50).seed(seed).validate(&division.test).quiet();
    let history = trainer.fit(&model, &division.train, fit)?;
    Ok(Trained { model, history, trainer })
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || Ok(synthetic::reviews(STAND_IN, seed)?);
    let sentences = ctx.load(&registry::MR_POLARITY, mr_polarity::load, stand_in)?;
    let quick = ctx.quick();
    let mut first = None;
    let mut accuracies = Vec::new();
    for seed in (seed..).take(if quick { 1 } else { SEEDS as usize }) {
        let division = divide(&sentences, seed, quick)?;
        let trained = train(&division, seed)?;
        let accuracy = trained.trainer.evaluate(&trained.model, &division.test)?.get("accuracy");
        accuracies.push(accuracy.unwrap_or(f64::NAN));
        ctx.say(format!("seed {seed}: test accuracy {:.4}", accuracies[accuracies.len() - 1]));
        first.get_or_insert((division, trained));
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", mean, Bar::AtLeast(bar));
    let Some((division, Trained { model, history, .. })) = first else {
        anyhow::bail!("nothing was trained");
    };
    training::say(ctx, &history);
    let speed = training::samples_per_second(&history);
    ctx.metric("training sentences per second", speed, Bar::None);
    let figures = KeyFigures::new()
        .figure(format!("{:.1} %", 100.0 * mean), "of the held-out sentences right")
        .figure(count(model.parameter_count() as u64), "parameters")
        .figure(value(speed), "sentences a second in training");
    ctx.show("At a glance", &figures);
    training::show_curves(ctx, &history, "Loss", "cross-entropy", "loss");
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    show_sentences(ctx, &model, &division)
}

/// Shows the confusion matrix, and the mistakes it was surest of.
fn show_sentences(ctx: &mut Context<'_>, model: &TextCnn, division: &Division) -> anyhow::Result<()> {
    const NAMES: [&str; 2] = ["against", "for"];
    let indices: Vec<usize> = (0..division.test.len()).collect();
    let mut confusion = Confusion::new(NAMES);
    let mut wrong = Vec::new();
    for batch in indices.chunks(256) {
        let (input, labels) = division.test.batch(batch)?;
        let probabilities = model.predict_batch(&input)?.softmax(-1)?;
        let guesses = probabilities.argmax(-1)?.to_vec();
        let sure = probabilities.max(-1)?.to_vec();
        for (((&i, label), guess), sure) in batch.iter().zip(labels.to_vec()).zip(guesses).zip(sure) {
            confusion.add(label as usize, guess as usize);
            if label != guess {
                wrong.push((sure, i, guess));
            }
        }
    }
    ctx.show("Confusion matrix of the held-out sentences", &confusion);
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut table = Table::new(["sentence", "taken to be", "probability"]).numbers([2]).full_width();
    for (sure, i, guess) in wrong.into_iter().take(SHOWN) {
        let name = NAMES[guess as usize].to_owned();
        table.row([division.held_out[i].text.clone(), name, format!("{sure:.2}")]);
    }
    ctx.show("Surest mistakes", &table);
    Ok(())
}
