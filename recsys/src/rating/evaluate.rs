//! How far predictions are from held-out ratings, and cross-validation as published figures have it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::RatingModel;
use crate::data::ids::Id;
use crate::estimator::Estimator;
use crate::evaluate::bootstrap;
use crate::serve::fitted::Fitted;
use crate::{Error, Interactions, Result};

/// Errors of the predictions of one model on one log, clipped to the scale.
#[derive(Debug, Clone, PartialEq)]
pub struct RatingReport {
    model: &'static str,
    /// Prediction less rating, in the order of the test log.
    errors: Vec<f32>,
    fallbacks: usize,
}

impl RatingReport {
    /// Name of the model.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// Prediction less rating for each test row.
    pub fn errors(&self) -> &[f32] {
        &self.errors
    }

    /// Rows whose user or item had no training ratings; they count, with what [`Fitted::estimate`] gives.
    pub fn fallbacks(&self) -> usize {
        self.fallbacks
    }

    /// Root of the mean squared error.
    #[doc(alias = "root_mean_squared_error")]
    pub fn rmse(&self) -> f64 {
        root_mean_square(&self.errors, 0..self.errors.len())
    }

    /// Mean absolute error.
    #[doc(alias = "mean_absolute_error")]
    pub fn mae(&self) -> f64 {
        self.errors.iter().map(|e| f64::from(e.abs())).sum::<f64>() / self.errors.len() as f64
    }

    /// Bootstrap interval of the RMSE: rows are drawn with replacement `resamples` times, and the middle `level` of the
    /// figures (0.95 by custom) is returned.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a level outside (0, 1) or no resamples.
    pub fn rmse_interval(&self, level: f64, resamples: usize, seed: u64) -> Result<(f64, f64)> {
        bootstrap::interval(self.errors.len(), level, resamples, seed, |rows| {
            root_mean_square(&self.errors, rows)
        })
    }
}

fn root_mean_square(errors: &[f32], rows: impl Iterator<Item = usize>) -> f64 {
    let squares: f64 = rows.map(|row| f64::from(errors[row]).powi(2)).sum();
    (squares / errors.len() as f64).sqrt()
}

impl fmt::Display for RatingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, fallbacks) = (self.errors.len(), self.fallbacks);
        write!(f, "{} ({rows} ratings, {fallbacks} of them with an unknown id):", self.model)?;
        write!(f, " RMSE {:.4} MAE {:.4}", self.rmse(), self.mae())
    }
}

/// Predicts every row of `test`. Ids the model does not know are estimated and counted.
///
/// # Errors
/// [`Error::Empty`] for a log without rows.
pub fn evaluate<M: RatingModel + ?Sized, U: Id, I: Id>(
    model: &Fitted<M, U, I>,
    test: &Interactions<U, I>,
) -> Result<RatingReport> {
    if test.is_empty() {
        return Err(Error::Empty { what: "the test log" });
    }
    let (ours, theirs) = (model.catalog(), test.catalog());
    let same = Arc::ptr_eq(&ours.users, &theirs.users) && Arc::ptr_eq(&ours.items, &theirs.items);
    let of_row = |row: usize| {
        let (user, item) = (test.users()[row], test.items()[row]);
        let estimate = if same {
            model.estimate_indices(Some(user), Some(item))
        } else {
            model.estimate(theirs.users.id(user), theirs.items.id(item))
        };
        (estimate.rating - test.values()[row], !(estimate.user_known && estimate.item_known))
    };
    let rows: Vec<(f32, bool)> = (0..test.len()).into_par_iter().with_min_len(256).map(of_row).collect();
    Ok(RatingReport {
        model: model.model().name(),
        fallbacks: rows.iter().filter(|row| row.1).count(),
        errors: rows.into_iter().map(|row| row.0).collect(),
    })
}

/// Reports of all folds, and the time they took.
#[derive(Debug, Clone, PartialEq)]
pub struct CrossValidationReport {
    /// One report a fold.
    pub folds: Vec<RatingReport>,
    /// Seconds of training, all folds.
    pub fit_seconds: f64,
    /// Seconds of prediction, all folds.
    pub predict_seconds: f64,
}

impl CrossValidationReport {
    /// Mean of the folds' RMSE.
    pub fn rmse(&self) -> f64 {
        self.folds.iter().map(RatingReport::rmse).sum::<f64>() / self.folds.len() as f64
    }

    /// Mean of the folds' MAE.
    pub fn mae(&self) -> f64 {
        self.folds.iter().map(RatingReport::mae).sum::<f64>() / self.folds.len() as f64
    }
}

/// Trains on all but one of `folds` random parts and predicts that one, for each in turn, as Surprise does: rows are
/// shuffled and cut into parts whose sizes differ by one at most.
///
/// # Errors
/// [`Error::Parameter`] for fewer than 2 folds or more folds than rows, and what training gives on a fold.
///
/// ```
/// use cairn_recsys::{Interactions, rating::{self, Baseline}};
/// let log = Interactions::from_ratings((0..300_u32).map(|n| (n % 20, n * 7 % 31, (n % 20 / 5 + 1) as f32)))?;
/// let result = rating::cross_validate(&Baseline::new(), &log, 5, 0)?;
/// assert!(result.rmse() < 1.0 && result.folds.len() == 5);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
pub fn cross_validate<F, U: Id, I: Id>(
    settings: &F,
    log: &Interactions<U, I>,
    folds: usize,
    seed: u64,
) -> Result<CrossValidationReport>
where
    F: Estimator,
    F::Model: RatingModel,
{
    let mut result = CrossValidationReport { folds: Vec::new(), fit_seconds: 0.0, predict_seconds: 0.0 };
    for (train, test) in log.k_folds(folds, seed)? {
        let start = Instant::now();
        let model = settings.fit(&train)?;
        result.fit_seconds += start.elapsed().as_secs_f64();
        let start = Instant::now();
        result.folds.push(evaluate(&model, &test)?);
        result.predict_seconds += start.elapsed().as_secs_f64();
    }
    Ok(result)
}
