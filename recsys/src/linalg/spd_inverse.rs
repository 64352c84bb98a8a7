//! The inverse of a large symmetric positive definite matrix: blocked Cholesky and triangular solutions, parallel over
//! fixed chunks, so that the bits do not depend on the threads (faer's own parallel Cholesky does not promise that).

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

use super::dense;
use crate::{Error, Result};

/// Columns of a panel, and of the inverse that a task solves for.
const BLOCK: usize = 128;

/// Reads the lower triangle of `a`.
pub(crate) fn invert_positive_definite(mut a: Mat<f64>) -> Result<Mat<f64>> {
    factor(&mut a)?;
    let n = a.nrows();
    let lower = a.as_ref();
    let mut inverse = Mat::<f64>::zeros(n, n);
    inverse.as_mut().par_col_chunks_mut(BLOCK).enumerate().for_each(|(chunk, mut columns)| {
        let start = chunk * BLOCK;
        for j in 0..columns.ncols() {
            columns[(start + j, j)] = 1.0;
        }
        // L⁻¹ of a unit vector is zero above it.
        let below = lower.submatrix(start, start, n - start, n - start);
        solve_lower_triangular_in_place(below, columns.rb_mut_rows(start), Par::Seq);
        solve_upper_triangular_in_place(lower.transpose(), columns.as_mut(), Par::Seq);
    });
    Ok(inverse)
}

trait Rows<'a> {
    fn rb_mut_rows(&mut self, start: usize) -> faer::MatMut<'_, f64>;
}

impl<'a> Rows<'a> for faer::MatMut<'a, f64> {
    fn rb_mut_rows(&mut self, start: usize) -> faer::MatMut<'_, f64> {
        let rows = self.nrows() - start;
        self.as_mut().subrows_mut(start, rows)
    }
}

/// The Cholesky factor in the lower triangle, a panel of columns at a time.
fn factor(a: &mut Mat<f64>) -> Result<()> {
    let n = a.nrows();
    let mut memory = dense::cholesky_memory::<f64>(BLOCK.min(n).max(1));
    for start in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - start);
        dense::cholesky_in_place(a.submatrix_mut(start, start, width, width), &mut memory).map_err(|()| {
            Error::Factorization {
                what: "Cholesky factorisation",
                reason: format!("not positive definite in columns {start} to {}", start + width - 1),
            }
        })?;
        let rest = n - start - width;
        if rest == 0 {
            break;
        }
        let corner = a.submatrix(start, start, width, width).to_owned();
        let panel = a.submatrix_mut(start + width, start, rest, width);
        // X Lᵀ = P, row by row: L Xᵀ = Pᵀ.
        panel.par_row_chunks_mut(BLOCK).for_each(|rows| {
            solve_lower_triangular_in_place(corner.as_ref(), rows.transpose_mut(), Par::Seq);
        });
        let panel = a.submatrix(start + width, start, rest, width).to_owned();
        let trailing = a.submatrix_mut(start + width, start + width, rest, rest);
        trailing.par_col_chunks_mut(BLOCK).enumerate().for_each(|(chunk, columns)| {
            let from = chunk * BLOCK;
            let count = columns.ncols();
            let below = columns.subrows_mut(from, rest - from);
            let (left, right) = (panel.subrows(from, rest - from), panel.subrows(from, count));
            matmul(below, Accum::Add, left, right.transpose(), -1.0, Par::Seq);
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_sizes_around_the_block() {
        for n in [1, 5, BLOCK, BLOCK + 1, 2 * BLOCK + 37] {
            let b = Mat::<f64>::from_fn(n, n, |i, j| ((i * 31 + j * 17) % 101) as f64 / 101.0 - 0.5);
            let a = &b * b.transpose() + Mat::<f64>::identity(n, n);
            let inverse = invert_positive_definite(a.clone()).unwrap();
            assert!((&a * &inverse - Mat::<f64>::identity(n, n)).norm_max() < 1e-8, "{n}");
        }
    }

    #[test]
    fn an_indefinite_matrix_is_an_error() {
        let mut a = Mat::<f64>::identity(200, 200);
        a[(150, 150)] = -1.0;
        assert!(matches!(invert_positive_definite(a), Err(Error::Factorization { .. })));
    }
}
