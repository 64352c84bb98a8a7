//! Gathering the elements of a strided view into row-major order.
//!
//! A transpose is the case to get right: read or write, one side steps far for each element. It is done in square tiles,
//! so that every cache line that is touched is used up while it is in the cache.

use crate::Element;
use crate::cpu::nest::Nest;
use crate::cpu::threads;
use crate::layout::Layout;

/// Side of a transpose tile: 32 x 32 elements of 4 bytes are 64 lines of 64 bytes on each side.
const TILE: usize = 32;

/// Copies the view's elements into `out` in row-major order.
pub(crate) fn gather<T: Element>(storage: &[T], view: &Layout, out: &mut [T]) {
    debug_assert_eq!(out.len(), view.shape.count());
    let nest = Nest::new([view]);
    let (len, [step]) = (nest.row_len(), nest.row_steps());
    if step.unsigned_abs() > 1
        && len > 1
        && let Some(plane) = Plane::of(view)
    {
        return plane.gather(storage, view, out);
    }
    threads::split_units(out, len.max(1), len, |first, out| {
        let mut rows = nest.rows_from(first);
        for out in out.chunks_exact_mut(len) {
            let [start] = rows.advance();
            match step {
                1 => out.copy_from_slice(&storage[start..start + len]),
                0 => out.fill(storage[start]),
                _ => {
                    for (i, x) in out.iter_mut().enumerate() {
                        *x = storage[start.wrapping_add_signed(i as isize * step)];
                    }
                }
            }
        }
        false
    });
}

/// The last axis and the earlier one with the smallest step: the plane in which tiles are transposed.
struct Plane {
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
    fn of(view: &Layout) -> Option<Self> {
        let last = view.shape.rank() - 1;
        let dense = (0..last).rev().find(|&axis| view.strides[axis] == 1 && view.shape[axis] > 1)?;
        Some(Plane {
            dense,
            step: view.strides[last],
            len: view.shape[last],
            out_step: view.shape[dense + 1..].iter().product(),
        })
    }

    fn gather<T: Element>(&self, storage: &[T], view: &Layout, out: &mut [T]) {
        let rows = view.shape[self.dense];
        // One slab of `out` for each combination of axes before `dense`.
        let slab = rows * self.out_step;
        let before = Nest::new([&prefix(view, self.dense)]);
        let between = Nest::new([&middle(view, self.dense)]);
        let strips = rows.div_ceil(TILE);
        // Units of one strip of up to TILE rows would differ in length at the end of a slab, so split by slab, and
        // by strip only when there is one slab.
        if out.len() == slab {
            let [offset] = before.rows_from(0).advance();
            threads::split_units(out, TILE * self.out_step, TILE * self.out_step, |first, out| {
                let count = out.len() / self.out_step;
                self.strip(storage, &between, offset + first * TILE, count, out);
                false
            });
        } else {
            threads::split_units(out, slab, slab, |first, out| {
                for (i, out) in out.chunks_exact_mut(slab).enumerate() {
                    let offset = at(&before, first + i);
                    for s in 0..strips {
                        let count = TILE.min(rows - s * TILE);
                        let out = &mut out[s * TILE * self.out_step..][..count * self.out_step];
                        self.strip(storage, &between, offset + s * TILE, count, out);
                    }
                }
                false
            });
        }
    }

    /// Fills `count` rows along `dense`, whose first elements stand at `offset`.
    fn strip<T: Element>(
        &self,
        storage: &[T],
        between: &Nest<1>,
        offset: usize,
        count: usize,
        out: &mut [T],
    ) {
        let middles = self.out_step / self.len;
        for first in (0..count).step_by(TILE) {
            let rows = TILE.min(count - first);
            for middle in 0..middles {
                let start = (offset + first).wrapping_add(at(between, middle));
                for column in (0..self.len).step_by(TILE) {
                    let columns = TILE.min(self.len - column);
                    for r in 0..rows {
                        let out =
                            &mut out[(first + r) * self.out_step + middle * self.len + column..][..columns];
                        for (c, x) in out.iter_mut().enumerate() {
                            *x = storage[(start + r).wrapping_add_signed((column + c) as isize * self.step)];
                        }
                    }
                }
            }
        }
    }
}

/// The position of element number `index` in row-major order of a nest's shape.
fn at(nest: &Nest<1>, index: usize) -> usize {
    let [start] = nest.rows_from(index / nest.row_len()).advance();
    start.wrapping_add_signed((index % nest.row_len()) as isize * nest.row_steps()[0])
}

/// The axes before `axis`, with the view's offset.
fn prefix(view: &Layout, axis: usize) -> Layout {
    Layout { shape: view.shape[..axis].into(), strides: view.strides[..axis].into(), offset: view.offset }
}

/// The axes between `axis` and the last one, counted from 0.
fn middle(view: &Layout, axis: usize) -> Layout {
    let last = view.shape.rank() - 1;
    Layout {
        shape: view.shape[axis + 1..last].into(),
        strides: view.strides[axis + 1..last].into(),
        offset: 0,
    }
}
