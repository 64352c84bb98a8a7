//! Ranking metrics of one list against the set of relevant items. Binary relevance; k cuts the list.
//!
//! Definitions, with `hits` the relevant items among the first k of the list and `n` the number of relevant items:
//! - precision: hits / k, also where the list is shorter than k;
//! - recall: hits / n; capped recall: hits / min(k, n), as Liang et al. (WWW 2018) report "Recall@k";
//! - hit rate: 1 if hits > 0;
//! - NDCG: sum over hits of 1 / log2(rank + 1), over the same sum for the best possible list of k;
//! - MAP: sum over hits of (hits so far / rank), over min(k, n);
//! - MRR: 1 / rank of the first hit, 0 without one.

use crate::data::ids::{Index, ItemIdx};
use crate::linalg::vectorised::vectorised;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// Normalised discounted cumulative gain.
    Ndcg,
    /// Share of the relevant items that the list has.
    Recall,
    /// The same over min(k, number of relevant items): 1 is reachable for every user.
    CappedRecall,
    /// Share of the list that is relevant.
    Precision,
    /// Whether the list has any relevant item.
    HitRate,
    /// Mean average precision.
    Map,
    /// Mean reciprocal rank of the first hit.
    Mrr,
}

impl Metric {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 7] =
        [Self::Ndcg, Self::Recall, Self::CappedRecall, Self::Precision, Self::HitRate, Self::Map, Self::Mrr];

    /// The usual name, without the cut-off.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "NDCG",
            Self::Recall => "recall",
            Self::CappedRecall => "capped recall",
            Self::Precision => "precision",
            Self::HitRate => "hit rate",
            Self::Map => "MAP",
            Self::Mrr => "MRR",
        }
    }

    /// The metric of one list. `hits[r]` says whether the item at rank `r + 1` is relevant; `relevant` is how many relevant
    /// items there are in all. 0 if there are none.
    pub fn of(self, hits: &[bool], relevant: usize, k: usize) -> f64 {
        let hits = &hits[..k.min(hits.len())];
        let ranks = || hits.iter().enumerate().filter(|&(_, &hit)| hit).map(|(at, _)| at + 1);
        if relevant == 0 || k == 0 {
            return 0.0;
        }
        let count = ranks().count() as f64;
        match self {
            Self::Ndcg => {
                let ideal: f64 = (1..=k.min(relevant)).map(discount).sum();
                ranks().map(discount).sum::<f64>() / ideal
            }
            Self::Recall => count / relevant as f64,
            Self::CappedRecall => count / k.min(relevant) as f64,
            Self::Precision => count / k as f64,
            Self::HitRate => f64::from(count > 0.0),
            Self::Map => {
                let sum: f64 = ranks().zip(1..).map(|(rank, hit)| f64::from(hit) / rank as f64).sum();
                sum / k.min(relevant) as f64
            }
            Self::Mrr => ranks().next().map_or(0.0, |rank| 1.0 / rank as f64),
        }
    }
}

/// Area under the ROC curve: the share of pairs of a relevant and another candidate that are in the right order, ties
/// counting half. Relevant items that are no candidates count as last. 0.5 if there is nothing to compare.
pub(super) fn auc(scores: &[f32], relevant: &[ItemIdx]) -> f64 {
    // Relevant items are few and the others many: for each relevant one a pass over all scores in vectors is a tenth of the
    // time that sorting them takes. What is no other candidate is NaN, which no comparison holds for.
    let mut others: Vec<f32> = scores.iter().map(|&s| if s.is_finite() { s } else { f32::NAN }).collect();
    relevant.iter().for_each(|item| others[item.at()] = f32::NAN);
    let n = others.iter().filter(|s| !s.is_nan()).count();
    if n == 0 || relevant.is_empty() {
        return 0.5;
    }
    // A pair in the right order counts two, a tie one: sums of whole numbers are exact.
    let halves: u64 = relevant
        .iter()
        .map(|item| scores[item.at()])
        .filter(|score| score.is_finite())
        .map(|score| others.chunks(1 << 20).map(|others| u64::from(halves(others, score))).sum::<u64>())
        .sum();
    halves as f64 / (2.0 * relevant.len() as f64 * n as f64)
}

/// Two for each of `others` below `score` and one for each equal to it.
fn halves(others: &[f32], score: f32) -> u32 {
    let mut sum = 0;
    vectorised(
        #[inline(always)]
        || others.iter().for_each(|&other| sum += u32::from(other < score) + u32::from(other <= score)),
    );
    sum
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
        let of = |metric: Metric, k| metric.of(&hits, 3, k);
        assert_eq!(of(Metric::Precision, 4), 0.5);
        assert_eq!(of(Metric::Recall, 4), 2.0 / 3.0);
        assert_eq!(of(Metric::CappedRecall, 2), 0.5);
        assert_eq!((of(Metric::HitRate, 1), of(Metric::HitRate, 2)), (0.0, 1.0));
        assert_eq!(of(Metric::Mrr, 4), 0.5);
        assert_eq!(of(Metric::Map, 4), (1.0 / 2.0 + 2.0 / 3.0) / 3.0);
        let gain = 1.0 / 3_f64.log2() + 1.0 / 2.0;
        assert!((of(Metric::Ndcg, 4) - gain / (1.0 + gain)).abs() < 1e-15);
        assert_eq!(of(Metric::Precision, 8), 0.25, "a short list is not rewarded");
        assert!(Metric::ALL.iter().all(|m| m.of(&hits, 0, 4) == 0.0));
    }

    #[test]
    fn auc_counts_pairs() {
        let scores = [3.0, 1.0, f32::NAN, 2.0, 2.0];
        // Relevant: 0 (above all), 3 (ties with 4, above 1), 2 (no candidate). Others: 1 and 4.
        let got = auc(&scores, &[ItemIdx(0), ItemIdx(2), ItemIdx(3)]);
        assert_eq!(got, (2.0 + 0.0 + 1.5) / 6.0);
        assert_eq!(auc(&scores, &[]), 0.5);
    }

    #[test]
    fn auc_agrees_with_all_pairs() {
        let scores: Vec<f32> = (0..300_u32)
            .map(|n| if n % 17 == 3 { f32::NAN } else { (n.wrapping_mul(2_654_435_761) >> 27) as f32 })
            .collect();
        for step in [2, 7, 50] {
            let relevant: Vec<ItemIdx> = (0..300).step_by(step).map(|n| ItemIdx(n as u32)).collect();
            let (mut right, mut pairs) = (0.0, 0.0);
            for up in &relevant {
                for other in (0..300).filter(|n| n % step != 0 && scores[*n].is_finite()) {
                    let up = scores[up.at()];
                    right +=
                        if up > scores[other] { 1.0 } else { f64::from(u8::from(up == scores[other])) / 2.0 };
                    pairs += 1.0;
                }
            }
            assert!((auc(&scores, &relevant) - right / pairs).abs() < 1e-12);
        }
    }

    #[test]
    fn the_perfect_list_scores_one() {
        for metric in
            [Metric::Ndcg, Metric::CappedRecall, Metric::Precision, Metric::HitRate, Metric::Map, Metric::Mrr]
        {
            assert_eq!(metric.of(&[true; 5], 9, 5), 1.0, "{metric:?}");
        }
    }
}
