//! Choosing settings: grid, random and successive halving, always on validation rows taken from the training log.
//!
//! Settings chosen on the test log are reported by how well they fit that log. So a [`GridSearch`] is made of the training log
//! alone, splits it itself, and never sees the other. Candidates are tried in parallel; what is found does not depend on the
//! number of threads, equal scores go by the order of the candidates.

use rand::SeedableRng;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use crate::data::ids::Id;
use crate::data::split::Split;
use crate::estimator::Estimator;
use crate::evaluate::{RankingEvaluator, RankingMetric};
use crate::rating::{self, RatingModel};
use crate::{Error, Interactions, Result};

/// A candidate with its score on the validation rows; higher is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial<S> {
    /// The settings tried.
    pub settings: S,
    /// Their score.
    pub score: f64,
}

/// Candidates with their scores.
#[doc(alias = "cv_results_")]
#[derive(Debug)]
pub struct SearchResult<S> {
    /// Those that could be trained, best first. Under successive halving only those that reached the last rung.
    pub trials: Vec<Trial<S>>,
    /// Those that could not, and why.
    pub failed: Vec<(S, Error)>,
}

impl<S> SearchResult<S> {
    /// The best settings with their score.
    #[doc(alias = "best_params_")]
    #[doc(alias = "best_score_")]
    pub fn best(&self) -> &Trial<S> {
        // A search without a trial is an error, so there is a first.
        &self.trials[0]
    }
}

/// A training log split for the choice of settings. Candidates are whatever settings a list names: a grid, or random ones by
/// [`random_candidates`].
///
/// ```
/// use cairn_recsys::{Als, GridSearch, Split, metrics::Ndcg, synthetic};
/// let train = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
/// let search = GridSearch::new(&train, Split::per_user(0.25, 0))?;
/// let candidates = [4, 8, 16].map(|factors| Als::new().factors(factors).epochs(4));
/// let found = search.by_ranking(candidates, Ndcg, 10)?;
/// println!("{:?}", found.best());
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "GridSearchCV")]
#[doc(alias = "RandomizedSearchCV")]
#[derive(Debug, Clone)]
pub struct GridSearch<U = u32, I = u32> {
    train: Interactions<U, I>,
    validation: Interactions<U, I>,
}

impl<U: Id, I: Id> GridSearch<U, I> {
    /// Takes the validation rows from the training log.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a share outside (0, 1); [`Error::Empty`] if a part would have no rows.
    pub fn new(train: &Interactions<U, I>, split: Split) -> Result<Self> {
        let (train, validation) = train.split(split)?;
        Ok(Self { train, validation })
    }

    /// The rows candidates are trained on.
    pub fn train(&self) -> &Interactions<U, I> {
        &self.train
    }

    /// The rows candidates are judged by.
    pub fn validation(&self) -> &Interactions<U, I> {
        &self.validation
    }

    /// Tries every candidate by a metric of full ranking: higher is better.
    ///
    /// # Errors
    /// [`Error::Empty`] without candidates; the last candidate's error if all fail.
    pub fn by_ranking<S: Estimator + Clone>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        metric: impl RankingMetric,
        k: usize,
    ) -> Result<SearchResult<S>> {
        self.by_score(candidates, |settings| self.ranked(settings, &metric, k))
    }

    /// Tries every candidate by the error of its predicted ratings; the score is -RMSE.
    ///
    /// # Errors
    /// [`Error::Empty`] without candidates; the last candidate's error if all fail.
    #[doc(alias = "rmse")]
    pub fn by_rmse<S>(&self, candidates: impl IntoIterator<Item = S>) -> Result<SearchResult<S>>
    where
        S: Estimator + Clone,
        S::Model: RatingModel,
    {
        self.by_score(candidates, |settings| {
            Ok(-rating::evaluate(&settings.fit(&self.train)?, &self.validation)?.rmse())
        })
    }

    /// Successive halving (Jamieson & Talwalkar, AISTATS 2016): all candidates get the first budget, the better half of them
    /// the second, and so on. `with_budget` gives a candidate its budget, such as a number of epochs.
    ///
    /// # Errors
    /// [`Error::Empty`] without candidates; the last candidate's error if all fail; [`Error::Parameter`] without budgets.
    #[doc(alias = "HalvingGridSearchCV")]
    pub fn successive_halving<S: Estimator + Clone>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        budgets: &[usize],
        with_budget: impl Fn(S, usize) -> S + Sync,
        metric: impl RankingMetric,
        k: usize,
    ) -> Result<SearchResult<S>> {
        let mut left: Vec<S> = candidates.into_iter().collect();
        let mut failed = Vec::new();
        let mut trials = Vec::new();
        for (rung, &budget) in budgets.iter().enumerate() {
            if rung > 0 {
                left.truncate(left.len().div_ceil(2));
            }
            let rung = self
                .by_score(left, |settings| self.ranked(&with_budget(settings.clone(), budget), &metric, k))?;
            left = rung.trials.iter().map(|trial| trial.settings.clone()).collect();
            failed.extend(rung.failed);
            trials = rung
                .trials
                .into_iter()
                .map(|trial| Trial { settings: with_budget(trial.settings, budget), score: trial.score })
                .collect();
        }
        if trials.is_empty() {
            return Err(Error::parameter("budgets", "[]", "at least one"));
        }
        Ok(SearchResult { trials, failed })
    }

    fn ranked<S: Estimator>(&self, settings: &S, metric: &dyn RankingMetric, k: usize) -> Result<f64> {
        let report = RankingEvaluator::at([k]).evaluate(&settings.fit(&self.train)?, &self.validation)?;
        Ok(report.mean(metric, k).unwrap_or(f64::NAN))
    }

    /// Tries every candidate by a score of your own; higher is better.
    ///
    /// # Errors
    /// [`Error::Empty`] without candidates; the last candidate's error if all fail.
    pub fn by_score<S: Clone + Send + Sync>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        score: impl Fn(&S) -> Result<f64> + Sync,
    ) -> Result<SearchResult<S>> {
        let candidates: Vec<S> = candidates.into_iter().collect();
        let scores: Vec<Result<f64>> = candidates.par_iter().map(&score).collect();
        let (mut trials, mut failed) = (Vec::new(), Vec::new());
        for (settings, score) in candidates.into_iter().zip(scores) {
            match score {
                Ok(score) if score.is_nan() => {
                    let nan = Error::parameter("score", score, "a number");
                    failed.push((settings, nan));
                }
                Ok(score) => trials.push(Trial { settings, score }),
                Err(error) => failed.push((settings, error)),
            }
        }
        if trials.is_empty() {
            return Err(failed.pop().map_or(Error::Empty { what: "the list of candidates" }, |last| last.1));
        }
        // Stable: of equal ones the first.
        trials.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(SearchResult { trials, failed })
    }
}

/// `n` random candidates, for random search (Bergstra & Bengio, JMLR 2012).
///
/// ```
/// use cairn_recsys::{Ease, random_candidates};
/// use rand::RngExt;
/// let candidates = random_candidates(5, 0, |rng| Ease::new(10_f64.powf(rng.random_range(1.0..4.0))));
/// assert_eq!(candidates.len(), 5);
/// ```
#[doc(alias = "ParameterSampler")]
pub fn random_candidates<S>(n: usize, seed: u64, mut candidate: impl FnMut(&mut Pcg64) -> S) -> Vec<S> {
    let mut rng = Pcg64::seed_from_u64(seed);
    (0..n).map(|_| candidate(&mut rng)).collect()
}
