//! The settings of the family of Adam: the decay rates of two running averages, and ε.

use cairn_tensor::Setting;

use crate::Result;

#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) betas: (f64, f64),
    pub(super) epsilon: f64,
}

impl Default for Moments {
    /// As in Adam.
    fn default() -> Self {
        Moments { betas: (0.9, 0.999), epsilon: 1e-8 }
    }
}

impl Moments {
    pub(super) fn check(&self) -> Result<()> {
        let (a, b) = self.betas;
        Setting::check("the first beta", a, (0.0..1.0).contains(&a), "from 0 to below 1")?;
        Setting::check("the second beta", b, (0.0..1.0).contains(&b), "from 0 to below 1")?;
        Ok(Setting::check("epsilon", self.epsilon, self.epsilon >= 0.0, "not negative")?)
    }

    /// What the averages must be divided by, for having started at 0: 1 - βᵗ of each.
    pub(super) fn corrections(&self, step: u64) -> (f64, f64) {
        // Powers beyond i32 are 0 anyway.
        let power = i32::try_from(step).unwrap_or(i32::MAX);
        (1.0 - self.betas.0.powi(power), 1.0 - self.betas.1.powi(power))
    }
}

/// The builder methods for an update rule with a field `moments`.
macro_rules! moments {
    ($name:ident) => {
        impl $name {
            /// With other decay rates of the two averages.
            #[must_use]
            pub fn betas(mut self, mean: f64, square: f64) -> Self {
                self.rule.moments.betas = (mean, square);
                self
            }

            /// With another ε, which keeps the divisor from 0.
            #[doc(alias = "eps")]
            #[must_use]
            pub fn epsilon(mut self, epsilon: f64) -> Self {
                self.rule.moments.epsilon = epsilon;
                self
            }
        }
    };
}
pub(super) use moments;

/// The two averages of one element, brought up to date with its gradient: m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g².
#[derive(Clone, Copy)]
pub(super) struct Averages {
    mean: f32,
    keep: f32,
    square: f32,
}

impl Averages {
    pub(super) fn new(moments: Moments) -> Self {
        let (a, b) = moments.betas;
        Averages { mean: (1.0 - a) as f32, keep: b as f32, square: (1.0 - b) as f32 }
    }

    #[inline(always)]
    pub(super) fn update(self, g: f32, m: &mut f32, v: &mut f32) {
        *m += self.mean * (g - *m);
        *v = self.keep * *v + self.square * g * g;
    }
}
