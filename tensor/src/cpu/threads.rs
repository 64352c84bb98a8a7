//! When work is split over threads, and how.
//!
//! Threads are rayon's global pool: `RAYON_NUM_THREADS` or `rayon::ThreadPoolBuilder` set their number, and a caller
//! that runs inside its own pool (`pool.install(…)`) is served by that one. Two rules keep results the same for any
//! number of threads: what one task computes never depends on how many there are (chunks have fixed sizes), and partial
//! results are combined in chunk order.
//!
//! Waking a second thread costs several microseconds, so small work stays on the caller's thread: [`GRAIN`] is the number
//! of simple operations below which splitting did not pay when measured.

use rayon::prelude::*;

/// Simple element operations per task; work below two tasks is not split.
pub(crate) const GRAIN: usize = 1 << 15;

/// The number of threads that kernels may use here.
pub fn num_threads() -> usize {
    rayon::current_num_threads()
}

/// Splits `out` into pieces of `unit` elements, and calls `task` with runs of whole pieces and the number of the first;
/// in parallel where worth it. A piece costs `cost` simple operations. Returns whether any task reported a fault.
pub(crate) fn split_units<T: Send>(
    out: &mut [T],
    unit: usize,
    cost: usize,
    task: impl Fn(usize, &mut [T]) -> bool + Sync,
) -> bool {
    if out.is_empty() || unit == 0 {
        return false;
    }
    let units = (GRAIN / cost.max(1)).max(1);
    if out.len() <= units * unit || num_threads() == 1 {
        return task(0, out);
    }
    // `|` without short-circuit: every task runs, whatever the others found.
    out.par_chunks_mut(units * unit)
        .enumerate()
        .map(|(i, piece)| task(i * units, piece))
        .reduce(|| false, |a, b| a | b)
}
