//! Optimisers: what changes a model's parameters by their gradients.
//!
//! An optimiser is a formula for one element (a [`Rule`](cairn_tensor::Rule)) and a few settings, together an `UpdateRule`;
//! what all of them share (the walk over the parameters, running values, groups, sparse gradients) is in `core`.
//!
//! # Sparse gradients
//! For a parameter whose gradient has some rows only (an embedding), just those rows and their running values are updated:
//! the *lazy* rule, also that of PyTorch's `SparseAdam`. Rows that were not looked up keep their moments; momentum and
//! weight decay act on a row when it is touched. For `Sgd` without momentum and for `Adagrad`, both without weight decay,
//! that is exactly what the dense gradient would do, since a gradient of zero changes nothing there. For the others
//! `.lazy(false)` gives the dense result, at the price of a pass over the whole table.

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
    /// [`Error::NoGradient`](crate::Error::NoGradient) naming parameters that the loss does not depend on (nothing is
    /// changed then); [`Error::BadSetting`](crate::Error::BadSetting) for a setting out of its range;
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
}
