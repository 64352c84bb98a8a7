//! One cycle (Smith and Topin 2018).

use super::Schedule;
use super::cosine::half_wave;

/// Up to the optimiser's rate and far down again, once, along half waves: short trainings at high rates. Defaults as in
/// PyTorch: 30 % of the steps upwards, from 1/25 of the rate, down to 1/10,000 of where it began. The optimiser's rate is
/// what PyTorch calls `max_lr`.
#[doc(alias = "OneCycleLR")]
#[derive(Debug, Clone, Copy)]
pub struct OneCycle {
    total: u64,
    upwards: f64,
    start: f64,
    end: f64,
}

impl OneCycle {
    /// A cycle of `total` steps.
    pub fn new(total: u64) -> Self {
        OneCycle { total, upwards: 0.3, start: 1.0 / 25.0, end: 1e-4 }
    }

    /// This share of the steps goes upwards, above 0 and below 1.
    #[must_use]
    pub fn upwards(self, share: f64) -> Self {
        OneCycle { upwards: share, ..self }
    }

    /// Starts at this factor.
    #[must_use]
    pub fn start(self, factor: f64) -> Self {
        OneCycle { start: factor, ..self }
    }

    /// Ends at this factor of the start.
    #[must_use]
    pub fn end(self, of_start: f64) -> Self {
        OneCycle { end: of_start, ..self }
    }
}

impl Schedule for OneCycle {
    fn factor(&self, step: u64) -> f64 {
        // However few the steps, one is at the top.
        let (top, last) = ((self.upwards * self.total as f64 - 1.0).max(0.0), self.total as f64 - 1.0);
        if last < 0.0 {
            return self.start * self.end;
        }
        let step = (step as f64).min(last);
        if step <= top {
            return half_wave(if top > 0.0 { step / top } else { 1.0 }, self.start, 1.0);
        }
        half_wave((step - top) / (last - top), 1.0, self.start * self.end)
    }
}
