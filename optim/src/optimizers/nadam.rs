//! NAdam.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::moments::{Averages, Moments, moments};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::{Result, StateDict};

/// The name of the product in a saved state.
const PRODUCT: &str = "momentum_product";

/// Adam with Nesterov's look-ahead (Dozat 2016): the step is by the mean gradient of the *next* step, as far as it is
/// known. The weight of the past grows over the first steps, μₜ = β₁ (1 - 0.96^(t ψ) / 2) with the momentum decay ψ.
///
/// Defaults as in PyTorch: rate 0.002, β 0.9 and 0.999, ε 1e-8, ψ 0.004.
#[derive(Debug, Clone)]
pub struct NAdam {
    core: Core,
    rule: NAdamRule,
}

#[derive(Debug, Clone)]
struct NAdamRule {
    moments: Moments,
    momentum_decay: f64,
    /// Π μₜ over the steps made: what the mean gradient must be corrected by for having started at 0. The weights differ from
    /// step to step, so it is no power of β₁ and has to be kept.
    momentum_product: f64,
}

optimizer!(NAdam, "With L2 regularisation: `decay` times the parameter is added to its gradient.");
moments!(NAdam);

impl Default for NAdam {
    fn default() -> Self {
        NAdam::new(2e-3)
    }
}

impl NAdam {
    /// NAdam with this learning rate.
    pub fn new(rate: f64) -> Self {
        let rule = NAdamRule { moments: Moments::default(), momentum_decay: 4e-3, momentum_product: 1.0 };
        NAdam { core: Core::new(rate), rule }
    }

    /// With another momentum decay ψ; 0 keeps the weight of the past at β₁ / 2.
    #[must_use]
    pub fn momentum_decay(mut self, momentum_decay: f64) -> Self {
        self.rule.momentum_decay = momentum_decay;
        self
    }
}

impl NAdamRule {
    /// The weight of the past in a step.
    fn momentum(&self, step: u64) -> f64 {
        self.moments.betas.0 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }
}

impl UpdateRule for NAdamRule {
    fn kind(&self) -> &'static str {
        "nadam"
    }

    fn check(&self) -> Result<()> {
        Setting::check(
            "the momentum decay",
            self.momentum_decay,
            self.momentum_decay >= 0.0,
            "not negative",
        )?;
        self.moments.check()
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let (mu, next) = (self.momentum(step.number), self.momentum(step.number + 1));
        let product = self.momentum_product * mu;
        parameter.update(NAdamStep {
            averages: Averages::new(self.moments),
            of_gradient: (step.rate * (1.0 - mu) / (1.0 - product)) as f32,
            of_mean: (step.rate * next / (1.0 - product * next)) as f32,
            root: (1.0 / self.moments.corrections(step.number).1.sqrt()) as f32,
            epsilon: self.moments.epsilon as f32,
            l2: step.weight_decay as f32,
        })
    }

    fn advance(&mut self, step: u64) {
        self.momentum_product *= self.momentum(step);
    }

    fn reset(&mut self) {
        self.momentum_product = 1.0;
    }

    fn settings(&self) -> String {
        // The product is none.
        format!("{:?}", NAdamRule { momentum_product: 1.0, ..self.clone() })
    }

    fn save(&self, state: &mut StateDict) {
        state.numbers.insert(PRODUCT.to_owned(), self.momentum_product);
    }

    fn load(&mut self, state: &StateDict) -> Result<()> {
        self.momentum_product = state.number(PRODUCT)?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct NAdamStep {
    averages: Averages,
    of_gradient: f32,
    of_mean: f32,
    root: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for NAdamStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        self.averages.update(g, m, v);
        *p -= (self.of_gradient * g + self.of_mean * *m) / (v.sqrt() * self.root + self.epsilon);
    }
}
