//! What an evaluation gives: figures for each user, their means, and how sure one can be of them.

use std::fmt;

use rayon::prelude::*;

use super::ListQuality;
use super::metrics::{RankingMetric, STANDARD, measure};
use crate::Result;
use crate::data::ids::UserIdx;
use crate::evaluate::bootstrap;

/// Among which items the relevant ones were ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// All of the catalogue.
    Full,
    /// The relevant ones and that many random others. Not comparable with full ranking, nor across numbers of negatives.
    Sampled {
        /// Random items for each user.
        negatives: usize,
        /// Seed of the choice.
        seed: u64,
    },
    /// The relevant ones and those that the caller gave for each user. Comparable only for the same candidates.
    Given,
}

/// What came of one user's list: all that metrics need.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    /// For each rank whether the item there is relevant.
    pub(super) hits: Vec<bool>,
    /// How many items are relevant.
    pub(super) relevant: usize,
}

/// Results of an evaluation of lists: any metric at each cut-off for each user, and their means.
#[derive(Debug, Clone, PartialEq)]
pub struct RankingReport {
    pub(super) model: &'static str,
    /// What the caller calls it.
    pub(super) name: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) cutoffs: Vec<usize>,
    pub(super) users: Vec<UserIdx>,
    /// Who they are and what is relevant to them, by ids: equal where reports can be compared user by user.
    pub(super) asked: u64,
    /// Of those, of how many the model knew nothing: neither training rows, nor any that were folded in, nor features.
    pub(super) unknown: usize,
    /// Relevant rows that the model was trained on, of how many.
    pub(super) known_rows: (usize, usize),
    /// One for each user.
    pub(super) outcomes: Vec<Outcome>,
    /// One for each user, if asked for.
    pub(super) auc: Vec<f64>,
    /// One for each cut-off, if asked for.
    pub(super) quality: Vec<ListQuality>,
}

impl RankingReport {
    /// Name of the model.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// The same report by a name of its own, which tells it from others of the same model: of other settings, or of lists made over.
    ///
    /// ```
    /// use cairn_recsys::{Ease, Estimator, PairedTest, RankingEvaluator, Split, metrics::Ndcg, synthetic};
    /// # let log = synthetic::planted_groups(100, 60, 4, 10, 0.1, 0)?;
    /// # let (train, test) = log.split(Split::per_user(0.3, 0))?;
    /// let judge = |lambda: f64| RankingEvaluator::at([10]).evaluate(&Ease::new(lambda).fit(&train)?, &test);
    /// let (weak, strong) = (judge(1.0)?.named("EASE, λ = 1"), judge(100.0)?.named("EASE, λ = 100"));
    /// let difference = PairedTest::new().compare(&strong, &weak, Ndcg, 10)?;
    /// assert!(difference.to_string().starts_with("NDCG@10 of EASE, λ = 100 less EASE, λ = 1's"));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[must_use]
    #[doc(alias("label", "rename"))]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The name it was given by [`named`](Self::named), else that of the model.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.model)
    }

    /// Among which items was ranked.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The users evaluated, in index order.
    pub fn users(&self) -> &[UserIdx] {
        &self.users
    }

    /// How many of the users have no training rows, no features that the model knows, and where users were folded in no history either:
    /// they were shown the most popular items, whatever the model.
    pub fn users_without_history(&self) -> usize {
        self.unknown
    }

    /// How many relevant rows are in the training log too. Unless these compete (`keep_seen`), they cannot be hit.
    pub fn trained_rows(&self) -> usize {
        self.known_rows.0
    }

    /// The cut-offs.
    pub fn cutoffs(&self) -> &[usize] {
        &self.cutoffs
    }

    /// A metric for each user, in the order of [`users`](Self::users); `None` for a cut-off that was not asked for.
    pub fn per_user(&self, metric: impl RankingMetric, k: usize) -> Option<Vec<f64>> {
        self.cutoffs.contains(&k).then(|| {
            let of_user = |outcome: &Outcome| measure(&metric, &outcome.hits, outcome.relevant, k);
            self.outcomes.par_iter().with_min_len(256).map(of_user).collect()
        })
    }

    /// The mean over users; `None` for a cut-off that was not asked for.
    ///
    /// ```
    /// use cairn_recsys::metrics::{Ndcg, Recall};
    /// # use cairn_recsys::{Estimator, RankingEvaluator, Split, TopPop, synthetic};
    /// # let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
    /// # let (train, test) = log.split(Split::per_user(0.25, 0))?;
    /// let report = RankingEvaluator::at([10]).evaluate(&TopPop::new().fit(&train)?, &test)?;
    /// println!("NDCG@10 {:?}, recall@10 {:?}", report.mean(Ndcg, 10), report.mean(Recall, 10));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    pub fn mean(&self, metric: impl RankingMetric, k: usize) -> Option<f64> {
        Some(mean(&self.per_user(metric, k)?))
    }

    /// Area under the ROC curve, mean over users; `None` if it was not asked for.
    pub fn auc(&self) -> Option<f64> {
        self.auc_per_user().map(mean)
    }

    /// Area under the ROC curve for each user, in the order of [`users`](Self::users); `None` if it was not asked for.
    pub fn auc_per_user(&self) -> Option<&[f64]> {
        if self.auc.is_empty() { None } else { Some(&self.auc) }
    }

    /// Coverage, Gini, novelty and diversity of the lists at a cut-off; `None` if not asked for.
    pub fn list_quality(&self, k: usize) -> Option<ListQuality> {
        let cutoff = self.cutoffs.iter().position(|&c| c == k)?;
        self.quality.get(cutoff).copied()
    }

    /// Bootstrap interval of a mean: users are drawn with replacement `resamples` times, and the middle `level` of the
    /// means (0.95 by custom) is returned. `None` for a cut-off that was not asked for.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a level outside (0, 1) or no resamples.
    pub fn interval(
        &self,
        metric: impl RankingMetric,
        k: usize,
        level: f64,
        resamples: usize,
        seed: u64,
    ) -> Result<Option<(f64, f64)>> {
        // Without such a cut-off there are no cases, but bad arguments are an error all the same.
        let values = self.per_user(metric, k);
        let cases = values.as_deref().unwrap_or(&[0.0]);
        let mean = |drawn: &mut dyn Iterator<Item = usize>| {
            drawn.map(|user| cases[user]).sum::<f64>() / cases.len() as f64
        };
        let interval = bootstrap::interval(cases.len(), level, resamples, seed, mean)?;
        Ok(values.is_some().then_some(interval))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64 + 0.0
}

impl fmt::Display for RankingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} users", self.name(), self.users.len())?;
        if let Protocol::Sampled { negatives, .. } = self.protocol {
            write!(f, "; SAMPLED ranking, {negatives} negatives")?;
        }
        if self.protocol == Protocol::Given {
            write!(f, "; ranking of GIVEN candidates")?;
        }
        if self.unknown > 0 {
            write!(f, "; {} without training rows, shown what is popular", self.unknown)?;
        }
        if let (trained @ 1.., all) = self.known_rows {
            write!(f, "; {trained} of {all} relevant rows are in the training log")?;
        }
        write!(f, "):")?;
        for &k in &self.cutoffs {
            for metric in STANDARD {
                write!(f, " {}@{k} {:.4}", metric.name(), self.mean(metric, k).unwrap_or(f64::NAN))?;
            }
            if let Some(q) = self.list_quality(k) {
                write!(f, " coverage@{k} {:.4} Gini@{k} {:.4}", q.coverage, q.gini)?;
                write!(f, " novelty@{k} {:.4} diversity@{k} {:.4}", q.novelty, q.diversity)?;
            }
        }
        if let Some(auc) = self.auc() {
            write!(f, " AUC {auc:.4}")?;
        }
        Ok(())
    }
}
