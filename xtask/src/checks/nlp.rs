//! The text classifier on film reviews: an embedding, an LSTM over the last 100 words, and a dense layer.

use cairn_datasets::TensorDataset;
use cairn_datasets::imdb;
use cairn_datasets::text::{Padding, Vocabulary, WordTokenizer, pad};
use cairn_datasets::{registry, synthetic};
use cairn_nn::{Model, SparseCategoricalCrossentropy};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use super::training;
use crate::check::{Bars, Check, Context};
use crate::format::{count, value};
use crate::models;
use crate::report::{KeyFigures, Sample, Table};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "nlp",
    title: "Sentiment of film reviews, with an LSTM",
    about: "An embedding of 10,000 words in 128 numbers, an LSTM of 64 units over the last 100 words, and a dense layer, on \
            IMDB: Adam at a rate of 0.001, batches of 32, two epochs. Keras reaches a test accuracy of 0.852 with the same.",
    data: &[&registry::IMDB],
    run,
};

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.84, quick: 0.80, stand_in: 0.90, stand_in_quick: 0.85 };
/// Words of a review that are read: the last, where people come to their conclusion.
const WORDS: usize = 100;
const EPOCHS: usize = 2;
/// Stand-in reviews to train on and to test on.
const STAND_IN: [usize; 2] = [10_000, 2_000];
/// Reviews shown.
const SHOWN: usize = 6;

type Labelled = Vec<(String, u32)>;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = load(ctx)?;
    let tokenizer = WordTokenizer::new().lowercase(true).punctuation(false);
    let vocabulary = Vocabulary::builder()
        .texts(train.iter().map(|(text, _)| text), &tokenizer)
        .max_size(models::WORDS)
        .build()?;
    let data = |reviews: &Labelled| -> anyhow::Result<TensorDataset<u32, u32>> {
        let mut ids = Vec::with_capacity(reviews.len());
        for (text, _) in reviews {
            ids.push(vocabulary.encode(text, &tokenizer)?);
        }
        let padded = pad(&ids, &Padding::new().length(WORDS).at_start())?;
        let labels = reviews.iter().map(|&(_, label)| label).collect();
        Ok(TensorDataset::new(padded.ids, Tensor::from_vec(labels, [reviews.len()])?)?)
    };
    let (train_data, test_data) = (data(&train)?, data(&test)?);
    let seed = ctx.seed();
    let model = models::nlp(WORDS, 2, &mut rng(seed))?;
    let mut trainer =
        Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let epochs = if ctx.quick() { 1 } else { EPOCHS };
    let fit = Fit::epochs(epochs).seed(seed).validate(&test_data).quiet();
    let history = trainer.fit(&model, &train_data, fit)?;
    training::say(ctx, &history);
    let accuracy = history.last("val_accuracy").unwrap_or(f64::NAN);
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", accuracy, Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);

    let figures = KeyFigures::new()
        .figure(format!("{:.1} %", 100.0 * accuracy), "of the test reviews right")
        .figure(count(model.summary().parameters as u64), "parameters")
        .figure(value(speed), "reviews a second in training");
    ctx.show("At a glance", &figures);
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    show_reviews(ctx, &model, &test, test_data.inputs())?;
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}

fn load(ctx: &mut Context<'_>) -> anyhow::Result<(Labelled, Labelled)> {
    let read = |dir: &_| {
        let (train, test) = imdb::load(dir)?;
        let plain =
            |reviews: Vec<imdb::Review>| reviews.into_iter().map(|r| (r.text, r.label)).collect::<Labelled>();
        Ok((plain(train), plain(test)))
    };
    let seed = ctx.seed();
    let generated = |n, seed| -> anyhow::Result<Labelled> {
        Ok(synthetic::reviews(n, seed)?.into_iter().map(|r| (r.text, r.label)).collect())
    };
    let stand_in = || Ok((generated(STAND_IN[0], seed)?, generated(STAND_IN[1], seed + 1)?));
    let (train, test) = ctx.load(&registry::IMDB, read, stand_in)?;
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} reviews to train on, {} to test on", sizes[0], sizes[1]));
    Ok((train, test))
}

/// Shows the ends of some test reviews with what the model makes of them.
fn show_reviews(
    ctx: &mut Context<'_>,
    model: &impl Model<Tensor<u32>>,
    test: &Labelled,
    ids: &Tensor<u32>,
) -> anyhow::Result<()> {
    let picks: Vec<u32> = (0..SHOWN).map(|i| (i * (test.len() - 1) / (SHOWN - 1)) as u32).collect();
    let probabilities = model.predict_batch(&ids.index_select(0, &picks)?)?.softmax(-1)?;
    let mut table = Table::new(["how it ends", "is", "favourable by the model"]).numbers([2]).full_width();
    for (row, &pick) in picks.iter().enumerate() {
        let (text, label) = &test[pick as usize];
        let words: Vec<&str> = text.split_whitespace().collect();
        let end = words[words.len().saturating_sub(24)..].join(" ");
        let share = 100.0 * probabilities.get(&[row, 1])?;
        table.row([
            format!("… {end}"),
            if *label == 1 { "favourable" } else { "unfavourable" }.into(),
            format!("{share:.0} %"),
        ]);
    }
    ctx.show("Some reviews of the test set", &table);
    Ok(())
}
