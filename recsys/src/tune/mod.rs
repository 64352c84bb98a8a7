//! Choosing settings: grid, random and successive halving, always on validation rows taken from the training log.
//!
//! Whoever chooses settings on the test log reports how well they fit that log. So a [`Search`] is made of the training log
//! alone, parts it itself, and never sees the other. Candidates are tried in parallel; what is found does not depend on the
//! number of threads, equal scores go by the order of the candidates.

use rand::SeedableRng;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use crate::data::ids::Id;
use crate::data::split::Split;
use crate::evaluate::{Evaluation, Metric};
use crate::rating::{self, RatingModel};
use crate::recommender::Fit;
use crate::{Error, Interactions, Result};

/// A candidate with its score on the validation rows; higher is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial<S> {
    /// The settings tried.
    pub settings: S,
    /// Their score.
    pub score: f64,
}

/// What a search found.
#[derive(Debug)]
pub struct Found<S> {
    /// Those that could be trained, best first. Under successive halving only those that reached the last rung.
    pub trials: Vec<Trial<S>>,
    /// Those that could not, and why.
    pub failed: Vec<(S, Error)>,
}

impl<S> Found<S> {
    /// The best settings.
    pub fn best(&self) -> &Trial<S> {
        // A search without a trial is an error, so there is a first.
        &self.trials[0]
    }
}

/// A training log parted for the choice of settings.
///
/// ```
/// use cairn_recsys::{Als, Metric, Search, Split, synthetic};
/// let train = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
/// let search = Search::new(&train, Split::per_user(0.25, 0))?;
/// let candidates = [4, 8, 16].map(|factors| Als::new().factors(factors).iterations(4));
/// let found = search.ranking(candidates, Metric::Ndcg, 10)?;
/// println!("{:?}", found.best());
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Search<U = u32, I = u32> {
    train: Interactions<U, I>,
    validation: Interactions<U, I>,
}

impl<U: Id, I: Id> Search<U, I> {
    /// Takes the validation rows from the training log.
    ///
    /// # Errors
    /// As [`Interactions::split`].
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

    /// Tries every candidate by a metric of full ranking: a grid, or the draws of [`draw`].
    ///
    /// # Errors
    /// [`Error::Empty`] without candidates; the last candidate's error if all fail.
    pub fn ranking<S: Fit + Clone>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        metric: Metric,
        k: usize,
    ) -> Result<Found<S>> {
        self.by(candidates, |settings| self.ranked(settings, metric, k))
    }

    /// Tries every candidate by the error of its predicted ratings; the score is -RMSE.
    ///
    /// # Errors
    /// As [`ranking`](Self::ranking).
    pub fn ratings<S>(&self, candidates: impl IntoIterator<Item = S>) -> Result<Found<S>>
    where
        S: Fit + Clone,
        S::Model: RatingModel,
    {
        self.by(candidates, |settings| {
            Ok(-rating::evaluate(&settings.fit(&self.train)?, &self.validation)?.rmse())
        })
    }

    /// Successive halving (Jamieson & Talwalkar, AISTATS 2016): all candidates get the first budget, the better half of them
    /// the second, and so on. `with_budget` gives a candidate its budget, such as a number of sweeps.
    ///
    /// # Errors
    /// As [`ranking`](Self::ranking); [`Error::Parameter`] without budgets.
    pub fn halving<S: Fit + Clone>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        budgets: &[usize],
        with_budget: impl Fn(S, usize) -> S + Sync,
        metric: Metric,
        k: usize,
    ) -> Result<Found<S>> {
        let mut left: Vec<S> = candidates.into_iter().collect();
        let mut failed = Vec::new();
        let mut trials = Vec::new();
        for (rung, &budget) in budgets.iter().enumerate() {
            if rung > 0 {
                left.truncate(left.len().div_ceil(2));
            }
            let rung =
                self.by(left, |settings| self.ranked(&with_budget(settings.clone(), budget), metric, k))?;
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
        Ok(Found { trials, failed })
    }

    fn ranked<S: Fit>(&self, settings: &S, metric: Metric, k: usize) -> Result<f64> {
        let report = Evaluation::at([k]).run(&settings.fit(&self.train)?, &self.validation)?;
        Ok(report.mean(metric, k).unwrap_or(f64::NAN))
    }

    /// Tries every candidate by a score of one's own, higher being better.
    ///
    /// # Errors
    /// As [`ranking`](Self::ranking).
    pub fn by<S: Clone + Send + Sync>(
        &self,
        candidates: impl IntoIterator<Item = S>,
        score: impl Fn(&S) -> Result<f64> + Sync,
    ) -> Result<Found<S>> {
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
        Ok(Found { trials, failed })
    }
}

/// `n` random candidates, for random search (Bergstra & Bengio, JMLR 2012).
///
/// ```
/// use cairn_recsys::{Ease, draw};
/// use rand::RngExt;
/// let candidates = draw(5, 0, |rng| Ease::new(10_f64.powf(rng.random_range(1.0..4.0))));
/// assert_eq!(candidates.len(), 5);
/// ```
pub fn draw<S>(n: usize, seed: u64, mut candidate: impl FnMut(&mut Pcg64) -> S) -> Vec<S> {
    let mut rng = Pcg64::seed_from_u64(seed);
    (0..n).map(|_| candidate(&mut rng)).collect()
}
