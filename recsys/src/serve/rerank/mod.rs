//! Lists as a shop needs them: varied, true to a person's tastes, with room for each provider, some items pushed.
//!
//! A list is made over from candidates, the best `n` by the model under the same filter, so what holds of lists holds of these:
//! nothing seen, barred, repeated or NaN; only the choice among the candidates and their order change. Scores are the model's, and
//! so no longer descend. Steps follow one another, each on the order that the one before left; what each costs in NDCG is measured by
//! [`RankingEvaluator::evaluate_reranked`](crate::RankingEvaluator::evaluate_reranked) and a
//! [paired test](crate::PairedTest). Allowing and barring items is [`Filter`]'s.

mod calibrate;
mod diverse;
mod groups;
mod rank;
mod shop;

use std::any::Any;
use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;

pub use calibrate::Calibration;
pub use diverse::{Dpp, ItemLikeness, Mmr};
pub use groups::ItemGroups;
pub use rank::Rank;
use rayon::prelude::*;
pub use shop::{Boost, Quota};

use crate::data::filter::Filter;
use crate::data::ids::{Id, ItemIdx, UserIdx};
use crate::recommender::Recommender;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::serve::top_k::ScoredItem;
use crate::{Error, Result};

/// What a step of a reranking chooses from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Candidates<'a> {
    /// Whose list it is.
    pub user: UserIdx,
    /// The items, in the order of the step before.
    pub items: Vec<ItemIdx>,
    /// How good each is, from 0 for the worst candidate to 1 for the best.
    pub relevance: Vec<f32>,
    /// What the user met in training.
    pub history: &'a [ItemIdx],
}

/// A step of a reranking.
pub trait Reranker: Debug + Send + Sync {
    /// The places of candidates in their new order, each once at most, the first `k` chosen with care. Places left out are no longer
    /// candidates.
    fn order(&self, candidates: &Candidates<'_>, k: usize) -> Vec<usize>;

    /// That the step fits a catalogue of so many items, and its settings make sense.
    ///
    /// # Errors
    /// [`Error::Parameter`], [`Error::Shape`].
    fn check(&self, n_items: usize) -> Result<()> {
        let _ = n_items;
        Ok(())
    }

    /// That the step means the same users and items by the same numbers as the lists of these users: `catalog` is their
    /// [`Catalog`](crate::Catalog), whatever the types of its ids. By default that is so; a step that has ids of its own compares them.
    ///
    /// # Errors
    /// [`Error::Shape`] for another catalogue.
    fn check_ids(&self, catalog: &dyn Any, users: &[UserIdx]) -> Result<()> {
        let _ = (catalog, users);
        Ok(())
    }
}

/// How lists are made over: from how many candidates, by which steps.
///
/// ```
/// use cairn_recsys::rerank::{ItemGroups, Mmr, Quota, Reranking};
/// use cairn_recsys::{Als, Estimator, Filter, synthetic};
/// let model = Als::new().factors(8).fit(&synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?)?;
/// let makers = ItemGroups::new(model.catalog(), |item| [format!("maker {}", item % 7)]);
/// let steps = Reranking::from_best(30).then(Mmr::new(0.7, &makers)).then(Quota::at_most(2, &makers));
/// let list = model.recommend_reranked(&7, 10, &Filter::unseen(), &steps)?;
/// assert!((0..7).all(|maker| list.iter().filter(|entry| entry.id % 7 == maker).count() <= 2));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias("postprocess", "diversify"))]
pub struct Reranking {
    candidates: usize,
    steps: Vec<Box<dyn Reranker>>,
}

impl Reranking {
    /// From the best `candidates` items of the model: the more, the freer the steps, and the further down the list they may reach.
    #[must_use]
    pub fn from_best(candidates: usize) -> Self {
        Self { candidates, steps: Vec::new() }
    }

    /// With one more step, after the others.
    #[must_use]
    pub fn then(mut self, step: impl Reranker + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    fn check(&self, n_items: usize, k: usize) -> Result<()> {
        if self.candidates < k {
            return Err(Error::parameter(
                "candidates",
                self.candidates,
                format!("at least {k}, the length of a list"),
            ));
        }
        self.steps.iter().try_for_each(|step| step.check(n_items))
    }

    /// The list of one user, with what they met.
    fn apply(
        &self,
        best: Vec<ScoredItem>,
        (user, history): (UserIdx, &[ItemIdx]),
        k: usize,
    ) -> Vec<ScoredItem> {
        let (low, high) = best.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), entry| {
            (low.min(entry.score), high.max(entry.score))
        });
        let range = high - low;
        let relevance = |score: f32| if range > 0.0 { (score - low) / range } else { 1.0 };
        let mut list = best;
        for step in &self.steps {
            let candidates = Candidates {
                user,
                items: list.iter().map(|entry| entry.item).collect(),
                relevance: list.iter().map(|entry| relevance(entry.score)).collect(),
                history,
            };
            let mut left: Vec<Option<ScoredItem>> = list.into_iter().map(Some).collect();
            let order = step.order(&candidates, k);
            // A place that is out of range or named again is passed over.
            list = order.into_iter().filter_map(|at| left.get_mut(at).and_then(Option::take)).collect();
        }
        list.truncate(k);
        list
    }
}

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// As [`recommend`](Self::recommend), made over by the steps of `reranking`.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0 or above the number of candidates, and settings of a step out of
    /// range; [`Error::Shape`] for a step made for another catalogue.
    pub fn recommend_reranked<Q: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        k: usize,
        filter: &Filter<'_, I>,
        reranking: &Reranking,
    ) -> Result<Vec<Scored<I>>>
    where
        U: Borrow<Q>,
    {
        let user = self.catalog().user(user)?;
        let lists = self.reranked_indices(&[user], k, filter, reranking)?;
        Ok(self.with_ids(&lists[0]))
    }

    /// As [`recommend_indices`](Self::recommend_indices), made over by the steps of `reranking`.
    ///
    /// # Errors
    /// As [`recommend_reranked`](Self::recommend_reranked).
    pub fn reranked_indices(
        &self,
        users: &[UserIdx],
        k: usize,
        filter: &Filter<'_, I>,
        reranking: &Reranking,
    ) -> Result<Vec<Vec<ScoredItem>>> {
        check_k(k)?;
        reranking.check(self.seen().n_cols(), k)?;
        reranking.steps.iter().try_for_each(|step| step.check_ids(self.catalog(), users))?;
        let best = self.recommend_indices(users, reranking.candidates, filter)?;
        let own = |user: UserIdx| (user, self.seen().row(user).0);
        Ok(users.par_iter().zip(best).map(|(&user, best)| reranking.apply(best, own(user), k)).collect())
    }
}
