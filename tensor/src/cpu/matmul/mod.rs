//! The one entry for matrix products; every product in the workspace that runs on tensors comes through here.
//!
//! Products of middling and large size go to [`blocked`], whose packing threads share. The engine for the others, and for processors
//! without fused multiply-adds, is the `gemm` crate, faer's own: it takes any strides, so transposed operands are not copied. Another
//! engine (lower precision, a matrix unit, a second device) would be chosen in this file. What is bound by reading a matrix once packs
//! nothing: products of a single column go to [`column`], those of a single row with a matrix that is stored in order to [`row`],
//! with one that is stored by columns to [`turned`].
//!
//! Results do not depend on the number of threads: products of middling size are cut into pieces along rows or columns,
//! as their sizes alone say; large ones are divided by the engine, along rows and columns too, never along the inner
//! dimension. `tests/threads.rs` holds both to that.
//!
//! Nor does a row of the result depend on the rows beside it: a text that is generated alone, in a batch, token by token or
//! all at once has the same bits. Each element is the sum of one chain of fused multiply-adds for each [`DEPTH`] terms, in order. The
//! engine does so for inner dimensions of 3 to `DEPTH`, so longer ones are given to it in parts; its short cuts for few rows or
//! elements, which sum otherwise, are kept from being taken. (Products of one column are dot products, row by row, and those of
//! an inner dimension of 1 or 2 are left to the engine.)

mod blocked;
mod column;
mod row;
mod turned;

use crate::Float;
use crate::cpu::linear::relu_in_place;
use crate::cpu::threads;

use blocked::Finish;

/// Multiply-adds that are worth a thread of their own: about 10 µs, measured on the steps of a small perceptron.
const PIECE: usize = 1 << 19;
/// Products of more are divided among threads by the engine, which shares packed panels between them.
const LARGE: usize = 1 << 28;

/// Rows of the engine's tiles, and columns of the widest registers.
const TILE_ROWS: usize = 6;
const TILE_COLUMNS: usize = 16;

/// Terms of a sum that are added in one chain. The engine's own blocks are no smaller on any processor, so that cutting here costs nothing.
const DEPTH: usize = 512;
/// The engine computes results of at most so many elements by dot products, where both operands lie in order for them.
const BY_DOTS: usize = 256;

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
    if n == 1 && column_as_dots((m, k), &a, &b, out, accumulate) {
        return;
    }
    if m == 1 && n > 1 {
        return one_row((k, n), a, b, out, accumulate);
    }
    let finish = Finish { accumulate, bias: None, relu: false };
    if !blocked::product((m, k, n), a, b, out, finish, None) {
        product((m, k, n), a, b, out, accumulate);
    }
}

/// A dense layer: `out = a b`, each row plus a bias if there is one, and then max(·, 0) if `relu` is set.
pub(crate) fn linear<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    (bias, relu): (Option<&[T]>, bool),
    out: &mut [T],
) {
    assert_eq!(out.len(), m * n, "output of a matrix product");
    assert!(bias.is_none_or(|bias| bias.len() == n), "bias of a dense layer");
    let inside = out.is_empty() || k == 0 || a.fits(m, k) && b.fits(k, n);
    assert!(inside, "operands of a matrix product lie outside their storage");
    let finish = Finish { accumulate: false, bias, relu };
    if blocked::product((m, k, n), a, b, out, finish, None) {
        return;
    }
    if let Some(bias) = bias {
        out.chunks_exact_mut(n.max(1)).for_each(|row| row.copy_from_slice(bias));
    }
    gemm((m, k, n), a, b, out, bias.is_some());
    if relu {
        relu_in_place(out);
    }
}

/// `out = a b`, and the sums of the columns of `b` in the same pass. False if it is better to take them by themselves: then nothing has
/// been done.
pub(crate) fn with_column_sums<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    sums: &mut [T],
) -> bool {
    assert!(out.len() == m * n && sums.len() == n, "outputs of a matrix product");
    assert!(
        out.is_empty() || k == 0 || a.fits(m, k) && b.fits(k, n),
        "operands of a matrix product lie outside their storage"
    );
    let finish = Finish { accumulate: false, bias: None, relu: false };
    blocked::product((m, k, n), a, b, out, finish, Some(sums))
}

/// The parts of an inner dimension, as `(start, length)`. A rest of one or two terms, which the engine would sum otherwise, goes
/// with part of the terms before.
fn depths(k: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = k - start;
        let len = if (DEPTH + 1..=DEPTH + 2).contains(&left) { DEPTH / 2 } else { left.min(DEPTH) };
        let part = (len > 0).then_some((start, len));
        start += len;
        part
    })
}

/// One row times a matrix, in the order of sums of any other product.
fn one_row<T: Float>((k, n): (usize, usize), a: Mat<'_, T>, b: Mat<'_, T>, out: &mut [T], accumulate: bool) {
    let at = |i: usize| a.data[a.offset.wrapping_add_signed(i as isize * a.column_step)];
    let gathered: Vec<T>;
    let x = if a.column_step == 1 {
        &a.data[a.offset..a.offset + k]
    } else {
        gathered = (0..k).map(at).collect();
        &gathered
    };
    if b.row_step == 1 && b.column_step > 1 && n >= turned::WIDTH {
        return turned::product(x, b, out, accumulate);
    }
    if !is_in_rows(&b) {
        // Twice the same, so that the engine takes no short cut.
        let a = Mat { row_step: 0, ..a };
        let mut both = out.repeat(2);
        product((2, k, n), a, b, &mut both, accumulate);
        return out.copy_from_slice(&both[..n]);
    }
    let step = b.row_step.unsigned_abs();
    let pieces = (k.saturating_mul(n) / PIECE).clamp(1, 8);
    // Whole registers in each piece.
    let size = n.div_ceil(pieces).next_multiple_of(64);
    threads::split_units(out, size, size.saturating_mul(k) / 32, |first, out| {
        for (piece, out) in out.chunks_mut(size).enumerate() {
            let weight = &b.data[b.offset + (first + piece) * size..];
            for (start, len) in depths(k) {
                let weight = &weight[start * step..];
                row::gemv(&x[start..start + len], weight, step, out, accumulate || start > 0);
            }
        }
        false
    });
}

/// [`one_row`] by the quickest order of sums, for an answer that is not compared with others: two chains of additions in place of one.
pub(crate) fn quick_row<T: Float>(x: &[T], b: Mat<'_, T>, out: &mut [T], accumulate: bool) {
    let (k, n) = (x.len(), out.len());
    if k > 0 && n > 1 && is_in_rows(&b) && k.saturating_mul(n) < 2 * PIECE {
        assert!(b.fits(k, n), "the matrix of a product lies outside its storage");
        return row::quick(x, &b.data[b.offset..], b.row_step.unsigned_abs(), out, accumulate);
    }
    let a = Mat { data: x, offset: 0, row_step: k as isize, column_step: 1 };
    gemm((1, k, n), a, b, out, accumulate);
}

/// A product by the engine, of any size.
fn product<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) {
    if m * n <= BY_DOTS && a.column_step == 1 && b.row_step == 1 && b.column_step != 1 {
        let rows = in_order(b, (k, n));
        let b = Mat { data: &rows, offset: 0, row_step: n as isize, column_step: 1 };
        return product((m, k, n), a, b, out, accumulate);
    }
    let work = m.saturating_mul(k).saturating_mul(n);
    let pieces = (work / PIECE).min(8);
    let out = Out { start: out.as_mut_ptr(), row_step: n };
    if work >= LARGE && threads::num_threads() > 1 {
        // SAFETY: `gemm` has checked the operands, and `out` is all of a slice of m x n.
        unsafe { engine((m, k, n), a, b, out, accumulate, gemm::Parallelism::Rayon(0)) };
    } else if pieces < 2 {
        // SAFETY: as above.
        unsafe { engine((m, k, n), a, b, out, accumulate, gemm::Parallelism::None) };
    } else {
        // Along the longer side: then the larger operand is read once, each part of it by one thread. Of a layer's weights half lie in
        // each core's cache, where the last step of training wrote them, and what both cores read both have to fetch.
        let by_rows = m >= n;
        // Whole tiles in each piece, and pieces that come out even.
        let (long, tile, other) = if by_rows { (m, TILE_ROWS, n) } else { (n, TILE_COLUMNS, m) };
        // Fewer rows or columns, and any one alone, may be summed otherwise: as a rest they go to the piece before.
        let least = (BY_DOTS / other + 1).max(2);
        let size = long.div_ceil(pieces & !1).max(least).next_multiple_of(tile);
        let rest = long % size;
        let count = long.div_ceil(size) - usize::from(long > size && rest > 0 && rest < least);
        threads::each(count, |i| {
            let start = i * size;
            let len = if i + 1 == count { long - start } else { size };
            let shift = |mat: Mat<'_, T>, step: isize| mat.offset.wrapping_add_signed(start as isize * step);
            if by_rows {
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

/// A product of one column with rows that lie in order, as dot products; false if they do not.
fn column_as_dots<T: Float>(
    (m, k): (usize, usize),
    a: &Mat<'_, T>,
    b: &Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) -> bool {
    let row_step = if m == 1 { 0 } else { a.row_step };
    let (1, Ok(row_step)) = (a.column_step, usize::try_from(row_step)) else { return false };
    let rows = &a.data[a.offset..];
    if b.row_step == 1 || k == 1 {
        column::dots(rows, row_step, &b.data[b.offset..][..k], out, accumulate);
    } else {
        let at = |i: usize| b.data[b.offset.wrapping_add_signed(i as isize * b.row_step)];
        column::dots(rows, row_step, &(0..k).map(at).collect::<Vec<T>>(), out, accumulate);
    }
    true
}

/// The elements of a matrix, row by row.
fn in_order<T: Copy>(b: Mat<'_, T>, (rows, columns): (usize, usize)) -> Vec<T> {
    let at = |i: usize, j: usize| i as isize * b.row_step + j as isize * b.column_step;
    let places = (0..rows).flat_map(|i| (0..columns).map(move |j| at(i, j)));
    places.map(|place| b.data[b.offset.wrapping_add_signed(place)]).collect()
}

/// Whether the rows of a matrix are not scattered.
fn is_in_rows<T>(b: &Mat<'_, T>) -> bool {
    b.column_step == 1 && b.row_step >= 0
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

/// The engine, which is given no sum longer than [`DEPTH`].
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
    for (start, len) in depths(k) {
        // SAFETY: the caller promises what the engine asks for, and the part's terms are some of all; `T` is f32 or f64, which it supports.
        unsafe {
            gemm::gemm(
                m,
                n,
                len,
                out.start,
                1,
                out.row_step as isize,
                accumulate || start > 0,
                a.data.as_ptr().add(a.offset).offset(start as isize * a.column_step),
                a.column_step,
                a.row_step,
                b.data.as_ptr().add(b.offset).offset(start as isize * b.row_step),
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
