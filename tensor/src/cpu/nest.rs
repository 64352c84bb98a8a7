//! Loops over strided operands of one shape, reduced to as few loops as their strides allow.
//!
//! Axes of size 1 are dropped, and neighbouring axes that every operand walks evenly become one. What is left is an inner
//! loop, with one step for each operand, and an odometer over the outer axes: a contiguous operation becomes a single
//! loop over slices, a broadcast row becomes rows.

use smallvec::SmallVec;

use crate::layout::Layout;

/// The loops over `N` operands of equal shape.
#[derive(Debug, Clone)]
pub(crate) struct Nest<const N: usize> {
    outer: SmallVec<[Axis<N>; 4]>,
    inner: Axis<N>,
    offsets: [usize; N],
}

#[derive(Debug, Clone, Copy)]
struct Axis<const N: usize> {
    size: usize,
    steps: [isize; N],
}

impl Nest<1> {
    /// The operand's layout with merged axes.
    pub(crate) fn layout(&self) -> Layout {
        let axes = || self.outer.iter().chain([&self.inner]);
        Layout {
            shape: axes().map(|axis| axis.size).collect(),
            strides: axes().map(|axis| axis.steps[0]).collect(),
            offset: self.offsets[0],
        }
    }
}

impl<const N: usize> Nest<N> {
    /// Operands of equal shape (broadcast beforehand).
    pub(crate) fn new(layouts: [&Layout; N]) -> Self {
        debug_assert!(layouts.iter().all(|layout| layout.shape == layouts[0].shape));
        let mut axes: SmallVec<[Axis<N>; 4]> = SmallVec::new();
        if layouts[0].shape.contains(&0) {
            // No elements: one loop of length 0. The other sizes may be too large to be multiplied.
            return Nest { outer: axes, inner: Axis { size: 0, steps: [1; N] }, offsets: [0; N] };
        }
        for (i, &size) in layouts[0].shape.iter().enumerate() {
            let axis = Axis { size, steps: layouts.map(|layout| layout.strides[i]) };
            match axes.last_mut() {
                _ if size == 1 => {}
                Some(last)
                    if (0..N).all(|k| last.steps[k] == axis.steps[k].saturating_mul(size as isize)) =>
                {
                    *last = Axis { size: last.size * size, steps: axis.steps };
                }
                _ => axes.push(axis),
            }
        }
        let inner = axes.pop().unwrap_or(Axis { size: 1, steps: [1; N] });
        Nest { outer: axes, inner, offsets: layouts.map(|layout| layout.offset) }
    }

    /// Elements in one inner loop.
    pub(crate) fn row_len(&self) -> usize {
        self.inner.size
    }

    /// Each operand's step in the inner loop.
    pub(crate) fn row_steps(&self) -> [isize; N] {
        self.inner.steps
    }

    /// Positions of the operands at the start of each inner loop, from loop number `first` on.
    #[inline(always)]
    pub(crate) fn rows_from(&self, first: usize) -> Rows<'_, N> {
        let mut rows = Rows {
            axes: &self.outer,
            counts: SmallVec::from_elem(0, self.outer.len()),
            positions: self.offsets,
        };
        let mut rest = first;
        for (axis, count) in self.outer.iter().zip(&mut rows.counts).rev() {
            *count = rest % axis.size;
            rest /= axis.size;
            for k in 0..N {
                rows.positions[k] = rows.positions[k].wrapping_add_signed(*count as isize * axis.steps[k]);
            }
        }
        rows
    }
}

/// The odometer over the outer axes.
pub(crate) struct Rows<'a, const N: usize> {
    axes: &'a [Axis<N>],
    counts: SmallVec<[usize; 4]>,
    positions: [usize; N],
}

impl<const N: usize> Rows<'_, N> {
    /// The operands' positions at the current row; moves on to the next row.
    #[inline(always)]
    pub(crate) fn advance(&mut self) -> [usize; N] {
        let current = self.positions;
        for (axis, count) in self.axes.iter().zip(&mut self.counts).rev() {
            *count += 1;
            let wraps = *count == axis.size;
            let steps = if wraps { 1 - axis.size as isize } else { 1 };
            for k in 0..N {
                self.positions[k] = self.positions[k].wrapping_add_signed(steps * axis.steps[k]);
            }
            if !wraps {
                break;
            }
            *count = 0;
        }
        current
    }
}
