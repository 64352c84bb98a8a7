//! When work is split over threads, and how.
//!
//! The number of threads is that of rayon's pool: `RAYON_NUM_THREADS` or `rayon::ThreadPoolBuilder` set it, and a caller
//! that runs inside its own pool (`pool.install(…)`) gets that one's. The work is done by the caller and the helpers of
//! [`pool`](super::pool). Two rules keep results the same for any number of threads: what one task computes never depends
//! on how many there are (chunks have fixed sizes), and partial results are combined in chunk order.
//!
//! Waking a second thread costs several microseconds, so small work stays on the caller's thread: [`GRAIN`] is the number
//! of simple operations below which splitting did not pay when measured.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::cpu::pool;

/// Simple element operations per task; work below two tasks is not split.
pub(crate) const GRAIN: usize = 1 << 15;

/// The number of threads that kernels may use here.
pub fn num_threads() -> usize {
    rayon::current_num_threads()
}

/// A slice whose pieces are handed to different threads.
struct Pieces<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}
// SAFETY: it stands for a mutable slice of `T: Send`, and gives out disjoint parts of it.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    fn new(slice: &'a mut [T], size: usize) -> Self {
        Pieces { start: slice.as_mut_ptr(), len: slice.len(), size, slice: std::marker::PhantomData }
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.size.max(1))
    }

    /// Piece `i`, of `size` elements but for the last; empty beyond the end.
    ///
    /// # Safety
    /// Each piece may be asked for only once.
    #[allow(clippy::mut_from_ref)] // the pieces are disjoint
    unsafe fn get(&self, i: usize) -> &'a mut [T] {
        let start = (i * self.size).min(self.len);
        let len = self.size.min(self.len - start);
        // SAFETY: the range lies within the slice, and no other piece overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
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
    if out.len() <= units * unit {
        return task(0, out);
    }
    let threads = num_threads();
    if threads == 1 {
        return task(0, out);
    }
    let pieces = Pieces::new(out, units * unit);
    let fault = AtomicBool::new(false);
    pool::run(threads, pieces.count(), &|i| {
        // SAFETY: the pool calls with each number once.
        if task(i * units, unsafe { pieces.get(i) }) {
            fault.store(true, Relaxed);
        }
    });
    fault.into_inner()
}

/// Several slices cut in step: pieces of `sizes.0` elements of the first and `sizes.1` of each of the others. `task` is
/// given the number of the piece.
pub(crate) fn split_together<T: Send, const N: usize>(
    first: &mut [T],
    rest: [&mut [T]; N],
    sizes: (usize, usize),
    task: impl Fn(usize, &mut [T], [&mut [T]; N]) + Sync,
) {
    let first = Pieces::new(first, sizes.0);
    let rest = rest.map(|slice| Pieces::new(slice, sizes.1));
    pool::run(num_threads(), first.count(), &|i| {
        // SAFETY: the pool calls with each number once.
        let rest = std::array::from_fn(|k| unsafe { rest[k].get(i) });
        // SAFETY: as above.
        task(i, unsafe { first.get(i) }, rest);
    });
}

/// Two slices of different types cut in step, in `count` pieces of `sizes`, some of which may be empty.
pub(crate) fn split_two<A: Send, B: Send>(
    first: &mut [A],
    second: &mut [B],
    sizes: (usize, usize),
    count: usize,
    task: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let (first, second) = (Pieces::new(first, sizes.0), Pieces::new(second, sizes.1));
    pool::run(num_threads(), count, &|i| {
        // SAFETY: the pool calls with each number once.
        task(i, unsafe { first.get(i) }, unsafe { second.get(i) });
    });
}

/// Slices cut in step, in `count` pieces of `sizes`, some of which may be empty. `task` is given the number of the piece.
pub(crate) fn split_all<T: Send, const N: usize>(
    slices: [&mut [T]; N],
    sizes: [usize; N],
    count: usize,
    task: impl Fn(usize, [&mut [T]; N]) + Sync,
) {
    let mut sizes = sizes.into_iter();
    let pieces = slices.map(|slice| Pieces::new(slice, sizes.next().unwrap_or(0)));
    pool::run(num_threads(), count, &|i| {
        // SAFETY: the pool calls with each number once.
        task(i, std::array::from_fn(|k| unsafe { pieces[k].get(i) }));
    });
}

/// `task` with each number below `count`, in parallel.
pub(crate) fn each(count: usize, task: impl Fn(usize) + Sync) {
    pool::run(num_threads(), count, &task);
}
