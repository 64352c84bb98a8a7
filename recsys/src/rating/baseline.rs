//! Baseline: mean + bias of the user + bias of the item (Koren, Factor in the Neighbors, TKDD 2010, section 2.1).
//!
//! Biases minimise the squared error with separate weights of their squares. Alternating least squares solves for each
//! side exactly, in parallel; gradient steps go through the ratings user by user. Defaults are Surprise's.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{RatingModel, RatingStats, check_steps, diverged};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Result, check};

/// Passes over a history after which its user's bias has settled, whatever the number of epochs.
const MOST_PASSES: usize = 1000;

/// How the biases are found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BaselineMethod {
    /// Items, then users, each exactly with the other side fixed.
    Als {
        /// Passes over both sides; 10 by default.
        epochs: usize,
        /// Pseudo-ratings of a user at bias 0; 15 by default.
        reg_users: f32,
        /// Pseudo-ratings of an item at bias 0; 10 by default.
        reg_items: f32,
    },
    /// Stochastic gradient descent, in the order of the matrix.
    Sgd {
        /// Passes over the ratings; 20 by default.
        epochs: usize,
        /// Step size; 0.005 by default.
        learning_rate: f32,
        /// Weight of the squares; 0.02 by default.
        regularization: f32,
    },
}

impl BaselineMethod {
    /// Alternating least squares with its defaults.
    pub const ALS: Self = Self::Als { epochs: 10, reg_users: 15.0, reg_items: 10.0 };
    /// Gradient descent with its defaults.
    pub const SGD: Self = Self::Sgd { epochs: 20, learning_rate: 0.005, regularization: 0.02 };
}

/// Settings of the baseline.
///
/// ```
/// use cairn_recsys::{Estimator, Interactions, rating::Baseline};
/// let log = Interactions::from_ratings([("ann", "tea", 5.0), ("ann", "milk", 4.0), ("bob", "tea", 3.0)])?;
/// let model = Baseline::new().rating_scale(1.0, 5.0).fit(&log)?;
/// assert!((1.0..=5.0).contains(&model.predict("bob", "milk")?));
/// assert!(model.predict("bob", "rusk").is_err());
/// assert!(!model.estimate("bob", "rusk").item_known);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "BaselineOnly")]
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    method: BaselineMethod,
    rating_scale: Option<(f32, f32)>,
}

impl Default for Baseline {
    fn default() -> Self {
        Self { method: BaselineMethod::ALS, rating_scale: None }
    }
}

impl Baseline {
    /// Alternating least squares with its defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another method.
    #[must_use]
    pub fn method(mut self, method: BaselineMethod) -> Self {
        self.method = method;
        self
    }

    rating_scale_setter!();
}

impl BaselineMethod {
    fn check(self) -> Result<()> {
        match self {
            Self::Als { reg_users, reg_items, .. } => {
                check::not_negative("reg_users", reg_users)?;
                check::not_negative("reg_items", reg_items)
            }
            Self::Sgd { learning_rate, regularization, .. } => check_steps(learning_rate, regularization),
        }
    }
}

/// The biases themselves; other models start from them too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Biases {
    pub(super) mean: f32,
    pub(super) users: Vec<f32>,
    pub(super) items: Vec<f32>,
    method: BaselineMethod,
}

impl Biases {
    pub(super) fn fit(matrix: &UserItems, mean: f32, method: BaselineMethod) -> Result<Self> {
        method.check()?;
        let mut biases =
            Self { mean, users: vec![0.0; matrix.n_rows()], items: vec![0.0; matrix.n_cols()], method };
        match method {
            BaselineMethod::Als { epochs, reg_users, reg_items } => {
                let by_item = matrix.transpose();
                for _ in 0..epochs {
                    solve(&by_item, mean, &biases.users, reg_items, &mut biases.items);
                    solve(matrix, mean, &biases.items, reg_users, &mut biases.users);
                }
            }
            BaselineMethod::Sgd { epochs, learning_rate, regularization } => {
                for _ in 0..epochs {
                    biases.descend(matrix, learning_rate, regularization);
                }
            }
        }
        if biases.users.iter().chain(&biases.items).any(|b| !b.is_finite()) {
            return Err(diverged("baseline"));
        }
        Ok(biases)
    }

    fn descend(&mut self, matrix: &UserItems, rate: f32, regularization: f32) {
        for (user, item, rating) in matrix.entries() {
            let (bu, bi) = (&mut self.users[user.at()], &mut self.items[item.at()]);
            let error = rating - (self.mean + *bu + *bi);
            *bu += rate * (error - regularization * *bu);
            *bi += rate * (error - regularization * *bi);
        }
    }

    pub(super) fn of(&self, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        self.mean + user.map_or(0.0, |u| self.users[u.at()]) + item.map_or(0.0, |i| self.items[i.at()])
    }

    /// The bias of a user known by a history, the items' fixed: by alternating least squares what the last half-step of
    /// training would have given; by gradient descent that many passes over the history, which stop short of the minimum
    /// as those of training do.
    pub(super) fn fold_in(&self, items: &[ItemIdx], values: &[f32]) -> f32 {
        match self.method {
            BaselineMethod::Als { reg_users, .. } => bias(self.mean, items, values, &self.items, reg_users),
            BaselineMethod::Sgd { epochs, learning_rate, regularization } => {
                let mut bias = 0.0;
                for _ in 0..epochs.min(MOST_PASSES) {
                    for (item, rating) in items.iter().zip(values) {
                        let error = rating - (self.mean + bias + self.items[item.at()]);
                        bias += learning_rate * (error - regularization * bias);
                    }
                }
                bias
            }
        }
    }

    pub(super) fn validate(&self) -> std::result::Result<(), String> {
        if self.users.iter().chain(&self.items).all(|b| b.is_finite()) {
            Ok(())
        } else {
            Err("a bias is not finite".to_owned())
        }
    }
}

/// One side's biases, the other side fixed.
fn solve<R: Idx, C: Idx>(matrix: &Csr<R, C>, mean: f32, fixed: &[f32], reg: f32, solved: &mut [f32]) {
    solved.par_iter_mut().with_min_len(256).enumerate().for_each(|(row, out)| {
        let (columns, values) = matrix.row(R::from_u32(row as u32));
        *out = bias(mean, columns, values, fixed, reg);
    });
}

fn bias<C: Idx>(mean: f32, columns: &[C], values: &[f32], fixed: &[f32], reg: f32) -> f32 {
    let sum: f64 = columns.iter().zip(values).map(|(c, &v)| f64::from(v - mean - fixed[c.at()])).sum();
    let weight = f64::from(reg) + columns.len() as f64;
    // No rows and no regularisation: nothing is known, and nothing is assumed.
    if weight == 0.0 { 0.0 } else { (sum / weight) as f32 }
}

/// A trained baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineModel {
    stats: RatingStats,
    biases: Biases,
}

impl BaselineModel {
    /// The bias of each user; 0 without ratings.
    pub fn user_biases(&self) -> &[f32] {
        &self.biases.users
    }

    /// The bias of each item; 0 without ratings.
    pub fn item_biases(&self) -> &[f32] {
        &self.biases.items
    }
}

impl Estimator for Baseline {
    type Model = BaselineModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<BaselineModel> {
        let stats = RatingStats::new("baseline", matrix, self.rating_scale)?;
        let biases = Biases::fit(matrix, stats.mean(), self.method)?;
        Ok(BaselineModel { stats, biases })
    }
}

impl Recommender for BaselineModel {
    fn name(&self) -> &'static str {
        "Baseline"
    }
    fn n_users(&self) -> usize {
        self.biases.users.len()
    }
    fn n_items(&self) -> usize {
        self.biases.items.len()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (&user, row) in users.iter().zip(out.chunks_mut(self.biases.items.len())) {
            for (item, score) in row.iter_mut().enumerate() {
                *score = self.biases.of(Some(user), Some(ItemIdx(item as u32)));
            }
        }
        Ok(())
    }
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        let bias = self.biases.fold_in(items, values);
        out.iter_mut().zip(&self.biases.items).for_each(|(out, b)| *out = self.stats.mean() + bias + b);
        Ok(())
    }
}

impl RatingModel for BaselineModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        self.biases.of(user, item)
    }
}

impl Saved for BaselineModel {
    const FORMAT: &'static str = "baseline";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.biases.items.len())?;
        self.biases.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_that_are_not_one_for_each_item_are_refused() {
        let log = crate::synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let mut model = Baseline::new().fit(&log).unwrap().model().clone();
        assert!(model.validate().is_ok());
        model.biases.items.pop();
        assert!(model.validate().is_err());
    }
}
