//! What the Krylov solvers need to know of a matrix: its products with blocks of vectors.

use faer::{Accum, Mat, MatMut, MatRef};
use rayon::prelude::*;

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::linalg::{dense, sparse_product};

pub(super) trait Operator: Sync {
    fn nrows(&self) -> usize;
    fn ncols(&self) -> usize;
    /// `out = A x`.
    fn apply(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>);
    /// `out = Aᵀ x`.
    fn apply_transposed(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>);
    /// Whether A equals its transpose, entry by entry.
    fn is_symmetric(&self) -> bool;
    fn is_zero(&self) -> bool;
    /// In single precision `AᵀA x`, or `AAᵀ x`, for a block of [`SINGLE_WIDTH`](sparse_product::SINGLE_WIDTH) columns,
    /// row-major; for matrices where that is worth its while.
    fn normal_single(&self, _x: &[f32], _transposed: bool) -> Option<Vec<f32>> {
        None
    }
    /// Floating-point operations of one product with one vector, weighted by how slowly they go.
    fn operations(&self) -> f64;
}

/// A dense column-major matrix.
pub(super) struct DenseOperator<'a> {
    a: MatRef<'a, f64>,
    symmetric: bool,
}

impl<'a> DenseOperator<'a> {
    pub(super) fn new(a: MatRef<'a, f64>) -> Self {
        let symmetric = a.nrows() == a.ncols() && is_symmetric(a);
        Self { a, symmetric }
    }
}

/// Compares tile by tile: a whole column against a whole row would miss the cache at every step.
fn is_symmetric(a: MatRef<'_, f64>) -> bool {
    const TILE: usize = 32;
    let n = a.nrows();
    (0..n.div_ceil(TILE)).into_par_iter().all(|bj| {
        (bj..n.div_ceil(TILE)).all(|bi| {
            let (j0, i0) = (bj * TILE, bi * TILE);
            (j0..(j0 + TILE).min(n)).all(|j| (i0..(i0 + TILE).min(n)).all(|i| a[(i, j)] == a[(j, i)]))
        })
    })
}

impl Operator for DenseOperator<'_> {
    fn nrows(&self) -> usize {
        self.a.nrows()
    }
    fn ncols(&self) -> usize {
        self.a.ncols()
    }
    fn apply(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
        if self.symmetric {
            // The product with the transpose reads the matrix along its columns.
            self.apply_transposed(x, out);
        } else {
            dense::mul_into(out, Accum::Replace, self.a, x, 1.0);
        }
    }
    fn apply_transposed(&self, x: MatRef<'_, f64>, mut out: MatMut<'_, f64>) {
        out.copy_from(dense::mul_transposed(self.a, x));
    }
    fn is_symmetric(&self) -> bool {
        self.symmetric
    }
    fn operations(&self) -> f64 {
        2.0 * self.a.nrows() as f64 * self.a.ncols() as f64
    }
    fn is_zero(&self) -> bool {
        (0..self.a.ncols()).all(|j| self.a.col(j).iter().all(|&x| x == 0.0))
    }
}

/// A sparse matrix and its transpose, so that both products stream through rows.
pub(super) struct SparseOperator<'a, R, C> {
    a: &'a Csr<R, C>,
    transpose: Csr<C, R>,
}

impl<'a, R: Idx, C: Idx> SparseOperator<'a, R, C> {
    pub(super) fn new(a: &'a Csr<R, C>) -> Self {
        Self { a, transpose: a.transpose() }
    }
}

impl<R: Idx, C: Idx> Operator for SparseOperator<'_, R, C> {
    fn nrows(&self) -> usize {
        self.a.n_rows()
    }
    fn ncols(&self) -> usize {
        self.a.n_cols()
    }
    fn apply(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
        sparse_product::sparse_mul(self.a, x, out);
    }
    fn apply_transposed(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
        sparse_product::sparse_mul(&self.transpose, x, out);
    }
    fn is_symmetric(&self) -> bool {
        false // Rows and columns are different things.
    }
    fn normal_single(&self, x: &[f32], transposed: bool) -> Option<Vec<f32>> {
        let width = sparse_product::SINGLE_WIDTH;
        let mut out = vec![0.0; x.len()];
        if transposed {
            let mut inner = vec![0.0; self.a.n_cols() * width];
            sparse_product::sparse_mul_single(&self.transpose, x, &mut inner);
            sparse_product::sparse_mul_single(self.a, &inner, &mut out);
        } else {
            let mut inner = vec![0.0; self.a.n_rows() * width];
            sparse_product::sparse_mul_single(self.a, x, &mut inner);
            sparse_product::sparse_mul_single(&self.transpose, &inner, &mut out);
        }
        Some(out)
    }
    fn operations(&self) -> f64 {
        20.0 * self.a.nnz() as f64
    }
    fn is_zero(&self) -> bool {
        self.a.values().iter().all(|&x| x == 0.0)
    }
}

/// Aᵀ by exchanging the two products.
pub(super) struct Transposed<'a, A>(pub(super) &'a A);

impl<A: Operator> Operator for Transposed<'_, A> {
    fn nrows(&self) -> usize {
        self.0.ncols()
    }
    fn ncols(&self) -> usize {
        self.0.nrows()
    }
    fn apply(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
        self.0.apply_transposed(x, out);
    }
    fn apply_transposed(&self, x: MatRef<'_, f64>, out: MatMut<'_, f64>) {
        self.0.apply(x, out);
    }
    fn is_symmetric(&self) -> bool {
        self.0.is_symmetric()
    }
    fn normal_single(&self, x: &[f32], transposed: bool) -> Option<Vec<f32>> {
        self.0.normal_single(x, !transposed)
    }
    fn operations(&self) -> f64 {
        self.0.operations()
    }
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// `A x` as a new matrix.
pub(super) fn product<A: Operator>(a: &A, x: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), x.ncols());
    a.apply(x, out.as_mut());
    out
}

/// `Aᵀ x` as a new matrix.
pub(super) fn product_transposed<A: Operator>(a: &A, x: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.ncols(), x.ncols());
    a.apply_transposed(x, out.as_mut());
    out
}
