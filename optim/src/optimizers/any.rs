//! An optimiser of either kind, as a training loop holds it.

use std::fmt;

use cairn_nn::Module;

use super::{ClosureOptimizer, Lbfgs, Optimizer};
use crate::{Result, StateDict};

/// An optimiser that steps by gradients, or one that asks for the loss again. [`Trainer::new`](crate::Trainer::new) takes
/// whatever becomes one: every [`Optimizer`], and [`Lbfgs`]. For an optimiser chosen while the program runs, or a
/// [`ClosureOptimizer`] of your own, name the variant.
///
/// ```
/// use cairn_nn::MeanSquaredError;
/// use cairn_optim::{Adam, AnyOptimizer, Optimizer, Sgd, Trainer};
/// use cairn_tensor::Tensor;
///
/// let chosen: Box<dyn Optimizer> = match "adam" {
///     "adam" => Box::new(Adam::default()),
///     _ => Box::new(Sgd::default()),
/// };
/// let trainer: Trainer<Tensor> = Trainer::new(AnyOptimizer::Gradient(chosen), MeanSquaredError);
/// ```
pub enum AnyOptimizer {
    /// Steps by the gradients of one place.
    Gradient(Box<dyn Optimizer>),
    /// Asks for the loss in several places.
    Closure(Box<dyn ClosureOptimizer>),
}

impl AnyOptimizer {
    /// The learning rate.
    #[doc(alias = "lr")]
    pub fn learning_rate(&self) -> f64 {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.learning_rate(),
            AnyOptimizer::Closure(optimizer) => optimizer.learning_rate(),
        }
    }

    /// Sets the learning rate for the steps to come.
    pub fn set_learning_rate(&mut self, rate: f64) {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.set_learning_rate(rate),
            AnyOptimizer::Closure(optimizer) => optimizer.set_learning_rate(rate),
        }
    }

    /// Everything that changes from step to step, the learning rate included. Settings are not part of it.
    #[doc(alias = "state_dict")]
    pub fn state(&self) -> StateDict {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.state(),
            AnyOptimizer::Closure(optimizer) => optimizer.state(),
        }
    }

    /// Goes on from a state that an optimiser of the same kind gave.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) for the state of another kind, or one that lacks something.
    #[doc(alias = "load_state_dict")]
    pub fn load_state(&mut self, state: StateDict) -> Result<()> {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.load_state(state),
            AnyOptimizer::Closure(optimizer) => optimizer.load_state(state),
        }
    }

    /// Its settings as text, to tell whether a run is gone on with under others.
    pub(crate) fn settings(&self) -> String {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.settings(),
            AnyOptimizer::Closure(optimizer) => optimizer.settings(),
        }
    }

    /// Whether its running values, if it has any, are those of this model.
    pub fn is_of(&self, model: &dyn Module) -> bool {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.is_of(model),
            AnyOptimizer::Closure(optimizer) => optimizer.is_of(model),
        }
    }

    /// Begins anew: forgets running values and counts. Settings and the learning rate stay.
    pub fn reset(&mut self) {
        match self {
            AnyOptimizer::Gradient(optimizer) => optimizer.reset(),
            AnyOptimizer::Closure(optimizer) => optimizer.reset(),
        }
    }
}

impl<O: Optimizer + 'static> From<O> for AnyOptimizer {
    fn from(optimizer: O) -> Self {
        AnyOptimizer::Gradient(Box::new(optimizer))
    }
}

impl From<Lbfgs> for AnyOptimizer {
    fn from(optimizer: Lbfgs) -> Self {
        AnyOptimizer::Closure(Box::new(optimizer))
    }
}

impl fmt::Debug for AnyOptimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            AnyOptimizer::Gradient(_) => "Gradient",
            AnyOptimizer::Closure(_) => "Closure",
        };
        f.debug_struct(kind).field("learning_rate", &self.learning_rate()).finish_non_exhaustive()
    }
}
