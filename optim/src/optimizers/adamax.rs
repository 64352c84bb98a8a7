//! Adamax.

use cairn_tensor::{Isa, Rule};

use super::core::{Core, optimizer};
use super::moments::{Moments, moments};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Adam with the largest gradient of late in place of the root of the mean square (Kingma and Ba 2015, section 7):
/// u ← max(β₂ u, |g| + ε), p ← p - rate / (1 - β₁ᵗ) · m / u.
///
/// Defaults as in PyTorch: rate 0.002, β 0.9 and 0.999, ε 1e-8.
#[derive(Debug, Clone)]
pub struct Adamax {
    core: Core,
    rule: AdamaxRule,
}

#[derive(Debug, Clone)]
struct AdamaxRule {
    moments: Moments,
}

optimizer!(Adamax, "With L2 regularisation: `decay` times the parameter is added to its gradient.");
moments!(Adamax);

impl Default for Adamax {
    fn default() -> Self {
        Adamax::new(2e-3)
    }
}

impl Adamax {
    /// Adamax with this learning rate.
    pub fn new(rate: f64) -> Self {
        Adamax { core: Core::new(rate), rule: AdamaxRule { moments: Moments::default() } }
    }
}

impl UpdateRule for AdamaxRule {
    fn kind(&self) -> &'static str {
        "adamax"
    }

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let (mean, keep) = self.moments.betas;
        parameter.update(AdamaxStep {
            rate: (step.rate / self.moments.corrections(step.number).0) as f32,
            mean: (1.0 - mean) as f32,
            keep: keep as f32,
            epsilon: self.moments.epsilon as f32,
            l2: step.weight_decay as f32,
        })
    }
}

#[derive(Clone, Copy)]
struct AdamaxStep {
    rate: f32,
    mean: f32,
    keep: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for AdamaxStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, u]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        *m += self.mean * (g - *m);
        let (old, new) = (self.keep * *u, g.abs() + self.epsilon);
        *u = if old > new { old } else { new };
        *p -= self.rate * *m / *u;
    }
}
