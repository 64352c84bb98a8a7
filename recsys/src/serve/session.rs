//! Lists for a session: what somebody has just looked at, known to the model or not.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;

use crate::data::filter::Filter;
use crate::data::ids::{Id, ItemIdx};
use crate::recommender::Recommender;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::{Error, Result};

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// The `k` best items for somebody who just met the items of `session`, the latest last, and of whom nothing else is known. With
    /// [`Filter::unseen`] those items are left out.
    ///
    /// An item may come again. A model that knows order takes the session as it is; to the others it is a history of its items with
    /// values of 1. Items that the catalogue does not have are passed over, and by models that know order those without rows in training.
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

    /// The `k` best items for a user of the catalogue who, after the rows of training, met the items of `session`. Without any, or
    /// where the model knows none of them, this is [`recommend`](Self::recommend).
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
        let (seen, values) = self.seen().row(index);
        let mut out: Vec<ItemIdx> = seen.to_vec();
        out.extend(&session);
        let scores = if self.model().knows_order() {
            let before = self.model().sequence(index).unwrap_or(seen);
            let items: Vec<ItemIdx> = before.iter().chain(&session).copied().collect();
            self.scores_of(&items, &vec![1.0; items.len()])?
        } else {
            let new = session.iter().filter(|item| seen.binary_search(item).is_err());
            let mut rows: Vec<(ItemIdx, f32)> = new.map(|&item| (item, 1.0)).collect();
            rows.extend(seen.iter().copied().zip(values.iter().copied()));
            rows.sort_by_key(|&(item, _)| item);
            rows.dedup_by_key(|(item, _)| *item);
            let (items, values): (Vec<ItemIdx>, Vec<f32>) = rows.into_iter().unzip();
            self.scores_of(&items, &values)?
        };
        Ok(self.list_of_scores(scores, &out, k, filter))
    }

    fn best_of_session(
        &self,
        mut items: Vec<ItemIdx>,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        if !self.model().knows_order() {
            items.sort_unstable();
            items.dedup();
        }
        self.best_of_history(&items, &vec![1.0; items.len()], k, filter)
    }

    /// The items of a session that are in the catalogue.
    fn known(&self, session: &[I]) -> Vec<ItemIdx> {
        session.iter().filter_map(|id| self.catalog().items.get(id)).collect()
    }

    /// The items of a session that are in the catalogue, if the model learned of any. Those of which it did not are no part of what it
    /// reads, but they are of what was seen.
    fn session(&self, session: &[I]) -> Result<Vec<ItemIdx>> {
        let items = self.known(session);
        let learned = items.iter().any(|&item| self.model().has_learned(item));
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
