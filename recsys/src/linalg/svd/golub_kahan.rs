//! Block Golub-Kahan-Lanczos bidiagonalisation with full reorthogonalisation and thick restart
//! (Golub, Luk & Overton 1981; Baglama & Reichel 2005).
//!
//! Orthonormal bases V (columns of A) and U (rows of A) grow by a block a step so that `A V = U B` holds exactly and
//! `Aᵀ U = V Bᵀ + V⁺ S Eᵀ`, where V⁺ is the next block and E picks U's last one. The SVD `B = P Σ Wᵀ` then gives triplets
//! (U p, σ, V w) with A v - σ u = 0 and |Aᵀu - σv| = |S Eᵀp|, known without a product. On restart the leading triplets
//! replace the bases and B becomes diagonal; V⁺ carries on.

use faer::{Mat, MatRef};

use super::goal::Goal;
use super::krylov::{Looks, Plan, STOP, Triplets, orthonormalize, random_block, rng};
use super::operator::{Operator, product, product_transposed};
use crate::Result;
use crate::linalg::dense;

/// Needs at least as many rows as columns. Returns what was reached even if the tolerance was not.
pub(super) fn solve<A: Operator>(a: &A, plan: &Plan, goal: Goal) -> Result<Triplets> {
    let mut rng = rng(plan.seed);
    let side = a.ncols();
    let mut v = Mat::<f64>::zeros(side, plan.capacity);
    let mut u = Mat::<f64>::zeros(a.nrows(), plan.capacity);
    let mut b = Mat::<f64>::zeros(plan.capacity, plan.capacity);
    let (mut size, mut products, mut restarts) = (0, 0, 0);
    let mut looks = Looks::new();
    let start = random_block(side, plan.block, &mut rng);
    let mut next = orthonormalize(start, v.subcols(0, 0), &mut rng).q;
    loop {
        let width = next.ncols();
        v.subcols_mut(size, width).copy_from(&next);
        let left = orthonormalize(product(a, next.as_ref()), u.subcols(0, size), &mut rng);
        b.submatrix_mut(0, size, size, width).copy_from(&left.c);
        b.submatrix_mut(size, size, width, width).copy_from(&left.r);
        u.subcols_mut(size, width).copy_from(&left.q);
        let image = product_transposed(a, left.q.as_ref());
        products += 2;
        let last = size;
        size += width;

        // At the end of the whole space there is less than a block left, or nothing.
        let room = (side - size).min(width);
        let right = orthonormalize(image.subcols(0, room).to_owned(), v.subcols(0, size), &mut rng);
        next = right.q;
        let complete = size == side;
        let full = !plan.has_room(size);
        if !(complete
            || full
            || (room == width && looks.due(2.0 * width as f64 * a.operations(), size, plan.k)))
        {
            continue;
        }
        let (p, sigma, w) = dense::thin_svd(b.submatrix(0, 0, size, size))?;
        let shown = (2 * plan.k).min(size);
        let tails = p.submatrix(last, 0, width, shown);
        let residuals = if complete { vec![0.0; shown] } else { column_norms(right.r.as_ref(), tails) };
        if goal.distance(&sigma[..shown], &residuals, plan.k) <= STOP
            || (full && restarts == plan.max_restarts)
        {
            return Ok(Triplets {
                u: dense::mul(u.subcols(0, size), p.subcols(0, plan.k)),
                v: dense::mul(v.subcols(0, size), w.subcols(0, plan.k)),
                s: sigma[..plan.k].to_vec(),
                beyond: sigma.into_iter().zip(residuals).skip(plan.k).collect(),
                av: None,
                products,
            });
        }
        if full {
            restarts += 1;
            compress(&mut u, size, p.subcols(0, plan.keep));
            compress(&mut v, size, w.subcols(0, plan.keep));
            b.fill(0.0);
            for i in 0..plan.keep {
                b[(i, i)] = sigma[i];
            }
            size = plan.keep;
        }
    }
}

/// Replaces the first `size` basis vectors by their combinations `coefficients`.
pub(super) fn compress(basis: &mut Mat<f64>, size: usize, coefficients: MatRef<'_, f64>) {
    let kept = dense::mul(basis.subcols(0, size), coefficients);
    basis.subcols_mut(0, coefficients.ncols()).copy_from(&kept);
}

/// The norms of the columns of `s tails`: the residuals of the Ritz vectors.
pub(super) fn column_norms(s: MatRef<'_, f64>, tails: MatRef<'_, f64>) -> Vec<f64> {
    let product = dense::mul(s, tails);
    (0..product.ncols()).map(|j| product.col(j).norm_l2()).collect()
}
