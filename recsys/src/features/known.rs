//! What all models with features share: the setting of what is known, and the answers about who is new.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;

use crate::data::filter::Filter;
use crate::data::ids::{Id, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::models::bpr;
use crate::models::factors::Vectors;
use crate::recommender::Recommender;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::{Error, Result};

use super::space::{FeatureMatrix, FeatureSpace};
use super::table::FeatureRow;

/// The features that a model is trained with: a setting, with setters by `feature_setters`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) items: Option<FeatureMatrix<ItemIdx>>,
    pub(crate) users: Option<FeatureMatrix<UserIdx>>,
}

impl Known {
    /// That they are of the users and items of a matrix.
    pub(crate) fn check(&self, matrix: &UserItems) -> Result<()> {
        self.items.as_ref().map_or(Ok(()), |features| features.check(matrix.n_cols()))?;
        self.users.as_ref().map_or(Ok(()), |features| features.check(matrix.n_rows()))
    }

    /// The most features that a pair of an item and a user has.
    #[cfg(feature = "neural")]
    pub(crate) fn longest(&self) -> u64 {
        fn of<X: crate::data::ids::Idx>(features: Option<&FeatureMatrix<X>>) -> u64 {
            let rows = features.map(FeatureMatrix::rows);
            rows.and_then(|rows| rows.row_indices().map(|x| rows.row_len(x)).max()).unwrap_or(0) as u64
        }
        of(self.items.as_ref()) + of(self.users.as_ref())
    }

    /// How many features of items and of users there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |space: Option<&FeatureSpace>| space.map_or(0, FeatureSpace::len);
        (
            count(self.items.as_ref().map(FeatureMatrix::space)),
            count(self.users.as_ref().map(FeatureMatrix::space)),
        )
    }
}

/// Passes over a history in folding in, and the step size and regularisation of each step.
const FOLD_IN: (usize, (f32, f32)) = (100, (0.05, 0.01));

/// The vector of somebody known by what they met, and by a vector of their features where there is one, by the steps of BPR with the
/// items fixed, whose last entries are biases. Near that of training, not equal.
pub(crate) fn fold_in(vectors: &Vectors, features: Option<&[f32]>, items: &[ItemIdx], seed: u64) -> Vec<f32> {
    let (passes, rates) = FOLD_IN;
    bpr::fold_in(vectors, features, items, passes, rates, seed)
}

/// The setters of settings that have their features as `known`.
macro_rules! feature_setters {
    () => {
        /// With features of the items of the log's catalogue.
        #[must_use]
        pub fn item_features(
            mut self,
            features: &crate::features::FeatureMatrix<crate::data::ids::ItemIdx>,
        ) -> Self {
            self.known.items = Some(features.clone());
            self
        }

        /// With features of the users of the log's catalogue.
        #[must_use]
        pub fn user_features(
            mut self,
            features: &crate::features::FeatureMatrix<crate::data::ids::UserIdx>,
        ) -> Self {
            self.known.users = Some(features.clone());
            self
        }
    };
}
pub(crate) use feature_setters;

/// A trained model that knows users and items by their features, and so those that are new.
pub trait FeatureModel: Recommender {
    /// The features of items, if it was trained with any.
    fn item_space(&self) -> Option<&FeatureSpace>;

    /// The features of users, if it was trained with any.
    fn user_space(&self) -> Option<&FeatureSpace>;

    /// Scores, for a user of training, of items by what is known of them; they compare with those of the user's list.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of items, and those of [`FeatureSpace::encode`].
    fn score_described_items(&self, user: UserIdx, items: &[FeatureRow]) -> Result<Vec<f32>>;

    /// Scores of all items for somebody of whom features are known and what they met: `items` with their `values`, as
    /// [`score_history`](Recommender::score_history) takes them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default and for a model without features of users, and those of [`FeatureSpace::encode`] and of folding
    /// in.
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let _ = (user, items, values, out);
        Err(Error::Unsupported { model: self.name(), operation: "fold-in of a new user with features" })
    }

    /// Scores of all items for somebody of whom nothing is known but features.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of users, and those of [`FeatureSpace::encode`].
    fn score_described_user(&self, user: &FeatureRow, out: &mut [f32]) -> Result<()>;
}

/// What a model does not offer that was trained without features of items.
pub(crate) const BY_ITEMS: &str = "scores by features of items: it was trained without any";
/// What a model does not offer that was trained without features of users.
pub(crate) const BY_USERS: &str = "scores by features of users: it was trained without any";

/// A space that a model was trained with, or what it does not offer without.
pub(crate) fn trained_with<T>(model: &'static str, what: Option<T>, operation: &'static str) -> Result<T> {
    what.ok_or(Error::Unsupported { model, operation })
}

impl<M: FeatureModel, U: Id, I: Id> Fitted<M, U, I> {
    /// Scores of items that are not in the catalogue by what is known of them, to be compared with those of the user's list.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], and those of [`FeatureModel::score_described_items`].
    #[doc(alias = "cold_start")]
    pub fn score_new_items<Q: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        items: &[FeatureRow],
    ) -> Result<Vec<f32>>
    where
        U: Borrow<Q>,
    {
        let user = self.catalog().user(user)?;
        self.model().score_described_items(user, items)
    }

    /// The `k` best items for somebody of whom nothing is known but features.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `k` of 0, and those of [`FeatureModel::score_described_user`].
    pub fn recommend_described(
        &self,
        user: &FeatureRow,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        let mut scores = vec![0.0; self.seen().n_cols()];
        self.model().score_described_user(user, &mut scores)?;
        Ok(self.list_of_scores(scores, &[], k, filter))
    }
}
