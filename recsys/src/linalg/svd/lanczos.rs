//! Block Lanczos for a symmetric matrix, with full reorthogonalisation and thick restart (Wu & Simon 2000).
//!
//! One orthonormal basis V grows by a block a step with `A V = V T + V⁺ S Eᵀ`. Eigenpairs (θ, y) of the small T give
//! Av - θv of norm |S Eᵀy|; those of largest |θ| are the singular triplets s = |θ|, v, u = sign(θ) v. Half the products and
//! half the basis of the bidiagonalisation.

use faer::Mat;

use super::goal::Goal;
use super::golub_kahan::{column_norms, compress};
use super::krylov::{Looks, Plan, STOP, Triplets, orthonormalize, random_block, rng};
use super::operator::{Operator, product};
use crate::Result;
use crate::linalg::dense;

/// Returns what was reached even if the tolerance was not.
pub(super) fn solve<A: Operator>(a: &A, plan: &Plan, goal: Goal) -> Result<Triplets> {
    let mut rng = rng(plan.seed);
    let side = a.ncols();
    let mut v = Mat::<f64>::zeros(side, plan.capacity);
    let mut t = Mat::<f64>::zeros(plan.capacity, plan.capacity);
    let (mut size, mut products, mut restarts) = (0, 0, 0);
    let mut looks = Looks::new();
    let start = random_block(side, plan.block, &mut rng);
    let mut next = orthonormalize(start, v.subcols(0, 0), &mut rng).q;
    loop {
        let width = next.ncols();
        v.subcols_mut(size, width).copy_from(&next);
        let image = product(a, next.as_ref());
        products += 1;
        let last = size;
        size += width;
        let complete = size == side;
        let room = (side - size).min(width);
        let step = if room == width {
            let step = orthonormalize(image, v.subcols(0, size), &mut rng);
            t.submatrix_mut(0, last, size, width).copy_from(&step.c);
            step
        } else {
            // Less than a block is left: project the whole image, continue with as many columns as there is room for.
            let c = dense::mul_transposed(v.subcols(0, size), image.as_ref());
            t.submatrix_mut(0, last, size, width).copy_from(&c);
            orthonormalize(image.subcols(0, room).to_owned(), v.subcols(0, size), &mut rng)
        };
        next = step.q;
        let full = !plan.has_room(size);
        if !(complete || full || (room == width && looks.due(width as f64 * a.operations(), size, plan.k))) {
            continue;
        }
        // T is symmetric in exact arithmetic; the blocks above the diagonal were computed, so mirror those.
        let small = Mat::from_fn(size, size, |i, j| t[(i.min(j), i.max(j))]);
        let (theta, y) = dense::symmetric_eigen(small.as_ref())?;
        let order = descending(&theta);
        let leading = |n: usize| Mat::from_fn(size, n, |i, j| y[(i, order[j])]);
        let shown = (2 * plan.k).min(size);
        let found = leading(shown);
        let tails = found.subrows(last, width);
        let residuals = if complete { vec![0.0; shown] } else { column_norms(step.r.as_ref(), tails) };
        let values: Vec<f64> = order[..shown].iter().map(|&j| theta[j].abs()).collect();
        if goal.distance(&values, &residuals, plan.k) <= STOP || (full && restarts == plan.max_restarts) {
            let v = dense::mul(v.subcols(0, size), found.subcols(0, plan.k));
            let sign = |j: usize| if theta[order[j]] < 0.0 { -1.0 } else { 1.0 };
            let u = Mat::from_fn(side, plan.k, |i, j| v[(i, j)] * sign(j));
            let s = values[..plan.k].to_vec();
            let beyond = values.into_iter().zip(residuals).skip(plan.k).collect();
            return Ok(Triplets { u, s, v, beyond, av: None, products });
        }
        if full {
            restarts += 1;
            compress(&mut v, size, leading(plan.keep).as_ref());
            t.fill(0.0);
            for i in 0..plan.keep {
                t[(i, i)] = theta[order[i]];
            }
            size = plan.keep;
        }
    }
}

/// The order of falling magnitude.
pub(super) fn descending(theta: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..theta.len()).collect();
    order.sort_by(|&i, &j| theta[j].abs().total_cmp(&theta[i].abs()));
    order
}
