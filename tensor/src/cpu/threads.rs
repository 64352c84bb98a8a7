//! When work is split over threads, and how.
//!
//! The number of threads is that of rayon's pool: `RAYON_NUM_THREADS` or `rayon::ThreadPoolBuilder` set it, and a caller
//! that runs inside its own pool (`pool.install(…)`) gets that one's. The work is done by the caller and the helpers of
//! [`workers`](super::workers). Two rules keep results the same for any number of threads: what one task computes never depends
//! on how many there are (chunks have fixed sizes), and partial results are combined in chunk order.
//!
//! Waking a second thread costs several microseconds, so small work stays on the caller's thread: [`GRAIN`] is the number
//! of simple operations below which splitting did not pay when measured.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::cpu::workers;
use crate::{Error, Result};

/// Simple element operations per task; work below two tasks is not split.
pub(crate) const GRAIN: usize = 1 << 15;

/// The number of pieces is a multiple of this where units are small enough.
const EVEN: usize = 4;
/// Elements, of any type, that fill whole cache lines.
const LINES: usize = 64;

/// The number of threads that kernels may use here.
pub fn num_threads() -> usize {
    rayon::current_num_threads()
}

/// The first error that any task of a job met.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<Error>>);

impl Failure {
    /// Keeps an error, if it is one.
    pub(crate) fn note(&self, result: Result<()>) {
        if let Err(error) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    pub(crate) fn into_result(self) -> Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}

/// A slice whose pieces are handed to different threads.
pub(crate) struct Pieces<'a, T> {
    start: *mut T,
    len: usize,
    size: usize,
    slice: std::marker::PhantomData<&'a mut [T]>,
}
// SAFETY: it stands for a mutable slice of `T: Send`, and gives out disjoint parts of it.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    pub(crate) fn new(slice: &'a mut [T], size: usize) -> Self {
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
        // SAFETY: no other piece overlaps it.
        unsafe { self.part(start, self.size.min(self.len - start)) }
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// Nobody else holds any of them.
    #[allow(clippy::mut_from_ref)] // as above
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a piece lies outside its slice");
        // SAFETY: within the slice, as just checked, and nobody else's.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// Splits `out` into pieces of `unit` elements, and calls `task` with runs of whole pieces and the number of the first;
/// in parallel where worth it. A piece costs `cost` simple operations. Returns whether any task reported an overflow.
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
    // Pieces that come out even: of 13, one of two threads would do 7.
    let total = out.len().div_ceil(unit);
    let even = total.div_ceil(total.div_ceil(units).next_multiple_of(EVEN));
    // Pieces of single elements begin where cache lines do.
    let units = if even > LINES { even.next_multiple_of(LINES) } else { even };
    let pieces = Pieces::new(out, units * unit);
    let overflow = AtomicBool::new(false);
    workers::run(threads, pieces.count(), &|i| {
        // SAFETY: the pool calls with each number once.
        if task(i * units, unsafe { pieces.get(i) }) {
            overflow.store(true, Relaxed);
        }
    });
    overflow.into_inner()
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
    workers::run(num_threads(), first.count(), &|i| {
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
    workers::run(num_threads(), count, &|i| {
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
    workers::run(num_threads(), count, &|i| {
        // SAFETY: the pool calls with each number once.
        task(i, std::array::from_fn(|k| unsafe { pieces[k].get(i) }));
    });
}

/// `task` with each number below `count`, in parallel.
pub(crate) fn each(count: usize, task: impl Fn(usize) + Sync) {
    workers::run(num_threads(), count, &task);
}

/// Pieces of different lengths: piece `i` is `out[ends[i - 1]..ends[i]]`. `ends` ascend, and the last is `out.len()`.
pub(crate) fn split_at<T: Send>(out: &mut [T], ends: &[usize], task: impl Fn(usize, &mut [T]) + Sync) {
    assert!(ends.is_sorted() && ends.last().is_none_or(|&end| end == out.len()), "ends of pieces");
    let pieces = Pieces::new(out, 1);
    each(ends.len(), |i| {
        let start = if i == 0 { 0 } else { ends[i - 1] };
        // SAFETY: the ends ascend, and the pool calls with each number once.
        task(i, unsafe { pieces.part(start, ends[i] - start) });
    });
}

/// Some columns of a row-major matrix, which one task alone writes.
pub(crate) struct Columns<'a, T> {
    matrix: &'a Pieces<'a, T>,
    first: usize,
    len: usize,
}

impl<T> Columns<'_, T> {
    /// How many columns there are.
    pub(crate) fn width(&self) -> usize {
        self.len
    }

    /// Element `column` of the columns in row `i`.
    #[inline(always)]
    pub(crate) fn at(&mut self, i: usize, column: usize) -> &mut T {
        let place = i * self.matrix.size + self.first + column;
        assert!(column < self.len && place < self.matrix.len, "an element lies outside its columns");
        // SAFETY: within the matrix, as just checked; no other task has these columns, and one element at a time is lent.
        unsafe { &mut *self.matrix.start.add(place) }
    }

    /// The columns' elements in row `i`.
    #[inline(always)]
    pub(crate) fn row(&mut self, i: usize) -> &mut [T] {
        // SAFETY: no other task has these columns, and one row at a time is lent.
        unsafe { self.matrix.part(i * self.matrix.size + self.first, self.len) }
    }
}

/// Cuts a matrix, whose rows have `columns` elements, into blocks of at most `width` columns. `task` is given each with the
/// number of its first column. Returns whether any reported an overflow.
pub(crate) fn split_columns<T: Send>(
    out: &mut [T],
    columns: usize,
    width: usize,
    task: impl Fn(usize, Columns<'_, T>) -> bool + Sync,
) -> bool {
    let matrix = &Pieces::new(out, columns);
    let overflow = AtomicBool::new(false);
    each(columns.div_ceil(width), |i| {
        let first = i * width;
        if task(first, Columns { matrix, first, len: width.min(columns - first) }) {
            overflow.store(true, Relaxed);
        }
    });
    overflow.into_inner()
}
