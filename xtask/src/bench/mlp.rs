//! The multilayer perceptron: 784-64-64-10, Adam, accuracy kept count of, on random images.

use cairn_datasets::TensorDataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_optim::{Adam, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use super::{Bench, Recorder, Work, training};
use crate::models;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "mlp", run };

const SAMPLES: usize = 20_000;

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut random = rng(0);
    let images = Tensor::<f32>::uniform([SAMPLES, 784], 0.0, 1.0, &mut random)?;
    let labels = (0..SAMPLES).map(|i| (i % 10) as u32).collect();
    let data = TensorDataset::new(images, Tensor::from_vec(labels, [SAMPLES])?)?;
    training::measure(recorder, "mlp", Work::dense(&[784, 64, 64, 10]), &data, || {
        let trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
        Ok((models::mlp(&mut random)?, trainer))
    })
}
