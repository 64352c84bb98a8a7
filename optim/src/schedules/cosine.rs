//! Half waves of the cosine (Loshchilov and Hutter 2017), once or again and again.

use std::f64::consts::PI;

use super::{Schedule, progress};

/// From 1 down to a floor along half a wave, then the floor. (PyTorch's `CosineAnnealingLR` climbs again after its last
/// step; until there both are the same.)
#[doc(alias = "CosineAnnealingLR")]
#[doc(alias = "CosineDecay")]
#[derive(Debug, Clone, Copy)]
pub struct Cosine {
    total: u64,
    floor: f64,
}

impl Cosine {
    /// Down to 0 over `total` steps.
    pub fn new(total: u64) -> Self {
        Cosine { total, floor: 0.0 }
    }

    /// Down to this factor instead.
    #[doc(alias = "eta_min")]
    #[must_use]
    pub fn floor(self, floor: f64) -> Self {
        Cosine { floor, ..self }
    }
}

impl Schedule for Cosine {
    fn factor(&self, step: u64) -> f64 {
        half_wave(progress(step, self.total), 1.0, self.floor)
    }
}

/// Half waves that start anew, each longer than the one before by a factor.
#[doc(alias = "CosineAnnealingWarmRestarts")]
#[doc(alias = "SGDR")]
#[derive(Debug, Clone, Copy)]
pub struct CosineRestarts {
    first: u64,
    longer: u64,
    floor: f64,
}

impl CosineRestarts {
    /// Waves of `first` steps each, down to 0.
    pub fn new(first: u64) -> Self {
        CosineRestarts { first, longer: 1, floor: 0.0 }
    }

    /// Each wave is `factor` times as long as the one before.
    #[must_use]
    pub fn longer(self, factor: u64) -> Self {
        CosineRestarts { longer: factor, ..self }
    }

    /// Down to this factor instead.
    #[doc(alias = "eta_min")]
    #[must_use]
    pub fn floor(self, floor: f64) -> Self {
        CosineRestarts { floor, ..self }
    }
}

impl Schedule for CosineRestarts {
    fn factor(&self, step: u64) -> f64 {
        let (mut length, mut at) = (self.first.max(1), step);
        if self.longer <= 1 {
            at %= length;
        }
        // Lengths grow at least twofold, so this takes at most 64 rounds.
        while at >= length {
            at -= length;
            length = length.saturating_mul(self.longer);
        }
        half_wave(progress(at, length), 1.0, self.floor)
    }
}

/// From one value to another along half a wave, `share` of the way from 0 to 1.
pub(super) fn half_wave(share: f64, from: f64, to: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}
