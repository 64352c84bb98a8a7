//! Lists for a session: what somebody has just looked at, known to the model or not.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;

use crate::data::filter::Filter;
use crate::data::ids::{Id, ItemIdx, UserIdx};
use crate::features::{FeatureModel, FeatureRow};
use crate::recommender::Recommender;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::{Error, Result};

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// The `k` best items for somebody who just met the items of `session`, the latest last, and of whom nothing else is known. With
    /// [`Filter::unseen`] those items are left out.
    ///
    /// An item may come again. A model that knows order takes the session as it is; to the others it is a history of its items with
    /// values of 1. Items that the catalogue does not have are passed over, and those that [say nothing](Recommender::reads_item) to the
    /// model.
    ///
    /// ```
    /// use cairn_recsys::{Ease, Estimator, Filter, synthetic};
    /// let model = Ease::new(10.0).fit(&synthetic::planted_groups(60, 40, 4, 8, 0.0, 0)?)?;
    /// let next = model.recommend_session(&[4, 8, 4], 3, &Filter::unseen())?;
    /// assert!(next.iter().all(|entry| entry.id % 4 == 0 && entry.id != 4 && entry.id != 8));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] for a session without items, [`Error::UnknownItem`] for one of which the model knows no item (others are
    /// passed over), [`Error::Parameter`] for a `k` of 0, and [`Error::Unsupported`] if the model has no fold-in.
    #[doc(alias("next_item", "session_based"))]
    pub fn recommend_session(
        &self,
        session: &[I],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        self.best_of_session(self.session(session)?, k, filter)
    }

    /// The `k` best items for a user of the catalogue who, after the rows of training, met the items of `session`. What the model knows of
    /// the user besides, their features, counts as in training. Without any items, or where none of them says anything to the model, they
    /// are the items of [`recommend`](Self::recommend); with [`Filter::unseen`] those of the session are left out all the same.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0; [`Error::Unsupported`] if the model has no fold-in.
    pub fn recommend_next<Q: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        session: &[I],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>>
    where
        U: Borrow<Q>,
    {
        check_k(k)?;
        let index = self.catalog().user(user)?;
        let session = self.known(session);
        if session.is_empty() {
            return self.recommend(user, k, filter);
        }
        if !session.iter().any(|&item| self.reads_item(item)) {
            if !filter.is_unseen() {
                return self.recommend(user, k, filter);
            }
            // What was seen is out, though it says nothing.
            let mut out = session;
            out.sort_unstable();
            out.dedup();
            let out = out.iter().map(|&item| self.catalog().items.id(item).clone());
            return self.recommend(user, k, &Filter::unseen().without(out).only(|id| filter.allows(id)));
        }
        let (items, values) = self.history_with(index, &session);
        let scores =
            self.scores_by(|out| self.model().score_next(self.seen(), index, &items, &values, out))?;
        let mut out: Vec<ItemIdx> = self.seen().row(index).0.to_vec();
        out.extend(&session);
        Ok(self.list_of_scores(scores, &out, k, filter))
    }

    /// What a user met in training and in a session, as far as it says something, as [`Recommender::score_next`] takes it.
    fn history_with(&self, user: UserIdx, session: &[ItemIdx]) -> (Vec<ItemIdx>, Vec<f32>) {
        let (seen, values) = self.seen().row(user);
        if self.model().knows_order() {
            let before = self.model().sequence(user).unwrap_or(seen);
            let items: Vec<ItemIdx> = before.iter().chain(session).copied().collect();
            return self.read(&items, &vec![1.0; items.len()]);
        }
        let new = session.iter().filter(|item| seen.binary_search(item).is_err());
        let mut rows: Vec<(ItemIdx, f32)> = new.map(|&item| (item, 1.0)).collect();
        rows.extend(seen.iter().copied().zip(values.iter().copied()));
        rows.sort_by_key(|&(item, _)| item);
        rows.dedup_by_key(|(item, _)| *item);
        let (items, values): (Vec<ItemIdx>, Vec<f32>) = rows.into_iter().unzip();
        self.read(&items, &values)
    }

    fn best_of_session(
        &self,
        items: Vec<ItemIdx>,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        let items = self.as_history(items);
        self.best_of_history(&items, &vec![1.0; items.len()], k, filter)
    }

    /// The items of a session in the order in which the model takes histories.
    fn as_history(&self, mut items: Vec<ItemIdx>) -> Vec<ItemIdx> {
        if !self.model().knows_order() {
            items.sort_unstable();
            items.dedup();
        }
        items
    }

    /// The items of a session that are in the catalogue.
    fn known(&self, session: &[I]) -> Vec<ItemIdx> {
        session.iter().filter_map(|id| self.catalog().items.get(id)).collect()
    }

    /// The items of a session that are in the catalogue, if any says something to the model. Those that do not are no part of what it
    /// reads, but they are of what was seen.
    fn session(&self, session: &[I]) -> Result<Vec<ItemIdx>> {
        let items = self.known(session);
        let learned = items.iter().any(|&item| self.reads_item(item));
        match session {
            [] => Err(Error::Empty { what: "the session" }),
            _ if learned => Ok(items),
            [only] if items.is_empty() => Err(Error::UnknownItem(format!("{only:?}"))),
            [only] => Err(Error::UnknownItem(format!("{only:?}: training learned nothing of it"))),
            [first, ..] => {
                let n = session.len();
                Err(Error::UnknownItem(format!("{first:?}: none of the session's {n} items is known")))
            }
        }
    }
}

impl<M: FeatureModel + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// The `k` best items for somebody who just met the items of `session`, the latest last, and of whom nothing else is known but the
    /// features of `user`: [`recommend_session`](Self::recommend_session) and [`recommend_described`](Self::recommend_described) in one.
    /// Without any items, or where none of them says anything to the model, it goes by the features alone.
    ///
    /// ```
    /// use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, LightFm};
    /// use cairn_recsys::{Estimator, Filter, synthetic};
    /// let log = synthetic::planted_groups(80, 40, 4, 8, 0.0, 0)?;
    /// let group = |user: u32| FeatureRow::new().category("group", &(user % 4).to_string());
    /// let table = FeatureTable::new((0..80).map(|user| (user, group(user))))?;
    /// let features = FeatureMatrix::new(&table, &log.catalog().users)?;
    /// let model = LightFm::new().factors(8).learning_rate(0.1).user_features(&features).fit(&log)?;
    /// let list = model.recommend_session_described(&[3, 7], &group(3), 3, &Filter::unseen())?;
    /// assert!(list.iter().all(|entry| entry.id % 4 == 3 && entry.id != 3 && entry.id != 7));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `k` of 0, and those of [`FeatureModel::score_described_history`].
    #[doc(alias("cold_start", "session_based"))]
    pub fn recommend_session_described(
        &self,
        session: &[I],
        user: &FeatureRow,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        let out = self.as_history(self.known(session));
        let (items, values) = self.read(&out, &vec![1.0; out.len()]);
        let scores = self.scores_by(|scores| {
            if items.is_empty() {
                self.model().score_described_user(user, scores)
            } else {
                self.model().score_described_history(user, &items, &values, scores)
            }
        })?;
        Ok(self.list_of_scores(scores, &out, k, filter))
    }
}
