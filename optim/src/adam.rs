//! Adam and AdamW.

use cairn_autograd::Gradients;
use cairn_nn::Module;
use cairn_tensor::{Isa, Rule};

use crate::error::check;
use crate::optimizer::Slots;
use crate::{Optimizer, Result};

/// Adam (Kingma and Ba 2015): each parameter steps by its mean gradient over the root of its mean squared gradient,
/// both running averages, corrected for starting at 0.
///
/// m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²,
/// p ← p - rate · (m / (1 - β₁ᵗ)) / (sqrt(v / (1 - β₂ᵗ)) + ε).
///
/// Defaults as in PyTorch: rate 0.001, β 0.9 and 0.999, ε 1e-8 (Keras's ε is 1e-7).
///
/// ```
/// use cairn_nn::{Linear, cross_entropy};
/// use cairn_optim::{Adam, Optimizer};
/// use cairn_tensor::{rng, Tensor};
/// let mut model = Linear::new(4, 3, &mut rng(0))?;
/// let mut adam = Adam::new(0.01);
/// let (x, labels) = (Tensor::eye(4)?, Tensor::from_vec(vec![0, 1, 2, 0], [4])?);
/// for _ in 0..100 {
///     let loss = cross_entropy(&model.forward(&x.clone().into())?, &labels)?;
///     adam.step(&mut model, &loss.backward()?)?;
/// }
/// assert_eq!(model.forward(&x.into())?.value().argmax(-1)?, labels);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adam {
    rate: f64,
    betas: (f64, f64),
    epsilon: f64,
    /// Added to the gradient (Adam), or taken off the parameter directly (AdamW).
    weight_decay: f64,
    decoupled: bool,
    steps: u64,
    moments: Slots<2>,
}

impl Default for Adam {
    fn default() -> Self {
        Adam::new(1e-3)
    }
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(rate: f64) -> Self {
        Adam {
            rate,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            steps: 0,
            moments: Slots::default(),
        }
    }

    /// With other decay rates of the two averages.
    #[must_use]
    pub fn betas(self, mean: f64, square: f64) -> Self {
        Adam { betas: (mean, square), ..self }
    }

    /// With another ε, which keeps the divisor from 0.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        Adam { epsilon, ..self }
    }

    /// With L2 regularisation: `decay` times the parameter is added to its gradient. For decay that does not go through
    /// the averages see [`AdamW`].
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Adam { weight_decay, ..self }
    }

    fn check(&self) -> Result<()> {
        let (rate, (a, b)) = (self.rate, self.betas);
        check("the learning rate", rate, rate >= 0.0 && rate.is_finite(), "finite and not negative")?;
        check("the first beta", a, (0.0..1.0).contains(&a), "from 0 to below 1")?;
        check("the second beta", b, (0.0..1.0).contains(&b), "from 0 to below 1")?;
        check("epsilon", self.epsilon, self.epsilon >= 0.0, "not negative")?;
        check("the weight decay", self.weight_decay, self.weight_decay >= 0.0, "not negative")
    }

    fn rule(&self, step: u64) -> AdamRule {
        let (a, b) = self.betas;
        // Constants of a step are computed in f64; powers beyond i32 are 0 anyway.
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        let (first, second) = (1.0 - a.powi(power), 1.0 - b.powi(power));
        AdamRule {
            step: (self.rate / first) as f32,
            root: (1.0 / second.sqrt()) as f32,
            epsilon: self.epsilon as f32,
            mean: (1.0 - a) as f32,
            keep: b as f32,
            square: (1.0 - b) as f32,
            l2: if self.decoupled { 0.0 } else { self.weight_decay as f32 },
            shrink: if self.decoupled { (1.0 - self.rate * self.weight_decay) as f32 } else { 1.0 },
        }
    }
}

impl Optimizer for Adam {
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        self.check()?;
        let rule = self.rule(self.steps + 1);
        self.moments.step(model, gradients, rule)?;
        self.steps += 1;
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.rate = rate;
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019): parameters shrink by rate · decay in each step,
/// apart from the averages. Weight decay is 0.01 by default, as in PyTorch.
#[derive(Debug, Clone)]
pub struct AdamW(Adam);

impl Default for AdamW {
    fn default() -> Self {
        AdamW::new(1e-3)
    }
}

impl AdamW {
    /// AdamW with this learning rate.
    pub fn new(rate: f64) -> Self {
        AdamW(Adam { decoupled: true, weight_decay: 0.01, ..Adam::new(rate) })
    }

    /// With other decay rates of the two averages.
    #[must_use]
    pub fn betas(self, mean: f64, square: f64) -> Self {
        AdamW(self.0.betas(mean, square))
    }

    /// With another ε.
    #[must_use]
    pub fn epsilon(self, epsilon: f64) -> Self {
        AdamW(self.0.epsilon(epsilon))
    }

    /// With another weight decay.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        AdamW(self.0.weight_decay(weight_decay))
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, model: &mut dyn Module, gradients: &Gradients) -> Result<()> {
        self.0.step(model, gradients)
    }

    fn learning_rate(&self) -> f64 {
        self.0.rate
    }

    fn set_learning_rate(&mut self, rate: f64) {
        self.0.rate = rate;
    }
}

#[derive(Clone, Copy)]
struct AdamRule {
    step: f32,
    root: f32,
    epsilon: f32,
    mean: f32,
    keep: f32,
    square: f32,
    l2: f32,
    shrink: f32,
}

impl Rule<f32, 2> for AdamRule {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        *m += self.mean * (g - *m);
        *v = self.keep * *v + self.square * g * g;
        *p = self.shrink * *p - self.step * *m / (v.sqrt() * self.root + self.epsilon);
    }
}
