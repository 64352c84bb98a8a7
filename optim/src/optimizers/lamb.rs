//! LAMB.

use cairn_autograd::Gradient;
use cairn_tensor::{Isa, Rule, SummingRule};

use super::core::{Core, optimizer};
use super::moments::{Averages, Moments, moments};
use super::rule::{ParameterUpdate, StepContext, UpdateRule, running};
use crate::Result;

/// Adam with the step of each layer in proportion to its weights (You et al. 2020), for large batches: with Adam's ratio
/// r = m̂ / (sqrt(v̂) + ε) + decay · p, p ← p - rate · |p| / |r| · r, norms being those of the whole parameter.
///
/// The norms have to be known before the first element moves, so a step is two passes over memory, the fewest there can be:
/// one brings the moments up to date and sums the squares, the next computes the ratios again and moves the weights. Of a
/// gradient for some rows, the rows together count as the layer. Defaults: rate 0.001, β 0.9 and 0.999, ε 1e-6, no weight
/// decay.
#[derive(Debug, Clone)]
pub struct Lamb {
    core: Core,
    rule: LambRule,
}

#[derive(Debug, Clone)]
struct LambRule {
    moments: Moments,
}

optimizer!(
    Lamb,
    "With weight decay: `decay` times the parameter is added to the ratio, before the norm is taken."
);
moments!(Lamb);

impl Default for Lamb {
    fn default() -> Self {
        Lamb::new(1e-3)
    }
}

impl Lamb {
    /// LAMB with this learning rate.
    pub fn new(rate: f64) -> Self {
        let moments = Moments { epsilon: 1e-6, ..Moments::default() };
        Lamb { core: Core::new(rate), rule: LambRule { moments } }
    }
}

impl LambRule {
    fn ratio(&self, step: StepContext) -> Ratio {
        let (first, second) = self.moments.corrections(step.number);
        Ratio {
            mean: (1.0 / first) as f32,
            root: (1.0 / second.sqrt()) as f32,
            epsilon: self.moments.epsilon as f32,
            decay: step.weight_decay as f32,
        }
    }
}

impl UpdateRule for LambRule {
    fn kind(&self) -> &'static str {
        "lamb"
    }

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    /// The norms are those of whole parameters.
    fn is_elementwise(&self) -> bool {
        false
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let ParameterUpdate { value: p, gradient, states, lazy } = parameter;
        let [m, v] = running(states, p, [0.0; 2])?;
        let ratio = self.ratio(step);
        let measure = Measure { averages: Averages::new(self.moments), ratio };
        let descend = |norms| Descend { ratio, rate: (step.rate * trust(norms)) as f32 };
        let whole;
        let gradient = match gradient {
            Gradient::Dense(gradient) => gradient,
            Gradient::Rows(rows) if !lazy => {
                whole = rows.to_dense()?;
                &whole
            }
            Gradient::Rows(rows) => {
                let (at, g) = (rows.rows(), rows.values());
                let norms = p.update_rows_summing(at, g, [m, v], measure)?;
                return Ok(p.update_rows(at, g, [m, v], descend(norms))?);
            }
        };
        let norms = p.update_summing(gradient, [m, v], measure)?;
        Ok(p.update(gradient, [m, v], descend(norms))?)
    }
}

/// What a step is in proportion to, of the squared norms of weights and ratio.
fn trust([weights, ratio]: [f64; 2]) -> f64 {
    // Where either is 0 there is no proportion to keep.
    if weights > 0.0 && ratio > 0.0 { (weights / ratio).sqrt() } else { 1.0 }
}

/// Adam's ratio of one element, with the decay.
#[derive(Clone, Copy)]
struct Ratio {
    mean: f32,
    root: f32,
    epsilon: f32,
    decay: f32,
}

impl Ratio {
    #[inline(always)]
    fn of(self, p: f32, m: f32, v: f32) -> f32 {
        self.mean * m / (v.sqrt() * self.root + self.epsilon) + self.decay * p
    }
}

/// The first pass: brings the moments up to date, and sums the squares of weights and ratios.
#[derive(Clone, Copy)]
struct Measure {
    averages: Averages,
    ratio: Ratio,
}

impl SummingRule<f32, 2, 2> for Measure {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) -> [f32; 2] {
        self.averages.update(g, m, v);
        let ratio = self.ratio.of(*p, *m, *v);
        [*p * *p, ratio * ratio]
    }
}

/// The second: computes the ratios again, which is cheaper than to keep them, and moves the weights.
#[derive(Clone, Copy)]
struct Descend {
    ratio: Ratio,
    rate: f32,
}

impl Rule<f32, 2> for Descend {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, _: f32, [m, v]: [&mut f32; 2]) {
        *p -= self.rate * self.ratio.of(*p, *m, *v);
    }
}
