//! What rows have got from the blocks of keys so far, each relative to the largest score that it has met (Milakov and Gimelshein 2018), and
//! how a block joins. A block knows nothing of those before it, so that blocks can be computed anywhere; the order in which they join
//! is that of the keys.

use crate::Float;
use crate::cpu::{Isa, Kernel, Vector};

/// Weighted values, largest scores and sums of weights of some rows.
pub(super) struct Running<'a, T> {
    /// Rows of values, padded.
    pub(super) out: &'a mut [T],
    pub(super) greatest: &'a mut [T],
    pub(super) sums: &'a mut [T],
}

impl<T: Float> Running<'_, T> {
    /// As nothing has been met.
    pub(super) fn begin(&mut self) {
        self.out.fill(T::ZERO);
        self.sums.fill(T::ZERO);
        self.greatest.fill(T::NEG_INFINITY);
    }

    pub(super) fn reborrow(&mut self) -> Running<'_, T> {
        Running { out: self.out, greatest: self.greatest, sums: self.sums }
    }

    /// Whether row `r` has met nothing. Of scores that are no numbers none is the largest, but their sum tells.
    fn is_untouched(&self, r: usize) -> bool {
        self.greatest[r] == T::NEG_INFINITY && self.sums[r] == T::ZERO
    }

    /// Whether no row has met anything.
    pub(super) fn is_empty(&self) -> bool {
        (0..self.sums.len()).all(|r| self.is_untouched(r))
    }
}

/// Joins a block to what there is, rows of `row` elements.
pub(super) struct Merge<'a, T> {
    pub(super) block: Running<'a, T>,
    pub(super) into: Running<'a, T>,
    pub(super) row: usize,
}

impl<T: Float> Kernel for Merge<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Merge { block, into, row } = self;
        for r in 0..block.greatest.len() {
            if block.is_untouched(r) {
                continue;
            }
            let fresh = into.is_untouched(r);
            let (new, old) = (block.greatest[r], into.greatest[r]);
            let (from, to) = (&block.out[r * row..][..row], &mut into.out[r * row..][..row]);
            if fresh {
                to.copy_from_slice(from);
                (into.greatest[r], into.sums[r]) = (new, block.sums[r]);
                continue;
            }
            let most = if old > new { old } else { new };
            let (keep, join) = ((old - most).exp_or_zero::<S>(), (new - most).exp_or_zero::<S>());
            (into.greatest[r], into.sums[r]) = (most, into.sums[r] * keep + block.sums[r] * join);
            let (keep, join) = (T::Vector::<S>::splat(keep), T::Vector::<S>::splat(join));
            let (from, to) = (T::Vector::<S>::chunks(from).0, T::Vector::<S>::chunks_mut(to).0);
            for (from, to) in from.iter().zip(to) {
                let kept = T::Vector::<S>::load(to).mul(keep);
                T::Vector::<S>::load(from).mul_add(join, kept).store(to);
            }
        }
    }
}
