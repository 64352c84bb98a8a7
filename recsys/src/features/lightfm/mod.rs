//! LightFM (Kula, CBRecSys 2015).
//!
//! Parallel and yet repeatable: in a round eight tasks take 32 positives each, every one from the vectors as the round began, and their
//! moves are added up in order (`side`). The steps are in `learn`, what is kept is in `model`.

mod learn;
mod model;
mod side;

use cairn_tensor::kernel;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

pub use model::LightFmModel;

use self::learn::{Learner, Setting};
use self::side::Side;
use super::kept::Kept;
use super::known::{Known, feature_setters};
use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::met::Met;
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::factors::Factors;
use crate::{Error, Result, check, memory};

/// Tasks of a round, fixed so that the result is; also the most threads that help.
const TASKS: usize = 8;
/// Positives of a task: few, since a task does not see the others' moves.
const POSITIVES: usize = 32;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LightFmLoss {
    /// Logistic, with an item that was not met for each that was.
    Logistic,
    /// Bayesian personalised ranking.
    Bpr,
    /// Weighted approximate-rank pairwise (Weston, Bengio & Usunier, IJCAI 2011): negatives are drawn until one is ranked too high, and the
    /// number of draws is an estimate of the positive's rank. Best where the head of the list matters. The default.
    #[default]
    Warp,
}

/// Settings of LightFM. Defaults: WARP, vectors of 32, 30 epochs, learning rate 0.05, no regularisation, 10 draws for a negative, seed
/// 0, no features: by identity alone it is a factorisation.
///
/// The vector of a user, or of an item, is the sum of the vectors of its features, of which its identity is one. What nobody has met yet
/// has a vector all the same, by what is known of it: an item of the catalogue without rows, see
/// [`Interactions::with_items`](crate::Interactions::with_items), is listed by that, and a user without rows gets a list by theirs. A feature that
/// no step was taken for says nothing. Trained by stochastic gradient descent with Adagrad's
/// step sizes, a positive at a time.
///
/// Interactions count as ones: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable, LightFm};
/// use cairn_recsys::{Estimator, Filter, Split, synthetic};
/// let log = synthetic::planted_groups(80, 40, 4, 8, 0.0, 0)?;
/// let table = FeatureTable::new((0..40).map(|item| (item, FeatureRow::new().category("group", &(item % 4).to_string()))))?;
/// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
/// let (train, _) = log.split(Split::cold_items(0.2, 0))?;
/// let model = LightFm::new().item_features(&features).fit(&train)?;
/// // Of an item that is not even in the catalogue.
/// let row = FeatureRow::new().category("group", "3");
/// let scores = model.score_new_items(&7, &[row, FeatureRow::new().category("group", "1")])?;
/// assert!(scores[0] > scores[1]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LightFm {
    training: Training,
    known: Known,
    memory_limit: u64,
}

/// The settings that a model keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Training {
    loss: LightFmLoss,
    dim: usize,
    epochs: usize,
    learning_rate: f32,
    regularization: f32,
    max_draws: usize,
    seed: u64,
}

impl Default for LightFm {
    fn default() -> Self {
        let training = Training {
            loss: LightFmLoss::Warp,
            dim: 32,
            epochs: 30,
            learning_rate: 0.05,
            regularization: 0.0,
            max_draws: 10,
            seed: 0,
        };
        Self { training, known: Known::default(), memory_limit: memory::LIMIT }
    }
}

impl LightFm {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    feature_setters!();

    /// What is minimised.
    #[must_use]
    pub fn loss(mut self, loss: LightFmLoss) -> Self {
        self.training.loss = loss;
        self
    }

    /// Length of the vectors, besides the bias.
    #[must_use]
    #[doc(alias = "no_components")]
    pub fn factors(mut self, factors: usize) -> Self {
        self.training.dim = factors;
        self
    }

    /// Passes over the interactions.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.training.epochs = epochs;
        self
    }

    /// Step size, which Adagrad lowers.
    #[must_use]
    pub fn learning_rate(mut self, rate: f32) -> Self {
        self.training.learning_rate = rate;
        self
    }

    /// Weight of the squared norms.
    #[must_use]
    #[doc(alias("item_alpha", "user_alpha"))]
    pub fn regularization(mut self, weight: f32) -> Self {
        self.training.regularization = weight;
        self
    }

    /// Most draws of WARP for a negative that is ranked too high.
    #[must_use]
    #[doc(alias = "max_sampled")]
    pub fn max_draws(mut self, draws: usize) -> Self {
        self.training.max_draws = draws;
        self
    }

    /// Seed of start, order and draws.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.training.seed = seed;
        self
    }

    /// Most bytes that training may take; default 8 GiB.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        let Training { dim, learning_rate, regularization, max_draws, .. } = self.training;
        check::at_least_one("factors", dim)?;
        check::at_least_one("max_draws", max_draws)?;
        check::above_zero("learning_rate", learning_rate)?;
        check::not_negative("regularization", regularization)?;
        check::not_empty(matrix)?;
        self.known.check(matrix)?;
        let (of_items, of_users) = self.known.counts();
        let vectors = matrix.n_rows() + matrix.n_cols() + of_items + of_users;
        // Vectors and the sums of their squared gradients, and the users' and items' own; a task's are few.
        let what = || format!("{vectors} vectors of `factors` = {dim} (see `memory_limit`)");
        memory::check(what, memory::of_factors(vectors, dim, 3), self.memory_limit)
    }

    /// Passes over all pairs; of each the share that were ranked above their negative.
    fn run(
        &self,
        setting: &mut Setting<'_, '_>,
        pairs: &mut [(UserIdx, ItemIdx)],
        rng: &mut Pcg64Mcg,
    ) -> Vec<f64> {
        let mut tasks: Vec<Learner> = (0..TASKS).map(|_| Learner::new(setting)).collect();
        let mut progress = Vec::new();
        for _ in 0..self.training.epochs {
            pairs.shuffle(rng);
            let mut right = 0;
            for round in pairs.chunks(TASKS * POSITIVES) {
                let seed: u64 = rng.random();
                let now = &*setting;
                kernel::for_each_chunk(&mut tasks, 1, |n, task| {
                    let pairs = round.chunks(POSITIVES).nth(n).unwrap_or_default();
                    task[0].run(now, pairs, seed ^ (n as u64).rotate_left(40));
                });
                learn::merge(setting, &tasks);
                right += tasks.iter().map(|task| task.right).sum::<usize>();
            }
            progress.push(right as f64 / pairs.len().max(1) as f64);
        }
        progress
    }
}

impl Estimator for LightFm {
    type Model = LightFmModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<LightFmModel> {
        self.check(matrix)?;
        let Training { dim, seed, .. } = self.training;
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let users = Side::new(self.known.users.as_ref(), matrix.n_rows(), dim, &mut rng)?;
        let items = Side::new(self.known.items.as_ref(), matrix.n_cols(), dim, &mut rng)?;
        let transpose = matrix.transpose();
        // Items that nobody met are no negatives: they would be pushed down for being new.
        let negatives: Vec<ItemIdx> = transpose.row_indices().filter(|&i| transpose.row_len(i) > 0).collect();
        let mut pairs: Vec<(UserIdx, ItemIdx)> =
            matrix.entries().map(|(user, item, _)| (user, item)).collect();
        // Nothing is to be told apart by who met all.
        pairs.retain(|&(user, _)| matrix.row_len(user) < negatives.len());
        let mut setting =
            Setting { training: self.training, met: Met::new(matrix), negatives: &negatives, users, items };
        let progress = self.run(&mut setting, &mut pairs, &mut rng);
        let Setting { mut users, mut items, .. } = setting;
        users.forget_unmet();
        items.forget_unmet();
        let factors = Factors { users: users.sums(Some(1.0))?, items: items.sums(None)? };
        if factors.users.as_slice().iter().chain(factors.items.as_slice()).any(|&x| !check::is_bounded(x)) {
            let reason = "the vectors have grown without bounds; lower the learning rate".to_owned();
            return Err(Error::Factorization { what: "LightFM", reason });
        }
        let kept = Kept::new(&self.known, |feature| users.has_met(feature), |feature| items.has_met(feature));
        let (items, users) = (items.described()?, users.described()?);
        Ok(LightFmModel { training: self.training, factors, items, users, kept, progress })
    }
}
