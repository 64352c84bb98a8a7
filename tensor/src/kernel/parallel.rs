//! Work shared by the caller and helper threads, as many in all as rayon's pool has.
//!
//! A task that splits work itself, or comes while another thread's work is under way, runs alone on its thread. A panic of
//! a task reaches the caller.

use crate::cpu::threads;

/// Calls `task` with each number below `count` once, in parallel and in no order.
pub fn for_each(count: usize, task: impl Fn(usize) + Sync) {
    threads::each(count, task);
}

/// What `task` returns for each number below `count`, in order; computed in parallel.
///
/// ```
/// use cairn_tensor::kernel;
/// let x: Vec<f64> = (0..100_000).map(f64::from).collect();
/// let parts = kernel::map(x.len().div_ceil(1000), |i| x[1000 * i..].iter().take(1000).sum::<f64>());
/// let total: f64 = parts.iter().sum(); // in order: the same bits for any number of threads
/// assert_eq!(total, 4_999_950_000.0);
/// ```
pub fn map<R: Send>(count: usize, task: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(count, || None);
    for_each_chunk(&mut results, 1, |i, slot| slot[0] = Some(task(i)));
    // Each number was called once, or a panic has left this function.
    results.into_iter().flatten().collect()
}

/// Cuts a slice into chunks of `len` elements, the last of which may be shorter, and calls `task` with the number of each
/// and the chunk, in parallel. With a `len` of 0 there are no chunks.
///
/// ```
/// use cairn_tensor::kernel;
/// let mut x = [0; 10];
/// kernel::for_each_chunk(&mut x, 4, |i, chunk| chunk.fill(i));
/// assert_eq!(x, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
/// ```
pub fn for_each_chunk<T: Send>(out: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    if len > 0 {
        threads::split_together(out, [], (len, 0), |i, chunk, []| task(i, chunk));
    }
}

/// Cuts a slice where `ends` say: part `i` is `out[ends[i - 1]..ends[i]]`. Calls `task` with the number of each part and
/// the part, in parallel.
///
/// # Panics
/// When `ends` do not ascend to the slice's length.
pub fn for_each_part<T: Send>(out: &mut [T], ends: &[usize], task: impl Fn(usize, &mut [T]) + Sync) {
    threads::split_at(out, ends, task);
}

/// Cuts a slice into runs of whole units of `unit` elements, and calls `task` with the number of a run's first unit and the
/// run; in parallel where that pays, for units that cost about `cost` additions each.
///
/// How many units are in a run depends on the number of threads: what is computed for a unit must not depend on the run.
///
/// ```
/// use cairn_tensor::kernel;
/// let mut table = vec![0; 3 * 5]; // 5 rows of 3
/// kernel::for_each_run(&mut table, 3, 3, |first, rows| {
///     for (row, out) in (first..).zip(rows.chunks_exact_mut(3)) {
///         out.fill(row);
///     }
/// });
/// assert_eq!(table[12..], [4, 4, 4]);
/// ```
pub fn for_each_run<T: Send>(out: &mut [T], unit: usize, cost: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    threads::split_units(out, unit, cost, |first, run| {
        task(first, run);
        false
    });
}
