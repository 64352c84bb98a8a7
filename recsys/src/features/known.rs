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
use crate::serve::file::AnyModel;
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

    /// Scores of all items for a user of training in a context, by what is known of the request.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of events, as by default, and those of [`FeatureSpace::encode`].
    fn score_in(&self, user: UserIdx, context: &FeatureRow, out: &mut [f32]) -> Result<()> {
        let _ = (user, context, out);
        Err(Error::Unsupported { model: self.name(), operation: BY_EVENTS })
    }
}

/// Of a model whose type is known only when the program runs: its own answers, or that it was trained without features.
impl FeatureModel for dyn AnyModel {
    fn item_space(&self) -> Option<&FeatureSpace> {
        self.by_features()?.item_space()
    }
    fn user_space(&self) -> Option<&FeatureSpace> {
        self.by_features()?.user_space()
    }
    fn score_described_items(&self, user: UserIdx, items: &[FeatureRow]) -> Result<Vec<f32>> {
        trained_with(self.name(), self.by_features(), BY_ITEMS)?.score_described_items(user, items)
    }
    fn score_described_user(&self, user: &FeatureRow, out: &mut [f32]) -> Result<()> {
        trained_with(self.name(), self.by_features(), BY_USERS)?.score_described_user(user, out)
    }
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        trained_with(self.name(), self.by_features(), BY_USERS)?
            .score_described_history(user, items, values, out)
    }
    fn score_in(&self, user: UserIdx, context: &FeatureRow, out: &mut [f32]) -> Result<()> {
        trained_with(self.name(), self.by_features(), BY_EVENTS)?.score_in(user, context, out)
    }
}

/// What a model does not offer that was trained without features of items.
pub(crate) const BY_ITEMS: &str = "scores by features of items: it was trained without any";
/// What a model does not offer that was trained without features of users.
pub(crate) const BY_USERS: &str = "scores by features of users: it was trained without any";

/// What a model does not offer that was trained without features of events.
pub(crate) const BY_EVENTS: &str = "scores by features of events: it was trained without any";

/// A space that a model was trained with, or what it does not offer without.
pub(crate) fn trained_with<T>(model: &'static str, what: Option<T>, operation: &'static str) -> Result<T> {
    what.ok_or(Error::Unsupported { model, operation })
}

impl<M: FeatureModel + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
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

    /// The `k` best items for a user in a context: what is known of the request, which the model was trained with as features of
    /// events.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0, and those of [`FeatureModel::score_in`].
    pub fn recommend_in<Q: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        context: &FeatureRow,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>>
    where
        U: Borrow<Q>,
    {
        check_k(k)?;
        let user = self.catalog().user(user)?;
        let mut scores = vec![0.0; self.seen().n_cols()];
        self.model().score_in(user, context, &mut scores)?;
        Ok(self.list_of_scores(scores, self.seen().row(user).0, k, filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{FeatureTable, LightFm};
    use crate::{Als, Estimator, Interactions, synthetic};

    fn log() -> Interactions {
        synthetic::planted_groups(60, 40, 4, 8, 0.0, 0).unwrap()
    }

    fn row(n: u32) -> FeatureRow {
        FeatureRow::new().category("group", &(n % 4).to_string())
    }

    #[test]
    fn a_model_of_any_type_answers_by_the_features_that_it_was_trained_with() {
        let log = log();
        let items = FeatureTable::new((0..40).map(|item| (item, row(item)))).unwrap();
        let users = FeatureTable::new((0..60).map(|user| (user, row(user)))).unwrap();
        let items = FeatureMatrix::new(&items, &log.catalog().items).unwrap();
        let users = FeatureMatrix::new(&users, &log.catalog().users).unwrap();
        let settings = LightFm::new().factors(4).epochs(2);
        let model = settings.clone().item_features(&items).user_features(&users).fit(&log).unwrap();
        let any = model.clone().boxed();
        let spaces = [any.model().item_space(), any.model().user_space()];
        assert!(spaces.iter().all(|space| space.is_some_and(|space| space.len() == 4)));
        let list = any.recommend_described(&row(1), 5, &Filter::unseen()).unwrap();
        assert_eq!(list, model.recommend_described(&row(1), 5, &Filter::unseen()).unwrap());
        let new = [row(1), row(2)];
        assert_eq!(any.score_new_items(&7, &new).unwrap(), model.score_new_items(&7, &new).unwrap());
        let unknown = any.recommend_described(&FeatureRow::new().number("age", 3.0), 5, &Filter::all());
        assert!(matches!(unknown, Err(Error::Parameter { name: "feature", .. })));
        assert!(matches!(any.recommend_in(&7, &row(1), 5, &Filter::all()), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn one_that_was_trained_without_says_so() {
        let log = log();
        for any in [LightFm::new().fit(&log).unwrap().boxed(), Als::new().fit(&log).unwrap().boxed()] {
            assert!(any.model().item_space().is_none() && any.model().user_space().is_none());
            let lists = [
                any.recommend_described(&row(1), 5, &Filter::all()),
                any.recommend_in(&7, &row(1), 5, &Filter::all()),
            ];
            assert!(lists.iter().all(|list| matches!(list, Err(Error::Unsupported { .. }))), "{lists:?}");
            let why = any.score_new_items(&7, &[row(1)]).unwrap_err().to_string();
            assert!(why.contains("does not offer scores by features of items"), "{why}");
        }
    }

    #[cfg(feature = "neural")]
    #[test]
    fn a_context_reaches_a_model_of_any_type() {
        use crate::features::{EventFeatures, FactorizationMachine};
        let log = log();
        let day = |time: i64| FeatureRow::new().category("day", if time % 2 == 0 { "even" } else { "odd" });
        let rows = log.ratings().map(|rating| ((rating.user, rating.timestamp), day(rating.timestamp)));
        let context = EventFeatures::new(&FeatureTable::new(rows).unwrap(), &log.catalog().users).unwrap();
        let model = FactorizationMachine::new().factors(4).epochs(5).context(&context).fit(&log).unwrap();
        let any = model.clone().boxed();
        let list = |time: i64| any.recommend_in(&7, &day(time), 5, &Filter::all()).unwrap();
        assert_eq!(list(1), model.recommend_in(&7, &day(1), 5, &Filter::all()).unwrap());
        assert_ne!(list(1), list(2));
    }
}
