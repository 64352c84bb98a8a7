//! Stochastic gradient descent, with momentum.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Gradient descent: p ← p - rate · g; with momentum μ (Polyak 1964) the steps add up in a velocity,
/// v ← μ v + g, p ← p - rate · v, and Nesterov's variant steps by g + μ v. Formulas and defaults are PyTorch's.
///
/// ```
/// use cairn_nn::{Linear, Module, mse};
/// use cairn_optim::{Optimizer, Sgd};
/// use cairn_tensor::{rng, Tensor};
///
/// let model = Linear::new(1, 1, &mut rng(0))?;
/// let mut sgd = Sgd::new(0.1).momentum(0.9);
/// let x = Tensor::linspace(-1.0, 1.0, 20)?.reshape([20, 1])?;
/// let y = x.scale(3.0)?; // to be learnt: y = 3 x
/// for _ in 0..200 {
///     let loss = mse(&model.forward(&x.clone().into())?, &y)?;
///     sgd.step(&model, &loss.backward()?)?;
/// }
/// assert!((model.weight.value().item()? - 3.0).abs() < 1e-3);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sgd {
    core: Core,
    rule: SgdRule,
}

#[derive(Debug, Clone)]
struct SgdRule {
    momentum: f64,
    nesterov: bool,
}

optimizer!(Sgd, "With L2 regularisation: `decay` times the parameter is added to its gradient.");

impl Default for Sgd {
    /// A rate of 0.01, as in Keras.
    fn default() -> Self {
        Sgd::new(0.01)
    }
}

impl Sgd {
    /// Plain gradient descent with this learning rate.
    pub fn new(rate: f64) -> Self {
        Sgd { core: Core::new(rate), rule: SgdRule { momentum: 0.0, nesterov: false } }
    }

    /// With momentum, from 0 (none) to below 1; 0.9 is usual.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// With Nesterov's look-ahead, which needs momentum.
    #[must_use]
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.rule.nesterov = nesterov;
        self
    }
}

impl UpdateRule for SgdRule {
    fn kind(&self) -> &'static str {
        "sgd"
    }

    fn check(&self) -> Result<()> {
        Setting::check(
            "the momentum",
            self.momentum,
            (0.0..1.0).contains(&self.momentum),
            "from 0 to below 1",
        )?;
        let possible = !self.nesterov || self.momentum > 0.0;
        Ok(Setting::check("the momentum", self.momentum, possible, "above 0 for Nesterov's variant")?)
    }

    fn leaves_at_zero(&self, weight_decay: f64) -> bool {
        self.momentum == 0.0 && weight_decay == 0.0
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let plain = Plain { rate: step.rate as f32, decay: step.weight_decay as f32 };
        if self.momentum == 0.0 {
            return parameter.update(plain);
        }
        parameter.update(Momentum { plain, momentum: self.momentum as f32, nesterov: self.nesterov })
    }
}

#[derive(Clone, Copy)]
struct Plain {
    rate: f32,
    decay: f32,
}

impl Rule<f32, 0> for Plain {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, []: [&mut f32; 0]) {
        *p -= self.rate * (g + self.decay * *p);
    }
}

#[derive(Clone, Copy)]
struct Momentum {
    plain: Plain,
    momentum: f32,
    nesterov: bool,
}

impl Rule<f32, 1> for Momentum {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v]: [&mut f32; 1]) {
        let g = g + self.plain.decay * *p;
        *v = self.momentum * *v + g;
        let step = if self.nesterov { g + self.momentum * *v } else { *v };
        *p -= self.plain.rate * step;
    }
}
