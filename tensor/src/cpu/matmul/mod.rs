//! The one entry for matrix products; every product in the workspace that runs on tensors comes through here.
//!
//! The engine is the `gemm` crate, faer's own, with its AVX-512 kernels: it takes any strides, so transposed operands
//! are not copied, and packs panels for the cache. Another engine (lower precision, a matrix unit, a second device)
//! would be chosen in this file. What is bound by reading a matrix once packs nothing: products of a single column go to
//! [`column`], small ones of a single row with a matrix that is stored in order to [`row`].
//!
//! Results do not depend on the number of threads: products of middling size are cut into pieces along rows or columns,
//! as their sizes alone say; large ones are divided by the engine, along rows and columns too, never along the inner
//! dimension. `tests/threads.rs` holds both to that.

mod column;
mod row;

use crate::Float;
use crate::cpu::threads;

/// Multiply-adds that are worth a thread of their own: about 10 µs, measured on the steps of a small perceptron.
const PIECE: usize = 1 << 19;
/// Products of more are divided among threads by the engine, which shares packed panels between them.
const LARGE: usize = 1 << 28;

/// A matrix somewhere in a slice.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub(crate) data: &'a [T],
    /// Position of element (0, 0).
    pub(crate) offset: usize,
    pub(crate) row_step: isize,
    pub(crate) column_step: isize,
}

impl<T> Mat<'_, T> {
    /// The columns from this one on.
    pub(crate) fn beginning_at(self, column: usize) -> Self {
        Mat { offset: self.offset.wrapping_add_signed(column as isize * self.column_step), ..self }
    }

    /// Whether all elements of a `rows` x `columns` matrix lie within `data`.
    pub(crate) fn fits(&self, rows: usize, columns: usize) -> bool {
        let reach = |size: usize, step: isize| (size as isize - 1).checked_mul(step);
        let corner = |r: isize, c: isize| {
            let at = (self.offset as isize).checked_add(r)?.checked_add(c)?;
            (0..self.data.len() as isize).contains(&at).then_some(())
        };
        let (Some(r), Some(c)) = (reach(rows, self.row_step), reach(columns, self.column_step)) else {
            return false;
        };
        [(0, 0), (r, 0), (0, c), (r, c)].into_iter().all(|(r, c)| corner(r, c).is_some())
    }
}

/// `out = a b`, or `out += a b`, with `out` row-major: `a` is m x k, `b` is k x n.
pub(crate) fn gemm<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) {
    assert_eq!(out.len(), m * n, "output of a matrix product");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        if !accumulate {
            out.fill(T::ZERO);
        }
        return;
    }
    assert!(a.fits(m, k) && b.fits(k, n), "operands of a matrix product lie outside their storage");
    let work = m.saturating_mul(k).saturating_mul(n);
    let pieces = (work / PIECE).min(8);
    if as_dots((m, k, n), &a, &b, out, accumulate) {
        return;
    }
    // Larger ones wait for memory, on any engine.
    if pieces < 2 && is_one_row(m, &a, &b) {
        let (x, weight) = (&a.data[a.offset..a.offset + k], &b.data[b.offset..]);
        return row::gemv(x, weight, b.row_step.unsigned_abs(), out, accumulate);
    }
    let out = Out { start: out.as_mut_ptr(), row_step: n };
    if work >= LARGE && threads::num_threads() > 1 {
        // SAFETY: the operands have been checked, and `out` is all of a slice of m x n.
        unsafe { engine((m, k, n), a, b, out, accumulate, gemm::Parallelism::Rayon(0)) };
    } else if pieces < 2 {
        // SAFETY: as above.
        unsafe { engine((m, k, n), a, b, out, accumulate, gemm::Parallelism::None) };
    } else {
        // Whole register tiles in each piece, along the longer side.
        let long = m.max(n);
        let size = long.div_ceil(pieces).next_multiple_of(48);
        threads::each(long.div_ceil(size), |i| {
            let (start, len) = (i * size, size.min(long - i * size));
            let shift = |mat: Mat<'_, T>, step: isize| mat.offset.wrapping_add_signed(start as isize * step);
            if m >= n {
                let a = Mat { offset: shift(a, a.row_step), ..a };
                // SAFETY: rows `start..start + len` of `a` and of `out`, which no other piece has.
                unsafe { engine((len, k, n), a, b, out.at(start * n), accumulate, gemm::Parallelism::None) };
            } else {
                let b = Mat { offset: shift(b, b.column_step), ..b };
                // SAFETY: columns `start..start + len` of `b` and of `out`, which no other piece has.
                unsafe { engine((m, k, len), a, b, out.at(start), accumulate, gemm::Parallelism::None) };
            }
        });
    }
}

/// A product of one column, or of one row with columns that lie in order, as dot products; false if it is neither.
fn as_dots<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: &Mat<'_, T>,
    b: &Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) -> bool {
    // The matrix whose rows are read in order, how far apart they are, and the other operand's elements.
    let (matrix, row_step, other, step) = if n == 1 && a.column_step == 1 {
        (a, if m == 1 { 0 } else { a.row_step }, b, b.row_step)
    } else if m == 1 && b.row_step == 1 && n > 1 {
        (b, b.column_step, a, a.column_step)
    } else {
        return false;
    };
    let Ok(row_step) = usize::try_from(row_step) else { return false };
    let rows = &matrix.data[matrix.offset..];
    if step == 1 || k == 1 {
        column::dots(rows, row_step, &other.data[other.offset..][..k], out, accumulate);
    } else {
        let at = |i: usize| other.data[other.offset.wrapping_add_signed(i as isize * step)];
        column::dots(rows, row_step, &(0..k).map(at).collect::<Vec<T>>(), out, accumulate);
    }
    true
}

/// Whether a product is of one row, with rows of `b` that are not scattered.
fn is_one_row<T>(m: usize, a: &Mat<'_, T>, b: &Mat<'_, T>) -> bool {
    m == 1 && a.column_step == 1 && b.column_step == 1 && b.row_step >= 0
}

/// Where a product is written: row-major, rows `row_step` apart.
#[derive(Clone, Copy)]
struct Out<T> {
    start: *mut T,
    row_step: usize,
}
// SAFETY: pieces of one product write to parts that do not overlap.
unsafe impl<T: Send> Sync for Out<T> {}

impl<T> Out<T> {
    /// The part that starts `offset` elements on.
    fn at(self, offset: usize) -> Self {
        Out { start: self.start.wrapping_add(offset), ..self }
    }
}

/// The engine.
///
/// # Safety
/// All elements of `a` (m x k) and `b` (k x n) lie within their slices. `out` can be written at m rows, `row_step` apart,
/// of n elements, and nothing else uses them meanwhile.
unsafe fn engine<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: Out<T>,
    accumulate: bool,
    parallelism: gemm::Parallelism,
) {
    // SAFETY: the caller promises what the engine asks for; `T` is f32 or f64, which it supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.start,
            1,
            out.row_step as isize,
            accumulate,
            a.data.as_ptr().add(a.offset),
            a.column_step,
            a.row_step,
            b.data.as_ptr().add(b.offset),
            b.column_step,
            b.row_step,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// One product for each piece of `out`; `operands` gives those of piece `i`. Small products are spread over threads
/// whole, large ones are split within.
pub(crate) fn batched<'a, T: Float>(
    (m, k, n): (usize, usize, usize),
    operands: impl Fn(usize) -> (Mat<'a, T>, Mat<'a, T>) + Sync,
    out: &mut [T],
) {
    if out.is_empty() {
        return;
    }
    let one = |i: usize, out: &mut [T]| {
        let (a, b) = operands(i);
        (T::kernels().gemm)((m, k, n), a, b, out, false);
    };
    let work = m.saturating_mul(k).saturating_mul(n);
    if work >= LARGE || out.len() == m * n {
        out.chunks_exact_mut(m * n).enumerate().for_each(|(i, out)| one(i, out));
        return;
    }
    // A multiply-add of a product costs far less than an operation of its own on an element.
    threads::split_units(out, m * n, (work / 32).max(1), |first, out| {
        out.chunks_exact_mut(m * n).enumerate().for_each(|(i, out)| one(first + i, out));
        false
    });
}
