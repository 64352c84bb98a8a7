//! Sparse times tall dense: the product that truncated SVDs of rating matrices live on.
//!
//! The dense side is kept row by row, so that each stored entry costs one contiguous multiply-add over the block's width
//! instead of a gather for each column. Rows of the output are independent; tasks take fixed chunks of them. The loop over
//! the width is compiled for each instruction set and chosen at run time (pulp).

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use crate::ids::Index;
use crate::sparse::Csr;

/// Output rows that one task computes.
const ROWS: usize = 128;
/// Columns held in registers at once: eight vectors of eight doubles.
const TILE: usize = 64;

/// A row-major copy of a column-major block.
pub(crate) fn to_row_major(x: MatRef<'_, f64>) -> Vec<f64> {
    let width = x.ncols();
    let mut rows = vec![0.0; x.nrows() * width];
    rows.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(chunk, rows)| {
        for j in 0..width {
            let column = x.col(j);
            for (i, row) in rows.chunks_mut(width).enumerate() {
                row[j] = column[chunk * ROWS + i];
            }
        }
    });
    rows
}

/// `out = a x`, with `x` of `a.n_cols()` rows.
pub(crate) fn sparse_mul<R: Index, C: Index>(a: &Csr<R, C>, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
    let width = x.ncols();
    let x = to_row_major(x);
    out.par_row_chunks_mut(ROWS).enumerate().for_each(|(chunk, mut out)| {
        let mut block = vec![0.0; out.nrows() * width];
        let arch = pulp::Arch::new();
        for (i, row) in block.chunks_mut(width).enumerate() {
            let (columns, values) = a.row(R::from_u32((chunk * ROWS + i) as u32));
            arch.dispatch(
                #[inline(always)]
                || accumulate_row(columns, values, &x, row),
            );
        }
        for j in 0..width {
            for i in 0..out.nrows() {
                out[(i, j)] = block[i * width + j];
            }
        }
    });
}

/// `out += sum of value * x[column]` over one sparse row.
#[inline(always)]
fn accumulate_row<C: Index>(columns: &[C], values: &[f32], x: &[f64], out: &mut [f64]) {
    let width = out.len();
    let mut start = 0;
    while start + TILE <= width {
        tile::<TILE, C>(columns, values, x, width, start, out);
        start += TILE;
    }
    while start + 8 <= width {
        let left = width - start;
        if left >= 32 {
            tile::<32, C>(columns, values, x, width, start, out);
            start += 32;
        } else if left >= 16 {
            tile::<16, C>(columns, values, x, width, start, out);
            start += 16;
        } else {
            tile::<8, C>(columns, values, x, width, start, out);
            start += 8;
        }
    }
    for j in start..width {
        out[j] = columns.iter().zip(values).map(|(c, &v)| f64::from(v) * x[c.at() * width + j]).sum();
    }
}

#[inline(always)]
fn tile<const N: usize, C: Index>(
    columns: &[C],
    values: &[f32],
    x: &[f64],
    width: usize,
    start: usize,
    out: &mut [f64],
) {
    let mut sum = [0.0; N];
    for (column, &value) in columns.iter().zip(values) {
        let at = column.at() * width + start;
        let row: &[f64; N] = x[at..at + N].try_into().expect("a slice of length N");
        let value = f64::from(value);
        for j in 0..N {
            sum[j] += value * row[j];
        }
    }
    out[start..start + N].copy_from_slice(&sum);
}

/// `a` as a dense matrix.
pub(crate) fn to_dense<R: Index, C: Index>(a: &Csr<R, C>) -> Mat<f64> {
    let mut dense = Mat::zeros(a.n_rows(), a.n_cols());
    for (r, c, v) in a.entries() {
        dense[(r.at(), c.at())] = f64::from(v);
    }
    dense
}
