//! Stochastic gradient descent, with momentum.

use cairn_autograd::Gradients;
use cairn_nn::Module;
use cairn_tensor::{Isa, Rule};

use crate::error::check;
use crate::optimizer::Slots;
use crate::{Optimizer, Result};

/// Gradient descent: p ← p - rate · g; with momentum μ (Polyak 1964) the steps add up in a velocity,
/// v ← μ v + g, p ← p - rate · v, and Nesterov's variant steps by g + μ v. Formulas and defaults are PyTorch's.
///
/// ```
/// use cairn_nn::{Linear, Module, mse};
/// use cairn_optim::{Optimizer, Sgd};
/// use cairn_tensor::{rng, Tensor};
///
/// let mut model = Linear::new(1, 1, &mut rng(0))?;
/// let mut sgd = Sgd::new(0.1).momentum(0.9);
/// let x = Tensor::linspace(-1.0, 1.0, 20)?.reshape([20, 1])?;
/// let y = x.scale(3.0)?; // to be learnt: y = 3 x
/// for _ in 0..200 {
///     let loss = mse(&model.forward(&x.clone().into())?, &y)?;
///     sgd.step(&mut model, &loss.backward()?)?;
/// }
/// assert!((model.weight.item()? - 3.0).abs() < 1e-3);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sgd {
    rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    velocities: Slots<1>,
    nothing: Slots<0>,
}

impl Default for Sgd {
    /// A rate of 0.01, as in Keras.
    fn default() -> Self {
        Sgd::new(0.01)
    }
}

impl Sgd {
    /// Plain gradient descent with this learning rate.
    pub fn new(rate: f64) -> Self {
        Sgd {
            rate,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            velocities: Slots::default(),
            nothing: Slots::default(),
        }
    }

    /// With momentum, from 0 (none) to below 1; 0.9 is usual.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Sgd { momentum, ..self }
    }

    /// With Nesterov's look-ahead, which needs momentum.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> Self {
        Sgd { nesterov, ..self }
    }

    /// With L2 regularisation: `decay` times the parameter is added to its gradient.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Sgd { weight_decay, ..self }
    }

    fn check(&self) -> Result<()> {
        let rate = self.rate;
        check("the learning rate", rate, rate >= 0.0 && rate.is_finite(), "finite and not negative")?;
        check("the momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "from 0 to below 1")?;
        check("the weight decay", self.weight_decay, self.weight_decay >= 0.0, "not negative")?;
        check(
            "the momentum",
            self.momentum,
            !self.nesterov || self.momentum > 0.0,
            "above 0 for Nesterov's variant",
        )
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        self.check()?;
        let plain = Plain { rate: self.rate as f32, decay: self.weight_decay as f32 };
        if self.momentum == 0.0 {
            return self.nothing.step(model, gradients, plain);
        }
        let rule = Momentum { plain, momentum: self.momentum as f32, nesterov: self.nesterov };
        self.velocities.step(model, gradients, rule)
    }

    fn learning_rate(&self) -> f64 {
        self.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate;
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
