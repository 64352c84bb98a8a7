//! The machine's peak: the best rate of a large f32 matrix product.
//!
//! 1024 x 1024 x 1024 is large enough that packing and threads cost little and small enough that the machine's clock and
//! its neighbours do not change within one product; the best of many is kept.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cairn_tensor::{Tensor, rng};

const SIZE: usize = 1024;
const LEAST_RUNS: usize = 10;
const LEAST_TIME: Duration = Duration::from_millis(1000);

/// The best product.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// How long it took.
    pub seconds: f64,
    /// Two operations for each of `1024^3` steps, by that time.
    pub flops_per_second: f64,
}

/// Multiplies for a second or so and keeps the best time.
///
/// # Errors
/// None in practice: the shapes are right.
pub fn measure() -> anyhow::Result<Peak> {
    let mut rng = rng(0);
    let a = Tensor::<f32>::uniform([SIZE, SIZE], -1.0, 1.0, &mut rng)?;
    let b = Tensor::<f32>::uniform([SIZE, SIZE], -1.0, 1.0, &mut rng)?;
    let (begun, mut runs, mut seconds) = (Instant::now(), 0, f64::INFINITY);
    while runs < LEAST_RUNS || begun.elapsed() < LEAST_TIME {
        let started = Instant::now();
        black_box(black_box(&a).matmul(black_box(&b))?);
        seconds = seconds.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(Peak { seconds, flops_per_second: 2.0 * (SIZE as f64).powi(3) / seconds })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_a_rate_of_this_planet() {
        let peak = super::measure().unwrap();
        assert!(peak.seconds > 0.0);
        assert!((1e8..1e15).contains(&peak.flops_per_second), "{peak:?}");
    }
}
