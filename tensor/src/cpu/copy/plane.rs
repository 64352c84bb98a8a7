//! Copies of transposed views: read or write, one side steps far for each element.
//!
//! They are done in square tiles: a tile is read along the storage's dense axis into registers, and written from there along
//! the output's. Every cache line on either side is so touched once, which matters most when steps are powers of two and the
//! lines of a column fall into one set of the cache.
//!
//! What remains slow is writing one line here and one there, nine times as slow as in runs of eight lines (measured; the
//! processor fetches a line before it is written to, and fetches ahead only along runs). So where rows of the output are
//! long, tiles are written side by side into a block that stays in the first-level cache, and its rows go out as runs.

use super::{at, middle, prefix};
use crate::Element;
use crate::cpu::nest::Nest;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::layout::Layout;

/// Rows of the output that a thread takes at once: four lines of the storage are then read one after the other.
const STRIP: usize = 4 * TILE;

/// Columns of a block. With STRIP rows of four-byte elements it takes 36 KB, padding included.
const RUN: usize = 8 * TILE;

/// Distance between rows of a block: rows a power of two apart would fall into one set of the cache.
const PADDED: usize = RUN + TILE;

/// The last axis and the earlier one with the smallest step: the plane in which tiles are transposed.
pub(super) struct Plane {
    /// The axis that is densest in storage.
    dense: usize,
    /// Storage step and length of the last axis.
    step: isize,
    len: usize,
    /// Distance in `out` between neighbours along `dense`.
    out_step: usize,
}

impl Plane {
    /// `None` when no axis has step 1, so that tiles would not help.
    pub(super) fn of(view: &Layout) -> Option<Self> {
        let last = view.shape.rank() - 1;
        let dense = (0..last).rev().find(|&axis| view.strides[axis] == 1 && view.shape[axis] > 1)?;
        Some(Plane {
            dense,
            step: view.strides[last],
            len: view.shape[last],
            out_step: view.shape[dense + 1..].iter().product(),
        })
    }

    pub(super) fn gather<T: Element>(&self, storage: &[T], view: &Layout, out: &mut [T]) {
        let rows = view.shape[self.dense];
        // One slab of `out` for each combination of axes before `dense`.
        let slab = rows * self.out_step;
        let before = Nest::new([&prefix(view, self.dense)]);
        let between = Nest::new([&middle(view, self.dense)]);
        let strips = rows.div_ceil(STRIP);
        // Units of one strip of up to STRIP rows would differ in length at the end of a slab, so split by slab, and
        // by strip only when there is one slab.
        if out.len() == slab {
            let [offset] = before.rows_from(0).advance();
            threads::split_units(out, STRIP * self.out_step, STRIP * self.out_step, |first, out| {
                for (s, out) in out.chunks_mut(STRIP * self.out_step).enumerate() {
                    self.strip(
                        storage,
                        &between,
                        offset + (first + s) * STRIP,
                        out.len() / self.out_step,
                        out,
                    );
                }
                false
            });
        } else {
            threads::split_units(out, slab, slab, |first, out| {
                for (i, out) in out.chunks_exact_mut(slab).enumerate() {
                    let offset = at(&before, first + i);
                    for s in 0..strips {
                        let count = STRIP.min(rows - s * STRIP);
                        let out = &mut out[s * STRIP * self.out_step..][..count * self.out_step];
                        self.strip(storage, &between, offset + s * STRIP, count, out);
                    }
                }
                false
            });
        }
    }

    /// Fills `count` rows along `dense`, at most [`STRIP`], whose first elements stand at `offset`.
    fn strip<T: Element>(
        &self,
        storage: &[T],
        between: &Nest<1>,
        offset: usize,
        count: usize,
        out: &mut [T],
    ) {
        for middle in 0..self.out_step / self.len {
            let start = offset.wrapping_add(at(between, middle));
            let out = &mut out[middle * self.len..];
            dispatch(Strip {
                storage,
                start,
                step: self.step,
                len: self.len,
                out_step: self.out_step,
                count,
                out,
            });
        }
    }
}

/// `out[r][c] = storage[start + r + c step]` for `count` rows of `len`.
struct Strip<'a, T> {
    storage: &'a [T],
    start: usize,
    step: isize,
    len: usize,
    out_step: usize,
    count: usize,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Strip<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Strip { storage, start, step, len, out_step, count, out } = self;
        let source = |column: usize| start.wrapping_add_signed(column as isize * step);
        let (whole_rows, whole_columns) = (count / TILE * TILE, len / TILE * TILE);
        // Rows of no more than a run follow each other closely enough as they are.
        let runs = if out_step > RUN { len / RUN * RUN } else { 0 };
        if runs > 0 {
            let mut block = [T::default(); STRIP * PADDED];
            for first in (0..runs).step_by(RUN) {
                for column in (0..RUN).step_by(TILE) {
                    for row in (0..whole_rows).step_by(TILE) {
                        let block = &mut block[row * PADDED + column..];
                        transpose::tile::<S, T>(storage, source(first + column) + row, step, block, PADDED);
                    }
                }
                for row in 0..whole_rows {
                    out[row * out_step + first..][..RUN].copy_from_slice(&block[row * PADDED..][..RUN]);
                }
            }
        }
        for column in (runs..whole_columns).step_by(TILE) {
            for row in (0..whole_rows).step_by(TILE) {
                let out = &mut out[row * out_step + column..];
                transpose::tile::<S, T>(storage, source(column) + row, step, out, out_step);
            }
        }
        // The edges: whole rows below the tiles, columns beside them.
        let mut edge = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            for column in columns {
                let line = &storage[source(column)..][..count];
                for r in rows.clone() {
                    out[r * out_step + column] = line[r];
                }
            }
        };
        edge(whole_rows..count, 0..whole_columns);
        edge(0..count, whole_columns..len);
    }
}
