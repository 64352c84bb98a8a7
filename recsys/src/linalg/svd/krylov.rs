//! What both Krylov solvers share: the plan of sizes, the random start, and orthogonalisation that cannot fail.

use faer::{Accum, Mat, MatRef};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64;

use crate::linalg::dense;

/// Sizes and limits of one solve.
pub(super) struct Plan {
    pub(super) k: usize,
    /// Width of the block.
    pub(super) block: usize,
    /// Basis vectors kept before a restart.
    pub(super) capacity: usize,
    /// Ritz vectors carried over a restart: somewhat more than k, which speeds up the last of the k.
    pub(super) keep: usize,
    pub(super) max_restarts: usize,
    pub(super) seed: u64,
    /// Whether the basis may grow until it spans the whole space.
    whole: bool,
}

/// When to look at the Ritz values: each look costs a small dense decomposition, each step two block products. Looks are
/// taken when the products since the last one cost at least as much, by a count of operations, so that the moments do not
/// depend on the clock.
pub(super) struct Looks {
    spent: f64,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self { spent: 0.0 }
    }

    /// Adds a step's operations and says whether a look at a basis of `size` is due.
    pub(super) fn due(&mut self, operations: f64, size: usize, k: usize) -> bool {
        self.spent += operations;
        let look = 25.0 * (size as f64).powi(3);
        let due = size > k && self.spent >= look;
        if due {
            self.spent = 0.0;
        }
        due
    }
}

impl Plan {
    /// Whether there is room for another block in a basis of `size` vectors.
    pub(super) fn has_room(&self, size: usize) -> bool {
        size + self.block <= self.capacity || (self.whole && size < self.capacity)
    }

    pub(super) fn new(k: usize, block: usize, side: usize, max_restarts: usize, seed: u64) -> Self {
        let block = block.min(side);
        let keep = (k + block.min(k / 2 + 8)).min(side);
        let capacity = keep + block * (4 * k).saturating_sub(keep).div_ceil(block).max(6);
        // With no room for one more block beyond the basis, the basis may as well span everything.
        let capacity = if capacity + block > side { side } else { capacity };
        let whole = capacity == side;
        Self { k, block, capacity, keep, max_restarts, seed, whole }
    }
}

/// The distance from the goal at which to stop. The check at the end is against A: a little later, so that rounding does not
/// decide.
pub(super) const STOP: f64 = 0.5;

/// Triplets found, with k columns.
pub(super) struct Triplets {
    pub(super) u: Mat<f64>,
    pub(super) s: Vec<f64>,
    pub(super) v: Mat<f64>,
    /// Values after the k-th, and their residuals, as far as the basis shows them.
    pub(super) beyond: Vec<(f64, f64)>,
    /// A v, where it is known already.
    pub(super) av: Option<Mat<f64>>,
    pub(super) products: usize,
}

impl Triplets {
    pub(super) fn transposed(self) -> Self {
        Self { u: self.v, v: self.u, av: None, ..self }
    }
}

pub(super) fn random_block(rows: usize, columns: usize, rng: &mut Pcg64) -> Mat<f64> {
    Mat::from_fn(rows, columns, |_, _| rng.sample(StandardNormal))
}

pub(super) fn rng(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

/// A block in terms of an orthonormal basis and of new directions: `y = basis c + q r`.
pub(super) struct Orthogonal {
    pub(super) q: Mat<f64>,
    pub(super) c: Mat<f64>,
    pub(super) r: Mat<f64>,
}

/// Orthonormalises `y` against `basis` and within itself.
///
/// Each pass projects and then normalises, so the next one works on unit columns; two passes are enough unless a column
/// lay (nearly) inside the basis. Such a column is replaced by a random one, with zeros in its row of `r`: the space keeps
/// growing where A has nothing more to say, which is what finds repeated values and the null space.
pub(super) fn orthonormalize(y: Mat<f64>, basis: MatRef<'_, f64>, rng: &mut Pcg64) -> Orthogonal {
    const PASSES: usize = 8;
    let width = y.ncols();
    let mut c = Mat::<f64>::zeros(basis.ncols(), width);
    let mut r = Mat::<f64>::identity(width, width);
    let mut q = y;
    for pass in 0..PASSES {
        if basis.ncols() > 0 {
            let projection = dense::mul_transposed(basis, q.as_ref());
            dense::mul_into(q.as_mut(), Accum::Add, basis, projection.as_ref(), -1.0);
            dense::mul_into(c.as_mut(), Accum::Add, projection.as_ref(), r.as_ref(), 1.0);
        }
        let (next, step) = normalize(q.as_ref(), pass > 0);
        q = next;
        r = dense::mul(step.as_ref(), r.as_ref());
        if pass == 0 {
            continue;
        }
        let smallest = (0..width).map(|i| step[(i, i)].abs()).fold(f64::INFINITY, f64::min);
        if smallest > 0.5 {
            break;
        }
        for i in (0..width).filter(|&i| step[(i, i)].abs() < 1e-6) {
            let fresh = random_block(q.nrows(), 1, rng);
            let norm = fresh.norm_l2();
            for row in 0..q.nrows() {
                q[(row, i)] = fresh[(row, 0)] / norm;
            }
            r.row_mut(i).fill(0.0);
        }
    }
    Orthogonal { q, c, r }
}

/// QR; by the Cholesky factor of the Gram matrix (parallel products only) if the columns are known to be nearly
/// orthonormal, by Householder reflections otherwise.
fn normalize(y: MatRef<'_, f64>, nearly_orthonormal: bool) -> (Mat<f64>, Mat<f64>) {
    if nearly_orthonormal {
        let mut gram = dense::mul_transposed(y, y);
        let n = gram.nrows();
        let mut memory = dense::cholesky_memory::<f64>(n);
        if dense::cholesky_in_place(gram.as_mut(), &mut memory).is_ok() && (0..n).all(|i| gram[(i, i)] > 0.5)
        {
            let r = Mat::from_fn(n, n, |i, j| if i <= j { gram[(j, i)] } else { 0.0 });
            let mut inverse = Mat::<f64>::identity(n, n);
            faer::linalg::triangular_solve::solve_upper_triangular_in_place(
                r.as_ref(),
                inverse.as_mut(),
                faer::Par::Seq,
            );
            return (dense::mul(y, inverse.as_ref()), r);
        }
    }
    dense::thin_qr(y)
}
