//! Schedules: how the learning rate changes as training goes on.
//!
//! A schedule is a function from the number of steps made to a factor of the base learning rate, the one that the optimiser
//! was made with, and has no state, so training that is resumed finds the rate it would have had. You say what a step is: of
//! a [`Fit`](crate::Fit), `schedule` counts steps of the optimiser and `schedule_epochs` counts epochs. Formulas and defaults
//! are those of PyTorch's schedulers of like name (`StepLR` is [`Step`], `CosineAnnealingLR` is [`Cosine`]).

mod combine;
mod cosine;
mod decay;
mod one_cycle;
mod warmup;

pub use combine::{Chained, Sequence};
pub use cosine::{Cosine, CosineRestarts};
pub use decay::{Constant, Exponential, MultiStep, Polynomial, Step};
pub use one_cycle::OneCycle;
pub use warmup::{InverseSqrt, Linear};

/// A factor of the base learning rate for each step. A closure is a schedule too.
///
/// ```
/// use cairn_optim::schedules::{Cosine, Linear, Schedule, Sequence};
///
/// // 100 steps up, then 900 down along a half wave.
/// let schedule = Sequence::new(Linear::warm_up(100)).then(100, Cosine::new(900));
/// assert_eq!(schedule.factor(50), 0.5);
/// assert_eq!(schedule.factor(100), 1.0);
/// assert!(schedule.factor(1000) < 1e-9);
/// let own = |step: u64| if step < 10 { 0.1 } else { 1.0 };
/// assert_eq!(own.factor(3), 0.1);
/// ```
pub trait Schedule {
    /// The factor for the step that comes after `step` others.
    fn factor(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64> Schedule for F {
    fn factor(&self, step: u64) -> f64 {
        self(step)
    }
}

/// How far a step is on the way to `total`, from 0 to 1. A way of no steps is over before it begins.
fn progress(step: u64, total: u64) -> f64 {
    if step >= total { 1.0 } else { step as f64 / total as f64 }
}
