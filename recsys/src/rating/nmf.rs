//! Non-negative factorisation r = q·p by multiplicative updates over the ratings there are (Luo, Zhou, Xia & Zhu, IEEE TII
//! 2014; Lee & Seung 2001).
//!
//! Both sides are updated from the same estimates: p ← p Σ q r / (Σ q r̂ + n λ p), and likewise for q. The sums of a user are
//! over the user's row, those of an item over its column, so each is one independent task. Defaults are Surprise's.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Ground, RatingModel, check_factors, check_regularization, diverged};
use crate::ids::{Index, ItemIdx, UserIdx};
use crate::models::factors::{Factors, Vectors};
use crate::recommender::{Fit, Recommender};
use crate::saved::Saved;
use crate::sparse::{Csr, UserItems};
use crate::{Error, Result};

/// Settings. Defaults: 15 factors, 50 epochs, regularisation 0.06 for both sides, start uniform in [0, 1), seed 0.
///
/// Ratings must not be negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Nmf {
    factors: usize,
    epochs: usize,
    regularization: f32,
    init: (f32, f32),
    scale: Option<(f32, f32)>,
    seed: u64,
}

impl Default for Nmf {
    fn default() -> Self {
        Self { factors: 15, epochs: 50, regularization: 0.06, init: (0.0, 1.0), scale: None, seed: 0 }
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
        factors(factors: usize);
        /// Updates of both sides.
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

    /// The lowest and the highest rating; by default those of the training data.
    #[must_use]
    pub fn scale(mut self, low: f32, high: f32) -> Self {
        self.scale = Some((low, high));
        self
    }

    setters! {
        /// Seed of the start.
        seed(seed: u64);
    }
}

impl Fit for Nmf {
    type Model = NmfModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<NmfModel> {
        check_factors(self.factors)?;
        check_regularization("regularization", self.regularization)?;
        let (low, high) = self.init;
        if !(low >= 0.0 && low <= high && high.is_finite()) {
            return Err(Error::parameter("init", format!("{low} to {high}"), "0 or more, lowest first"));
        }
        let ground = Ground::new("NMF", matrix, self.scale)?;
        matrix.check_values("NMF", "0 or more", |v| v >= 0.0)?;
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let mut table = |n: usize| {
            let mut vectors = Vectors::zeros(n, self.factors);
            vectors.as_mut_slice().iter_mut().for_each(|x| *x = low + (high - low) * rng.random::<f32>());
            vectors
        };
        let (mut users, mut items) = (table(matrix.n_rows()), table(matrix.n_cols()));
        let by_item = matrix.transpose();
        let mut progress = Vec::with_capacity(self.epochs);
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
            ground,
            factors: Factors { users, items },
            settings: (self.epochs, self.regularization),
            progress,
        })
    }
}

/// New vectors of the row side; the sum of squared errors before.
fn update<R: Index, C: Index>(
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
fn multiply<C: Index>(
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

/// A trained factorisation; all vectors are non-negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NmfModel {
    ground: Ground,
    factors: Factors,
    /// Epochs and regularisation, for fold-in.
    settings: (usize, f32),
    progress: Vec<f64>,
}

impl NmfModel {
    /// The vectors.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// Whose inner product is zero is somebody without ratings; they get the mean.
    fn or_mean(&self, score: f32) -> f32 {
        if score == 0.0 { self.ground.mean() } else { score }
    }
}

impl Recommender for NmfModel {
    fn name(&self) -> &'static str {
        "NMF"
    }
    fn n_users(&self) -> usize {
        self.factors.users.len()
    }
    fn n_items(&self) -> usize {
        self.factors.items.len()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        self.factors.score_users(users, out);
        out.iter_mut().for_each(|score| *score = self.or_mean(*score));
        Ok(())
    }
    /// As many updates of the user's vector as in training, the items' vectors as they ended: near the scores of training,
    /// not equal.
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        let dim = self.factors.items.dim();
        let (mut up, mut down) = (vec![0.0; dim], vec![0.0; dim]);
        let mut p = vec![0.5; dim];
        for _ in 0..self.settings.0.max(1) {
            let mut next = vec![0.0; dim];
            let sums = (&mut up[..], &mut down[..]);
            multiply((items, values), &p, &self.factors.items, self.settings.1, sums, &mut next);
            p = next;
        }
        self.factors.items.inner_products(&p, out);
        out.iter_mut().for_each(|score| *score = self.or_mean(*score));
        Ok(())
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        self.factors.item_similarity(item, out);
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        self.factors.user_similarity(user, out);
        Ok(())
    }
    fn progress(&self) -> &[f64] {
        &self.progress
    }
}

impl RatingModel for NmfModel {
    fn ground(&self) -> &Ground {
        &self.ground
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        let (Some(u), Some(i)) = (user, item) else { return self.ground.mean() };
        let pairs = self.factors.users.get(u.at()).iter().zip(self.factors.items.get(i.at()));
        self.or_mean(pairs.map(|(p, q)| p * q).sum())
    }
}

impl Saved for NmfModel {
    const FORMAT: &'static str = "nmf";

    fn validate(&self) -> std::result::Result<(), String> {
        self.ground.validate()?;
        self.factors.validate()
    }
}
