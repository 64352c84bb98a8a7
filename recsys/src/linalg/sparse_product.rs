//! Sparse times tall dense: the product that truncated SVDs of rating matrices live on.
//!
//! The dense side is kept row by row, so that each stored entry costs one contiguous multiply-add over the block's width
//! instead of a gather for each column. Rows of the output are independent; tasks take fixed chunks of them. The loop over
//! the width is compiled for each instruction set and chosen at run time. In double precision, and in single for
//! the part of a decomposition that is refined afterwards: what bounds the product is fetching the rows met, and these
//! are half as long.

use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch};
use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use crate::data::ids::Idx;
use crate::data::sparse::Csr;

/// Output rows that one task computes.
const ROWS: usize = 32;
/// Rows of the dense side are padded to whole registers of the widest kind.
const PAD: usize = 8;

/// A row-major copy of a column-major block, with zeros up to `width` columns.
fn to_row_major(x: MatRef<'_, f64>, width: usize) -> Vec<f64> {
    let mut rows = vec![0.0; x.nrows() * width];
    rows.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(chunk, rows)| {
        for j in 0..x.ncols() {
            let column = x.col(j);
            for (i, row) in rows.chunks_mut(width).enumerate() {
                row[j] = column[chunk * ROWS + i];
            }
        }
    });
    rows
}

/// `out = a x`, with `x` of `a.n_cols()` rows.
pub(crate) fn sparse_mul<R: Idx, C: Idx>(a: &Csr<R, C>, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
    let columns = x.ncols();
    let width = columns.next_multiple_of(PAD);
    let x = to_row_major(x, width);
    out.par_row_chunks_mut(ROWS).enumerate().for_each(|(chunk, mut out)| {
        let mut block = vec![0.0; out.nrows() * width];
        dispatch(DoubleRows { a, x: &x, width, first: chunk * ROWS, out: &mut block });
        for j in 0..columns {
            for i in 0..out.nrows() {
                out[(i, j)] = block[i * width + j];
            }
        }
    });
}

/// Some rows of a product in double precision, row-major; the width is a multiple of [`PAD`].
struct DoubleRows<'a, R, C> {
    a: &'a Csr<R, C>,
    x: &'a [f64],
    width: usize,
    first: usize,
    out: &'a mut [f64],
}

impl<R: Idx, C: Idx> Kernel for DoubleRows<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let vectors = self.width / S::F64::LANES;
        let ((x, _), (out, _)) = (S::F64::chunks(self.x), S::F64::chunks_mut(self.out));
        for (row, out) in (self.first..).zip(out.chunks_exact_mut(vectors)) {
            let (columns, values) = self.a.row(R::from_u32(row as u32));
            let mut start = 0;
            while start < vectors {
                let width = match vectors - start {
                    8.. => tile::<S, C, 8>(columns, values, x, vectors, start, out),
                    4..8 => tile::<S, C, 4>(columns, values, x, vectors, start, out),
                    2..4 => tile::<S, C, 2>(columns, values, x, vectors, start, out),
                    _ => tile::<S, C, 1>(columns, values, x, vectors, start, out),
                };
                start += width;
            }
        }
    }
}

/// `out = sum of value * x[column]` over one sparse row, for N vectors from `start` on, which stay in registers.
#[inline(always)]
fn tile<S: Isa, C: Idx, const N: usize>(
    columns: &[C],
    values: &[f32],
    x: &[<S::F64 as Vector<f64>>::Array],
    vectors: usize,
    start: usize,
    out: &mut [<S::F64 as Vector<f64>>::Array],
) -> usize {
    let mut sum = [S::F64::splat(0.0); N];
    for (column, &value) in columns.iter().zip(values) {
        let at = column.at() * vectors + start;
        let row: &[_; N] = x[at..at + N].try_into().expect("a slice of length N");
        let value = S::F64::splat(f64::from(value));
        for j in 0..N {
            sum[j] = value.mul_add(S::F64::load(&row[j]), sum[j]);
        }
    }
    for (sum, out) in sum.iter().zip(&mut out[start..start + N]) {
        sum.store(out);
    }
    N
}

/// Columns of a block in single precision: one cache line of a row.
pub(crate) const SINGLE_WIDTH: usize = 16;
/// Rows of the output that a task of the single-precision product computes. Popular items make some rows very long.
const SINGLE_ROWS: usize = 16;
/// Entries whose products are added up before they go to the row's sum: the error of long rows stays that of short ones.
const RUN: usize = 512;

/// `out = a x` for blocks of [`SINGLE_WIDTH`] columns, row-major.
pub(crate) fn sparse_mul_single<R: Idx, C: Idx>(a: &Csr<R, C>, x: &[f32], out: &mut [f32]) {
    debug_assert!(x.len() == a.n_cols() * SINGLE_WIDTH && out.len() == a.n_rows() * SINGLE_WIDTH);
    let tasks = out.par_chunks_mut(SINGLE_ROWS * SINGLE_WIDTH).enumerate();
    tasks.for_each(|(chunk, out)| dispatch(SingleRows { a, x, first: chunk * SINGLE_ROWS, out }));
}

struct SingleRows<'a, R, C> {
    a: &'a Csr<R, C>,
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl<R: Idx, C: Idx> Kernel for SingleRows<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        match S::F32::LANES {
            16 => self.rows::<S, 1>(),
            8 => self.rows::<S, 2>(),
            _ => self.rows::<S, 4>(),
        }
    }
}

impl<R: Idx, C: Idx> SingleRows<'_, R, C> {
    /// With N registers a row of x.
    #[inline(always)]
    fn rows<S: Isa, const N: usize>(self) {
        debug_assert_eq!(N * S::F32::LANES, SINGLE_WIDTH);
        let ((x, _), (out, _)) = (S::F32::chunks(self.x), S::F32::chunks_mut(self.out));
        let ((x, _), (out, _)) = (x.as_chunks::<N>(), out.as_chunks_mut::<N>());
        for (row, out) in (self.first..).zip(out) {
            let (columns, values) = self.a.row(R::from_u32(row as u32));
            let mut sum = [S::F32::splat(0.0); N];
            for (columns, values) in columns.chunks(RUN).zip(values.chunks(RUN)) {
                let mut even = [S::F32::splat(0.0); N];
                let mut odd = even;
                let (columns2, columns1) = columns.as_chunks::<2>();
                let (values2, values1) = values.as_chunks::<2>();
                for (&[c, d], &[v, w]) in columns2.iter().zip(values2) {
                    let (p, q) = (&x[c.at()], &x[d.at()]);
                    for j in 0..N {
                        even[j] = S::F32::splat(v).mul_add(S::F32::load(&p[j]), even[j]);
                        odd[j] = S::F32::splat(w).mul_add(S::F32::load(&q[j]), odd[j]);
                    }
                }
                for (c, &v) in columns1.iter().zip(values1) {
                    for j in 0..N {
                        even[j] = S::F32::splat(v).mul_add(S::F32::load(&x[c.at()][j]), even[j]);
                    }
                }
                for j in 0..N {
                    sum[j] = sum[j].add(even[j].add(odd[j]));
                }
            }
            for j in 0..N {
                sum[j].store(&mut out[j]);
            }
        }
    }
}

/// `a` as a dense matrix.
pub(crate) fn to_dense<R: Idx, C: Idx>(a: &Csr<R, C>) -> Mat<f64> {
    let mut dense = Mat::zeros(a.n_rows(), a.n_cols());
    for (r, c, v) in a.entries() {
        dense[(r.at(), c.at())] = f64::from(v);
    }
    dense
}
