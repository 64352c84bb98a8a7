//! Rows of heads, wherever they lie, gathered into blocks that are aligned, padded to whole registers, and in the case of keys
//! transposed, so that a register holds the same element of neighbouring keys.

use super::scores::Row;
use super::{Job, KEYS, PAD, Strided};
use crate::Float;
use crate::cpu::fetch;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, Vector, dispatch};

/// Rows from one that is turned to the one called for.
const AHEAD: isize = 2 * TILE as isize;

/// Elements of a row in a block.
pub(super) fn padded(size: usize) -> usize {
    size.next_multiple_of(PAD)
}

/// Cuts the next `len` elements off a scratch buffer; what follows begins at a cache line again.
pub(super) fn carve<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (part, after) = std::mem::take(rest).split_at_mut(padded(len));
    *rest = after;
    &mut part[..len]
}

/// One row of `size` elements from the first on, times `factor`, and zeros up to the end of `out`.
#[inline(always)]
pub(super) fn row<S: Isa, T: Float>(
    from: &Strided<'_, T>,
    index: [usize; 4],
    size: usize,
    factor: T,
    out: &mut [T],
) {
    let (start, step) = (from.at(index), from.strides[3]);
    let (out, rest) = out.split_at_mut(size);
    if step == 1 {
        // The same row of the next head, which mostly is the next unit of work.
        fetch::lines(from.data, start + size, size);
        let from = &from.data[start..][..size];
        scaled::<S, T>(from, factor, out);
    } else {
        for (d, out) in out.iter_mut().enumerate() {
            *out = from.data[start.wrapping_add_signed(d as isize * step)] * factor;
        }
    }
    rest.fill(T::ZERO);
}

/// `out = from · factor`; rows are too short for what a call of the platform's copy costs.
#[inline(always)]
pub(super) fn scaled<S: Isa, T: Float>(from: &[T], factor: T, out: &mut [T]) {
    let by = T::Vector::<S>::splat(factor);
    let ((from, from_rest), (out, out_rest)) =
        (T::Vector::<S>::chunks(from), T::Vector::<S>::chunks_mut(out));
    for (from, out) in from.iter().zip(out) {
        T::Vector::<S>::load(from).mul(by).store(out);
    }
    for (&from, out) in from_rest.iter().zip(out_rest) {
        *out = from * factor;
    }
}

/// The rows of some queries, scaled and padded.
pub(super) struct Queries<'a, T> {
    pub(super) job: &'a Job<'a, T>,
    pub(super) sequence: usize,
    pub(super) rows: &'a [Row],
    pub(super) out: &'a mut [T],
}

impl<T: Float> Kernel for Queries<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (job, size) = (self.job, self.job.sizes.size);
        let scale = T::from_f64(job.rules.scale);
        for (of, out) in self.rows.iter().zip(self.out.chunks_exact_mut(padded(size))) {
            row::<S, T>(&job.q, [self.sequence, of.query, of.head, 0], size, scale, out);
        }
    }
}

/// A block of keys or values of one sequence and head.
pub(super) struct Place {
    pub(super) sequence: usize,
    pub(super) head: usize,
    pub(super) block: usize,
}

impl Place {
    /// The block's first key.
    pub(super) fn first(&self) -> usize {
        self.block * KEYS
    }

    /// How many keys of the sequence are in the block.
    pub(super) fn count<T>(&self, job: &Job<'_, T>) -> usize {
        job.key_length(self.sequence).saturating_sub(self.first()).min(KEYS)
    }
}

/// The rows of a block, padded, as many as there are keys: `[KEYS, padded(size)]`.
pub(super) fn block<T: Float>(
    job: &Job<'_, T>,
    from: &Strided<'_, T>,
    size: usize,
    place: &Place,
    out: &mut [T],
) {
    struct Rows<'a, T> {
        from: &'a Strided<'a, T>,
        size: usize,
        place: &'a Place,
        out: &'a mut [T],
    }
    impl<T: Float> Kernel for Rows<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            let Place { sequence, head, .. } = *self.place;
            for (i, out) in self.out.chunks_exact_mut(padded(self.size)).enumerate() {
                let index = [sequence, self.place.first() + i, head, 0];
                row::<S, T>(self.from, index, self.size, T::ONE, out);
            }
        }
    }
    let out = &mut out[..place.count(job) * padded(size)];
    dispatch(Rows { from, size, place, out });
}

/// Whether all elements, whole registers, are finite numbers.
pub(super) fn is_finite<T: Float>(packed: &[T]) -> bool {
    struct IsFinite<'a, T>(&'a [T]);
    impl<T: Float> Kernel for IsFinite<'_, T> {
        type Output = bool;
        #[inline(always)]
        fn run<S: Isa>(self) -> bool {
            // 0 times what is finite is 0, and else no number, which stays in the sum.
            let zero = T::Vector::<S>::splat(T::ZERO);
            let add = |sum, x| T::Vector::<S>::load(x).mul_add(zero, sum);
            T::Vector::<S>::chunks(self.0).0.iter().fold(zero, add).sum() == T::ZERO
        }
    }
    dispatch(IsFinite(packed))
}

/// A block of keys or values across, `[padded(size), KEYS]`, and zeros for keys that there are not up to the next whole register. Whole
/// tiles are turned from where they lie, others by way of `rows`, at least [`TILE`] padded rows.
pub(super) fn across<T: Float>(
    job: &Job<'_, T>,
    from: &Strided<'_, T>,
    size: usize,
    place: &Place,
    rows: &mut [T],
    out: &mut [T],
) {
    let count = place.count(job);
    dispatch(Across { from, size, place, count, rows, out });
}

struct Across<'a, T> {
    from: &'a Strided<'a, T>,
    size: usize,
    place: &'a Place,
    count: usize,
    rows: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Float> Kernel for Across<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Across { from, size, place, count, rows, out } = self;
        let Place { sequence, head, .. } = *place;
        let (width, whole) = (padded(size), from.strides[3] == 1 && size.is_multiple_of(TILE));
        for key in (0..count).step_by(TILE) {
            let index = |i: usize| [sequence, place.first() + key + i, head, 0];
            let (data, start, step) = if whole && key + TILE <= count {
                (from.data, from.at(index(0)), from.strides[1])
            } else {
                for (i, out) in rows[..TILE * width].chunks_exact_mut(width).enumerate() {
                    if key + i < count {
                        row::<S, T>(from, index(i), size, T::ONE, out);
                    } else {
                        out.fill(T::ZERO);
                    }
                }
                (&*rows, 0, width as isize)
            };
            for d in (0..width).step_by(TILE) {
                // A tile's lines lie too far apart for the processor to see them coming.
                transpose::fetch(data, start.wrapping_add_signed(AHEAD * step) + d, step);
                transpose::tile::<S, T>(data, start + d, step, &mut out[d * KEYS + key..], KEYS);
            }
        }
    }
}
