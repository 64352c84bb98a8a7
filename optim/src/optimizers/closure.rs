//! Optimisers that look at the loss in several places, and the loss as a function of the parameters that they are given.

use cairn_autograd::{Gradients, Var};
use cairn_nn::Module;

use crate::{Result, StateDict};

/// Lowers a loss that it may ask for again, with other parameters, on its way: a line search does. An
/// [`Optimizer`](crate::Optimizer) makes its step by the gradients of one place.
///
/// PyTorch passes such an optimiser a closure: `optimizer.step(closure)`. [`minimize`](Self::minimize) takes one.
pub trait ClosureOptimizer {
    /// One step, from the parameters as they are; returns the loss before it.
    ///
    /// # Errors
    /// Those of the loss, after which the model is as before; [`Error::NonFinite`](crate::Error::NonFinite) when it or a gradient is
    /// NaN or infinite, likewise;
    /// [`Error::NoGradient`](crate::Error::NoGradient) naming parameters that the loss does not depend on;
    /// [`Error::BadSetting`](crate::Error::BadSetting) for a setting out of its range;
    /// [`Error::OtherModel`](crate::Error::OtherModel) when the model is not the one of earlier steps.
    fn step(&mut self, objective: &mut dyn Objective) -> Result<f64>;

    /// One step on the loss that a closure computes; returns the loss before it.
    ///
    /// # Errors
    /// Those of the closure, and all of [`step`](Self::step).
    #[doc(alias = "closure")]
    fn minimize<M: Module>(&mut self, model: &M, loss: impl FnMut(&M) -> cairn_nn::Result<Var>) -> Result<f64>
    where
        Self: Sized,
    {
        self.step(&mut Closure { model, loss })
    }

    /// The learning rate.
    #[doc(alias = "lr")]
    fn learning_rate(&self) -> f64;

    /// Sets the learning rate for the steps to come.
    fn set_learning_rate(&mut self, rate: f64);

    /// Everything that changes from step to step, the learning rate included. Settings are not part of it.
    #[doc(alias = "state_dict")]
    fn state(&self) -> StateDict;

    /// Goes on from a state that an optimiser of the same kind gave.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) for the state of another kind, or one that lacks something.
    #[doc(alias = "load_state_dict")]
    fn load_state(&mut self, state: StateDict) -> Result<()>;

    /// Its settings as text, to tell whether a run is gone on with under others. Nothing unless written.
    fn settings(&self) -> String {
        String::new()
    }

    /// Whether its running values, if it has any, are those of this model. Always, unless written.
    fn is_of(&self, model: &dyn Module) -> bool {
        let _ = model;
        true
    }

    /// Begins anew: forgets running values and counts. Settings and the learning rate stay. Nothing unless written.
    fn reset(&mut self) {}
}

/// What a [`ClosureOptimizer`] lowers: a model and its loss, which may be asked for again after the parameters were changed.
///
/// The loss must be the same function each time: the same samples, and the same random numbers where it draws any.
pub trait Objective {
    /// The model, to change its parameters.
    fn model(&self) -> &dyn Module;

    /// The loss of the model as it is now, and its gradients.
    ///
    /// # Errors
    /// When the loss cannot be computed.
    fn evaluate(&mut self) -> Result<(f64, Gradients)>;
}

/// The loss that a closure computes.
struct Closure<'a, M, F> {
    model: &'a M,
    loss: F,
}

impl<M: Module, F: FnMut(&M) -> cairn_nn::Result<Var>> Objective for Closure<'_, M, F> {
    fn model(&self) -> &dyn Module {
        self.model
    }

    fn evaluate(&mut self) -> Result<(f64, Gradients)> {
        let loss = (self.loss)(self.model)?;
        Ok((f64::from(loss.item()?), loss.backward()?))
    }
}
