//! Block Lanczos on AᵀA in single precision, for a decomposition that [`super`] then finishes in double.
//!
//! The products with a large sparse matrix are all the cost, and they are bound by fetching the rows of the block: in single
//! precision a row of sixteen is one cache line. AᵀA needs one basis, on the shorter side. What its squared values and the
//! seven digits cost in accuracy is made up for afterwards: values that a subspace gives are off by the square of the
//! subspace's error, so a subspace good to four digits, projected once more in double precision, gives values good to
//! eight. The residuals, in double precision too, tell whether it did; where they say no, the bidiagonalisation takes over.

use faer::{Accum, Mat, MatRef};

use super::goal::Goal;
use super::golub_kahan::column_norms;
use super::krylov::{Looks, Plan, random_block, rng};
use super::lanczos::descending;
use super::operator::Operator;
use crate::Result;
use crate::linalg::{dense, sparse_product::SINGLE_WIDTH};

/// Right vectors that span (nearly) the space of the k largest values, and what is known of the values beyond.
pub(super) struct Space {
    pub(super) v: Mat<f64>,
    /// Values after the k-th, and their residuals |Aᵀu - sv|.
    pub(super) beyond: Vec<(f64, f64)>,
    pub(super) products: usize,
}

/// `None` if single precision is no use here, or does not get there.
pub(super) fn solve<A: Operator>(a: &A, plan: &Plan, goal: Goal) -> Result<Option<Space>> {
    let (side, k) = (a.ncols(), plan.k);
    // Twice what the other solvers keep: one basis in half the bytes, for hardly any restarts.
    let capacity = (8 * k).next_multiple_of(SINGLE_WIDTH) + 8 * SINGLE_WIDTH;
    if side < 2 * capacity {
        return Ok(None);
    }
    let mut rng = rng(plan.seed);
    let mut v = Mat::<f32>::zeros(side, capacity);
    let mut t = Mat::<f64>::zeros(capacity, capacity);
    let (mut size, mut products, mut restarts) = (0, 0, 0);
    let mut looks = Looks::new();
    let start = random_block(side, SINGLE_WIDTH, &mut rng);
    let mut next = orthonormalize(to_single(start.as_ref()), v.subcols(0, 0)).q;
    loop {
        v.subcols_mut(size, SINGLE_WIDTH).copy_from(&next);
        let Some(image) = a.normal_single(&row_major(next.as_ref()), false) else { return Ok(None) };
        products += 2;
        let last = size;
        size += SINGLE_WIDTH;
        let step = orthonormalize(column_major(&image), v.subcols(0, size));
        t.submatrix_mut(0, last, size, SINGLE_WIDTH).copy_from(&step.c);
        next = step.q;
        let full = size + SINGLE_WIDTH > capacity;
        if !(full || looks.due(2.0 * SINGLE_WIDTH as f64 * a.operations(), size, k)) {
            continue;
        }
        let small = Mat::from_fn(size, size, |i, j| t[(i.min(j), i.max(j))]);
        let (theta, y) = dense::symmetric_eigen(small.as_ref())?;
        let order = descending(&theta);
        let leading = |n: usize| Mat::from_fn(size, n, |i, j| y[(i, order[j])]);
        let shown = (2 * k + SINGLE_WIDTH).min(size);
        let tails = column_norms(step.r.as_ref(), leading(shown).subrows(last, SINGLE_WIDTH));
        let values: Vec<f64> = order[..shown].iter().map(|&j| theta[j].max(0.0).sqrt()).collect();
        // |AᵀAv - s²v| = s |Aᵀu - sv|.
        let residuals: Vec<f64> = tails.iter().zip(&values).map(|(tail, value)| tail / value).collect();
        // Below the rounding of the largest a value has no digits here.
        if values[k - 1].is_nan() || values[k - 1] <= 1e-3 * values[0] {
            return Ok(None);
        }
        if goal.distance(&values, &residuals, k) <= 0.5 {
            let basis = multiply(v.subcols(0, size), leading(k).as_ref());
            let v = Mat::from_fn(side, k, |i, j| f64::from(basis[(i, j)]));
            let beyond = values.into_iter().zip(residuals).skip(k).collect();
            return Ok(Some(Space { v, beyond, products }));
        }
        if full {
            if restarts == plan.max_restarts.min(4) {
                return Ok(None);
            }
            restarts += 1;
            let keep = (k + k / 2).next_multiple_of(SINGLE_WIDTH);
            let kept = multiply(v.subcols(0, size), leading(keep).as_ref());
            v.subcols_mut(0, keep).copy_from(&kept);
            t.fill(0.0);
            for i in 0..keep {
                t[(i, i)] = theta[order[i]];
            }
            size = keep;
        }
    }
}

/// A block in terms of a basis and of new directions, `y = basis c + q r`; the coefficients in double precision.
struct Orthogonal {
    q: Mat<f32>,
    c: Mat<f64>,
    r: Mat<f64>,
}

/// Twice projected and normalised, which leaves the new directions orthogonal to working precision.
fn orthonormalize(y: Mat<f32>, basis: MatRef<'_, f32>) -> Orthogonal {
    let width = y.ncols();
    let (mut q, mut r) = (y, Mat::<f64>::identity(width, width));
    let mut c = Mat::<f64>::zeros(basis.ncols(), width);
    for _ in 0..2 {
        if basis.ncols() > 0 {
            let projection = dense::mul_transposed(basis, q.as_ref());
            dense::mul_into(q.as_mut(), Accum::Add, basis, projection.as_ref(), -1.0);
            dense::mul_into(c.as_mut(), Accum::Add, to_double(projection.as_ref()).as_ref(), r.as_ref(), 1.0);
        }
        let (next, step) = dense::thin_qr(to_double(q.as_ref()).as_ref());
        q = to_single(next.as_ref());
        r = dense::mul(step.as_ref(), r.as_ref());
    }
    Orthogonal { q, c, r }
}

fn multiply(basis: MatRef<'_, f32>, coefficients: MatRef<'_, f64>) -> Mat<f32> {
    dense::mul(basis, to_single(coefficients).as_ref())
}

fn to_single(a: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[(i, j)] as f32)
}

fn to_double(a: MatRef<'_, f32>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| f64::from(a[(i, j)]))
}

fn row_major(x: MatRef<'_, f32>) -> Vec<f32> {
    let mut rows = vec![0.0; x.nrows() * x.ncols()];
    for (i, row) in rows.chunks_exact_mut(x.ncols()).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, out)| *out = x[(i, j)]);
    }
    rows
}

fn column_major(x: &[f32]) -> Mat<f32> {
    Mat::from_fn(x.len() / SINGLE_WIDTH, SINGLE_WIDTH, |i, j| x[i * SINGLE_WIDTH + j])
}
