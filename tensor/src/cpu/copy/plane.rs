//! Copies of transposed views: read or write, one side steps far for each element.
//!
//! They are done in square tiles: a tile is read along the storage's dense axis into registers, and written from there along
//! the output's. Every cache line on either side is so touched once, which matters most when steps are powers of two and the
//! lines of a column fall into one set of the cache.
//!
//! What remains slow is writing one line here and one there, nine times as slow as in runs of eight lines (measured; the
//! processor fetches a line before it is written to, and fetches ahead only along runs). So where rows of the output are
//! long, tiles are written side by side into a block that stays in the first-level cache, and its rows go out as runs.
//!
//! Blocks follow each other along the storage's dense axis, so that the storage is read in runs too, as long as a thread's
//! piece is high. Where each line lies in a page of its own, those of the next block are called for, into the second-level
//! cache, while one is done. Against blocks along the output's rows that saves a seventh of the time where all lies in
//! the caches, and a fifth where nothing does.

use std::ops::Range;

use super::{at, middle, prefix};
use crate::Element;
use crate::cpu::nest::Nest;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::layout::Layout;

/// Rows of a block: four lines of the storage are read one after the other.
const STRIP: usize = 4 * TILE;

/// The most rows of one piece of work, so that there is something to share.
const HIGHEST: usize = 8 * STRIP;

/// Columns of a block. With STRIP rows of four-byte elements it takes 36 KB, padding included.
const RUN: usize = 8 * TILE;

/// Distance between rows of a block: rows a power of two apart would fall into one set of the cache.
const PADDED: usize = RUN + TILE;

/// Bytes in which the processor fetches ahead by itself, across all lines of a tile.
const PAGE: usize = 4096;

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
        let threads = threads::num_threads();
        if out.len() / slab >= 2 * threads {
            threads::split_units(out, slab, slab, |first, out| {
                for (i, out) in out.chunks_exact_mut(slab).enumerate() {
                    self.piece(storage, &between, at(&before, first + i), out);
                }
                false
            });
            return;
        }
        // High pieces, for long runs, but some for each thread.
        let height = rows.div_ceil(2 * threads).next_multiple_of(STRIP).min(HIGHEST);
        let unit = height * self.out_step;
        for (i, out) in out.chunks_exact_mut(slab).enumerate() {
            let offset = at(&before, i);
            threads::split_units(out, unit, unit, |first, out| {
                self.piece(storage, &between, offset + first * height, out);
                false
            });
        }
    }

    /// Fills whole rows along `dense`, whose first elements stand at `offset`.
    fn piece<T: Element>(&self, storage: &[T], between: &Nest<1>, offset: usize, out: &mut [T]) {
        let count = out.len() / self.out_step;
        for middle in 0..self.out_step / self.len {
            let start = offset.wrapping_add(at(between, middle));
            let out = &mut out[middle * self.len..];
            let (step, len, out_step) = (self.step, self.len, self.out_step);
            dispatch(Piece { storage, start, step, len, out_step, count, out });
        }
    }
}

/// `out[r][c] = storage[start + r + c step]` for `count` rows of `len`.
struct Piece<'a, T> {
    storage: &'a [T],
    start: usize,
    step: isize,
    len: usize,
    out_step: usize,
    count: usize,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Piece<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(mut self) {
        let (rows, columns) = (self.count / TILE * TILE, self.len / TILE * TILE);
        // Rows of no more than a run follow each other closely enough as they are.
        let runs = if self.out_step > RUN { self.len / RUN * RUN } else { 0 };
        if runs > 0 {
            let mut block = [T::default(); STRIP * PADDED];
            for column in (0..runs).step_by(RUN) {
                for row in (0..rows).step_by(STRIP) {
                    self.block::<S>(row..rows.min(row + STRIP), column, &mut block);
                }
            }
        }
        for row in (0..rows).step_by(STRIP) {
            for column in (runs..columns).step_by(TILE) {
                for row in (row..rows.min(row + STRIP)).step_by(TILE) {
                    let out = &mut self.out[row * self.out_step + column..];
                    let first = source(self.start, self.step, column) + row;
                    transpose::tile::<S, T>(self.storage, first, self.step, out, self.out_step);
                }
            }
        }
        // The edges: whole rows below the tiles, columns beside them.
        self.edge(rows..self.count, 0..columns);
        self.edge(0..self.count, columns..self.len);
    }
}

/// Where column `column` begins in the storage.
#[inline(always)]
fn source(start: usize, step: isize, column: usize) -> usize {
    start.wrapping_add_signed(column as isize * step)
}

impl<T: Element> Piece<'_, T> {
    /// Some rows of one run, by way of `block`.
    #[inline(always)]
    fn block<S: Isa>(&mut self, rows: Range<usize>, column: usize, block: &mut [T; STRIP * PADDED]) {
        // What comes next: the strip below, or the first one of the next run.
        let below = rows.end + STRIP <= self.count;
        let next = if below { (rows.end, column) } else { (0, column + RUN) };
        let ahead = next.1 + RUN <= self.len && self.step.unsigned_abs() * size_of::<T>() >= PAGE;
        for c in (0..RUN).step_by(TILE) {
            for r in (0..rows.len()).step_by(TILE) {
                if ahead {
                    let first = source(self.start, self.step, next.1 + c) + next.0 + r;
                    transpose::fetch(self.storage, first, self.step);
                }
                let first = source(self.start, self.step, column + c) + rows.start + r;
                let block = &mut block[r * PADDED + c..];
                transpose::tile::<S, T>(self.storage, first, self.step, block, PADDED);
            }
        }
        for (row, line) in rows.zip(block.chunks_exact(PADDED)) {
            self.out[row * self.out_step + column..][..RUN].copy_from_slice(&line[..RUN]);
        }
    }

    /// Element by element.
    fn edge(&mut self, rows: Range<usize>, columns: Range<usize>) {
        for column in columns {
            let line = &self.storage[source(self.start, self.step, column)..][..self.count];
            for row in rows.clone() {
                self.out[row * self.out_step + column] = line[row];
            }
        }
    }
}
