//! Optimisers: what changes a model's parameters by their gradients.
//!
//! An optimiser is a formula for one element (a [`Rule`](cairn_tensor::Rule)) and a few settings, together an `UpdateRule`;
//! what all of them share (the walk over the parameters, running values, groups, sparse gradients) is in `core`.
//!
//! # Sparse gradients
//! The gradient of an embedding holds the rows that were looked up. By default a step does with it what it would do with the
//! dense gradient, zeros elsewhere, as optimisers of PyTorch and Keras do: in rows that were not looked up moments decay and go on
//! moving the values, and weight decay acts. That takes a pass over the whole table, but for `Sgd` without momentum and
//! `Adagrad`, both without weight decay, which change nothing where the gradient is 0.
//!
//! With `.lazy(true)` only the rows that were looked up and their running values are updated: the *lazy* rule, that of PyTorch's
//! `SparseAdam`. For a table of which a batch looks up little it is many times as fast; the results are others.

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod any;
mod closure;
mod core;
mod group;
mod lamb;
mod lbfgs;
mod lion;
mod moments;
mod nadam;
mod radam;
mod rmsprop;
mod rule;
mod sgd;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use any::AnyOptimizer;
pub use closure::{ClosureOptimizer, Objective};
pub use group::Group;
pub use lamb::Lamb;
pub use lbfgs::Lbfgs;
pub use lion::Lion;
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use cairn_autograd::Gradients;
use cairn_nn::Module;

use crate::{Result, StateDict};

/// Changes a model's parameters by their gradients.
pub trait Optimizer {
    /// One step: every parameter that is not frozen, in one pass over memory. One that several layers share is stepped once.
    ///
    /// # Errors
    /// [`Error::NoGradient`](crate::Error::NoGradient) naming parameters that the loss does not depend on and
    /// [`Error::NonFinite`](crate::Error::NonFinite) one whose gradient is NaN or infinite (nothing is changed then); [`Error::BadSetting`](crate::Error::BadSetting) for a setting out of its range;
    /// [`Error::OtherModel`](crate::Error::OtherModel) when the model is not the one of earlier steps;
    /// [`Error::NoSuchParameter`](crate::Error::NoSuchParameter) for a group that no parameter belongs to.
    #[doc(alias = "apply_gradients")]
    fn step(&mut self, model: &dyn Module, gradients: &Gradients) -> Result<()>;

    /// The learning rate.
    #[doc(alias = "lr")]
    fn learning_rate(&self) -> f64;

    /// Sets the learning rate for the steps to come.
    fn set_learning_rate(&mut self, rate: f64);

    /// Everything that changes from step to step: running values and counts, the learning rate included. Settings are
    /// not part of it.
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

    /// Whether an element's step depends on its own gradient and running values alone, so that of many processes each can step some
    /// rows: see [`Fit::shard_optimizer`](crate::Fit::shard_optimizer). Not unless written.
    fn is_elementwise(&self) -> bool {
        false
    }

    /// Begins anew: forgets running values and counts. Settings and the learning rate stay. Nothing unless written.
    fn reset(&mut self) {}
}
