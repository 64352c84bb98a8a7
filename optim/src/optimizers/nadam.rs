//! NAdam.

use cairn_tensor::{Isa, Rule};

use super::common::{Common, Formula, Now, Parameter, optimizer};
use super::moments::{Averages, Moments, moments};
use crate::Result;
use crate::error::check;

/// Adam with Nesterov's look-ahead (Dozat 2016): the step is by the mean gradient of the *next* step, as far as it is
/// known. The weight of the past grows over the first steps, μₜ = β₁ (1 - 0.96^(t ψ) / 2) with the momentum decay ψ.
///
/// Defaults as in PyTorch: rate 0.002, β 0.9 and 0.999, ε 1e-8, ψ 0.004.
#[derive(Debug, Clone)]
pub struct NAdam {
    common: Common,
    moments: Moments,
    momentum_decay: f64,
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
        NAdam { common: Common::new(rate), moments: Moments::default(), momentum_decay: 4e-3 }
    }

    /// With another momentum decay ψ; 0 keeps the weight of the past at β₁ / 2.
    #[must_use]
    pub fn momentum_decay(self, momentum_decay: f64) -> Self {
        NAdam { momentum_decay, ..self }
    }

    /// The weight of the past in a step.
    fn momentum(&self, step: u64) -> f64 {
        self.moments.betas.0 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }
}

impl Formula for NAdam {
    const KIND: &'static str = "nadam";

    fn check(&self) -> Result<()> {
        check("the momentum decay", self.momentum_decay, self.momentum_decay >= 0.0, "not negative")?;
        self.moments.check()
    }

    fn apply(&self, parameter: Parameter<'_>, now: Now) -> Result<()> {
        let (mu, next) = (self.momentum(now.step), self.momentum(now.step + 1));
        let product = now.product * mu;
        parameter.update(NAdamRule {
            averages: Averages::new(self.moments),
            of_gradient: (now.rate * (1.0 - mu) / (1.0 - product)) as f32,
            of_mean: (now.rate * next / (1.0 - product * next)) as f32,
            root: (1.0 / self.moments.corrections(now.step).1.sqrt()) as f32,
            epsilon: self.moments.epsilon as f32,
            l2: now.decay as f32,
        })
    }

    /// The product of the weights of all steps.
    fn carry(&self, now: Now) -> f64 {
        now.product * self.momentum(now.step)
    }
}

#[derive(Clone, Copy)]
struct NAdamRule {
    averages: Averages,
    of_gradient: f32,
    of_mean: f32,
    root: f32,
    epsilon: f32,
    l2: f32,
}

impl Rule<f32, 2> for NAdamRule {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        self.averages.update(g, m, v);
        *p -= (self.of_gradient * g + self.of_mean * *m) / (v.sqrt() * self.root + self.epsilon);
    }
}
