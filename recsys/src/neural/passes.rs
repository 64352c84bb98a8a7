//! Passes over samples, and the steps of Adam they are made of: how every network is trained that is not of sequences.
//!
//! The order of samples and all that is random in a loss are functions of the seed and the step, so the same seed gives the same bits on
//! any number of threads.

use cairn_autograd::Var;
use cairn_nn::{Context, Module};
use cairn_optim::{Adam, Optimizer};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, check};

/// Mixed into the seed for the order of samples.
const ORDER: u64 = 0x9e37_79b9_7f4a_7c15;

/// How long a network is trained, and in what steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passes {
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) learning_rate: f64,
    pub(crate) seed: u64,
}

impl Passes {
    pub(crate) fn check(&self) -> Result<()> {
        check::at_least_one("batch_size", self.batch_size)?;
        check::above_zero("learning_rate", self.learning_rate)
    }

    /// Steps of the whole training on so many samples.
    pub(crate) fn steps(&self, samples: usize) -> u64 {
        (samples.div_ceil(self.batch_size) as u64).saturating_mul(self.epochs as u64)
    }

    /// Trains the parameters of a module by the mean loss of batches of samples, which are given by number, with a context that
    /// knows its step; the mean of each epoch. With `lazy` rows of tables that a batch does not meet stay as they are.
    ///
    /// # Errors
    /// [`Error::Network`] for what the network says, and for a loss that is no longer finite.
    pub(crate) fn train(
        &self,
        model: &'static str,
        (module, lazy): (&dyn Module, bool),
        samples: usize,
        mut loss: impl FnMut(&[u32], u64, &mut Context) -> cairn_nn::Result<Var>,
    ) -> Result<Vec<f64>> {
        let mut adam = Adam::new(self.learning_rate).lazy(lazy);
        let mut order = Pcg64::seed_from_u64(self.seed ^ ORDER);
        let mut numbers: Vec<u32> = (0..samples as u32).collect();
        let (mut losses, mut step) = (Vec::new(), 0);
        for _ in 0..self.epochs {
            numbers.shuffle(&mut order);
            let mut sum = 0.0;
            for batch in numbers.chunks(self.batch_size) {
                let mean = loss(batch, step, &mut Context::train(self.seed).at_step(step));
                let mean = mean.map_err(|e| failure(model, &e))?;
                let value = f64::from(mean.item().map_err(|e| failure(model, &e))?);
                if !value.is_finite() {
                    return Err(failure(model, &"the loss is no longer finite; lower the learning rate"));
                }
                let gradients = mean.backward().map_err(|e| failure(model, &e))?;
                adam.step(module, &gradients).map_err(|e| failure(model, &e))?;
                sum += value * batch.len() as f64;
                step += 1;
            }
            losses.push(sum / samples.max(1) as f64);
        }
        Ok(losses)
    }
}

/// Rows of a table that no step moved still are what they were drawn as, which is `start`: they become zeros. Which rows were moved.
pub(crate) fn forget_unmoved(table: &mut [f32], start: &[f32], width: usize) -> Vec<bool> {
    let rows = table.chunks_mut(width.max(1)).zip(start.chunks(width.max(1)));
    rows.map(|(row, start)| {
        let moved = row != start;
        if !moved {
            row.fill(0.0);
        }
        moved
    })
    .collect()
}

pub(crate) fn failure(model: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Network { model, reason: error.to_string() }
}

/// The setters of [`Passes`] and of the limit of memory, of settings that have them as `passes` and `memory_limit`.
macro_rules! passes_setters {
    () => {
        /// Passes over the samples.
        #[must_use]
        #[doc(alias("iterations", "n_epochs"))]
        pub fn epochs(mut self, epochs: usize) -> Self {
            self.passes.epochs = epochs;
            self
        }

        /// Samples of a step of the optimiser.
        #[must_use]
        pub fn batch_size(mut self, samples: usize) -> Self {
            self.passes.batch_size = samples;
            self
        }

        /// Step size of Adam.
        #[must_use]
        #[doc(alias = "lr")]
        pub fn learning_rate(mut self, rate: f64) -> Self {
            self.passes.learning_rate = rate;
            self
        }

        /// Seed of the start, the order of samples, and all draws.
        #[must_use]
        pub fn seed(mut self, seed: u64) -> Self {
            self.passes.seed = seed;
            self
        }

        /// Most bytes that training may take; default 8 GiB.
        #[must_use]
        pub fn memory_limit(mut self, bytes: u64) -> Self {
            self.memory_limit = bytes;
            self
        }
    };
}
pub(crate) use passes_setters;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_no_step_moved_become_zeros() {
        let start = [0.5, -0.1, 0.2, 0.3, 0.0, 0.7];
        let mut table = [0.5, -0.1, 0.2, 0.4, f32::NAN, 0.7];
        assert_eq!(forget_unmoved(&mut table, &start, 2), [false, true, true]);
        assert_eq!(table[..4], [0.0, 0.0, 0.2, 0.4]);
        assert!(table[4].is_nan(), "what has left the numbers was moved");
    }
}
