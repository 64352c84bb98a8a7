//! Schedules: how the learning rate changes as training goes on.
//!
//! A schedule is a function of the number of steps made to a factor of the optimiser's learning rate, and has no state of
//! its own, so training that is resumed finds the rate it would have had. What a step is, the user says: in a
//! [`Fit`](crate::Fit), `schedule` counts batches and `schedule_epochs` counts epochs. The formulas and defaults are those
//! of PyTorch's schedulers of like name.

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

/// A factor of the learning rate for each step.
///
/// A closure is a schedule too.
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
    /// The factor after so many steps.
    fn factor(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64> Schedule for F {
    fn factor(&self, step: u64) -> f64 {
        self(step)
    }
}

/// How far a step is on the way to `total`, from 0 to 1.
fn progress(step: u64, total: u64) -> f64 {
    step.min(total) as f64 / total.max(1) as f64
}
