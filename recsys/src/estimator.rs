//! How a model is made: settings are builders, each an [`Estimator`], and what was met in training is a [`FitReport`].

use std::fmt;
use std::time::Instant;

use crate::data::ids::Id;
use crate::data::sequences::LogColumns;
use crate::data::sparse::UserItems;
use crate::recommender::Recommender;
use crate::{Error, Fitted, Interactions, Result};

/// Settings of a model that can be trained (an estimator, as scikit-learn and Spark have it). Implementors provide
/// [`fit_matrix`](Self::fit_matrix); callers use [`fit`](Self::fit).
#[doc(alias = "Fit")]
#[doc(alias = "train")]
pub trait Estimator: Send + Sync {
    /// What training gives.
    type Model: Recommender;

    /// Trains on a matrix of users by items.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::InvalidValue`] for values the model cannot take, and the
    /// model's own.
    fn fit_matrix(&self, matrix: &UserItems) -> Result<Self::Model>;

    /// Trains on a log by index, of which `matrix` is the matrix. A model that knows the order of a history is trained here; by
    /// default this is [`fit_matrix`](Self::fit_matrix).
    ///
    /// # Errors
    /// As [`fit_matrix`](Self::fit_matrix).
    fn fit_columns(&self, log: &LogColumns<'_>, matrix: &UserItems) -> Result<Self::Model> {
        let _ = log;
        self.fit_matrix(matrix)
    }

    /// Trains on a log. The result speaks the log's ids and knows what each user has seen.
    ///
    /// # Errors
    /// [`Error::Empty`] for a log without rows, [`Error::Parameter`] for settings out of range, [`Error::InvalidValue`] for values
    /// the model cannot take, and the model's own.
    fn fit<U: Id, I: Id>(&self, log: &Interactions<U, I>) -> Result<Fitted<Self::Model, U, I>> {
        if log.is_empty() {
            return Err(Error::Empty { what: "the training log" });
        }
        fitted(log, |matrix| self.fit_columns(&log.columns(), matrix))
    }

    /// As [`fit`](Self::fit), with what there is to say about the training.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit).
    fn fit_reported<U: Id, I: Id>(&self, log: &Interactions<U, I>) -> Result<Reported<Self::Model, U, I>> {
        let start = Instant::now();
        let fitted = self.fit(log)?;
        let report = FitReport {
            model: fitted.model().name(),
            users: log.n_users(),
            items: log.n_items(),
            interactions: log.len(),
            seconds: start.elapsed().as_secs_f64(),
            progress: fitted.model().progress().to_vec(),
        };
        Ok((fitted, report))
    }
}

/// What `fit` makes of the matrix of a log, with the log's ids; they are in its errors too.
pub(crate) fn fitted<M: Recommender, U: Id, I: Id>(
    log: &Interactions<U, I>,
    fit: impl FnOnce(&UserItems) -> Result<M>,
) -> Result<Fitted<M, U, I>> {
    let (matrix, catalog) = (log.user_items(), log.catalog());
    let model = fit(&matrix).map_err(|error| catalog.named(error))?;
    Fitted::new(model, catalog.clone(), matrix)
}

/// A trained model with what there is to say about its training.
pub type Reported<M, U = u32, I = u32> = (Fitted<M, U, I>, FitReport);

/// What there is to say about a training.
#[derive(Debug, Clone, PartialEq)]
pub struct FitReport {
    /// Name of the model.
    pub model: &'static str,
    /// Users of the catalogue.
    pub users: usize,
    /// Items of the catalogue.
    pub items: usize,
    /// Rows trained on.
    pub interactions: usize,
    /// Time it took.
    pub seconds: f64,
    /// See [`Recommender::progress`].
    pub progress: Vec<f64>,
}

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, users, items, interactions, seconds, progress } = self;
        write!(f, "{model}: {users} users, {items} items, {interactions} interactions in {seconds:.2} s")?;
        match progress[..] {
            [] => Ok(()),
            [only] => write!(f, ", one pass: {only:.4}"),
            [first, .., last] => write!(f, ", {} passes: {first:.4} to {last:.4}", progress.len()),
        }
    }
}
