//! What the processors are capable of.
//!
//! The peak is that of the arithmetic units alone: a loop of independent fused multiply-adds on values that stay in registers, on
//! all threads at once, compiled for the machine's instruction set as every kernel is (it is written as an optimiser's [`Rule`], the
//! one kernel that callers can bring themselves). A matrix product has to load, pack and store besides, so it stays below. The best
//! of many runs is kept: other programs only ever make one slower.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cairn_tensor::{Isa, Rule, Tensor, Vector};

use crate::Result;

const LEAST_RUNS: usize = 10;
const LEAST_TIME: Duration = Duration::from_millis(200);

/// Elements, for each of which the loop runs once: a few pieces of work for many threads.
const ELEMENTS: usize = 1 << 17;
/// Registers of multiply-adds that do not wait for each other: latency times units, with some to spare.
const CHAINS: usize = 12;
/// Multiply-adds in each chain.
const STEPS: usize = 32;

/// The best run of the loop.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// How long it took.
    pub seconds: f64,
    /// A multiply-add counted as two operations.
    pub flops_per_second: f64,
}

/// Multiply-adds on registers; leaves the number of operations behind.
#[derive(Clone, Copy)]
struct Chains;
impl Rule<f32, 0> for Chains {
    #[inline(always)]
    fn update<S: Isa>(self, parameter: &mut f32, gradient: f32, _: [&mut f32; 0]) {
        let (half, one) = (S::F32::splat(0.5), S::F32::splat(gradient));
        let mut chains = [half; CHAINS];
        for _ in 0..STEPS {
            for chain in &mut chains {
                // Converges to twice the gradient from anywhere: no denormals, no infinities.
                *chain = chain.mul_add(half, one);
            }
        }
        black_box(chains);
        *parameter = (2 * CHAINS * STEPS * S::F32::LANES) as f32;
    }
}

/// Measures the floating-point operations a second, of single precision, that all threads together are capable of; takes a fifth of
/// a second.
///
/// # Errors
/// When memory cannot hold a megabyte.
pub fn peak() -> Result<Peak> {
    let mut out = Tensor::<f32>::zeros([ELEMENTS])?;
    let x = Tensor::<f32>::ones([ELEMENTS])?;
    out.update(black_box(&x), [], Chains)?;
    let (begun, mut runs, mut seconds) = (Instant::now(), 0, f64::INFINITY);
    while runs < LEAST_RUNS || begun.elapsed() < LEAST_TIME {
        let started = Instant::now();
        out.update(black_box(&x), [], Chains)?;
        seconds = seconds.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    let flops = out.to_vec().into_iter().map(f64::from).sum::<f64>();
    Ok(Peak { seconds, flops_per_second: flops / seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_between_a_tenth_of_and_a_million_gigaflops() {
        let peak = peak().unwrap();
        assert!((1e8..1e15).contains(&peak.flops_per_second), "{peak:?}");
    }
}
