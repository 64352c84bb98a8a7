//! What the machine can do: floating-point operations per second, and bytes per second of a plain parallel copy.
//!
//! The peak is that of the arithmetic units alone: a loop of independent fused multiply-adds on values that stay in
//! registers, on all threads at once, compiled for the machine's instruction set as every kernel is (it is written as an
//! optimiser's [`Rule`], the one kernel that callers can bring themselves). A matrix product has to load, pack and store
//! besides, so it stays below. The best of many runs is kept: other programs only ever make one slower.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cairn_tensor::{Isa, Rule, Tensor, Vector};

const LEAST_RUNS: usize = 10;
const LEAST_TIME: Duration = Duration::from_millis(500);

/// Pairs of places in memory that a copy is timed between.
const PLACES: usize = 4;

/// Elements, for each of which the loop runs once: a few pieces of work for many threads.
const ELEMENTS: usize = 1 << 18;
/// Registers of multiply-adds that do not wait for each other: latency times units, with some to spare.
const CHAINS: usize = 12;
/// Multiply-adds in each chain.
const STEPS: usize = 32;

/// The best run of the peak loop.
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

/// Runs the peak loop for half a second or so and keeps the best time.
///
/// # Errors
/// None in practice: the shapes are right.
pub fn measure() -> anyhow::Result<Peak> {
    let mut out = Tensor::<f32>::zeros([ELEMENTS])?;
    let x = Tensor::<f32>::ones([ELEMENTS])?;
    let seconds = best(LEAST_TIME, || Ok(out.update(black_box(&x), [], Chains)?))?;
    let flops = out.to_vec().into_iter().map(f64::from).sum::<f64>();
    Ok(Peak { seconds, flops_per_second: flops / seconds })
}

/// The least seconds of the runs that fit into `time`, after one that does not count.
///
/// # Errors
/// The first error of `f`.
pub(super) fn best(time: Duration, mut f: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    f()?;
    let (begun, mut runs, mut seconds) = (Instant::now(), 0, f64::INFINITY);
    while runs < LEAST_RUNS || begun.elapsed() < time {
        let started = Instant::now();
        f()?;
        seconds = seconds.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(seconds)
}

/// Bytes per second, read and written counted, of copying memory on all threads at once: each thread copies a part of its
/// own, all starting together; the best of many runs. `bytes` is what one copy moves in all, so that it lies in the same
/// level of cache as an operation that moves as much. How fast a copy is depends on where its memory lies, by up to a quarter,
/// so several places are tried.
pub fn copy_rate(bytes: usize) -> f64 {
    let threads = cairn_tensor::num_threads();
    let part = (bytes / 2 / size_of::<f32>() / threads).max(1);
    // Threads meet by turning round and round: being woken takes longer than many a copy.
    let (arrived, round) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let meet = || {
        let now = round.load(Ordering::Acquire);
        if arrived.fetch_add(1, Ordering::AcqRel) + 1 == threads {
            arrived.store(0, Ordering::Relaxed);
            round.fetch_add(1, Ordering::Release);
        } else {
            let mut turns = 0u32;
            while round.load(Ordering::Acquire) == now {
                turns += 1;
                if turns < 10_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        }
    };
    let copies = (200_000_000 / bytes.max(1)).clamp(20, 2_000) / PLACES;
    let one_thread = || {
        let mut seconds = f64::INFINITY;
        let mut kept = Vec::new();
        for place in 0..PLACES {
            // Memory that is not given back is not handed out again, and an odd size moves what comes after it.
            let (from, mut to) = (vec![1.0f32; part + 16 * place], vec![0.0f32; part]);
            for _ in 0..copies {
                meet();
                let started = Instant::now();
                to.copy_from_slice(black_box(&from[..part]));
                black_box(&mut to);
                meet();
                seconds = seconds.min(started.elapsed().as_secs_f64());
            }
            kept.push((from, to));
        }
        seconds
    };
    let seconds = std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(one_thread);
        }
        one_thread()
    });
    (2 * part * size_of::<f32>() * threads) as f64 / seconds
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rates_are_of_this_planet() {
        let peak = super::measure().unwrap();
        assert!(peak.seconds > 0.0);
        assert!((1e8..1e15).contains(&peak.flops_per_second), "{peak:?}");
        let rate = super::copy_rate(1 << 20);
        assert!((1e7..1e14).contains(&rate), "{rate}");
    }
}
