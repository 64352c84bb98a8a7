//! Lion.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Steps by the sign of an average of gradients (Chen et al. 2023): every element moves by the rate, up or down.
/// p ← p - rate · (sign(β₁ m + (1 - β₁) g) + decay · p), m ← β₂ m + (1 - β₂) g. One running value instead of Adam's two.
///
/// Defaults as in the paper: rate 0.0001, β 0.9 and 0.99. The rate should be a third to a tenth of Adam's.
#[derive(Debug, Clone)]
pub struct Lion {
    core: Core,
    rule: LionRule,
}

#[derive(Debug, Clone)]
struct LionRule {
    betas: (f64, f64),
}

optimizer!(Lion, "With decoupled weight decay: parameters shrink by rate · decay in each step.");

impl Default for Lion {
    fn default() -> Self {
        Lion::new(1e-4)
    }
}

impl Lion {
    /// Lion with this learning rate.
    pub fn new(rate: f64) -> Self {
        Lion { core: Core::new(rate), rule: LionRule { betas: (0.9, 0.99) } }
    }

    /// With other weights of the past: in the step, and in the running average.
    #[must_use]
    pub fn betas(mut self, step: f64, mean: f64) -> Self {
        self.rule.betas = (step, mean);
        self
    }
}

impl UpdateRule for LionRule {
    fn kind(&self) -> &'static str {
        "lion"
    }

    fn check(&self) -> Result<()> {
        let (a, b) = self.betas;
        Setting::check("the first beta", a, (0.0..1.0).contains(&a), "from 0 to below 1")?;
        Ok(Setting::check("the second beta", b, (0.0..1.0).contains(&b), "from 0 to below 1")?)
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        parameter.update(LionStep {
            rate: step.rate as f32,
            shrink: (1.0 - step.rate * step.weight_decay) as f32,
            betas: (self.betas.0 as f32, self.betas.1 as f32),
            rest: ((1.0 - self.betas.0) as f32, (1.0 - self.betas.1) as f32),
        })
    }
}

#[derive(Clone, Copy)]
struct LionStep {
    rate: f32,
    shrink: f32,
    betas: (f32, f32),
    rest: (f32, f32),
}

impl Rule<f32, 1> for LionStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m]: [&mut f32; 1]) {
        let direction = self.betas.0 * *m + self.rest.0 * g;
        let sign = if direction > 0.0 { 1.0 } else { 0.0 } - if direction < 0.0 { 1.0 } else { 0.0 };
        *p = self.shrink * *p - self.rate * sign;
        *m = self.betas.1 * *m + self.rest.1 * g;
    }
}
