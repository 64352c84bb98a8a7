//! Ranking of candidates by a second model: the second stage of a recommender of two.

use std::fmt::Debug;

use super::{Candidates, Reranker};
use crate::data::ids::{Id, Idx};
use crate::recommender::Recommender;
use crate::serve::fitted::Fitted;
use crate::{Error, Result};

/// Orders candidates by the scores of another model, trained on a log with the same catalogue: one that is fast finds candidates, one that
/// looks at pairs of users and items closely ranks them (Covington, Adams & Sargin, RecSys 2016). Candidates that the other model does
/// not score keep their order behind the others.
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
        Self { model: model.clone() }
    }
}

impl<M: Recommender + ?Sized + 'static, U: Id, I: Id> Reranker for Rank<M, U, I> {
    fn order(&self, candidates: &Candidates<'_>, _: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..candidates.items.len()).collect();
        if candidates.user.at() >= self.model.seen().n_rows() {
            return order;
        }
        let mut scores = vec![0.0; self.model.seen().n_cols()];
        if self.model.model().score_users(self.model.seen(), &[candidates.user], &mut scores).is_err() {
            return order;
        }
        let score = |at: &usize| {
            let score = scores[candidates.items[*at].at()];
            if score.is_finite() { score } else { f32::NEG_INFINITY }
        };
        // Stable: equal ones stay in the order of the step before.
        order.sort_by(|a, b| score(b).total_cmp(&score(a)));
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
}
