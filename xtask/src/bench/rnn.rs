//! The stacked LSTM: two layers of 64 with an output at every step, and a dense layer, on random sequences `[10, 1]`.

use cairn_datasets::TensorDataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_optim::{Adam, Trainer, metrics::Accuracy};
use cairn_tensor::{Tensor, rng};

use super::{Bench, Recorder, Work, training};
use crate::models;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "rnn", run };

const SAMPLES: usize = 8000;
const STEPS: usize = 10;

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut random = rng(0);
    let x = Tensor::<f32>::uniform([SAMPLES, STEPS, 1], 0.0, 1.0, &mut random)?;
    let labels = (0..SAMPLES * STEPS).map(|i| (i % 10) as u32).collect();
    let data = TensorDataset::new(x, Tensor::from_vec(labels, [SAMPLES, STEPS])?)?;
    let steps = STEPS as u64;
    let work = Work::default()
        .layer(2 * steps * 256, false)
        .layer(2 * steps * 64 * 256, true)
        .layer(2 * steps * 128 * 256, true)
        .layer(2 * steps * 64 * 10, true);
    training::measure(recorder, "rnn", work, &data, || {
        let trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
        Ok((models::rnn(&mut random)?, trainer))
    })
}
