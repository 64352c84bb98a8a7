//! The loss as a function of the parameters, for optimisers that look at it in more than one place.

use cairn_autograd::{Gradients, Var};
use cairn_nn::Module;

use crate::Result;

/// What an optimiser lowers: a model and its loss, which may be asked for again after the parameters were changed.
///
/// The loss must be the same function each time: the same samples, and the same random numbers where it draws any.
pub trait Objective {
    /// The model, to change its parameters.
    fn model(&mut self) -> &mut dyn Module;

    /// The loss of the model as it is now, and its gradients.
    ///
    /// # Errors
    /// When the loss cannot be computed.
    fn evaluate(&mut self) -> Result<(f64, Gradients)>;
}

/// The loss that a closure computes.
pub(super) struct Closure<'a, M, F> {
    pub(super) model: &'a mut M,
    pub(super) loss: F,
}

impl<M: Module, F: FnMut(&M) -> cairn_nn::Result<Var>> Objective for Closure<'_, M, F> {
    fn model(&mut self) -> &mut dyn Module {
        self.model
    }

    fn evaluate(&mut self) -> Result<(f64, Gradients)> {
        let loss = (self.loss)(self.model)?;
        Ok((f64::from(loss.item()?), loss.backward()?))
    }
}
