//! Film reviews by one transformer block, as in Keras's example.

use cairn_datasets::Dataset;
use cairn_datasets::registry;
use cairn_datasets::text::Vocabulary;
use cairn_nn::{Context as Pass, Model, Sequential, explain};
use cairn_optim::{Fit, schedules::Cosine};
use cairn_tensor::{Tensor, rng};

use super::reviews::{self, Encoder};
use crate::check::{Bars, Check, Context};
use crate::models;
use crate::report::{ColouredWords, Sample, Weights};

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "sentiment-attention",
    title: "Sentiment of film reviews, with attention",
    about: "An embedding of 20,000 words and of 200 positions in 32 numbers, one transformer block of 2 heads and 32 hidden units, the \
            mean over the words, and a dense layer of 20, on IMDB: Adam at a rate that falls from 0.001 to 0, batches of 32, two epochs. \
            Keras's example, whose rate stays, has 0.8745 after the second.",
    data: &[&registry::IMDB],
    run,
};

/// Of the test accuracy. Words alone tell four of five generated reviews; that `not` turns them takes many more steps than these.
const BARS: Bars = Bars { full: 0.87, quick: 0.80, stand_in: 0.75, stand_in_quick: 0.75 };
const EPOCHS: usize = 2;
const BATCH: usize = 32;
/// Generated reviews are a tenth as long, and each is read in fewer steps and more often: a mean over nothing but padding says little.
const STAND_IN_EPOCHS: usize = 6;
const STAND_IN_STEPS: usize = 40;
/// Reviews of a quick run to train on and to test on.
const QUICK: [usize; 2] = [10_000, 2_000];
/// Reviews shown, their words, and the steps of integrated gradients.
const SHOWN: usize = 5;
const WORDS_SHOWN: usize = 60;
const STEPS: usize = 50;
/// Words whose attention is shown.
const MAPPED: usize = 16;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = reviews::load(ctx, ctx.quick().then_some(QUICK))?;
    let (epochs, steps) =
        if ctx.stands_in() { (STAND_IN_EPOCHS, STAND_IN_STEPS) } else { (EPOCHS, models::ATTENTIVE_STEPS) };
    let encoder = Encoder::of(&train, models::ATTENTIVE_WORDS, steps)?;
    let (train_data, test_data) = (encoder.encode(&train)?, encoder.encode(&test)?);
    let model = models::attentive(steps, &mut rng(ctx.seed()))?;
    let updates = (epochs * train_data.len().div_ceil(BATCH)) as u64;
    let fit = Fit::epochs(epochs).batch_size(BATCH).schedule(Cosine::new(updates));
    reviews::train(ctx, &model, [&train_data, &test_data], fit, &BARS)?;
    explained(ctx, &model, &encoder.vocabulary, test_data.inputs())?;
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}

/// Shows which words of some reviews speak for what the model says of them, and what the words of one attend to.
fn explained(
    ctx: &mut Context<'_>,
    model: &Sequential,
    vocabulary: &Vocabulary,
    ids: &Tensor<u32>,
) -> anyhow::Result<()> {
    let rows = ids.shape()[0];
    let picks: Vec<u32> = (0..SHOWN).map(|i| (i * (rows - 1) / (SHOWN - 1)) as u32).collect();
    let texts = ids.index_select(0, &picks)?;
    let verdicts = model.predict_batch(&texts)?.argmax(-1)?.to_vec();
    let padding = vocabulary.padding().unwrap_or(0);
    let shares = explain::token_contributions(model, "positions", &texts, padding, &verdicts, STEPS)?;
    let mut words = ColouredWords::new();
    for (row, &verdict) in verdicts.iter().enumerate() {
        let tokens = texts.index(0, row)?.to_vec();
        let first = tokens.len() - WORDS_SHOWN.min(tokens.len());
        let shares = shares.index(0, row)?.to_vec();
        let spelled = vocabulary.decode(&tokens[first..])?;
        let pairs = spelled.into_iter().map(str::to_owned).zip(shares[first..].iter().copied());
        words.text(if verdict == 1 { "favourable:" } else { "unfavourable:" }, pairs);
    }
    ctx.show("What speaks for the verdict, and what against it (integrated gradients)", &words);

    let maps = explain::attention_maps(|| model.forward(&texts.narrow(0, 0, 1)?, &mut Pass::eval()))?;
    let steps = texts.shape()[1];
    let last = steps - MAPPED;
    for (head, caption) in
        ["Attention among the last words of the first review, head 1", "Head 2"].into_iter().enumerate()
    {
        let map = maps[0].index(0, 0)?.index(0, head)?.narrow(0, last, MAPPED)?.narrow(1, last, MAPPED)?;
        // As shares of the largest: most of the weight is on words that are not shown.
        let most = map.max(..)?.item()?.max(f32::MIN_POSITIVE);
        let names: Vec<String> =
            vocabulary.decode(&texts.index(0, 0)?.to_vec()[last..])?.into_iter().map(str::to_owned).collect();
        ctx.show(caption, &Weights::new(names.clone(), names, map.scale(1.0 / most)?.to_vec()));
    }
    Ok(())
}
