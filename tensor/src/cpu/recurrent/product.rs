//! The product inside a recurrence: a few rows of states times a matrix that stays the same for all steps.
//!
//! It is too small for an engine that packs its operands for every call: 16 rows of 64 states times 64 x 256 weights are
//! 3 µs of arithmetic. So the matrix is packed once for a whole sequence, into panels of [`PANEL`] columns that lie close
//! together, and each step only runs the register tiles over them.

use crate::cpu::buffer::Buffer;
use crate::cpu::matmul::Mat;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, Vector, dispatch};
use crate::{Float, Result};

/// Columns of a panel: four of the widest registers, and a multiple of four of all narrower ones.
pub(super) const PANEL: usize = 64;
/// Registers of a tile side by side.
const WIDTH: usize = 4;

/// A matrix `[depth, columns]` in panels of [`PANEL`] columns, zeros after the last.
pub(super) struct Panels<T: Float> {
    data: Buffer<T>,
    depth: usize,
    columns: usize,
}

/// Columns rounded up to whole panels: the length of a row of the product.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

impl<T: Float> Panels<T> {
    /// Packs a matrix of `depth` rows.
    pub(super) fn pack(
        op: &'static str,
        (depth, columns): (usize, usize),
        matrix: Mat<'_, T>,
    ) -> Result<Self> {
        let mut data = Buffer::zeroed(op, depth.saturating_mul(padded(columns)))?;
        if depth > 0 {
            for (p, panel) in data.chunks_exact_mut(depth * PANEL).enumerate() {
                let first = p * PANEL;
                let columns = (columns - first).min(PANEL);
                dispatch(Pack { matrix: matrix.beginning_at(first), columns, panel });
            }
        }
        Ok(Panels { data, depth, columns })
    }

    /// `out[i] = first + a[i] · matrix` for `rows` rows, `first` a whole row or empty for zeros: row `i` of `a` is `a[i * step..][..depth]`, that of `out`
    /// `out[i * padded..][..padded]`.
    #[inline(always)]
    pub(super) fn product<S: Isa>(&self, a: &[T], step: usize, rows: usize, first: &[T], out: &mut [T]) {
        let width = padded(self.columns);
        if rows == 0 || self.depth == 0 {
            out.fill(T::ZERO);
            return;
        }
        assert!(first.is_empty() || first.len() == width, "what a recurrent product begins with");
        assert!(a.len() >= (rows - 1) * step + self.depth, "rows of a recurrent product");
        assert!(out.len() >= rows * width, "output of a recurrent product");
        for (p, panel) in self.data.chunks_exact(self.depth * PANEL).enumerate() {
            let first = if first.is_empty() { None } else { Some(&first[p * PANEL..][..PANEL]) };
            let mut row = 0;
            while row < rows {
                let left = rows - row;
                // SAFETY: the lengths have been checked above; `left` bounds the rows of the tile.
                unsafe {
                    let a = a.as_ptr().add(row * step);
                    let out = out.as_mut_ptr().add(row * width + p * PANEL);
                    // 16 sums, 4 weights and an element fit into 32 registers; 8, 4 and 1 into 16.
                    row += match (S::REGISTERS >= 32, left) {
                        (true, 4..) => tile::<T, S, 4>(a, step, panel, self.depth, first, out, width),
                        (_, 2..) => tile::<T, S, 2>(a, step, panel, self.depth, first, out, width),
                        _ => tile::<T, S, 1>(a, step, panel, self.depth, first, out, width),
                    };
                }
            }
        }
    }
}

/// Copies columns of a matrix to a panel.
struct Pack<'a, T: Float> {
    matrix: Mat<'a, T>,
    columns: usize,
    panel: &'a mut [T],
}

impl<T: Float> Kernel for Pack<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Pack { matrix: Mat { data, offset, row_step, column_step }, columns, panel } = self;
        let at =
            |k: usize, j: usize| offset.wrapping_add_signed(k as isize * row_step + j as isize * column_step);
        if column_step == 1 {
            for (k, row) in panel.chunks_exact_mut(PANEL).enumerate() {
                row[..columns].copy_from_slice(&data[at(k, 0)..][..columns]);
            }
            return;
        }
        // A transposed matrix goes tile by tile; what is left at its edges, and any other, element by element.
        let depth = panel.len() / PANEL;
        let tiled = if row_step == 1 { [depth, columns].map(|n| n - n % TILE) } else { [0, 0] };
        for k in (0..tiled[0]).step_by(TILE) {
            for j in (0..tiled[1]).step_by(TILE) {
                transpose::tile::<S, T>(data, at(k, j), column_step, &mut panel[k * PANEL + j..], PANEL);
            }
        }
        for (k, row) in panel.chunks_exact_mut(PANEL).enumerate() {
            let done = if k < tiled[0] { tiled[1] } else { 0 };
            for (j, x) in row[..columns].iter_mut().enumerate().skip(done) {
                *x = data[at(k, j)];
            }
        }
    }
}

/// `R` rows of one panel of the product; returns `R`.
///
/// # Safety
/// `R` rows of `depth` elements, `step` apart, can be read from `a`, and `R` rows of [`PANEL`] elements, `width` apart, be
/// written to `out`; `panel` has `depth` rows, `begin` one.
#[inline(always)]
unsafe fn tile<T: Float, S: Isa, const R: usize>(
    a: *const T,
    step: usize,
    panel: &[T],
    depth: usize,
    begin: Option<&[T]>,
    out: *mut T,
    width: usize,
) -> usize {
    let lanes = T::Vector::<S>::LANES;
    for first in (0..PANEL).step_by(WIDTH * lanes) {
        let mut sums = [[T::Vector::<S>::splat(T::ZERO); WIDTH]; R];
        if let Some(begin) = begin {
            for j in 0..WIDTH {
                // SAFETY: `begin` holds `PANEL` elements.
                let x = unsafe { T::Vector::<S>::read(begin.as_ptr().add(first + j * lanes)) };
                for r in 0..R {
                    sums[r][j] = x;
                }
            }
        }
        let mut weights = panel.as_ptr().wrapping_add(first);
        for k in 0..depth {
            // SAFETY: row `k` of the panel holds `PANEL` elements from `weights - first` on; the caller promises `a`.
            unsafe {
                let mut w = [T::Vector::<S>::splat(T::ZERO); WIDTH];
                for j in 0..WIDTH {
                    w[j] = T::Vector::<S>::read(weights.add(j * lanes));
                }
                for r in 0..R {
                    let x = T::Vector::<S>::splat(*a.add(r * step + k));
                    for j in 0..WIDTH {
                        sums[r][j] = x.mul_add(w[j], sums[r][j]);
                    }
                }
            }
            weights = weights.wrapping_add(PANEL);
        }
        for r in 0..R {
            for j in 0..WIDTH {
                // SAFETY: the caller promises the rows of `out`; `first + WIDTH * lanes` is at most `PANEL`.
                unsafe { sums[r][j].write(out.add(r * width + first + j * lanes)) };
            }
        }
    }
    R
}
