//! RMSprop.

use cairn_tensor::{Isa, Rule, Setting};

use super::core::{Core, optimizer};
use super::rule::{ParameterUpdate, StepContext, UpdateRule};
use crate::Result;

/// Steps by the gradient over the root of its running mean square (Hinton 2012):
/// v ← α v + (1 - α) g², p ← p - rate · g / (sqrt(v) + ε).
///
/// Centred (Graves 2013), the mean's square is taken off v, which leaves the variance; with momentum the steps add up.
/// Defaults as in PyTorch: rate 0.01, α 0.99, ε 1e-8.
#[derive(Debug, Clone)]
pub struct RmsProp {
    core: Core,
    rule: RmsPropRule,
}

#[derive(Debug, Clone)]
struct RmsPropRule {
    alpha: f64,
    epsilon: f64,
    momentum: f64,
    centered: bool,
}

optimizer!(RmsProp, "With L2 regularisation: `decay` times the parameter is added to its gradient.");

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp::new(1e-2)
    }
}

impl RmsProp {
    /// RMSprop with this learning rate.
    pub fn new(rate: f64) -> Self {
        let rule = RmsPropRule { alpha: 0.99, epsilon: 1e-8, momentum: 0.0, centered: false };
        RmsProp { core: Core::new(rate), rule }
    }

    /// With another decay rate of the mean square.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.rule.alpha = alpha;
        self
    }

    /// With another ε, which keeps the divisor from 0.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.rule.epsilon = epsilon;
        self
    }

    /// With momentum, from 0 (none) to below 1.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.rule.momentum = momentum;
        self
    }

    /// Divides by the root of the variance instead.
    #[must_use]
    pub fn centered(mut self, centered: bool) -> Self {
        self.rule.centered = centered;
        self
    }
}

impl UpdateRule for RmsPropRule {
    fn kind(&self) -> &'static str {
        "rmsprop"
    }

    fn check(&self) -> Result<()> {
        Setting::check("alpha", self.alpha, (0.0..1.0).contains(&self.alpha), "from 0 to below 1")?;
        Setting::check("epsilon", self.epsilon, self.epsilon >= 0.0, "not negative")?;
        Ok(Setting::check(
            "the momentum",
            self.momentum,
            (0.0..1.0).contains(&self.momentum),
            "from 0 to below 1",
        )?)
    }

    fn apply(&self, parameter: ParameterUpdate<'_>, step: StepContext) -> Result<()> {
        let base = Base {
            rate: step.rate as f32,
            keep: self.alpha as f32,
            take: (1.0 - self.alpha) as f32,
            epsilon: self.epsilon as f32,
            l2: step.weight_decay as f32,
        };
        let momentum = self.momentum as f32;
        // As many running values as the variant needs.
        match (self.centered, self.momentum > 0.0) {
            (false, false) => parameter.update(base),
            (true, false) => parameter.update(Centred(base)),
            (false, true) => parameter.update(WithMomentum { base, momentum }),
            (true, true) => parameter.update(CentredWithMomentum { base, momentum }),
        }
    }
}

#[derive(Clone, Copy)]
struct Base {
    rate: f32,
    keep: f32,
    take: f32,
    epsilon: f32,
    l2: f32,
}

impl Base {
    /// The gradient over the root of its mean square, or of its variance if there is a running mean.
    #[inline(always)]
    fn ratio(self, p: f32, g: f32, v: &mut f32, mean: Option<&mut f32>) -> f32 {
        let g = g + self.l2 * p;
        *v = self.keep * *v + self.take * g * g;
        let spread = match mean {
            None => *v,
            Some(mean) => {
                *mean += self.take * (g - *mean);
                *v - *mean * *mean
            }
        };
        g / (spread.sqrt() + self.epsilon)
    }
}

impl Rule<f32, 1> for Base {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v]: [&mut f32; 1]) {
        *p -= self.rate * self.ratio(*p, g, v, None);
    }
}

#[derive(Clone, Copy)]
struct Centred(Base);

impl Rule<f32, 2> for Centred {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v, mean]: [&mut f32; 2]) {
        *p -= self.0.rate * self.0.ratio(*p, g, v, Some(mean));
    }
}

#[derive(Clone, Copy)]
struct WithMomentum {
    base: Base,
    momentum: f32,
}

impl Rule<f32, 2> for WithMomentum {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v, velocity]: [&mut f32; 2]) {
        *velocity = self.momentum * *velocity + self.base.ratio(*p, g, v, None);
        *p -= self.base.rate * *velocity;
    }
}

#[derive(Clone, Copy)]
struct CentredWithMomentum {
    base: Base,
    momentum: f32,
}

impl Rule<f32, 3> for CentredWithMomentum {
    #[inline(always)]
    fn update<S: Isa>(self, p: &mut f32, g: f32, [v, mean, velocity]: [&mut f32; 3]) {
        *velocity = self.momentum * *velocity + self.base.ratio(*p, g, v, Some(mean));
        *p -= self.base.rate * *velocity;
    }
}
