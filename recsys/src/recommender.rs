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
///
/// # Whom and what a model does not know
///
/// Splits leave users and items without rows in a catalogue, and a shop adds new ones. A model may know them all the same, by their
/// features, and says so by [`knows_user`](Self::knows_user) and [`knows_item`](Self::knows_item). Of the others every model answers alike,
/// whatever its scores are, since [`Fitted`](crate::Fitted) sees to it:
///
/// | | an item that is not known | a user who is not known |
/// |---|---|---|
/// | lists, and the ranks of an evaluation | behind all that are known, in the order of ties, with one score below theirs | what is popular |
/// | histories and sessions | passed over, like an id that the catalogue does not have | the session alone |
/// | a history of nothing else | what is popular | |
/// | a session of nothing else | [`Error::UnknownItem`] | |
/// | similar ones | none, and it is like nothing | none, and like nobody |
///
/// In histories a model may pass over more, see [`reads_item`](Self::reads_item). What [`Fitted::score`](crate::Fitted::score) says of them is the
/// model's own number, and compares with nothing.
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

    /// Whether the model knows anything of a user: by default whether they `met` anything, that is, have rows in training. A model with
    /// features knows those of whom it knows a feature.
    fn knows_user(&self, user: UserIdx, met: bool) -> bool {
        let _ = user;
        met
    }

    /// Whether the model knows anything of an item: by default whether anybody `met` it in training. A model with features knows those of
    /// which it knows a feature; one that scores by other means than the log says true.
    fn knows_item(&self, item: ItemIdx, met: bool) -> bool {
        let _ = item;
        met
    }

    /// Whether an item says anything of who met it: others are no part of the histories that the model gets. By default those that it
    /// [knows](Self::knows_item) do.
    fn reads_item(&self, item: ItemIdx, met: bool) -> bool {
        self.knows_item(item, met)
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

    /// Scores of all items for a user of training who by now has met `items`: their history and what came since, as
    /// [`score_history`](Self::score_history) takes them. What else the model knows of the user, their features, counts too. By default
    /// nothing else is known.
    ///
    /// # Errors
    /// Those of [`score_history`](Self::score_history).
    fn score_next(
        &self,
        seen: &UserItems,
        user: UserIdx,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let _ = user;
        self.score_history(seen, items, values, out)
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
