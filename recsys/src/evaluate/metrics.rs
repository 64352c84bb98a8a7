//! Ranking metrics of one list against the set of relevant items. Binary relevance; k cuts the list.
//!
//! With `hits` the relevant items among the first k of the list and `n` the number of relevant items:
//!
//! | | |
//! |---|---|
//! | [`Precision`] | hits / k, also where the list is shorter than k |
//! | [`Recall`] | hits / n |
//! | [`CappedRecall`] | hits / min(k, n), as Liang et al. (WWW 2018) report "Recall@k" |
//! | [`HitRate`] | 1 if hits > 0 |
//! | [`Ndcg`] | sum over hits of 1 / log2(rank + 1), over the same sum for the best possible list of k |
//! | [`Map`] | sum over hits of (hits so far / rank), over min(k, n) |
//! | [`Mrr`] | 1 / rank of the first hit, 0 without one |
//!
//! A metric of your own is a type that implements [`RankingMetric`]: reports compute any metric after the fact.

use std::fmt::Debug;

/// One user's list as a metric sees it: where the relevant items are among the first k.
#[derive(Debug, Clone, Copy)]
pub struct RankedList<'a> {
    hits: &'a [bool],
    relevant: usize,
    k: usize,
}

impl<'a> RankedList<'a> {
    /// A list that is given as what is relevant at each rank, cut at k. `None` where nothing is relevant or k is 0.
    pub fn new(hits: &'a [bool], relevant: usize, k: usize) -> Option<Self> {
        (relevant > 0 && k > 0).then(|| Self { hits: &hits[..k.min(hits.len())], relevant, k })
    }

    /// Ranks of the relevant items that the list has, from 1, ascending.
    pub fn ranks(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.hits.iter().zip(1..).filter(|&(&hit, _)| hit).map(|(_, rank)| rank)
    }

    /// How many relevant items the list has.
    pub fn hits(&self) -> usize {
        self.ranks().count()
    }

    /// How many relevant items there are; at least 1.
    pub fn relevant(&self) -> usize {
        self.relevant
    }

    /// Where the list is cut; at least 1. The list may be shorter.
    pub fn k(&self) -> usize {
        self.k
    }
}

/// A measure of one list; a report has its mean over users.
///
/// ```
/// use cairn_recsys::metrics::RankedList;
/// use cairn_recsys::{Estimator, RankingEvaluator, RankingMetric, Split, TopPop, synthetic};
///
/// /// Harmonic mean of precision and recall.
/// #[derive(Debug)]
/// struct F1;
///
/// impl RankingMetric for F1 {
///     fn name(&self) -> &str {
///         "F1"
///     }
///     fn of(&self, list: &RankedList<'_>) -> f64 {
///         2.0 * list.hits() as f64 / (list.k() + list.relevant()) as f64
///     }
/// }
/// let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
/// let (train, test) = log.split(Split::per_user(0.25, 0))?;
/// let report = RankingEvaluator::at([10]).evaluate(&TopPop::new().fit(&train)?, &test)?;
/// assert!(report.mean(F1, 10).is_some());
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
pub trait RankingMetric: Debug + Send + Sync {
    /// The usual name, without the cut-off.
    fn name(&self) -> &str;

    /// The figure of one list. Lists of users without relevant items are not asked for.
    fn of(&self, list: &RankedList<'_>) -> f64;
}

impl<M: RankingMetric + ?Sized> RankingMetric for &M {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn of(&self, list: &RankedList<'_>) -> f64 {
        (**self).of(list)
    }
}

/// 0 where nothing is relevant or k is 0.
pub(super) fn measure(metric: &dyn RankingMetric, hits: &[bool], relevant: usize, k: usize) -> f64 {
    // A sum over nothing is -0.0, which a table would show as such.
    RankedList::new(hits, relevant, k).map_or(0.0, |list| metric.of(&list)) + 0.0
}

macro_rules! standard {
    ($($(#[$doc:meta])* $metric:ident, $name:literal, |$list:ident| $value:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $metric;

            impl RankingMetric for $metric {
                fn name(&self) -> &str {
                    $name
                }
                fn of(&self, $list: &RankedList<'_>) -> f64 {
                    $value
                }
            }
        )*

        /// All of this module, in the order of reports.
        pub const STANDARD: &[&dyn RankingMetric] = &[$(&$metric),*];
    };
}

standard! {
    /// Normalised discounted cumulative gain.
    #[doc(alias = "ndcg_at_k")]
    #[doc(alias = "ndcg_score")]
    Ndcg, "NDCG", |list| {
        let ideal: f64 = (1..=list.k.min(list.relevant)).map(discount).sum();
        list.ranks().map(discount).sum::<f64>() / ideal + 0.0
    };
    /// Share of the relevant items that the list has.
    #[doc(alias = "recall_at_k")]
    Recall, "recall", |list| list.hits() as f64 / list.relevant as f64;
    /// The same over min(k, number of relevant items): 1 is reachable for every user.
    CappedRecall, "capped recall", |list| list.hits() as f64 / list.k.min(list.relevant) as f64;
    /// Share of the list that is relevant.
    #[doc(alias = "precision_at_k")]
    Precision, "precision", |list| list.hits() as f64 / list.k as f64;
    /// Whether the list has any relevant item.
    #[doc(alias = "hit")]
    HitRate, "hit rate", |list| f64::from(list.hits() > 0);
    /// Mean average precision.
    #[doc(alias = "mean_average_precision_at_k")]
    #[doc(alias = "average_precision")]
    Map, "MAP", |list| {
        let sum: f64 = list.ranks().zip(1..).map(|(rank, hit)| f64::from(hit) / rank as f64).sum();
        sum / list.k.min(list.relevant) as f64 + 0.0
    };
    /// Mean reciprocal rank of the first hit.
    #[doc(alias = "reciprocal_rank")]
    Mrr, "MRR", |list| list.ranks().next().map_or(0.0, |rank| 1.0 / rank as f64);
}

fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 1.0).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        // Hits at ranks 2 and 3 of 4, three relevant items in all.
        let hits = [false, true, true, false];
        let of = |metric: &dyn RankingMetric, k| measure(metric, &hits, 3, k);
        assert_eq!(of(&Precision, 4), 0.5);
        assert_eq!(of(&Recall, 4), 2.0 / 3.0);
        assert_eq!(of(&CappedRecall, 2), 0.5);
        assert_eq!((of(&HitRate, 1), of(&HitRate, 2)), (0.0, 1.0));
        assert_eq!(of(&Mrr, 4), 0.5);
        assert_eq!(of(&Map, 4), (1.0 / 2.0 + 2.0 / 3.0) / 3.0);
        let gain = 1.0 / 3_f64.log2() + 1.0 / 2.0;
        assert!((of(&Ndcg, 4) - gain / (1.0 + gain)).abs() < 1e-15);
        assert_eq!(of(&Precision, 8), 0.25, "a short list is not rewarded");
        assert!(STANDARD.iter().all(|m| measure(m, &hits, 0, 4) == 0.0));
    }

    #[test]
    fn the_perfect_list_scores_one() {
        for metric in STANDARD.iter().filter(|metric| metric.name() != Recall.name()) {
            assert_eq!(measure(metric, &[true; 5], 9, 5), 1.0, "{metric:?}");
        }
    }
}
