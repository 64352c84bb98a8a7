//! LAMB.

use cairn_autograd::Gradient;
use cairn_tensor::{Isa, Rule, Tensor};

use super::common::{Common, Formula, Now, Parameter, optimizer, running};
use super::moments::{Averages, Moments, moments};
use crate::Result;

/// Adam with the step of each layer in proportion to its weights (You et al. 2020), for large batches: with Adam's ratio
/// r = m̂ / (sqrt(v̂) + ε) + decay · p, p ← p - rate · |p| / |r| · r, norms being those of the whole parameter.
///
/// The norm has to be known before the first element moves, so a step is two passes over memory. Of a gradient for some
/// rows, the rows together count as the layer. Defaults: rate 0.001, β 0.9 and 0.999, ε 1e-6, no weight decay.
#[derive(Debug, Clone)]
pub struct Lamb {
    common: Common,
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
        Lamb { common: Common::new(rate), moments: Moments { epsilon: 1e-6, ..Moments::default() } }
    }

    /// A step on whole tensors.
    fn dense(&self, now: Now, p: &mut Tensor, g: &Tensor, [m, v]: [&mut Tensor; 2]) -> Result<()> {
        let (first, second) = self.moments.corrections(now.step);
        let mut ratio = p.clone();
        ratio.update(
            g,
            [m, v],
            Ratio {
                averages: Averages::new(self.moments),
                mean: (1.0 / first) as f32,
                root: (1.0 / second.sqrt()) as f32,
                epsilon: self.moments.epsilon as f32,
                decay: now.decay as f32,
            },
        )?;
        let (weights, step) = (f64::from(p.norm(..)?.item()?), f64::from(ratio.norm(..)?.item()?));
        // Where either is 0 there is no proportion to keep.
        let trust = if weights > 0.0 && step > 0.0 { weights / step } else { 1.0 };
        Ok(p.update(&ratio, [], Descend((now.rate * trust) as f32))?)
    }
}

impl Formula for Lamb {
    const KIND: &'static str = "lamb";

    fn check(&self) -> Result<()> {
        self.moments.check()
    }

    fn apply(&self, parameter: Parameter<'_>, now: Now) -> Result<()> {
        let lazy = parameter.is_lazy();
        let Parameter { value, gradient, states, .. } = parameter;
        let [m, v] = running(states, value, [0.0; 2])?;
        let rows = match gradient {
            Gradient::Dense(gradient) => return self.dense(now, value, gradient, [m, v]),
            Gradient::Rows(rows) if !lazy => return self.dense(now, value, &rows.to_dense()?, [m, v]),
            Gradient::Rows(rows) => rows,
        };
        // The rows are taken out, stepped as a tensor of their own, and put back.
        let (at, whole) = (rows.rows(), [value, m, v]);
        let mut part = Vec::with_capacity(3);
        for tensor in &whole {
            part.push(tensor.index_select(0, at)?);
        }
        if let [p, m, v] = &mut part[..] {
            self.dense(now, p, rows.values(), [m, v])?;
        }
        for (tensor, rows) in whole.into_iter().zip(&part) {
            tensor.update_rows(at, rows, [], Assign)?;
        }
        Ok(())
    }
}

/// Turns the parameter into Adam's ratio for it.
#[derive(Clone, Copy)]
struct Ratio {
    averages: Averages,
    mean: f32,
    root: f32,
    epsilon: f32,
    decay: f32,
}

impl Rule<f32, 2> for Ratio {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [m, v]: [&mut f32; 2]) {
        self.averages.update(g, m, v);
        *p = self.mean * *m / (v.sqrt() * self.root + self.epsilon) + self.decay * *p;
    }
}

#[derive(Clone, Copy)]
struct Descend(f32);

impl Rule<f32, 0> for Descend {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, step: f32, []: [&mut f32; 0]) {
        *p -= self.0 * step;
    }
}

#[derive(Clone, Copy)]
struct Assign;

impl Rule<f32, 0> for Assign {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, new: f32, []: [&mut f32; 0]) {
        *p = new;
    }
}
