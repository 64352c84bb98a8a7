//! Adamax.

use cairn_tensor::{Isa, Rule};

use super::common::{Common, Formula, Now, Parameter, optimizer};
use super::moments::{Moments, moments};
use crate::Result;

/// Adam with the largest gradient of late in place of the root of the mean square (Kingma and Ba 2015, section 7):
/// u ← max(β₂ u, |g| + ε), p ← p - rate / (1 - β₁ᵗ) · m / u.
///
/// Defaults as in PyTorch: rate 0.002, β 0.9 and 0.999, ε 1e-8.
#[derive(Debug, Clone)]
pub struct Adamax {
    common: Common,
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
        Adamax { common: Common::new(rate), moments: Moments::default() }
    }
}

impl Formula for Adamax {
    const KIND: &'static str = "adamax";

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: Parameter<'_>, now: Now) -> Result<()> {
        let (mean, keep) = self.moments.betas;
        parameter.update(AdamaxRule {
            rate: (now.rate / self.moments.corrections(now.step).0) as f32,
            mean: (1.0 - mean) as f32,
            keep: keep as f32,
            epsilon: self.moments.epsilon as f32,
            l2: now.decay as f32,
        })
    }
}

#[derive(Clone, Copy)]
struct AdamaxRule {
    rate: f32,
    mean: f32,
    keep: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for AdamaxRule {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, u]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        *m += self.mean * (g - *m);
        let (old, new) = (self.keep * *u, g.abs() + self.epsilon);
        *u = if old > new { old } else { new };
        *p -= self.rate * *m / *u;
    }
}
