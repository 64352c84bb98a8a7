//! What the machine can do: floating-point operations per second, and bytes per second of a plain parallel copy.
//!
//! The peak is that of the arithmetic units alone, as every report of a training measures it. Of a copy, too, the best of many runs is
//! kept: other programs only ever make one slower.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use cairn_optim::report::peak as measure;

/// Pairs of places in memory that a copy is timed between.
const PLACES: usize = 4;

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
