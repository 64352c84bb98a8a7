//! Film reviews and whether they are favourable, for every check that reads them: the data, their words as numbers, and a training
//! with its figures.

use cairn_datasets::text::{Padding, Vocabulary, WordTokenizer, pad};
use cairn_datasets::{TensorDataset, imdb, registry, synthetic};
use cairn_nn::{Sequential, SparseCategoricalCrossentropy};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::Tensor;

use super::training::{self, Told};
use crate::check::{Bars, Context};
use crate::format::{count, value};
use crate::report::KeyFigures;
use crate::results::Bar;

/// Stand-in reviews to train on and to test on.
const STAND_IN: [usize; 2] = [10_000, 2_000];

/// Texts with 1 for favourable and 0 for not.
pub(super) type Reviews = Vec<(String, u32)>;

/// The reviews to train on and to test on, at most so many of each.
pub(super) fn load(ctx: &mut Context<'_>, most: Option<[usize; 2]>) -> anyhow::Result<(Reviews, Reviews)> {
    let plain =
        |reviews: Vec<imdb::Review>| reviews.into_iter().map(|r| (r.text, r.label)).collect::<Reviews>();
    let read = |dir: &_| imdb::load(dir).map(|(train, test)| (plain(train), plain(test)));
    let seed = ctx.seed();
    let generated = |n, seed| -> anyhow::Result<Reviews> {
        Ok(synthetic::reviews(n, seed)?.into_iter().map(|r| (r.text, r.label)).collect())
    };
    let stand_in = || Ok((generated(STAND_IN[0], seed)?, generated(STAND_IN[1], seed + 1)?));
    let (mut train, mut test) = ctx.load(&registry::IMDB, read, stand_in)?;
    if let Some([most_train, most_test]) = most {
        // At even distances: the published reviews are in the order of their classes.
        for (reviews, most) in [(&mut train, most_train), (&mut test, most_test)] {
            let every = (reviews.len() / most).max(1);
            *reviews = std::mem::take(reviews).into_iter().step_by(every).take(most).collect();
        }
    }
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} reviews to train on, {} to test on", sizes[0], sizes[1]));
    Ok((train, test))
}

/// How reviews become rows of numbers: their last words, where people come to their conclusion, in lower case.
pub(super) struct Encoder {
    tokenizer: WordTokenizer,
    pub(super) vocabulary: Vocabulary,
    words: usize,
}

impl Encoder {
    /// Knows the `vocabulary` most frequent words of `reviews`, and reads the last `words` of each.
    pub(super) fn of(reviews: &Reviews, vocabulary: usize, words: usize) -> anyhow::Result<Self> {
        let tokenizer = WordTokenizer::new().lowercase(true).punctuation(false);
        let texts = reviews.iter().map(|(text, _)| text);
        let vocabulary = Vocabulary::builder().texts(texts, &tokenizer).max_size(vocabulary).build()?;
        Ok(Self { tokenizer, vocabulary, words })
    }

    /// The numbers of the words, `[reviews, words]`, and the labels.
    pub(super) fn encode(&self, reviews: &Reviews) -> anyhow::Result<TensorDataset<u32, u32>> {
        let mut ids = Vec::with_capacity(reviews.len());
        for (text, _) in reviews {
            ids.push(self.vocabulary.encode(text, &self.tokenizer)?);
        }
        let padded = pad(&ids, &Padding::new().length(self.words).at_start())?;
        let labels = reviews.iter().map(|&(_, label)| label).collect();
        Ok(TensorDataset::new(padded.ids, Tensor::from_vec(labels, [reviews.len()])?)?)
    }
}

/// Trains by Adam at its usual rate, and shows how it went. `fit` is how long, and how the rate changes.
pub(super) fn train(
    ctx: &mut Context<'_>,
    model: &Sequential,
    [train, test]: [&TensorDataset<u32, u32>; 2],
    fit: Fit<'_, Tensor<u32>, Tensor<u32>>,
    bars: &Bars,
) -> anyhow::Result<()> {
    let mut trainer =
        Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = fit.seed(ctx.seed()).quiet().validate(test);
    let history = trainer.fit(model, train, fit.callback(Told(ctx)))?;
    let accuracy = history.last("val_accuracy").unwrap_or(f64::NAN);
    let bar = ctx.bar(bars);
    ctx.metric("test accuracy", accuracy, Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);
    let figures = KeyFigures::new()
        .figure(format!("{:.1} %", 100.0 * accuracy), "of the test reviews right")
        .figure(count(model.summary().parameters as u64), "parameters")
        .figure(value(speed), "reviews a second in training");
    ctx.show("At a glance", &figures);
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    Ok(())
}
