//! The text classifier on film reviews: an embedding, an LSTM over the last 100 words, and a dense layer.

use cairn_datasets::registry;
use cairn_nn::Model;
use cairn_optim::Fit;
use cairn_tensor::{Tensor, rng};

use super::reviews::{self, Encoder, Reviews};
use crate::check::{Bars, Check, Context};
use crate::models;
use crate::report::{Sample, Table};

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
/// Words of a review that are read.
const WORDS: usize = 100;
const EPOCHS: usize = 2;
/// Reviews shown.
const SHOWN: usize = 6;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = reviews::load(ctx, None)?;
    let encoder = Encoder::of(&train, models::WORDS, WORDS)?;
    let (train_data, test_data) = (encoder.encode(&train)?, encoder.encode(&test)?);
    let model = models::nlp(WORDS, 2, &mut rng(ctx.seed()))?;
    let epochs = if ctx.quick() { 1 } else { EPOCHS };
    reviews::train(ctx, &model, [&train_data, &test_data], Fit::epochs(epochs), &BARS)?;
    show_reviews(ctx, &model, &test, test_data.inputs())?;
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}

/// Shows the ends of some test reviews with what the model makes of them.
fn show_reviews(
    ctx: &mut Context<'_>,
    model: &impl Model<Tensor<u32>>,
    test: &Reviews,
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
