//! What every model keeps: [`Recommender`], and how one is made: [`Fit`].
//!
//! A model only scores, by dense index; everything a user of the crate touches (ids, lists, filters, explanations, files)
//! is written once, in [`Fitted`]. So no model can break the contract of a list, and a new model is a score function and
//! little else.

use std::fmt::{self, Debug};
use std::time::Instant;

use crate::data::ids::{Id, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::models::factors::Factors;
use crate::{Error, Fitted, Interactions, Result};

/// A trained model: scores of all items for users, and what else it can say.
///
/// Scores are only compared within one user. A score or similarity that is not finite means "not to be listed". What a model
/// cannot do it leaves to the default, which is [`Error::Unsupported`]; [`Fitted`] then answers for similarities by the training
/// log.
pub trait Recommender: Debug + Send + Sync {
    /// Short name for tables and messages.
    fn name(&self) -> &'static str;

    /// Users it was trained on.
    fn n_users(&self) -> usize;

    /// Items it was trained on.
    fn n_items(&self) -> usize;

    /// Scores of all items for each of `users`: `out` is row-major, users x items. `seen` is the training matrix, for
    /// models that score from a user's row.
    ///
    /// # Errors
    /// None for users and lengths in range, which [`Fitted`] sees to.
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()>;

    /// The vectors whose inner products are the scores, if that is how the model scores: lists are then made without writing
    /// all scores out.
    fn inner_product(&self) -> Option<&Factors> {
        None
    }

    /// Scores of all items for a user known only by a history: `items` ascending and distinct, with their `values`.
    /// For a history from the training log this agrees with [`score_users`](Self::score_users).
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn score_history(
        &self,
        seen: &UserItems,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let _ = (seen, items, values, out);
        Err(Error::Unsupported { model: self.name(), operation: "fold-in of a new user" })
    }

    /// The vector of a user known only by a history, for a model that scores by [`inner_product`](Self::inner_product): its inner
    /// products with the vectors of the items are the scores of [`score_history`](Self::score_history).
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn fold_in_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let _ = (items, values);
        Err(Error::Unsupported { model: self.name(), operation: "the vector of a new user" })
    }

    /// How similar every item is to `item`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        let _ = (item, out);
        Err(Error::Unsupported { model: self.name(), operation: "similar items" })
    }

    /// How similar every user is to `user`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        let _ = (user, out);
        Err(Error::Unsupported { model: self.name(), operation: "similar users" })
    }

    /// How much each item of a history contributes to the score of `item`; the contributions add up to the score, or, for
    /// a model that predicts ratings around a mean or a baseline, to the difference from it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn contributions(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        let _ = (items, values, item);
        Err(Error::Unsupported { model: self.name(), operation: "explanations" })
    }

    /// The figure that training measured over each of its passes, where it measures one: the RMSE met on the way for models
    /// of ratings trained by passes, the share of pairs met in the right order for BPR. Empty by default.
    fn progress(&self) -> &[f64] {
        &[]
    }
}

/// Settings of a model that can be trained. Implementors provide [`fit_matrix`](Self::fit_matrix); callers use
/// [`fit`](Self::fit).
pub trait Fit: Send + Sync {
    /// What training gives.
    type Model: Recommender;

    /// Trains on a matrix of users by items.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::InvalidValue`] for values the model cannot take, and the
    /// model's own.
    fn fit_matrix(&self, matrix: &UserItems) -> Result<Self::Model>;

    /// Trains on a log. The result speaks the log's ids and knows what each user has seen.
    ///
    /// # Errors
    /// As [`fit_matrix`](Self::fit_matrix), and [`Error::Empty`] for a log without rows.
    fn fit<U: Id, I: Id>(&self, log: &Interactions<U, I>) -> Result<Fitted<Self::Model, U, I>> {
        if log.is_empty() {
            return Err(Error::Empty { what: "the training log" });
        }
        let matrix = log.user_items();
        let model = self.fit_matrix(&matrix)?;
        Fitted::new(model, log.catalog().clone(), matrix)
    }

    /// As [`fit`](Self::fit), with what there is to say about the training.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
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
