//! Adagrad.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Steps by the gradient over the root of the sum of its squares so far (Duchi et al. 2011):
/// s ← s + g², p ← p - rate / (1 + (t - 1) · rate decay) · g / (sqrt(s) + ε).
///
/// What was seen rarely keeps a large step, so it suits sparse features: without weight decay rows that were not looked up stay as they are.
/// Defaults as in PyTorch: rate 0.01, no rate decay, sums that start at 0, ε 1e-10.
#[derive(Debug, Clone)]
pub struct Adagrad {
    core: Core,
    rule: AdagradRule,
}

#[derive(Debug, Clone)]
struct AdagradRule {
    rate_decay: f64,
    initial_accumulator: f64,
    epsilon: f64,
}

optimizer!(Adagrad, "With L2 regularisation: `decay` times the parameter is added to its gradient.");

impl Default for Adagrad {
    fn default() -> Self {
        Adagrad::new(1e-2)
    }
}

impl Adagrad {
    /// Adagrad with this learning rate.
    pub fn new(rate: f64) -> Self {
        let rule = AdagradRule { rate_decay: 0.0, initial_accumulator: 0.0, epsilon: 1e-10 };
        Adagrad { core: Core::new(rate), rule }
    }

    /// Divides the rate by 1 + decay · (steps made).
    #[must_use]
    pub fn rate_decay(mut self, rate_decay: f64) -> Self {
        self.rule.rate_decay = rate_decay;
        self
    }

    /// Starts the sums at this value.
    #[must_use]
    pub fn initial_accumulator(mut self, initial_accumulator: f64) -> Self {
        self.rule.initial_accumulator = initial_accumulator;
        self
    }

    /// With another ε, which keeps the divisor from 0.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.rule.epsilon = epsilon;
        self
    }
}

impl UpdateRule for AdagradRule {
    fn kind(&self) -> &'static str {
        "adagrad"
    }

    fn check(&self) -> Result<()> {
        let initial = self.initial_accumulator;
        Setting::check("the rate decay", self.rate_decay, self.rate_decay >= 0.0, "not negative")?;
        Setting::check("the initial accumulator", initial, initial >= 0.0, "not negative")?;
        Ok(Setting::check("epsilon", self.epsilon, self.epsilon >= 0.0, "not negative")?)
    }

    fn leaves_at_zero(&self, weight_decay: f64) -> bool {
        weight_decay == 0.0
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let rate = step.rate / (1.0 + (step.number - 1) as f64 * self.rate_decay);
        let rule =
            AdagradStep { rate: rate as f32, epsilon: self.epsilon as f32, l2: step.weight_decay as f32 };
        parameter.update_from([self.initial_accumulator as f32], rule)
    }
}

#[derive(Clone, Copy)]
struct AdagradStep {
    rate: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 1> for AdagradStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [sum]: [&mut f32; 1]) {
        let g = g + self.l2 * *p;
        *sum += g * g;
        *p -= self.rate * g / (sum.sqrt() + self.epsilon);
    }
}
