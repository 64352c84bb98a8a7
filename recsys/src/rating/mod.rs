//! Predicting ratings: how many stars would this user give that item?
//!
//! The models of Surprise under one interface. Each is trained by [`Estimator`](crate::Estimator) on a log of ratings and is a
//! [`Recommender`] besides, so lists, similar items, files and all else of [`Fitted`] come with it; what is particular to
//! ratings is [`Fitted::predict`], which clips to the scale, and [`Fitted::estimate`] for ids without ratings. The
//! protocol of published figures is [`cross_validate`].
//!
//! An id without training rows is unknown, whether the catalogue lists it or not: [`Fitted::predict`] refuses it, and
//! [`Fitted::estimate`] falls back in a stated way, the same for all models: the mean of all ratings plus the bias of the
//! side that is known, where the model has biases, and the mean alone where it has none.

mod baseline;
mod biased;
mod biased_mf;
mod co_clustering;
mod evaluate;
mod knn;
mod nmf;
mod similarity;
mod slope_one;
mod svd_pp;

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

pub use baseline::{Baseline, BaselineMethod, BaselineModel};
pub use biased_mf::{BiasedMf, BiasedMfModel};
pub use co_clustering::{CoClustering, CoClusteringModel};
pub use evaluate::{CrossValidationReport, RatingReport, cross_validate, evaluate};
pub use knn::{Centring, RatingKnn, RatingKnnModel};
pub use nmf::{Nmf, NmfModel};
pub use similarity::Similarity;
pub use slope_one::{SlopeOne, SlopeOneModel};
pub use svd_pp::{SvdPlusPlus, SvdPlusPlusModel};

use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::recommender::Recommender;
use crate::serve::fitted::Fitted;
use crate::{Error, Result, check};

/// A trained model whose scores are ratings.
pub trait RatingModel: Recommender {
    /// What every rating model knows of its training data.
    fn stats(&self) -> &RatingStats;

    /// The rating expected, not clipped. `None` stands for an id that is unknown; ids without training rows are treated
    /// the same. `seen` is the training matrix.
    fn expected(&self, seen: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32;
}

/// The mean, the scale, and which items have ratings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingStats {
    mean: f32,
    low: f32,
    high: f32,
    item_counts: Vec<u32>,
}

impl RatingStats {
    /// From the training matrix; the scale is that of the values met unless given.
    pub(crate) fn new(what: &'static str, matrix: &UserItems, scale: Option<(f32, f32)>) -> Result<Self> {
        check::not_empty(matrix)?;
        matrix.check_values(what, check::BOUNDED, check::is_bounded)?;
        let values = matrix.values();
        let (low, high) = scale.unwrap_or_else(|| {
            values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)))
        });
        if !(low.is_finite() && high.is_finite() && low <= high) {
            return Err(Error::parameter("scale", format!("{low} to {high}"), "finite, lowest first"));
        }
        let mut item_counts = vec![0; matrix.n_cols()];
        matrix.columns().iter().for_each(|item| item_counts[item.at()] += 1);
        let sum: f64 = values.iter().map(|&v| f64::from(v)).sum();
        Ok(Self { mean: (sum / values.len() as f64) as f32, low, high, item_counts })
    }

    /// Mean of all training ratings.
    pub fn mean(&self) -> f32 {
        self.mean
    }

    /// The lowest and the highest rating there can be; predictions are clipped to it.
    pub fn scale(&self) -> (f32, f32) {
        (self.low, self.high)
    }

    /// How many training ratings the item has.
    ///
    /// # Panics
    /// If the index is out of range.
    pub fn ratings_of(&self, item: ItemIdx) -> usize {
        self.item_counts[item.at()] as usize
    }

    /// Mean of some ratings; of none the mean of all.
    fn mean_of(&self, values: &[f32]) -> f32 {
        if values.is_empty() {
            return self.mean;
        }
        (values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64) as f32
    }

    fn clip(&self, rating: f32) -> f32 {
        rating.clamp(self.low, self.high)
    }

    pub(crate) fn n_items(&self) -> usize {
        self.item_counts.len()
    }

    /// For what comes from a file, of a model of so many items.
    fn validate(&self, n_items: usize) -> std::result::Result<(), String> {
        if self.n_items() != n_items {
            return Err("the numbers of ratings are not one for each item".to_owned());
        }
        let finite = [self.mean, self.low, self.high].iter().all(|x| x.is_finite());
        if finite && self.low <= self.high { Ok(()) } else { Err("the scale is not one".to_owned()) }
    }
}

/// What [`Fitted::estimate`] gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The rating, clipped to the scale.
    pub rating: f32,
    /// Whether the user has training ratings. If not, nothing about the user went into the rating.
    pub user_known: bool,
    /// Whether the item has training ratings. If not, nothing about the item went into the rating.
    pub item_known: bool,
}

impl<M: RatingModel + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// The rating the user would give the item, clipped to the scale.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::UnknownItem`] for ids without training ratings.
    pub fn predict<Q: Eq + Hash + Debug + ?Sized, P: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        item: &P,
    ) -> Result<f32>
    where
        U: Borrow<Q>,
        I: Borrow<P>,
    {
        let estimate = self.estimate(user, item);
        if !estimate.user_known {
            return Err(Error::UnknownUser(format!("{user:?}")));
        }
        if !estimate.item_known {
            return Err(Error::UnknownItem(format!("{item:?}")));
        }
        Ok(estimate.rating)
    }

    /// As [`predict`](Self::predict) for any ids: what is unknown counts as average, and the result says so.
    pub fn estimate<Q: Eq + Hash + ?Sized, P: Eq + Hash + ?Sized>(&self, user: &Q, item: &P) -> Estimate
    where
        U: Borrow<Q>,
        I: Borrow<P>,
    {
        self.estimate_indices(self.catalog().users.get(user), self.catalog().items.get(item))
    }

    /// As [`estimate`](Self::estimate) by index; `None` and indices out of range are unknown.
    pub fn estimate_indices(&self, user: Option<UserIdx>, item: Option<ItemIdx>) -> Estimate {
        let stats = self.model().stats();
        let user = user.filter(|u| u.at() < self.seen().n_rows() && self.seen().row_len(*u) > 0);
        let item = item.filter(|i| i.at() < stats.n_items() && stats.ratings_of(*i) > 0);
        let expected = self.model().expected(self.seen(), user, item);
        Estimate { rating: stats.clip(expected), user_known: user.is_some(), item_known: item.is_some() }
    }
}

/// What the settings of models trained by gradient steps have in common.
fn check_steps(learning_rate: f32, regularization: f32) -> Result<()> {
    check::above_zero("learning_rate", learning_rate)?;
    check::not_negative("regularization", regularization)
}

/// Training that left the finite numbers.
fn diverged(what: &'static str) -> Error {
    let reason = "the parameters are no longer finite; lower the learning rate".to_owned();
    Error::Factorization { what, reason }
}
