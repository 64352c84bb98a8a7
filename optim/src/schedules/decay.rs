//! Rates that stay, or fall by steps, exponentially or polynomially.

use super::{Schedule, progress};

/// A factor for the first steps, then 1.
#[doc(alias = "ConstantLR")]
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    factor: f64,
    steps: u64,
}

impl Constant {
    /// `factor` for the first `steps` steps; PyTorch's defaults are 1/3 and 5.
    pub fn new(factor: f64, steps: u64) -> Self {
        Constant { factor, steps }
    }
}

impl Schedule for Constant {
    fn factor(&self, step: u64) -> f64 {
        if step < self.steps { self.factor } else { 1.0 }
    }
}

/// Times gamma every few steps.
#[doc(alias = "StepLR")]
#[derive(Debug, Clone, Copy)]
pub struct Step {
    every: u64,
    gamma: f64,
}

impl Step {
    /// Times 0.1 after each `every` steps; never for 0.
    pub fn new(every: u64) -> Self {
        Step { every, gamma: 0.1 }
    }

    /// With another factor.
    #[must_use]
    pub fn gamma(self, gamma: f64) -> Self {
        Step { gamma, ..self }
    }
}

impl Schedule for Step {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf(step.checked_div(self.every).unwrap_or(0) as f64)
    }
}

/// Times gamma at each of several steps.
#[doc(alias = "MultiStepLR")]
#[doc(alias = "PiecewiseConstantDecay")]
#[derive(Debug, Clone)]
pub struct MultiStep {
    milestones: Vec<u64>,
    gamma: f64,
}

impl MultiStep {
    /// Times 0.1 at these steps.
    pub fn new(milestones: impl Into<Vec<u64>>) -> Self {
        MultiStep { milestones: milestones.into(), gamma: 0.1 }
    }

    /// With another factor.
    #[must_use]
    pub fn gamma(self, gamma: f64) -> Self {
        MultiStep { gamma, ..self }
    }
}

impl Schedule for MultiStep {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf(self.milestones.iter().filter(|&&at| at <= step).count() as f64)
    }
}

/// Times gamma every step.
#[doc(alias = "ExponentialLR")]
#[doc(alias = "ExponentialDecay")]
#[derive(Debug, Clone, Copy)]
pub struct Exponential {
    gamma: f64,
}

impl Exponential {
    /// gamma to the power of the step.
    pub fn new(gamma: f64) -> Self {
        Exponential { gamma }
    }
}

impl Schedule for Exponential {
    fn factor(&self, step: u64) -> f64 {
        self.gamma.powf(step as f64)
    }
}

/// From 1 to 0 as (1 - step / total)^power.
#[doc(alias = "PolynomialLR")]
#[doc(alias = "PolynomialDecay")]
#[derive(Debug, Clone, Copy)]
pub struct Polynomial {
    total: u64,
    power: f64,
}

impl Polynomial {
    /// Down to 0 in a straight line over `total` steps.
    pub fn new(total: u64) -> Self {
        Polynomial { total, power: 1.0 }
    }

    /// With another power.
    #[must_use]
    pub fn power(self, power: f64) -> Self {
        Polynomial { power, ..self }
    }
}

impl Schedule for Polynomial {
    fn factor(&self, step: u64) -> f64 {
        (1.0 - progress(step, self.total)).powf(self.power)
    }
}
