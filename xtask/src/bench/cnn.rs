//! The convolutional network: three convolutions, two of them pooled, and a dense layer, on random images.

use cairn_datasets::TensorDataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_optim::{Adam, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use super::{Bench, Recorder, Work, training};
use crate::models;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "cnn", run };

const SAMPLES: usize = 4000;

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut random = rng(0);
    let images = Tensor::<f32>::uniform([SAMPLES, 28, 28, 1], 0.0, 1.0, &mut random)?;
    let labels = (0..SAMPLES).map(|i| (i % 10) as u32).collect();
    let data = TensorDataset::new(images, Tensor::from_vec(labels, [SAMPLES])?)?;
    // Output pixels times taps times channels in and out.
    let work = Work::default()
        .layer(2 * 26 * 26 * 9 * 32, false)
        .layer(2 * 11 * 11 * 9 * 32 * 64, true)
        .layer(2 * 3 * 3 * 9 * 64 * 64, true)
        .layer(2 * 576 * 10, true);
    training::measure(recorder, "cnn", work, &data, || {
        let trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
        Ok((models::cnn(&mut random)?, trainer))
    })
}
