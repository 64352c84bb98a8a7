//! Is one model better than another?

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use super::{RankingMetric, RankingReport, bootstrap};
use crate::error::number;
use crate::{Error, Result, check};

/// Sign flips that are tried unless told otherwise, and draws of the bootstrap.
const RESAMPLES: usize = 10_000;

/// Differences beyond this are refused: the sum of two near the largest number is none.
const LARGEST: f64 = 1e100;

/// Is one model better than another? How a paired comparison is made: [`PairedTest::new`] has the customary settings.
///
/// Both models were judged on the same users, so their figures are compared user by user: much of what makes a user easy or hard falls
/// out of the difference. The interval is the bootstrap's of the mean difference; the p-value is that of a permutation test (Fisher's, by
/// random sign flips), which assumes nothing of the distribution: under the hypothesis that the models are alike, either could have had
/// either figure (Smucker, Allan & Carterette, CIKM 2007, on both for rankings). Reports of the same model are told apart by
/// [`RankingReport::named`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    level: f64,
    resamples: usize,
    seed: u64,
}

impl Default for PairedTest {
    fn default() -> Self {
        Self { level: 0.95, resamples: RESAMPLES, seed: 0 }
    }
}

impl PairedTest {
    /// An interval of 95 %, 10,000 resamples, seed 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Share of the resampled differences within the interval.
        #[doc(alias = "confidence")]
        level(level: f64);
        /// Draws of the bootstrap, and sign flips of the permutation test.
        resamples(resamples: usize);
        /// Seed of both.
        seed(seed: u64);
    }

    /// Compares two reports by a metric at a cut-off: how much the first is better.
    ///
    /// ```
    /// use cairn_recsys::{Ease, Estimator, PairedTest, RankingEvaluator, Split, TopPop, metrics::Ndcg, synthetic};
    /// let log = synthetic::planted_groups(100, 60, 4, 10, 0.1, 0)?;
    /// let (train, test) = log.split(Split::per_user(0.3, 0))?;
    /// let evaluator = RankingEvaluator::at([10]);
    /// let ease = evaluator.evaluate(&Ease::new(10.0).fit(&train)?, &test)?;
    /// let popular = evaluator.evaluate(&TopPop::new().fit(&train)?, &test)?;
    /// let test = PairedTest::new().compare(&ease, &popular, Ndcg, 10)?;
    /// assert!(test.interval.0 > 0.0 && test.p_value < 0.001, "{test}");
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for reports of different users, relevant rows or protocols, and for users in another order, as models of other
    /// catalogues have them; [`Error::Parameter`] for a cut-off that was not asked for, a
    /// level outside (0, 1) or no resamples.
    #[doc(alias("permutation_test", "ttest_rel", "wilcoxon"))]
    pub fn compare(
        &self,
        better: &RankingReport,
        worse: &RankingReport,
        metric: impl RankingMetric,
        k: usize,
    ) -> Result<PairedDifference> {
        let users = |report: &RankingReport| (report.users().len(), report.asked);
        if users(better) != users(worse) || better.protocol() != worse.protocol() {
            let who = if better.asked == worse.asked {
                ""
            } else {
                ", not the same rows of the same in the same order"
            };
            return Err(Error::Shape {
                what: "a paired test",
                expected: "two reports of the same users in the same order, with the same relevant rows, by the same protocol"
                    .to_owned(),
                found: format!(
                    "{} users by {:?} and {} by {:?}{who}",
                    better.users().len(),
                    better.protocol(),
                    worse.users().len(),
                    worse.protocol()
                ),
            });
        }
        let asked = || Error::parameter("k", k, format!("one of the cut-offs {:?}", better.cutoffs()));
        let first = better.per_user(&metric, k).ok_or_else(asked)?;
        let second = worse.per_user(&metric, k).ok_or_else(asked)?;
        let differences: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
        let (difference, interval, p_value) = self.of(&differences)?;
        Ok(PairedDifference {
            models: (better.name().to_owned(), worse.name().to_owned()),
            metric: format!("{}@{k}", metric.name()),
            users: differences.len(),
            difference,
            level: self.level,
            interval,
            p_value,
        })
    }

    /// Mean, interval and p-value of differences, such as those of any figure that two models have for each user.
    ///
    /// # Errors
    /// [`Error::Empty`] without differences; [`Error::Parameter`] for a level outside (0, 1), no resamples, or a difference that is no
    /// number from -1e100 to 1e100: sums of larger ones could leave double precision.
    pub fn of(&self, differences: &[f64]) -> Result<(f64, (f64, f64), f64)> {
        if differences.is_empty() {
            return Err(Error::Empty { what: "the list of differences" });
        }
        check::at_least_one("resamples", self.resamples)?;
        if let Some(&bad) = differences.iter().find(|d| d.is_nan() || d.abs() > LARGEST) {
            return Err(Error::parameter("differences", number(bad), "finite, and from -1e100 to 1e100"));
        }
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let of_drawn =
            |drawn: &mut dyn Iterator<Item = usize>| drawn.map(|at| differences[at]).sum::<f64>() / n;
        let interval =
            bootstrap::interval(differences.len(), self.level, self.resamples, self.seed, of_drawn)?;
        Ok((mean, interval, self.p_value(differences, mean * n)))
    }

    /// The share of sign flips, that of none included, whose sum is as far from 0.
    fn p_value(&self, differences: &[f64], sum: f64) -> f64 {
        // Users on whom the models agree change nothing.
        let differences: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
        let scale: f64 = differences.iter().map(|d| d.abs()).sum();
        let as_far = |resample: usize| {
            let mut rng = Pcg64Mcg::seed_from_u64(
                self.seed ^ (resample as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            );
            let mut flipped = 0.0;
            for block in differences.chunks(64) {
                let signs = rng.next_u64();
                for (at, d) in block.iter().enumerate() {
                    flipped += if signs >> at & 1 == 0 { *d } else { -d };
                }
            }
            // A flip that gives the same sum in another order of additions is as far.
            flipped.abs() >= sum.abs() - 1e-12 * scale
        };
        let far = (0..self.resamples).into_par_iter().filter(|&resample| as_far(resample)).count();
        (far + 1) as f64 / (self.resamples + 1) as f64
    }
}

/// How much better one model is than another on the same users, see [`PairedTest::compare`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PairedDifference {
    /// Names of the reports: those of the models, unless they were [named](RankingReport::named).
    pub models: (String, String),
    /// The metric with its cut-off.
    pub metric: String,
    /// Users compared.
    pub users: usize,
    /// Mean of the first model's figure less the second's.
    pub difference: f64,
    /// Share of the resampled differences within the interval.
    pub level: f64,
    /// The interval.
    pub interval: (f64, f64),
    /// Probability of a difference as large, in either direction, between models that are alike.
    pub p_value: f64,
}

impl fmt::Display for PairedDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            models: (first, second),
            metric,
            users,
            difference,
            level,
            interval: (low, high),
            p_value,
        } = self;
        let level = level * 100.0;
        write!(
            f,
            "{metric} of {first} less {second}'s: {difference:+.4}, {level}% {low:+.4} to {high:+.4}, p = {p_value:.4}, {users} users"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All 2¹⁰ flips of ten differences, against as many drawn.
    #[test]
    fn the_p_value_is_that_of_all_flips_and_the_interval_that_of_the_standard_error() {
        let differences = [0.3, -0.1, 0.4, 0.2, 0.0, 0.5, -0.2, 0.1, 0.3, -0.05];
        let sum: f64 = differences.iter().sum();
        let flips = (0..1024_u32).filter(|flip| {
            let flipped = differences.iter().enumerate();
            let flipped: f64 = flipped.map(|(at, d)| if flip >> at & 1 == 0 { *d } else { -d }).sum();
            flipped.abs() >= sum.abs() - 1e-9
        });
        let exact = flips.count() as f64 / 1024.0;
        let (mean, (low, high), p) = PairedTest::new().resamples(40_000).of(&differences).unwrap();
        assert!((p - exact).abs() < 0.006, "{p} for {exact}");
        assert!((mean - sum / 10.0).abs() < 1e-12 && low < mean && mean < high);
        let variance = differences.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 10.0;
        let width = 2.0 * 1.96 * (variance / 10.0).sqrt();
        assert!((high - low - width).abs() < 0.2 * width, "{low} to {high}, not {width}");
        // Models that are alike in all: nothing is as far from 0 as 0 is not.
        assert_eq!(PairedTest::new().of(&[0.0; 5]).unwrap(), (0.0, (0.0, 0.0), 1.0));
        assert!(PairedTest::new().of(&[]).is_err() && PairedTest::new().resamples(0).of(&[1.0]).is_err());
        assert!(PairedTest::new().level(1.0).of(&[1.0]).is_err());
    }
}
