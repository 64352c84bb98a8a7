//! Adadelta.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Steps by the gradient times the ratio of two running roots of mean squares, of past steps and of gradients (Zeiler
/// 2012): v ← ρ v + (1 - ρ) g², d = sqrt(u + ε) / sqrt(v + ε) · g, u ← ρ u + (1 - ρ) d², p ← p - rate · d.
///
/// Defaults as in PyTorch: rate 1, ρ 0.9, ε 1e-6.
#[derive(Debug, Clone)]
pub struct Adadelta {
    core: Core,
    rule: AdadeltaRule,
}

#[derive(Debug, Clone)]
struct AdadeltaRule {
    rho: f64,
    epsilon: f64,
}

optimizer!(Adadelta, "With L2 regularisation: `decay` times the parameter is added to its gradient.");

impl Default for Adadelta {
    fn default() -> Self {
        Adadelta::new(1.0)
    }
}

impl Adadelta {
    /// Adadelta with this learning rate.
    pub fn new(rate: f64) -> Self {
        Adadelta { core: Core::new(rate), rule: AdadeltaRule { rho: 0.9, epsilon: 1e-6 } }
    }

    /// With another decay rate of both averages.
    #[must_use]
    pub fn rho(mut self, rho: f64) -> Self {
        self.rule.rho = rho;
        self
    }

    /// With another ε, which also sets the size of the first steps.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.rule.epsilon = epsilon;
        self
    }
}

impl UpdateRule for AdadeltaRule {
    fn kind(&self) -> &'static str {
        "adadelta"
    }

    fn check(&self) -> Result<()> {
        Setting::check("rho", self.rho, (0.0..1.0).contains(&self.rho), "from 0 to below 1")?;
        Ok(Setting::check("epsilon", self.epsilon, self.epsilon > 0.0, "above 0")?)
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        parameter.update(AdadeltaStep {
            rate: step.rate as f32,
            keep: self.rho as f32,
            take: (1.0 - self.rho) as f32,
            epsilon: self.epsilon as f32,
            l2: step.weight_decay as f32,
        })
    }
}

#[derive(Clone, Copy)]
struct AdadeltaStep {
    rate: f32,
    keep: f32,
    take: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for AdadeltaStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v, u]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        *v = self.keep * *v + self.take * g * g;
        let step = (*u + self.epsilon).sqrt() / (*v + self.epsilon).sqrt() * g;
        *u = self.keep * *u + self.take * step * step;
        *p -= self.rate * step;
    }
}
