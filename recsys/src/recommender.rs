//! What every trained model keeps: [`Recommender`].
//!
//! A model only scores, by dense index; everything a user of the crate touches (ids, lists, filters, explanations, files)
//! is written once, in [`Fitted`](crate::Fitted). So no model can break the contract of a list, and a new model is a score
//! function and little else.

use std::fmt::Debug;

use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::models::factors::Factors;
use crate::{Error, Result};

/// A trained model: scores of all items for users, and what else it can say.
///
/// Scores are only compared within one user. A score or similarity that is not finite means "not to be listed". What a model
/// cannot do it leaves to the default, which is [`Error::Unsupported`]; [`Fitted`](crate::Fitted) then answers for similarities by the training
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
    /// None for users and lengths in range, which [`Fitted`](crate::Fitted) sees to.
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()>;

    /// The vectors whose inner products are the scores, if that is how the model scores: lists are then made without writing
    /// all scores out.
    fn inner_product(&self) -> Option<&Factors> {
        None
    }

    /// Whether the order in which items were met matters to the model. Histories are then handed to it in that order, an item
    /// perhaps more than once, else ascending and distinct.
    fn knows_order(&self) -> bool {
        false
    }

    /// Whether training learned anything of an item. One of which a model that [knows order](Self::knows_order) learned nothing, as of one
    /// without rows in the log, is passed over in a session like an id that the catalogue does not have. By default true of all.
    fn has_learned(&self, item: ItemIdx) -> bool {
        let _ = item;
        true
    }

    /// What a user met in training, in order, as far back as the model looks; `None` for a model that does not know order.
    fn sequence(&self, user: UserIdx) -> Option<&[ItemIdx]> {
        let _ = user;
        None
    }

    /// Scores of all items for a user known only by a history: `items` with their `values`, in the order that
    /// [`knows_order`](Self::knows_order) names.
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
