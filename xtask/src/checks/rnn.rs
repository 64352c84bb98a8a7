//! Parts of speech with a stacked bidirectional LSTM over words and their letters.

use cairn_autograd::Var;
use cairn_datasets::registry;
use cairn_nn::{Context as Pass, Model, cross_entropy};
use cairn_optim::Adam;
use cairn_tensor::{Tensor, rng};

use super::parts_of_speech::model::{Batch, Tagged, Tagger, Vocabularies};
use super::parts_of_speech::{self, Course, Tags};
use crate::check::{Bars, Check, Context};

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
const RATE: f64 = 2e-3;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = parts_of_speech::load(ctx)?;
    let vocabularies = Vocabularies::of(&train)?;
    let (train_data, test_data) = (Tagged::new(&train, &vocabularies)?, Tagged::new(&test, &vocabularies)?);
    let model = Tagger::new(&vocabularies, &mut rng(ctx.seed()))?;
    let epochs = if ctx.quick() { 1 } else { EPOCHS };
    // Down to nothing in a straight line.
    let course = Course { epochs, rate: |behind| RATE * (1.0 - behind), clip: 5.0 };
    let lengths = train.iter().map(|sentence| sentence.words.len()).collect();
    let mut adam = Adam::new(RATE);
    parts_of_speech::train(
        ctx,
        &model,
        &mut adam,
        (&train_data, lengths),
        (&test_data, &test),
        &course,
        &BARS,
    )
}

impl Tags for Tagger {
    fn loss(&self, batch: &Batch, tags: &Tensor<u32>, pass: &mut Pass) -> cairn_nn::Result<Var> {
        cross_entropy(&self.forward(batch, pass)?, tags)
    }

    fn tag(&self, batch: &Batch) -> cairn_nn::Result<Vec<u32>> {
        Ok(self.predict_batch(batch)?.argmax(-1)?.to_vec())
    }
}
