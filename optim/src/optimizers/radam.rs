//! RAdam.

use cairn_tensor::{Isa, Rule};

use super::core::{Core, optimizer};
use super::moments::{Averages, Moments, moments};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Rectified Adam (Liu et al. 2020): while the average of squares rests on few gradients its variance is large, so the
/// first steps go by the mean gradient alone, and later ones are scaled by how far the variance has come down.
///
/// Defaults as in PyTorch: rate 0.001, β 0.9 and 0.999, ε 1e-8.
#[derive(Debug, Clone)]
pub struct RAdam {
    core: Core,
    rule: RAdamRule,
}

#[derive(Debug, Clone)]
struct RAdamRule {
    moments: Moments,
}

optimizer!(RAdam, "With L2 regularisation: `decay` times the parameter is added to its gradient.");
moments!(RAdam);

impl Default for RAdam {
    fn default() -> Self {
        RAdam::new(1e-3)
    }
}

impl RAdam {
    /// RAdam with this learning rate.
    pub fn new(rate: f64) -> Self {
        RAdam { core: Core::new(rate), rule: RAdamRule { moments: Moments::default() } }
    }
}

impl RAdamRule {
    /// The factor that makes up for the variance, `None` while it cannot be bounded. `correction` is 1 - β₂ᵗ.
    fn rectification(&self, step: u64, correction: f64) -> Option<f64> {
        // The length of the average: at most, and by now.
        let most = 2.0 / (1.0 - self.moments.betas.1) - 1.0;
        let length = most - 2.0 * step as f64 * (1.0 - correction) / correction;
        (length > 5.0)
            .then(|| ((length - 4.0) * (length - 2.0) * most / ((most - 4.0) * (most - 2.0) * length)).sqrt())
    }
}

impl UpdateRule for RAdamRule {
    fn kind(&self) -> &'static str {
        "radam"
    }

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let (first, second) = self.moments.corrections(step.number);
        let (averages, l2) = (Averages::new(self.moments), step.weight_decay as f32);
        let rate = step.rate / first;
        match self.rectification(step.number, second) {
            None => parameter.update(ByMean { averages, rate: rate as f32, l2 }),
            Some(factor) => {
                let rate = (rate * factor * second.sqrt()) as f32;
                parameter.update(ByRatio { averages, rate, epsilon: self.moments.epsilon as f32, l2 })
            }
        }
    }
}

#[derive(Clone, Copy)]
struct ByMean {
    averages: Averages,
    rate: f32,
    l2: f32,
}

impl Rule<f32, 2> for ByMean {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        self.averages.update(g, m, v);
        *p -= self.rate * *m;
    }
}

#[derive(Clone, Copy)]
struct ByRatio {
    averages: Averages,
    rate: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for ByRatio {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        self.averages.update(g, m, v);
        *p -= self.rate * *m / (v.sqrt() + self.epsilon);
    }
}
