//! The k largest singular triplets of a dense or sparse matrix.
//!
//! Four solvers, chosen by size and density:
//! - small matrices, or k near the full rank: faer's full SVD, cut to k;
//! - symmetric dense matrices: block Lanczos with full reorthogonalisation and thick restart ([`lanczos`]), one product a
//!   step and one basis to keep;
//! - large sparse matrices whose values or residuals are asked for to no more than five digits: block Lanczos on AᵀA in
//!   single precision, finished in double ([`normal`]);
//! - everything else: block Golub-Kahan-Lanczos bidiagonalisation, likewise ([`golub_kahan`]). It works on A itself, never
//!   on AᵀA, so small singular values keep their digits.
//!
//! Blocks, because a block of products runs at the speed of a matrix product where single vectors run at the speed of
//! memory; random start (Musco & Musco 2015), so that clustered and multiple values are found, which a single-vector
//! Lanczos misses or, as faer's `partial_svd`, spins on. Whatever the solver: the residuals
//! |Av - su| and |Aᵀu - sv| are computed with A at the end and compared with the stated tolerance.

mod goal;
mod golub_kahan;
mod krylov;
mod lanczos;
mod normal;
mod operator;

use faer::{Mat, MatRef};

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::linalg::{dense, sparse_product};
use crate::{Error, Result};
use goal::Goal;
use krylov::Triplets;
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

/// Single precision is tried for tolerances from here on.
const SINGLE_FROM: f64 = 1e-7;

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
#[doc(alias = "svds")]
#[doc(alias = "TruncatedSVD")]
#[derive(Debug, Clone, PartialEq)]
pub struct TruncatedSvd {
    k: usize,
    goal: Goal,
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
    /// A bound on the relative error of the values that follows from the residuals and the gaps between the values.
    pub value_error: f64,
    /// Products with A and with Aᵀ, counted in blocks; 0 from the full solver.
    pub products: usize,
}

impl TruncatedSvd {
    /// The `k` largest triplets, to a relative residual of 1e-10.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            goal: Goal::Residual(1e-10),
            max_restarts: 60,
            seed: 0,
            solver: SvdSolver::Auto,
            block: None,
        }
    }

    /// Largest residual relative to the largest singular value; default 1e-10. The error of a singular value is of the
    /// order of its squared residual over the gap, the error of a vector of the residual over the gap.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.goal = Goal::Residual(tolerance);
        self
    }

    /// Instead of a tolerance on the residuals one on the values: the largest relative error of a singular value, as
    /// [`Svd::value_error`] bounds it. Values are far more accurate than their vectors, so where they (or the space that
    /// the vectors span) are what is wanted, this takes a fraction of the time.
    ///
    /// ```
    /// use cairn_recsys::{TruncatedSvd, synthetic};
    /// let matrix = synthetic::power_law(600, 400, 20_000, 0)?;
    /// let quick = TruncatedSvd::new(5).value_tolerance(1e-6).fit_sparse(&matrix)?;
    /// let exact = TruncatedSvd::new(5).fit_sparse(&matrix)?;
    /// assert!(quick.value_error <= 1e-6 && quick.products <= exact.products);
    /// assert!(quick.s.iter().zip(&exact.s).all(|(a, b)| (a - b).abs() <= 1e-6 * b));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[must_use]
    pub fn value_tolerance(mut self, tolerance: f64) -> Self {
        self.goal = Goal::Values(tolerance);
        self
    }

    setters! {
        /// How often the Krylov basis may be compressed and grown again; default 60.
        max_restarts(restarts: usize);
        /// Seed of the random start; default 0.
        seed(seed: u64);
        /// Solver; default [`SvdSolver::Auto`].
        solver(solver: SvdSolver);
    }

    /// Width of the Krylov block; by default 8 for symmetric matrices, else a third of k, between 8 and 16. Narrow blocks
    /// need fewer products, wide ones make each cheaper. A value that occurs more often than the block is wide may be
    /// reported too few times. Setting it keeps to double precision throughout.
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
                        entry: None,
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
    /// [`Error::Empty`], [`Error::Parameter`], [`Error::InvalidValue`] and [`Error::NotConverged`], each for what it stands for with
    /// [`fit_dense`](Self::fit_dense).
    pub fn fit_sparse<R: Idx, C: Idx>(&self, a: &Csr<R, C>) -> Result<Svd> {
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
        let tolerance = self.goal.tolerance();
        if !(tolerance > 0.0 && tolerance.is_finite()) {
            return Err(Error::parameter("tolerance", tolerance, "a positive number"));
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
        let (u, v) = (u.subcols(0, self.k).to_owned(), v.subcols(0, self.k).to_owned());
        let beyond = s.split_off(self.k).into_iter().map(|s| (s, 0.0)).collect();
        self.finish(&DenseOperator::new(a), Triplets { u, s, v, beyond, av: None, products: 0 })
    }

    fn krylov<A: Operator>(&self, a: &A) -> Result<Svd> {
        if a.is_zero() {
            let (u, v) = (Mat::identity(a.nrows(), self.k), Mat::identity(a.ncols(), self.k));
            let (s, beyond) = (vec![0.0; self.k], vec![(0.0, 0.0)]);
            return self.finish(a, Triplets { u, s, v, beyond, av: None, products: 0 });
        }
        // One product a step instead of two, and no second basis: there the products saved count for more.
        let usual = if a.is_symmetric() { 8 } else { (self.k / 3).clamp(8, 16) };
        let block = self.block.unwrap_or(usual);
        let side = a.nrows().min(a.ncols());
        let plan = krylov::Plan::new(self.k, block, side, self.max_restarts, self.seed);
        if a.is_symmetric() {
            return self.finish(a, lanczos::solve(a, &plan, self.goal)?);
        }
        let tall = a.nrows() >= a.ncols();
        if self.block.is_none() && self.goal.tolerance() >= SINGLE_FROM {
            // The check comes first: it goes by A v.
            let svd = if tall {
                self.single(a, &plan)?
            } else {
                self.single(&operator::Transposed(a), &plan)?.map(|svd| Svd { u: svd.v, v: svd.u, ..svd })
            };
            if let Some(mut svd) = svd {
                fix_signs(&mut svd.u, &mut svd.v);
                return Ok(svd);
            }
        }
        let found = if tall {
            golub_kahan::solve(a, &plan, self.goal)?
        } else {
            golub_kahan::solve(&operator::Transposed(a), &plan, self.goal)?.transposed()
        };
        self.finish(a, found)
    }

    /// The space of the right vectors in single precision, then its triplets in double: A V = Q R, R = P S Wᵀ. `None` if
    /// that does not reach the goal.
    fn single<A: Operator>(&self, a: &A, plan: &krylov::Plan) -> Result<Option<Svd>> {
        let Some(normal::Space { v, beyond, products }) = normal::solve(a, plan, self.goal)? else {
            return Ok(None);
        };
        let (v, _) = dense::thin_qr(v.as_ref());
        let av = operator::product(a, v.as_ref());
        let (q, r) = dense::thin_qr(av.as_ref());
        let (p, s, w) = dense::thin_svd(r.as_ref())?;
        let (u, v) = (dense::mul(q.as_ref(), p.as_ref()), dense::mul(v.as_ref(), w.as_ref()));
        let av = Some(dense::mul(av.as_ref(), w.as_ref()));
        Ok(self.finish(a, Triplets { u, s, v, beyond, av, products: products + 1 }).ok())
    }

    /// Sets the signs and holds the result against A.
    fn finish<A: Operator>(&self, a: &A, found: Triplets) -> Result<Svd> {
        let Triplets { mut u, s, mut v, beyond, av, products } = found;
        let av = av.unwrap_or_else(|| operator::product(a, v.as_ref()));
        let mut residuals = residuals(a, &u, &s, &v, &av);
        fix_signs(&mut u, &mut v);
        let worst =
            residuals.iter().fold(0.0_f64, |m, &r| if r.is_finite() { m.max(r) } else { f64::INFINITY });
        let residual = if s[0] > 0.0 { worst / s[0] } else { worst };
        let mut values = s.clone();
        for (value, residual) in beyond {
            values.push(value);
            residuals.push(residual);
        }
        let value_error = goal::value_error(&values, &residuals, s.len());
        let (reached, tolerance) = match self.goal {
            Goal::Residual(tolerance) => (residual, tolerance.max(1e-13)),
            Goal::Values(tolerance) => (value_error, tolerance.max(1e-13)),
        };
        if reached <= tolerance {
            Ok(Svd { u, s, v, residual, value_error, products })
        } else {
            Err(Error::NotConverged {
                what: "truncated SVD",
                residual: reached,
                tolerance: self.goal.tolerance(),
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

/// For each triplet the larger of |Av - su| and |Aᵀu - sv|.
fn residuals<A: Operator>(a: &A, u: &Mat<f64>, s: &[f64], v: &Mat<f64>, av: &Mat<f64>) -> Vec<f64> {
    let atu = operator::product_transposed(a, u.as_ref());
    let distance = |got: &Mat<f64>, vectors: &Mat<f64>, j: usize| {
        let (got, vector) = (got.col(j), vectors.col(j));
        (0..got.nrows()).map(|i| (got[i] - s[j] * vector[i]).powi(2)).sum::<f64>().sqrt()
    };
    (0..s.len()).map(|j| distance(av, u, j).max(distance(&atu, v, j))).collect()
}
