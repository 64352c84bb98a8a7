//! The text classifier: an embedding of 10,000 words in 128 numbers, an LSTM of 64, and a dense layer, on random texts of
//! 100 words.

use cairn_datasets::TensorDataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_optim::{Adam, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use super::{Bench, Recorder, Work, training};
use crate::models;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "nlp", run };

const SAMPLES: usize = 2000;
const STEPS: usize = 100;

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut random = rng(0);
    let drawn = Tensor::<f32>::uniform([SAMPLES * STEPS], 0.0, models::WORDS as f64, &mut random)?;
    let words = drawn.iter().map(|x| (x as u32).min(models::WORDS as u32 - 1)).collect();
    let labels = (0..SAMPLES).map(|i| (i % 10) as u32).collect();
    let words = Tensor::<u32>::from_vec(words, [SAMPLES, STEPS])?;
    let data = TensorDataset::new(words, Tensor::from_vec(labels, [SAMPLES])?)?;
    // The embedding below is trained, so the input's product has a gradient.
    let work = Work::default().layer(2 * STEPS as u64 * (128 + 64) * 256, true).layer(2 * 64 * 10, true);
    training::measure(recorder, "nlp", work, &data, || {
        let trainer =
            Trainer::new(Adam::default().lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
        Ok((models::nlp(STEPS, 10, &mut random)?, trainer))
    })
}
