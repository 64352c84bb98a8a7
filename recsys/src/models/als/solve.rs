//! Half a sweep of ALS: every vector of one side, the other side fixed.
//!
//! For one vector x with interactions of weight w: with rows z = √w y, targets √w and G = α₀ Σ y yᵀ over the whole other
//! side, minimise |Z x - √w|² + xᵀ G x + λ' |x|². The rows are gathered once into a buffer that stays in the cache; the
//! three solvers differ in what they do with it. Vectors are independent, so any schedule gives the same bits.

use rayon::prelude::*;

use super::{Als, AlsModel, AlsSolver};
use crate::ids::{Index, ItemIdx};
use crate::linalg::{dense, kernels};
use crate::models::factors::{Factors, Vectors};
use crate::sparse::{Csr, UserItems};
use crate::{Error, Result};

/// Rows that one task takes. Small, because popular items are a thousand times the work of rare ones.
const ROWS: usize = 16;

/// α₀ Σ y yᵀ, row-major, padded to whole vectors with zeros.
pub(super) fn weighted_gram(vectors: &Vectors, weight: f32) -> Vec<f32> {
    let dim = vectors.dim();
    let width = kernels::padded(dim);
    let columns = vectors.as_mat();
    let gram = gram_by_chunks(columns);
    let mut out = vec![0.0; width * width];
    for i in 0..dim {
        for j in 0..dim {
            // Mirror one triangle, so that the matrix is symmetric to the bit.
            out[i * width + j] = (f64::from(weight) * gram[(i.min(j), i.max(j))]) as f32;
        }
    }
    out
}

/// `Y Yᵀ` (dim x dim) in double precision from single-precision partial products of a few thousand vectors each.
fn gram_by_chunks(columns: faer::MatRef<'_, f32>) -> faer::Mat<f64> {
    const CHUNK: usize = 4096;
    let dim = columns.nrows();
    let partial: Vec<faer::Mat<f32>> = (0..columns.ncols().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let start = chunk * CHUNK;
            let part = columns.subcols(start, CHUNK.min(columns.ncols() - start));
            let mut out = faer::Mat::zeros(dim, dim);
            dense::mul_into(out.as_mut(), faer::Accum::Replace, part, part.transpose(), 1.0_f32);
            out
        })
        .collect();
    let mut sum = faer::Mat::<f64>::zeros(dim, dim);
    for part in &partial {
        for j in 0..dim {
            for i in 0..dim {
                sum[(i, j)] += f64::from(part[(i, j)]);
            }
        }
    }
    sum
}

/// Solves for all vectors of the row side of `matrix`.
pub(super) fn half_sweep<R: Index, C: Index>(
    settings: &Als,
    solver: AlsSolver,
    matrix: &Csr<R, C>,
    fixed: &Vectors,
    solved: &mut Vectors,
) -> Result<()> {
    let gram = weighted_gram(fixed, settings.unobserved_weight);
    let dim = settings.factors;
    let task = |(chunk, vectors): (usize, &mut [f32])| {
        let mut work = Work::new(dim);
        for (i, vector) in vectors.chunks_mut(dim).enumerate() {
            let row = R::from_u32((chunk * ROWS + i) as u32);
            let (columns, values) = matrix.row(row);
            work.gather(settings, fixed, columns, values);
            let lambda = frequency_scaled(settings, columns.len(), fixed.len());
            work.load(vector);
            work.solve(solver, &gram, lambda).map_err(|()| Error::Factorization {
                what: "normal equations of ALS",
                reason: format!(
                    "{} {} is not positive definite; raise the regularization",
                    R::KIND,
                    row.at()
                ),
            })?;
            vector.copy_from_slice(&work.x[..dim]);
        }
        Ok(())
    };
    solved.as_mut_slice().par_chunks_mut(ROWS * dim).enumerate().try_for_each(task)
}

/// λ (n + α₀ N)^ν.
fn frequency_scaled(settings: &Als, n: usize, all: usize) -> f32 {
    let frequency = n as f32 + settings.unobserved_weight * all as f32;
    settings.regularization * frequency.powf(settings.frequency_exponent)
}

/// Buffers of one task.
struct Work {
    width: usize,
    /// Rows z.
    z: Vec<f32>,
    /// Targets √w.
    target: Vec<f32>,
    /// The vector solved for, padded with zeros.
    x: Vec<f32>,
    h: Vec<f32>,
}

impl Work {
    fn new(dim: usize) -> Self {
        let width = kernels::padded(dim);
        Self { width, z: Vec::new(), target: Vec::new(), x: vec![0.0; width], h: Vec::new() }
    }

    fn gather<C: Index>(&mut self, settings: &Als, fixed: &Vectors, columns: &[C], values: &[f32]) {
        let (width, dim) = (self.width, fixed.dim());
        self.z.resize(columns.len() * width, 0.0);
        self.target.clear();
        self.target.extend(values.iter().map(|&value| settings.confidence.weight(value).sqrt()));
        let (z, roots) = (&mut self.z, &self.target);
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((column, &root), z) in columns.iter().zip(roots).zip(z.chunks_exact_mut(width)) {
                    let (head, pad) = z.split_at_mut(dim);
                    head.iter_mut().zip(fixed.get(column.at())).for_each(|(z, &y)| *z = root * y);
                    pad.fill(0.0);
                }
            },
        );
    }

    fn load(&mut self, x: &[f32]) {
        self.x[..x.len()].copy_from_slice(x);
    }

    fn solve(&mut self, solver: AlsSolver, gram: &[f32], lambda: f32) -> Result<(), ()> {
        match solver {
            AlsSolver::Cholesky => self.exact(gram, lambda),
            AlsSolver::ConjugateGradient { steps } => {
                self.conjugate_gradient(gram, lambda, steps);
                Ok(())
            }
            AlsSolver::Blocks { size } if kernels::padded(size) >= self.width => self.exact(gram, lambda),
            AlsSolver::Blocks { size } => self.blocks(gram, lambda, kernels::padded(size)),
        }
    }

    /// x = (ZᵀZ + G + λ)⁻¹ Zᵀ√w.
    fn exact(&mut self, gram: &[f32], lambda: f32) -> Result<(), ()> {
        self.normal_equations(gram, lambda);
        self.x.fill(0.0);
        kernels::add_rows(&self.z, self.width, 0, &self.target, &mut self.x);
        solve_or_refine(&mut self.h, &mut self.x)
    }

    /// h = ZᵀZ + G + λ.
    fn normal_equations(&mut self, gram: &[f32], lambda: f32) {
        let width = self.width;
        self.h.clear();
        self.h.extend_from_slice(gram);
        for i in 0..width {
            self.h[i * width + i] += lambda;
        }
        kernels::add_gram(&self.z, width, 0, width, &mut self.h);
    }

    /// One pass over the blocks: a Newton step in each, which for least squares is exact.
    fn blocks(&mut self, gram: &[f32], lambda: f32, size: usize) -> Result<(), ()> {
        let width = self.width;
        let mut residual = vec![0.0; self.target.len()];
        kernels::row_products(&self.z, &self.x, &mut residual);
        for (r, t) in residual.iter_mut().zip(&self.target) {
            *r -= t;
        }
        let mut start = 0;
        while start < width {
            let size = size.min(width - start);
            let mut step = vec![0.0; size];
            kernels::row_products(&gram[start * width..(start + size) * width], &self.x, &mut step);
            self.h.clear();
            for i in start..start + size {
                self.h.extend_from_slice(&gram[i * width + start..i * width + start + size]);
            }
            for i in 0..size {
                self.h[i * size + i] += lambda;
                step[i] += lambda * self.x[start + i];
            }
            kernels::add_rows(&self.z, width, start, &residual, &mut step);
            kernels::add_gram(&self.z, width, start, size, &mut self.h);
            solve_or_refine(&mut self.h, &mut step)?;
            for (i, s) in step.iter_mut().enumerate() {
                self.x[start + i] -= *s;
                *s = -*s;
            }
            if start + size < width {
                kernels::add_row_products(&self.z, width, start, &step, &mut residual);
            }
            start += size;
        }
        Ok(())
    }

    /// Steps of conjugate gradients on the normal equations, from the x there is.
    fn conjugate_gradient(&mut self, gram: &[f32], lambda: f32, steps: usize) {
        let width = self.width;
        let mut r = vec![0.0; width];
        let mut hp = vec![0.0; width];
        // r = Zᵀ (√w - Z x) - G x - λ x.
        kernels::normal_product(&self.z, &self.x, Some(&self.target), &mut r);
        kernels::add_rows(gram, width, 0, &self.x, &mut hp);
        kernels::combine(-1.0, &hp, 1.0, &mut r);
        kernels::combine(-lambda, &self.x, 1.0, &mut r);
        let mut p = r.clone();
        let mut norm = kernels::dot(&r, &r);
        for _ in 0..steps {
            // Below this the step is noise, and the quotient could be 0 / 0.
            if norm < 1e-20 {
                break;
            }
            kernels::normal_product(&self.z, &p, None, &mut hp);
            // G is symmetric: its rows are its columns.
            kernels::add_rows(gram, width, 0, &p, &mut hp);
            kernels::combine(lambda, &p, 1.0, &mut hp);
            let step = norm / kernels::dot(&p, &hp);
            kernels::combine(step, &p, 1.0, &mut self.x);
            kernels::combine(-step, &hp, 1.0, &mut r);
            let next = kernels::dot(&r, &r);
            kernels::combine(1.0, &r, next / norm, &mut p);
            norm = next;
        }
    }
}

/// Cholesky in single precision; where that breaks down, once more in double.
fn solve_or_refine(h: &mut [f32], b: &mut [f32]) -> Result<(), ()> {
    let n = b.len();
    let copy = h.to_vec();
    let rhs = b.to_vec();
    if kernels::solve_positive_definite(h, b) && b.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    let mut a = faer::Mat::from_fn(n, n, |i, j| f64::from(copy[i.min(j) * n + i.max(j)]));
    let mut memory = dense::cholesky_memory::<f64>(n);
    dense::cholesky_in_place(a.as_mut(), &mut memory)?;
    let mut x = faer::Mat::from_fn(n, 1, |i, _| f64::from(rhs[i]));
    let seq = faer::Par::Seq;
    faer::linalg::triangular_solve::solve_lower_triangular_in_place(a.as_ref(), x.as_mut(), seq);
    faer::linalg::triangular_solve::solve_upper_triangular_in_place(a.transpose(), x.as_mut(), seq);
    for (i, b) in b.iter_mut().enumerate() {
        *b = x[(i, 0)] as f32;
    }
    if b.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(()) }
}

fn work_for(model: &AlsModel, items: &[ItemIdx], values: &[f32]) -> (Work, f32) {
    let mut work = Work::new(model.settings.factors);
    work.gather(&model.settings, &model.factors.items, items, values);
    (work, frequency_scaled(&model.settings, items.len(), model.factors.items.len()))
}

fn failed() -> Error {
    Error::Factorization {
        what: "fold-in",
        reason: "the normal equations are not positive definite".to_owned(),
    }
}

pub(super) fn fold_in(model: &AlsModel, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
    let (mut work, lambda) = work_for(model, items, values);
    work.exact(&model.item_gram, lambda).map_err(|()| failed())?;
    work.x.truncate(model.settings.factors);
    Ok(work.x)
}

/// H⁻¹ b with the normal equations of a history.
pub(super) fn solve_for(model: &AlsModel, items: &[ItemIdx], values: &[f32], b: &[f32]) -> Result<Vec<f32>> {
    let (mut work, lambda) = work_for(model, items, values);
    work.normal_equations(&model.item_gram, lambda);
    work.x[..b.len()].copy_from_slice(b);
    solve_or_refine(&mut work.h, &mut work.x).map_err(|()| failed())?;
    work.x.truncate(b.len());
    Ok(work.x)
}

pub(super) fn loss(settings: &Als, matrix: &UserItems, factors: &Factors) -> Result<f64> {
    let Factors { users, items } = factors;
    let found = (users.len(), items.len(), users.dim(), items.dim());
    if found != (matrix.n_rows(), matrix.n_cols(), settings.factors, settings.factors) {
        return Err(Error::Shape {
            what: "factors and matrix",
            expected: format!("{} x {}, {} factors", matrix.n_rows(), matrix.n_cols(), settings.factors),
            found: format!("{} x {}, {} and {} factors", found.0, found.1, found.2, found.3),
        });
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let observed: Vec<f64> = (0..matrix.n_rows() as u32)
        .into_par_iter()
        .map(|u| {
            let (columns, values) = matrix.row(crate::UserIdx(u));
            let x = users.get(u as usize);
            let term = |(i, &v): (&ItemIdx, &f32)| {
                f64::from(settings.confidence.weight(v)) * (dot(x, items.get(i.at())) - 1.0).powi(2)
            };
            columns.iter().zip(values).map(term).sum()
        })
        .collect();
    let (gu, gi) = (gram_by_chunks(users.as_mat()), gram_by_chunks(items.as_mat()));
    let d = settings.factors;
    let all: f64 = (0..d).map(|i| (0..d).map(|j| gu[(i, j)] * gi[(i, j)]).sum::<f64>()).sum();
    let norms = |vectors: &Vectors, count: &dyn Fn(usize) -> usize, other: usize| -> f64 {
        (0..vectors.len())
            .map(|n| {
                f64::from(frequency_scaled(settings, count(n), other)) * dot(vectors.get(n), vectors.get(n))
            })
            .sum()
    };
    let transpose = matrix.transpose();
    let users_norm = norms(users, &|n| matrix.row_len(crate::UserIdx(n as u32)), items.len());
    let items_norm = norms(items, &|n| transpose.row_len(ItemIdx(n as u32)), users.len());
    Ok(observed.iter().sum::<f64>() + f64::from(settings.unobserved_weight) * all + users_norm + items_norm)
}
