//! The k largest singular triplets of a dense or sparse matrix.
//!
//! Three solvers, chosen by size and density:
//! - small matrices, or k near the full rank: faer's full SVD, cut to k;
//! - symmetric dense matrices: block Lanczos with full reorthogonalisation and thick restart ([`lanczos`]), one product a
//!   step and one basis to keep;
//! - everything else: block Golub-Kahan-Lanczos bidiagonalisation, likewise ([`golub_kahan`]). It works on A itself, never
//!   on AᵀA, so small singular values keep their digits.
//!
//! Blocks, because a block of products runs at the speed of a matrix product where single vectors run at the speed of
//! memory; random start (Musco & Musco 2015), so that clustered and multiple values are found, which a single-vector
//! Lanczos misses or, as faer's `partial_svd`, spins on. Whatever the solver: the residuals
//! |Av - su| and |Aᵀu - sv| are computed with A at the end and compared with the stated tolerance.

mod golub_kahan;
mod krylov;
mod lanczos;
mod operator;

use faer::{Mat, MatRef};

use crate::ids::Index;
use crate::linalg::{dense, sparse_product};
use crate::sparse::Csr;
use crate::{Error, Result};
use operator::{DenseOperator, Operator, SparseOperator};

/// Which solver finds the triplets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SvdSolver {
    /// By size and density. The default.
    #[default]
    Auto,
    /// faer's full SVD of the dense matrix, cut to k. Sparse input is expanded.
    Full,
    /// The block Krylov solvers.
    Krylov,
}

/// Settings for a truncated SVD; [`fit_dense`](Self::fit_dense) and [`fit_sparse`](Self::fit_sparse) compute it.
///
/// ```
/// use cairn_recsys::TruncatedSvd;
/// let a = faer::Mat::from_fn(30, 20, |i, j| ((i * 7 + j * 3) % 11) as f64);
/// let svd = TruncatedSvd::new(5).fit_dense(a.as_ref())?;
/// assert_eq!((svd.u.nrows(), svd.s.len(), svd.v.nrows()), (30, 5, 20));
/// assert!(svd.residual < 1e-8 && svd.s.is_sorted_by(|a, b| a >= b));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TruncatedSvd {
    k: usize,
    tolerance: f64,
    max_restarts: usize,
    seed: u64,
    solver: SvdSolver,
    block: Option<usize>,
}

/// The k largest singular triplets: A v = s u, Aᵀ u = s v.
#[derive(Debug, Clone)]
pub struct Svd {
    /// Left vectors, one a column: rows x k, orthonormal. In each column the entry of the largest magnitude is positive
    /// (as scikit-learn's `svd_flip` has it), so equal input gives equal signs.
    pub u: Mat<f64>,
    /// Singular values, descending, none negative.
    pub s: Vec<f64>,
    /// Right vectors, one a column: columns x k, orthonormal.
    pub v: Mat<f64>,
    /// The largest of |Av - su| and |Aᵀu - sv| over all triplets, relative to the largest singular value.
    pub residual: f64,
    /// Products with A and with Aᵀ, counted in blocks; 0 from the full solver.
    pub products: usize,
}

impl TruncatedSvd {
    /// The `k` largest triplets, to a relative residual of 1e-10.
    pub fn new(k: usize) -> Self {
        Self { k, tolerance: 1e-10, max_restarts: 60, seed: 0, solver: SvdSolver::Auto, block: None }
    }

    setters! {
        /// Largest residual relative to the largest singular value; default 1e-10. The error of a singular value is of the
        /// order of its squared residual over the gap, the error of a vector of the residual over the gap.
        tolerance(tolerance: f64);
        /// How often the Krylov basis may be compressed and grown again; default 60.
        max_restarts(restarts: usize);
        /// Seed of the random start; default 0.
        seed(seed: u64);
        /// Solver; default [`SvdSolver::Auto`].
        solver(solver: SvdSolver);
    }

    /// Width of the Krylov block; by default a third of k, between 8 and 16. Narrow blocks need fewer products, wide ones
    /// make each cheaper. A value that occurs more often than the block is wide may be reported too few times.
    #[must_use]
    pub fn block(mut self, width: usize) -> Self {
        self.block = Some(width);
        self
    }

    /// Decomposes a dense matrix.
    ///
    /// A zero matrix is no error: its values are 0 and its vectors the first unit vectors.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or columns; [`Error::Parameter`] if k is 0 or above the smaller side, or the
    /// tolerance is not positive; [`Error::InvalidValue`] at the first NaN or infinite entry; [`Error::NotConverged`] if
    /// the tolerance is not reached within the restarts allowed.
    pub fn fit_dense(&self, a: MatRef<'_, f64>) -> Result<Svd> {
        self.check(a.nrows(), a.ncols())?;
        for j in 0..a.ncols() {
            for i in 0..a.nrows() {
                if !a[(i, j)].is_finite() {
                    return Err(Error::InvalidValue {
                        what: "truncated SVD",
                        at: format!("({i}, {j})"),
                        value: a[(i, j)],
                        expected: "finite",
                    });
                }
            }
        }
        if self.wants_full(a.nrows(), a.ncols()) {
            return self.full(a);
        }
        // Column-major with unit stride: what the products are fast for.
        let owned;
        let a = if a.row_stride() == 1 {
            a
        } else {
            owned = a.to_owned();
            owned.as_ref()
        };
        self.krylov(&DenseOperator::new(a))
    }

    /// Decomposes a sparse matrix; entries not stored are zeros.
    ///
    /// # Errors
    /// As [`fit_dense`](Self::fit_dense).
    pub fn fit_sparse<R: Index, C: Index>(&self, a: &Csr<R, C>) -> Result<Svd> {
        self.check(a.n_rows(), a.n_cols())?;
        a.check_values("truncated SVD", "finite", f32::is_finite)?;
        let cells = a.n_rows() as f64 * a.n_cols() as f64;
        // A rating matrix this dense is better off as a dense one.
        let dense_enough = cells <= 4e6 && a.nnz() as f64 > 0.25 * cells;
        if self.wants_full(a.n_rows(), a.n_cols()) && (cells <= 4e6 || self.solver == SvdSolver::Full) {
            return self.full(sparse_product::to_dense(a).as_ref());
        }
        if dense_enough {
            return self.krylov(&DenseOperator::new(sparse_product::to_dense(a).as_ref()));
        }
        self.krylov(&SparseOperator::new(a))
    }

    fn check(&self, rows: usize, columns: usize) -> Result<()> {
        if rows == 0 || columns == 0 {
            return Err(Error::Empty { what: "the matrix to decompose" });
        }
        if self.k == 0 || self.k > rows.min(columns) {
            let expected = format!("1 to {} for a {rows} x {columns} matrix", rows.min(columns));
            return Err(Error::parameter("k", self.k, expected));
        }
        if !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(Error::parameter("tolerance", self.tolerance, "a positive number"));
        }
        if self.block == Some(0) {
            return Err(Error::parameter("block", 0, "at least 1"));
        }
        Ok(())
    }

    /// The full SVD costs the cube of the smaller side; a Krylov space of several times k must be well below that to pay.
    fn wants_full(&self, rows: usize, columns: usize) -> bool {
        let small = rows.min(columns);
        match self.solver {
            SvdSolver::Full => true,
            SvdSolver::Krylov => false,
            SvdSolver::Auto => small <= 160 || self.k * 4 > small,
        }
    }

    fn full(&self, a: MatRef<'_, f64>) -> Result<Svd> {
        let (u, mut s, v) = dense::thin_svd(a)?;
        s.truncate(self.k);
        let (u, v) = (u.subcols(0, self.k).to_owned(), v.subcols(0, self.k).to_owned());
        self.finish(&DenseOperator::new(a), u, s, v, 0)
    }

    fn krylov<A: Operator>(&self, a: &A) -> Result<Svd> {
        let block = self.block.unwrap_or((self.k / 3).clamp(8, 16));
        let plan = krylov::Plan::new(
            self.k,
            block,
            a.nrows().min(a.ncols()),
            self.tolerance,
            self.max_restarts,
            self.seed,
        );
        if a.is_zero() {
            let (u, v) = (Mat::identity(a.nrows(), self.k), Mat::identity(a.ncols(), self.k));
            return self.finish(a, u, vec![0.0; self.k], v, 0);
        }
        let found = if a.is_symmetric() {
            lanczos::solve(a, &plan)?
        } else if a.nrows() >= a.ncols() {
            golub_kahan::solve(a, &plan)?
        } else {
            golub_kahan::solve(&operator::Transposed(a), &plan)?.transposed()
        };
        self.finish(a, found.u, found.s, found.v, found.products)
    }

    /// Sets the signs and holds the result against A.
    fn finish<A: Operator>(
        &self,
        a: &A,
        mut u: Mat<f64>,
        s: Vec<f64>,
        mut v: Mat<f64>,
        products: usize,
    ) -> Result<Svd> {
        fix_signs(&mut u, &mut v);
        let residual = residual(a, &u, &s, &v);
        if residual <= self.tolerance.max(1e-13) {
            Ok(Svd { u, s, v, residual, products })
        } else {
            Err(Error::NotConverged {
                what: "truncated SVD",
                residual,
                tolerance: self.tolerance,
                iterations: products,
            })
        }
    }
}

/// Makes the first entry of largest magnitude in each left vector positive.
fn fix_signs(u: &mut Mat<f64>, v: &mut Mat<f64>) {
    for j in 0..u.ncols() {
        let mut largest = 0.0_f64;
        for &x in u.col(j).iter() {
            if x.abs() > largest.abs() {
                largest = x;
            }
        }
        if largest < 0.0 {
            u.col_mut(j).iter_mut().for_each(|x| *x = -*x);
            v.col_mut(j).iter_mut().for_each(|x| *x = -*x);
        }
    }
}

/// The largest of |Av - su| and |Aᵀu - sv|, relative to s1. NaN counts as infinite.
fn residual<A: Operator>(a: &A, u: &Mat<f64>, s: &[f64], v: &Mat<f64>) -> f64 {
    let scale = s[0];
    let (mut av, mut atu) = (Mat::zeros(a.nrows(), s.len()), Mat::zeros(a.ncols(), s.len()));
    a.apply(v.as_ref(), av.as_mut());
    a.apply_transposed(u.as_ref(), atu.as_mut());
    let mut worst = 0.0_f64;
    for (j, &s) in s.iter().enumerate() {
        for (got, vector) in [(&av, u), (&atu, v)] {
            let (got, vector) = (got.col(j), vector.col(j));
            let norm = (0..got.nrows()).map(|i| (got[i] - s * vector[i]).powi(2)).sum::<f64>().sqrt();
            worst = if norm.is_finite() { worst.max(norm) } else { f64::INFINITY };
        }
    }
    if scale > 0.0 { worst / scale } else { worst }
}
