//! The loss of a step's batches, for optimisers that ask for it in several places.
//!
//! Each evaluation starts from the same random numbers, so that dropout drops the same values and the loss is one function
//! of the parameters. The first evaluation is the one that the loop has made already, for loss and metrics.

use cairn_autograd::{Gradients, Var};
use cairn_nn::{Context, Model, Module};

use crate::optimizers::Objective;
use crate::{Accumulation, Error, Result};

/// A batch: its number of samples, inputs, and targets.
pub(super) type Samples<X, Y> = (usize, X, Y);

/// Batches and the model they are a step of.
pub(super) struct Batches<'a, M, X, Y, F> {
    pub(super) model: &'a M,
    pub(super) batches: &'a [Samples<X, Y>],
    pub(super) step: F,
    /// As it was before the first of them.
    pub(super) cx: &'a Context,
    /// Loss and gradients of the model as the step begins.
    pub(super) first: Option<(f64, Gradients)>,
    /// Epoch and batch, for errors.
    pub(super) place: (usize, usize),
}

impl<M, X, Y, F> Objective for Batches<'_, M, X, Y, F>
where
    M: Model<X>,
    F: FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
{
    fn model(&self) -> &dyn Module {
        self.model
    }

    fn evaluate(&mut self) -> Result<(f64, Gradients)> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let (mut cx, mut sum, mut total) = (self.cx.clone(), 0.0, 0);
        let mut accumulation = Accumulation::default();
        for (samples, input, target) in self.batches {
            let (loss, _) = (self.step)(self.model, input, target, &mut cx)?;
            let value = loss.item()?;
            if !value.is_finite() {
                let (epoch, step) = self.place;
                let hint = "The step went too far: search along the direction, or lower the learning rate.";
                return Err(Error::NonFiniteLoss { epoch, step, loss: value, hint });
            }
            accumulation.add(self.model, loss.backward()?, *samples)?;
            (sum, total) = (sum + f64::from(value) * *samples as f64, total + samples);
        }
        Ok((sum / total as f64, accumulation.take(self.model)?))
    }
}
