//! Sparse times tall dense: the product that truncated SVDs of rating matrices live on.
//!
//! The dense side is kept row by row, so that each stored entry costs one contiguous multiply-add over the block's width
//! instead of a gather for each column. Rows of the output are independent; tasks take fixed chunks of them. The loop over
//! the width is compiled for each instruction set and chosen at run time (pulp). In double precision, and in single for
//! the part of a decomposition that is refined afterwards: what bounds the product is fetching the rows met, and these
//! are half as long.

use faer::{Mat, MatMut, MatRef};
use pulp::{Arch, Simd, WithSimd};
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
        Arch::new().dispatch(DoubleRows { a, x: &x, width, first: chunk * ROWS, out: &mut block });
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

impl<R: Idx, C: Idx> WithSimd for DoubleRows<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let vectors = self.width / S::F64_LANES;
        let ((x, _), (out, _)) = (S::as_simd_f64s(self.x), S::as_mut_simd_f64s(self.out));
        for (row, out) in (self.first..).zip(out.chunks_exact_mut(vectors)) {
            let (columns, values) = self.a.row(R::from_u32(row as u32));
            let mut start = 0;
            while start < vectors {
                let width = match vectors - start {
                    8.. => tile::<S, C, 8>(simd, columns, values, x, vectors, start, out),
                    4..8 => tile::<S, C, 4>(simd, columns, values, x, vectors, start, out),
                    2..4 => tile::<S, C, 2>(simd, columns, values, x, vectors, start, out),
                    _ => tile::<S, C, 1>(simd, columns, values, x, vectors, start, out),
                };
                start += width;
            }
        }
    }
}

/// `out = sum of value * x[column]` over one sparse row, for N vectors from `start` on, which stay in registers.
#[inline(always)]
fn tile<S: Simd, C: Idx, const N: usize>(
    simd: S,
    columns: &[C],
    values: &[f32],
    x: &[S::f64s],
    vectors: usize,
    start: usize,
    out: &mut [S::f64s],
) -> usize {
    let mut sum = [simd.splat_f64s(0.0); N];
    for (column, &value) in columns.iter().zip(values) {
        let at = column.at() * vectors + start;
        let row: &[S::f64s; N] = x[at..at + N].try_into().expect("a slice of length N");
        let value = simd.splat_f64s(f64::from(value));
        for j in 0..N {
            sum[j] = simd.mul_add_f64s(value, row[j], sum[j]);
        }
    }
    out[start..start + N].copy_from_slice(&sum);
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
    tasks.for_each(|(chunk, out)| Arch::new().dispatch(SingleRows { a, x, first: chunk * SINGLE_ROWS, out }));
}

struct SingleRows<'a, R, C> {
    a: &'a Csr<R, C>,
    x: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl<R: Idx, C: Idx> WithSimd for SingleRows<'_, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.rows::<S, 1>(simd),
            8 => self.rows::<S, 2>(simd),
            4 => self.rows::<S, 4>(simd),
            _ => self.rows::<S, SINGLE_WIDTH>(simd),
        }
    }
}

impl<R: Idx, C: Idx> SingleRows<'_, R, C> {
    /// With N vectors a row of x.
    #[inline(always)]
    fn rows<S: Simd, const N: usize>(self, simd: S) {
        let ((x, _), (out, _)) = (S::as_simd_f32s(self.x), S::as_mut_simd_f32s(self.out));
        let ((x, _), (out, _)) = (x.as_chunks::<N>(), out.as_chunks_mut::<N>());
        for (row, out) in (self.first..).zip(out) {
            let (columns, values) = self.a.row(R::from_u32(row as u32));
            *out = [simd.splat_f32s(0.0); N];
            for (columns, values) in columns.chunks(RUN).zip(values.chunks(RUN)) {
                let mut even = [simd.splat_f32s(0.0); N];
                let mut odd = even;
                let (columns2, columns1) = columns.as_chunks::<2>();
                let (values2, values1) = values.as_chunks::<2>();
                for (&[c, d], &[v, w]) in columns2.iter().zip(values2) {
                    let (p, q) = (&x[c.at()], &x[d.at()]);
                    for j in 0..N {
                        even[j] = simd.mul_add_f32s(simd.splat_f32s(v), p[j], even[j]);
                        odd[j] = simd.mul_add_f32s(simd.splat_f32s(w), q[j], odd[j]);
                    }
                }
                for (c, &v) in columns1.iter().zip(values1) {
                    for j in 0..N {
                        even[j] = simd.mul_add_f32s(simd.splat_f32s(v), x[c.at()][j], even[j]);
                    }
                }
                for j in 0..N {
                    out[j] = simd.add_f32s(out[j], simd.add_f32s(even[j], odd[j]));
                }
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
