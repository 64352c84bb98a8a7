//! Non-negative factorisation r = q·p by multiplicative updates over the ratings there are (Luo, Zhou, Xia & Zhu, IEEE TII
//! 2014; Lee & Seung 2001).
//!
//! Both sides are updated from the same estimates: p ← p Σ q r / (Σ q r̂ + n λ p), and likewise for q. The sums of a user are
//! over the user's row, those of an item over its column, so each is one independent task. Defaults are Surprise's.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{RatingModel, RatingStats, diverged};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors, Vectors};
use crate::serve::file::Saved;
use crate::{Error, Result, check, memory};

/// Settings. Defaults: 15 factors, 50 epochs, regularisation 0.06 for both sides, start uniform in [0, 1), seed 0.
///
/// Ratings must not be negative.
#[doc(alias = "NMF")]
#[derive(Debug, Clone, PartialEq)]
pub struct Nmf {
    factors: usize,
    epochs: usize,
    regularization: f32,
    init: (f32, f32),
    rating_scale: Option<(f32, f32)>,
    seed: u64,
    memory_limit: u64,
}

impl Default for Nmf {
    fn default() -> Self {
        Self {
            factors: 15,
            epochs: 50,
            regularization: 0.06,
            init: (0.0, 1.0),
            rating_scale: None,
            seed: 0,
            memory_limit: memory::LIMIT,
        }
    }
}

impl Nmf {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors.
        #[doc(alias = "n_factors")]
        factors(factors: usize);
        /// Updates of both sides.
        #[doc(alias = "n_epochs")]
        epochs(epochs: usize);
        /// Weight of the squares, for each rating.
        regularization(weight: f32);
    }

    /// Bounds of the uniform start; a zero stays a zero for ever.
    #[must_use]
    pub fn init(mut self, low: f32, high: f32) -> Self {
        self.init = (low, high);
        self
    }

    rating_scale_setter!();

    setters! {
        /// Seed of the start.
        seed(seed: u64);
        /// Most bytes that the vectors may take in training; default 8 GiB.
        memory_limit(bytes: u64);
    }
}

impl Estimator for Nmf {
    type Model = NmfModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<NmfModel> {
        check::at_least_one("factors", self.factors)?;
        check::not_negative("regularization", self.regularization)?;
        let (low, high) = self.init;
        if !(low >= 0.0 && low <= high && high.is_finite()) {
            return Err(Error::parameter("init", format!("{low} to {high}"), "0 or more, lowest first"));
        }
        let stats = RatingStats::new("NMF", matrix, self.rating_scale)?;
        matrix.check_values("NMF", check::NOT_NEGATIVE, check::is_not_negative)?;
        memory::check_factors(matrix, self.factors, 3, self.memory_limit)?;
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let mut table = |n: usize| -> Result<Vectors> {
            let mut vectors = Vectors::zeros(n, self.factors)?;
            vectors.as_mut_slice().iter_mut().for_each(|x| *x = low + (high - low) * rng.random::<f32>());
            Ok(vectors)
        };
        let (mut users, mut items) = (table(matrix.n_rows())?, table(matrix.n_cols())?);
        let by_item = matrix.transpose();
        let mut progress = Vec::new();
        for _ in 0..self.epochs {
            let mut next = users.clone();
            let squares = update(matrix, &users, &items, self.regularization, &mut next);
            let mut next_items = items.clone();
            update(&by_item, &items, &users, self.regularization, &mut next_items);
            (users, items) = (next, next_items);
            progress.push((squares / matrix.nnz() as f64).sqrt());
        }
        if users.as_slice().iter().chain(items.as_slice()).any(|x| !x.is_finite()) {
            return Err(diverged("NMF"));
        }
        Ok(NmfModel {
            stats,
            factors: Factors { users, items },
            settings: (self.epochs, self.regularization),
            progress,
        })
    }
}

/// New vectors of the row side; the sum of squared errors before.
fn update<R: Idx, C: Idx>(
    matrix: &Csr<R, C>,
    own: &Vectors,
    other: &Vectors,
    reg: f32,
    out: &mut Vectors,
) -> f64 {
    const ROWS: usize = 32;
    let dim = own.dim();
    let task = |(chunk, out): (usize, &mut [f32])| {
        let (mut up, mut down) = (vec![0.0; dim], vec![0.0; dim]);
        let mut squares = 0.0;
        for (n, out) in out.chunks_mut(dim).enumerate() {
            let row = R::from_u32((chunk * ROWS + n) as u32);
            squares += multiply(matrix.row(row), own.get(row.at()), other, reg, (&mut up, &mut down), out);
        }
        squares
    };
    let parts: Vec<f64> = out.as_mut_slice().par_chunks_mut(ROWS * dim).enumerate().map(task).collect();
    parts.iter().sum()
}

/// One vector's update, written to `out`.
fn multiply<C: Idx>(
    (columns, ratings): (&[C], &[f32]),
    own: &[f32],
    other: &Vectors,
    reg: f32,
    (up, down): (&mut [f32], &mut [f32]),
    out: &mut [f32],
) -> f64 {
    up.fill(0.0);
    down.fill(0.0);
    let mut squares = 0.0;
    for (column, &rating) in columns.iter().zip(ratings) {
        let q = other.get(column.at());
        let expected: f32 = own.iter().zip(q).map(|(p, q)| p * q).sum();
        for ((up, down), &q) in up.iter_mut().zip(&mut *down).zip(q) {
            *up += q * rating;
            *down += q * expected;
        }
        squares += f64::from((rating - expected).powi(2));
    }
    let weight = reg * columns.len() as f32;
    for (((out, &p), &up), &down) in out.iter_mut().zip(own).zip(&*up).zip(&*down) {
        let down = down + weight * p;
        // Nothing pulls at a zero over a zero, nor at somebody without ratings.
        *out = if down > 0.0 { p * up / down } else { 0.0 };
    }
    squares
}

/// The p ≥ 0 that minimises Σ (r - p·q)² + reg n |p|²: cyclic coordinate descent on the normal equations, whose every step
/// is exact in one entry (Franc, Hlaváč & Navara 2005).
fn fold_in(vectors: &Vectors, items: &[ItemIdx], values: &[f32], reg: f32) -> Vec<f32> {
    const CYCLES: usize = 2000;
    const STILL: f64 = 1e-9;
    let dim = vectors.dim();
    let (mut h, mut b) = (vec![0.0_f64; dim * dim], vec![0.0_f64; dim]);
    for (item, &value) in items.iter().zip(values) {
        let q = vectors.get(item.at());
        for i in 0..dim {
            b[i] += f64::from(value * q[i]);
            for j in 0..dim {
                h[i * dim + j] += f64::from(q[i] * q[j]);
            }
        }
    }
    for i in 0..dim {
        h[i * dim + i] += f64::from(reg) * items.len() as f64;
    }
    let mut p = vec![0.0_f64; dim];
    for _ in 0..CYCLES {
        let (mut moved, mut largest) = (0.0_f64, 0.0_f64);
        for i in 0..dim {
            let row = &h[i * dim..(i + 1) * dim];
            // An entry that no item has stays at zero.
            if row[i] > 0.0 {
                let gradient = row.iter().zip(&p).map(|(h, p)| h * p).sum::<f64>() - b[i];
                let next = (p[i] - gradient / row[i]).max(0.0);
                moved = moved.max((next - p[i]).abs());
                p[i] = next;
            }
            largest = largest.max(p[i]);
        }
        if moved <= STILL * largest {
            break;
        }
    }
    p.into_iter().map(|x| x as f32).collect()
}

/// A trained factorisation; all vectors are non-negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NmfModel {
    stats: RatingStats,
    factors: Factors,
    /// Epochs, and regularisation for fold-in.
    settings: (usize, f32),
    progress: Vec<f64>,
}

impl NmfModel {
    /// The vectors.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }
}

impl FactorModel for NmfModel {
    const NAME: &'static str = "NMF";
    const SCORES_ARE_PRODUCTS: bool = false;

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// With the items' vectors fixed the user's is a non-negative least-squares problem, solved to its end: where the steps
    /// of training, which are a few on the way there, would lead.
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        Ok(fold_in(&self.factors.items, items, values, self.settings.1))
    }
    /// A product of zero is that of an id without ratings, which gets the mean.
    fn score(&self, product: f32) -> f32 {
        if product == 0.0 { self.stats.mean() } else { product }
    }
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl RatingModel for NmfModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        match (user, item) {
            (Some(user), Some(item)) => self.score(self.factors.product(user, item)),
            _ => self.stats.mean(),
        }
    }
}

impl Saved for NmfModel {
    const FORMAT: &'static str = "nmf";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.factors.items.len())?;
        self.factors.validate()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// The conditions of the optimum: no entry can be moved to the better, and none is negative.
    #[test]
    fn folding_in_solves_the_non_negative_problem() {
        let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
        let (dim, n, reg) = (9, 40, 0.05);
        let mut vectors = Vectors::zeros(n, dim).unwrap();
        vectors.as_mut_slice().iter_mut().for_each(|x| *x = rng.random_range(0.0..1.0));
        let items: Vec<ItemIdx> = (0..n as u32).step_by(2).map(ItemIdx).collect();
        let values: Vec<f32> = items.iter().map(|_| rng.random_range(1.0..5.0)).collect();
        let p = fold_in(&vectors, &items, &values, reg);
        let gradient = |i: usize| -> f32 {
            let of_item = |(item, r): (&ItemIdx, &f32)| {
                let q = vectors.get(item.at());
                (q.iter().zip(&p).map(|(q, p)| q * p).sum::<f32>() - r) * q[i]
            };
            items.iter().zip(&values).map(of_item).sum::<f32>() + reg * items.len() as f32 * p[i]
        };
        assert!(p.iter().any(|&x| x > 0.0) && p.contains(&0.0), "{p:?}");
        for i in 0..dim {
            let slope = gradient(i);
            assert!(if p[i] > 0.0 { slope.abs() < 1e-3 } else { slope > -1e-3 }, "{i}: {slope} at {}", p[i]);
        }
        // A planted vector without regularisation is found again.
        let planted: Vec<f32> = (0..dim).map(|i| (i % 3) as f32).collect();
        let values: Vec<f32> = items
            .iter()
            .map(|item| vectors.get(item.at()).iter().zip(&planted).map(|(q, p)| q * p).sum())
            .collect();
        let found = fold_in(&vectors, &items, &values, 0.0);
        assert!(found.iter().zip(&planted).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        assert_eq!(fold_in(&vectors, &[], &[], reg), vec![0.0; dim]);
    }
}
