//! Adam and AdamW.

use cairn_tensor::{Isa, Rule};

use super::core::{Core, optimizer};
use super::moments::{Averages, Moments, moments};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Adam (Kingma and Ba 2015): each parameter steps by its mean gradient over the root of its mean squared gradient,
/// both running averages, corrected for starting at 0.
///
/// m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g²,
/// p ← p - rate · (m / (1 - β₁ᵗ)) / (sqrt(v / (1 - β₂ᵗ)) + ε).
///
/// Defaults as in PyTorch: rate 0.001, β 0.9 and 0.999, ε 1e-8 (Keras's ε is 1e-7).
///
/// All rows of an embedding move in every step, by their moments, as in PyTorch and Keras; with [`lazy(true)`](Self::lazy) just
/// those that were looked up, which is much faster for a large table.
///
/// ```
/// use cairn_nn::{Linear, cross_entropy};
/// use cairn_optim::{Adam, Optimizer};
/// use cairn_tensor::{rng, Tensor};
/// let model = Linear::new(4, 3, &mut rng(0))?;
/// let mut adam = Adam::new(0.01);
/// let (x, labels) = (Tensor::eye(4)?, Tensor::from_vec(vec![0, 1, 2, 0], [4])?);
/// for _ in 0..100 {
///     let loss = cross_entropy(&model.forward(&x.clone().into())?, &labels)?;
///     adam.step(&model, &loss.backward()?)?;
/// }
/// assert_eq!(model.forward(&x.into())?.value().argmax(-1)?, labels);
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adam {
    core: Core,
    rule: AdamRule,
}

#[derive(Debug, Clone)]
struct AdamRule {
    moments: Moments,
}

optimizer!(
    Adam,
    "With L2 regularisation: `decay` times the parameter is added to its gradient. For decay that does not go through the averages see [`AdamW`]."
);
moments!(Adam);

impl Default for Adam {
    fn default() -> Self {
        Adam::new(1e-3)
    }
}

impl Adam {
    /// Adam with this learning rate.
    pub fn new(rate: f64) -> Self {
        Adam { core: Core::new(rate), rule: AdamRule { moments: Moments::default() } }
    }
}

impl UpdateRule for AdamRule {
    fn kind(&self) -> &'static str {
        "adam"
    }

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        parameter.update(AdamStep { l2: step.weight_decay as f32, ..AdamStep::new(self.moments, step) })
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019): parameters shrink by rate · decay in each step,
/// separately from the averages. Weight decay is 0.01 by default, as in PyTorch.
#[derive(Debug, Clone)]
pub struct AdamW {
    core: Core,
    rule: AdamWRule,
}

#[derive(Debug, Clone)]
struct AdamWRule {
    moments: Moments,
}

optimizer!(AdamW, "With another weight decay.");
moments!(AdamW);

impl Default for AdamW {
    fn default() -> Self {
        AdamW::new(1e-3)
    }
}

impl AdamW {
    /// AdamW with this learning rate.
    pub fn new(rate: f64) -> Self {
        AdamW { core: Core::new(rate), rule: AdamWRule { moments: Moments::default() } }.weight_decay(0.01)
    }
}

impl UpdateRule for AdamWRule {
    fn kind(&self) -> &'static str {
        "adamw"
    }

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let shrink = (1.0 - step.rate * step.weight_decay) as f32;
        parameter.update(AdamStep { shrink, ..AdamStep::new(self.moments, step) })
    }
}

/// Adam's step of one element.
#[derive(Clone, Copy)]
struct AdamStep {
    averages: Averages,
    step: f32,
    root: f32,
    epsilon: f32,
    l2: f32,
    shrink: f32,
}

impl AdamStep {
    /// Without weight decay. Constants of a step are computed in f64.
    fn new(moments: Moments, context: StepContext) -> Self {
        let (first, second) = moments.corrections(context.number);
        AdamStep {
            averages: Averages::new(moments),
            step: (context.rate / first) as f32,
            root: (1.0 / second.sqrt()) as f32,
            epsilon: moments.epsilon as f32,
            l2: 0.0,
            shrink: 1.0,
        }
    }
}

impl Rule<f32, 2> for AdamStep {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        let g = g + self.l2 * *p;
        self.averages.update(g, m, v);
        *p = self.shrink * *p - self.step * *m / (v.sqrt() * self.root + self.epsilon);
    }
}
