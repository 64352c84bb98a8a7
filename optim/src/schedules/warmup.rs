//! Rates that rise at first: large steps while running averages are young, and weights random, do lasting harm.

use super::{Schedule, progress};

/// In a straight line from one factor to another.
#[doc(alias = "LinearLR")]
#[doc(alias = "warmup")]
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    start: f64,
    end: f64,
    steps: u64,
}

impl Linear {
    /// From `start` to `end` over `steps` steps, then `end`; PyTorch's defaults are 1/3, 1 and 5.
    pub fn new(start: f64, end: f64, steps: u64) -> Self {
        Linear { start, end, steps }
    }

    /// From 0 to 1 over `steps` steps.
    pub fn warm_up(steps: u64) -> Self {
        Linear::new(0.0, 1.0, steps)
    }
}

impl Schedule for Linear {
    fn factor(&self, step: u64) -> f64 {
        // Exact at both ends.
        let share = progress(step, self.steps);
        self.start * (1.0 - share) + self.end * share
    }
}

/// Up in a straight line, then down as 1 / sqrt(step): the schedule of the Transformer (Vaswani et al. 2017, equation 3),
/// whose steps count from 1. Scaled so that the largest factor is 1; [`model_size`](Self::model_size) gives the paper's own
/// scale, for a learning rate of 1.
#[doc(alias = "Noam")]
#[derive(Debug, Clone, Copy)]
pub struct InverseSqrt {
    warm_up: u64,
    scale: f64,
}

impl InverseSqrt {
    /// Rising for `warm_up` steps; 4000 in the paper.
    pub fn new(warm_up: u64) -> Self {
        let warm_up = warm_up.max(1);
        InverseSqrt { warm_up, scale: (warm_up as f64).sqrt() }
    }

    /// In the paper's scale: 1 / sqrt(size) · min(1 / sqrt(step), step / warm_up^1.5).
    #[must_use]
    pub fn model_size(self, size: usize) -> Self {
        InverseSqrt { scale: 1.0 / (size.max(1) as f64).sqrt(), ..self }
    }
}

impl Schedule for InverseSqrt {
    fn factor(&self, step: u64) -> f64 {
        let (step, warm_up) = (step as f64 + 1.0, self.warm_up as f64);
        self.scale * (1.0 / step.sqrt()).min(step / warm_up.powf(1.5))
    }
}
