//! Ranking of candidates by a second model: the second stage of a recommender of two.

use std::any::Any;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Candidates, Reranker};
use crate::data::ids::{Id, IdMap, Idx, ItemIdx, UserIdx};
use crate::data::interactions::Catalog;
use crate::recommender::Recommender;
use crate::serve::file::id_type;
use crate::serve::fitted::Fitted;
use crate::{Error, Result};

/// Orders candidates by the scores of another model, trained on a log with the same catalogue: one that is fast finds candidates, one that
/// looks at pairs of users and items closely ranks them (Covington, Adams & Sargin, RecSys 2016). Candidates that the other model does
/// not score, or [knows](Recommender) nothing of, keep their order behind the others; all keep it for a user whom it does not have, or
/// knows nothing of.
///
/// A model of which an item, or the user who is asked about, has another number than in the catalogue of the candidates is refused
/// ([`Error::Shape`]): it would rank other items for somebody else. Models of one log share its catalogue; of others the ids are compared, those
/// of the items once for each catalogue that is asked in turn.
///
/// ```
/// use cairn_recsys::rerank::{Rank, Reranking};
/// use cairn_recsys::{Ease, Estimator, Filter, PureSvd, synthetic};
/// let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
/// let (candidates, ranker) = (PureSvd::new(4).fit(&log)?, Ease::new(10.0).fit(&log)?);
/// let steps = Reranking::from_best(20).then(Rank::by(&ranker));
/// let list = candidates.recommend_reranked(&7, 5, &Filter::unseen(), &steps)?;
/// let scores: Vec<f32> = list.iter().map(|entry| ranker.score(&7, &entry.id)).collect::<Result<_, _>>()?;
/// assert!(scores.is_sorted_by(|a, b| a >= b));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias("ranking network", "second stage", "two-stage"))]
pub struct Rank<M: ?Sized, U, I> {
    model: Fitted<M, U, I>,
    /// The items last found to be the model's own, though kept elsewhere.
    alike: Mutex<Option<Arc<IdMap<I, ItemIdx>>>>,
}

impl<M: ?Sized, U, I> Debug for Rank<M, U, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rank").finish_non_exhaustive()
    }
}

impl<M: Recommender + ?Sized, U: Id, I: Id> Rank<M, U, I> {
    /// By this model, which is shared, not copied.
    #[must_use]
    pub fn by(model: &Fitted<M, U, I>) -> Self {
        Self { model: model.clone(), alike: Mutex::new(None) }
    }

    /// That items have the numbers that the model knows them by.
    fn check_items(&self, items: &Arc<IdMap<I, ItemIdx>>) -> Result<()> {
        let own = &self.model.catalog().items;
        let mut alike = self.alike.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(own, items) || alike.as_ref().is_some_and(|alike| Arc::ptr_eq(alike, items)) {
            return Ok(());
        }
        // Of catalogues of other lengths one item is there and not here.
        let differs = (0..own.len().max(items.len())).find(|&at| own.ids().get(at) != items.ids().get(at));
        if let Some(at) = differs {
            return Err(foreign("item", at, items.ids().get(at), own.ids().get(at)));
        }
        *alike = Some(Arc::clone(items));
        Ok(())
    }

    /// That a user is the one whom the model knows by this number, if it knows them.
    fn check_user(&self, users: &IdMap<U, UserIdx>, user: UserIdx) -> Result<()> {
        let own = &self.model.catalog().users;
        let (theirs, ours) = (users.ids().get(user.at()), own.ids().get(user.at()));
        let moved = ours.is_none() && theirs.is_some_and(|id| own.get(id).is_some());
        if theirs == ours || (ours.is_none() && !moved) {
            return Ok(());
        }
        Err(foreign("user", user.at(), theirs, ours))
    }
}

/// The error of a model for which a number is of something else than for the candidates.
fn foreign<T: Id>(kind: &str, at: usize, theirs: Option<&T>, ours: Option<&T>) -> Error {
    let name = |id: Option<&T>| id.map_or_else(|| "none".to_owned(), |id| format!("{id:?}"));
    Error::Shape {
        what: "the catalogue of the model that ranks candidates",
        expected: format!("{} as {kind} {at}", name(theirs)),
        found: name(ours),
    }
}

impl<M: Recommender + ?Sized + 'static, U: Id, I: Id> Reranker for Rank<M, U, I> {
    fn order(&self, candidates: &Candidates<'_>, _: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..candidates.items.len()).collect();
        let user = candidates.user;
        if user.at() >= self.model.seen().n_rows() || !self.model.knows_user(user) {
            return order;
        }
        let mut scores = vec![0.0; self.model.seen().n_cols()];
        if self.model.model().score_users(self.model.seen(), &[user], &mut scores).is_err() {
            return order;
        }
        let score = |&item: &ItemIdx| {
            let score = scores[item.at()];
            if score.is_finite() && self.model.knows_item(item) { score } else { f32::NEG_INFINITY }
        };
        let scores: Vec<f32> = candidates.items.iter().map(score).collect();
        // Stable: equal ones stay in the order of the step before.
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order
    }

    fn check(&self, n_items: usize) -> Result<()> {
        let own = self.model.seen().n_cols();
        if own == n_items {
            return Ok(());
        }
        Err(Error::Shape {
            what: "the model that ranks candidates",
            expected: format!("one of the same {n_items} items"),
            found: own.to_string(),
        })
    }

    fn check_ids(&self, catalog: &dyn Any, users: &[UserIdx]) -> Result<()> {
        let Some(catalog) = catalog.downcast_ref::<Catalog<U, I>>() else {
            return Err(Error::Shape {
                what: "the catalogue of the model that ranks candidates",
                expected: "ids of the types of the candidates' catalogue".to_owned(),
                found: format!("users of type {}, items of type {}", id_type::<U>(), id_type::<I>()),
            });
        };
        self.check_items(&catalog.items)?;
        if Arc::ptr_eq(&catalog.users, &self.model.catalog().users) {
            return Ok(());
        }
        users.iter().try_for_each(|&user| self.check_user(&catalog.users, user))
    }
}
