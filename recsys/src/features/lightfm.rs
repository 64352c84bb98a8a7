//! LightFM (Kula, CBRecSys 2015): the vector of a user, or of an item, is the sum of the vectors of its features, of which its identity
//! is one. What nobody has met yet has a vector all the same, by what is known of it.
//!
//! Trained by stochastic gradient descent with Adagrad's step sizes, a positive at a time: by the logistic loss with a negative for
//! each positive, by BPR, or by WARP (Weston, Bengio & Usunier, IJCAI 2011), which draws negatives until one is ranked too
//! high and takes the number of draws for an estimate of the positive's rank. Steps follow one another, since each begins where the last
//! ended: one thread, and the same bits on any number.

use cairn_tensor::kernel::vectorize;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use super::space::{FeatureIdx, FeatureMatrix, FeatureSpace};
use super::table::FeatureRow;
use crate::data::filter::Filter;
use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::models::bpr;
use crate::models::factors::{FactorModel, Factors, Vectors, dot};
use crate::serve::file::Saved;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::{Error, Result, check, memory};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LightFmLoss {
    /// Logistic, with an item that was not met for each that was.
    Logistic,
    /// Bayesian personalised ranking.
    Bpr,
    /// Weighted approximate-rank pairwise: best where the head of the list matters. The default.
    #[default]
    Warp,
}

/// Settings of LightFM. Defaults: WARP, vectors of 32, 30 epochs, learning rate 0.05, no regularisation, 10 draws for a negative, seed
/// 0, no features: by identity alone it is a factorisation.
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
    items: Option<FeatureMatrix<ItemIdx>>,
    users: Option<FeatureMatrix<UserIdx>>,
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
        Self { training, items: None, users: None, memory_limit: memory::LIMIT }
    }
}

impl LightFm {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

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

    /// With features of the items of the log's catalogue.
    #[must_use]
    pub fn item_features(mut self, features: &FeatureMatrix<ItemIdx>) -> Self {
        self.items = Some(features.clone());
        self
    }

    /// With features of the users of the log's catalogue.
    #[must_use]
    pub fn user_features(mut self, features: &FeatureMatrix<UserIdx>) -> Self {
        self.users = Some(features.clone());
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
        self.items.as_ref().map_or(Ok(()), |features| features.check(matrix.n_cols()))?;
        self.users.as_ref().map_or(Ok(()), |features| features.check(matrix.n_rows()))?;
        let features = |n: Option<usize>| n.unwrap_or(0);
        let vectors = matrix.n_rows()
            + matrix.n_cols()
            + features(self.items.as_ref().map(|f| f.space().len()))
            + features(self.users.as_ref().map(|f| f.space().len()));
        // Vectors and the sums of their squared gradients, and the users' and items' own.
        let what = || format!("{vectors} vectors of `factors` = {dim} (see `memory_limit`)");
        memory::check(what, memory::of_factors(vectors, dim, 3), self.memory_limit)
    }
}

/// The vectors of the identities of one side and of its features, each with a bias at its end.
struct Side<'a, X> {
    features: Option<&'a FeatureMatrix<X>>,
    identities: usize,
    /// Identities, then features.
    vectors: Vectors,
    /// Sums of squared gradients, from 1.
    squares: Vec<f32>,
    /// Whether a vector was ever moved by a positive.
    met: Vec<bool>,
}

impl<'a, X: Idx> Side<'a, X> {
    fn new(
        features: Option<&'a FeatureMatrix<X>>,
        identities: usize,
        dim: usize,
        rng: &mut Pcg64Mcg,
    ) -> Result<Self> {
        let n = identities + features.map_or(0, |features| features.space().len());
        let mut vectors = Vectors::zeros(n, dim + 1)?;
        let scale = 0.1 / (dim as f32).sqrt();
        for vector in vectors.as_mut_slice().chunks_mut(dim + 1) {
            vector[..dim].iter_mut().for_each(|x| *x = scale * rng.sample::<f32, _>(StandardNormal));
        }
        let squares = vec![1.0; vectors.as_slice().len()];
        Ok(Self { features, identities, vectors, squares, met: vec![false; n] })
    }

    /// The vectors that make up that of `x`, with their weights.
    fn parts(&self, x: X) -> impl Iterator<Item = (usize, f32)> + use<'_, 'a, X> {
        let (features, weights) = self.features.map_or((&[][..], &[][..]), |features| features.rows().row(x));
        let features = features.iter().map(|feature| self.identities + feature.at());
        std::iter::once((x.at(), 1.0)).chain(features.zip(weights.iter().copied()))
    }

    fn sum(&self, x: X, out: &mut [f32]) {
        out.fill(0.0);
        for (at, weight) in self.parts(x) {
            let vector = self.vectors.get(at);
            out.iter_mut().zip(vector).for_each(|(out, v)| *out += weight * v);
        }
    }

    /// A step down the gradient of the sum of `x`.
    fn step(&mut self, x: X, gradient: &[f32], rate: f32, regularization: f32) {
        let width = gradient.len();
        let (features, weights) = self.features.map_or((&[][..], &[][..]), |features| features.rows().row(x));
        let features = features.iter().map(|feature| self.identities + feature.at());
        for (at, weight) in std::iter::once((x.at(), 1.0)).chain(features.zip(weights.iter().copied())) {
            let place = at * width..(at + 1) * width;
            let vector = &mut self.vectors.as_mut_slice()[place.clone()];
            let squares = &mut self.squares[place];
            vectorize(
                #[inline(always)]
                || {
                    for ((v, square), g) in vector.iter_mut().zip(&mut *squares).zip(gradient) {
                        let g = weight * g + regularization * *v;
                        *v -= rate / square.sqrt() * g;
                        *square += g * g;
                    }
                },
            );
        }
    }

    fn mark(&mut self, x: X) {
        let parts: Vec<usize> = self.parts(x).map(|(at, _)| at).collect();
        parts.into_iter().for_each(|at| self.met[at] = true);
    }

    /// What was never trained says nothing.
    fn forget_unmet(&mut self) {
        let width = self.vectors.dim();
        for (vector, met) in self.vectors.as_mut_slice().chunks_mut(width).zip(&self.met) {
            if !met {
                vector.fill(0.0);
            }
        }
    }

    /// The sums of all, with `last` in place of the bias if there is one.
    fn sums(&self, last: Option<f32>) -> Result<Vectors> {
        let mut sums = Vectors::zeros(self.identities, self.vectors.dim())?;
        let width = self.vectors.dim();
        for (x, out) in (0..).zip(sums.as_mut_slice().chunks_mut(width)) {
            self.sum(X::from_u32(x), out);
            if let (Some(last), Some(bias)) = (last, out.last_mut()) {
                *bias = last;
            }
        }
        Ok(sums)
    }

    fn described(&self) -> Result<Option<Described>> {
        let Some(features) = self.features else { return Ok(None) };
        let width = self.vectors.dim();
        let mut vectors = Vectors::zeros(features.space().len(), width)?;
        vectors.as_mut_slice().copy_from_slice(&self.vectors.as_slice()[self.identities * width..]);
        Ok(Some(Described { space: features.space().clone(), vectors }))
    }
}

/// The features of one side with their vectors, kept for rows that come later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Described {
    space: FeatureSpace,
    vectors: Vectors,
}

impl Described {
    fn vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let mut sum = vec![0.0; self.vectors.dim()];
        for (FeatureIdx(feature), weight) in self.space.encode(row)? {
            let vector = self.vectors.get(feature as usize);
            sum.iter_mut().zip(vector).for_each(|(sum, v)| *sum += weight * v);
        }
        Ok(sum)
    }
}

/// A trained LightFM. The last entry of an item's vector is its bias, of a user's vector 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightFmModel {
    training: Training,
    factors: Factors,
    items: Option<Described>,
    users: Option<Described>,
    progress: Vec<f64>,
}

impl Estimator for LightFm {
    type Model = LightFmModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<LightFmModel> {
        self.check(matrix)?;
        let Training { dim, seed, .. } = self.training;
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut users = Side::new(self.users.as_ref(), matrix.n_rows(), dim, &mut rng)?;
        let mut items = Side::new(self.items.as_ref(), matrix.n_cols(), dim, &mut rng)?;
        let transpose = matrix.transpose();
        // Items that nobody met are no negatives: they would be pushed down for being new.
        let negatives: Vec<ItemIdx> = transpose.row_indices().filter(|&i| transpose.row_len(i) > 0).collect();
        negatives.iter().for_each(|&item| items.mark(item));
        matrix.row_indices().filter(|&user| matrix.row_len(user) > 0).for_each(|user| users.mark(user));
        let mut pairs: Vec<(UserIdx, ItemIdx)> =
            matrix.entries().map(|(user, item, _)| (user, item)).collect();
        // Nothing is to be told apart by who met all.
        pairs.retain(|&(user, _)| matrix.row_len(user) < negatives.len());
        let mut learner = Learner {
            settings: self.training,
            matrix,
            negatives: &negatives,
            rng,
            buffers: Buffers::new(dim + 1),
        };
        let mut progress = Vec::new();
        for _ in 0..self.training.epochs {
            pairs.shuffle(&mut learner.rng);
            let right = pairs.iter().filter(|pair| learner.learn(&mut users, &mut items, **pair)).count();
            progress.push(right as f64 / pairs.len().max(1) as f64);
        }
        users.forget_unmet();
        items.forget_unmet();
        let factors = Factors { users: users.sums(Some(1.0))?, items: items.sums(None)? };
        if factors.users.as_slice().iter().chain(factors.items.as_slice()).any(|&x| !check::is_bounded(x)) {
            let reason = "the vectors have grown without bounds; lower the learning rate".to_owned();
            return Err(Error::Factorization { what: "LightFM", reason });
        }
        let (items, users) = (items.described()?, users.described()?);
        Ok(LightFmModel { training: self.training, factors, items, users, progress })
    }
}

struct Buffers {
    user: Vec<f32>,
    positive: Vec<f32>,
    negative: Vec<f32>,
    gradient: Vec<f32>,
}

impl Buffers {
    fn new(width: usize) -> Self {
        let zeros = || vec![0.0; width];
        Self { user: zeros(), positive: zeros(), negative: zeros(), gradient: zeros() }
    }
}

struct Learner<'a> {
    settings: Training,
    matrix: &'a UserItems,
    negatives: &'a [ItemIdx],
    rng: Pcg64Mcg,
    buffers: Buffers,
}

impl Learner<'_> {
    /// The steps of one positive. Whether it was ranked above its (first) negative.
    fn learn(
        &mut self,
        users: &mut Side<'_, UserIdx>,
        items: &mut Side<'_, ItemIdx>,
        (user, item): (UserIdx, ItemIdx),
    ) -> bool {
        let seen = self.matrix.row(user).0;
        users.sum(user, &mut self.buffers.user);
        // The bias of an item counts as it is.
        if let Some(last) = self.buffers.user.last_mut() {
            *last = 1.0;
        }
        items.sum(item, &mut self.buffers.positive);
        let up = dot(&self.buffers.user, &self.buffers.positive);
        let (mut draws, mut first) = (0, None);
        let most = if self.settings.loss == LightFmLoss::Warp { self.settings.max_draws } else { 1 };
        while draws < most {
            draws += 1;
            let other = self.negative(seen);
            items.sum(other, &mut self.buffers.negative);
            let down = dot(&self.buffers.user, &self.buffers.negative);
            let right = *first.get_or_insert(up > down);
            match self.settings.loss {
                LightFmLoss::Logistic => {
                    self.one(users, items, (user, item), sigmoid(up) - 1.0, true);
                    self.one(users, items, (user, other), sigmoid(down), false);
                    return right;
                }
                LightFmLoss::Bpr => {
                    self.pair(users, items, (user, item, other), sigmoid(down - up));
                    return right;
                }
                LightFmLoss::Warp if down > up - 1.0 => {
                    let rank = (self.negatives.len() - 1) / draws;
                    let loss = (rank.max(1) as f32).ln().clamp(0.0, 10.0);
                    self.pair(users, items, (user, item, other), loss);
                    return right;
                }
                LightFmLoss::Warp => {}
            }
        }
        first.unwrap_or(true)
    }

    /// An item that the user has not met.
    fn negative(&mut self, seen: &[ItemIdx]) -> ItemIdx {
        loop {
            let item = self.negatives[self.rng.random_range(0..self.negatives.len())];
            if seen.binary_search(&item).is_err() {
                return item;
            }
        }
    }

    /// A step of a user and an item, by the derivative of the loss with respect to their score.
    fn one(
        &mut self,
        users: &mut Side<'_, UserIdx>,
        items: &mut Side<'_, ItemIdx>,
        (user, item): (UserIdx, ItemIdx),
        slope: f32,
        positive: bool,
    ) {
        let Training { learning_rate: rate, regularization, .. } = self.settings;
        let Buffers { user: own, positive: up, negative: down, gradient } = &mut self.buffers;
        let vector = if positive { up } else { down };
        gradient.iter_mut().zip(&*own).for_each(|(g, u)| *g = slope * u);
        items.step(item, gradient, rate, regularization);
        gradient.iter_mut().zip(&*vector).for_each(|(g, v)| *g = slope * v);
        drop_bias(gradient);
        users.step(user, gradient, rate, regularization);
    }

    /// A step that lifts one item past another.
    fn pair(
        &mut self,
        users: &mut Side<'_, UserIdx>,
        items: &mut Side<'_, ItemIdx>,
        (user, up, down): (UserIdx, ItemIdx, ItemIdx),
        weight: f32,
    ) {
        let Training { learning_rate: rate, regularization, .. } = self.settings;
        let Buffers { user: own, positive, negative, gradient } = &mut self.buffers;
        gradient.iter_mut().zip(&*own).for_each(|(g, u)| *g = -weight * u);
        items.step(up, gradient, rate, regularization);
        gradient.iter_mut().for_each(|g| *g = -*g);
        items.step(down, gradient, rate, regularization);
        let difference = negative.iter().zip(&*positive);
        gradient.iter_mut().zip(difference).for_each(|(g, (n, p))| *g = weight * (n - p));
        drop_bias(gradient);
        users.step(user, gradient, rate, regularization);
    }
}

/// Users have none.
fn drop_bias(gradient: &mut [f32]) {
    if let Some(last) = gradient.last_mut() {
        *last = 0.0;
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Passes over a history in folding in, and the step size and regularisation of each step.
const FOLD_IN: (usize, (f32, f32)) = (100, (0.05, 0.01));

impl LightFmModel {
    /// The vectors of all users and items, of one more entry than asked for.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The features of items, if it was trained with any.
    pub fn item_space(&self) -> Option<&FeatureSpace> {
        self.items.as_ref().map(|described| &described.space)
    }

    /// The features of users, if it was trained with any.
    pub fn user_space(&self) -> Option<&FeatureSpace> {
        self.users.as_ref().map(|described| &described.space)
    }

    /// The vector of an item by what is known of it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of items, and those of [`FeatureSpace::encode`].
    pub fn item_vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let operation = "the vector of an item by its features: it was trained without";
        self.items.as_ref().ok_or(Error::Unsupported { model: "LightFM", operation })?.vector(row)
    }

    /// The vector of a user by what is known of them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of users, and those of [`FeatureSpace::encode`].
    pub fn user_vector_of(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let operation = "the vector of a user by their features: it was trained without";
        let mut vector =
            self.users.as_ref().ok_or(Error::Unsupported { model: "LightFM", operation })?.vector(row)?;
        if let Some(last) = vector.last_mut() {
            *last = 1.0;
        }
        Ok(vector)
    }
}

impl<U: Id, I: Id> Fitted<LightFmModel, U, I> {
    /// Scores of items that are not in the catalogue by what is known of them, to be compared with those of the user's list.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], and those of [`LightFmModel::item_vector`].
    #[doc(alias = "cold_start")]
    pub fn score_new_items(&self, user: &U, items: &[FeatureRow]) -> Result<Vec<f32>> {
        let user = self.catalog().user(user)?;
        let own = self.model().factors.users.get(user.at());
        items.iter().map(|row| Ok(dot(own, &self.model().item_vector(row)?))).collect()
    }

    /// The `k` best items for somebody of whom nothing is known but features.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a `k` of 0, and those of [`LightFmModel::user_vector_of`].
    pub fn recommend_described(
        &self,
        user: &FeatureRow,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        let mut scores = vec![0.0; self.seen().n_cols()];
        self.model().factors.items.inner_products(&self.model().user_vector_of(user)?, &mut scores);
        Ok(self.list_of_scores(scores, &[], k, filter))
    }
}

impl FactorModel for LightFmModel {
    const NAME: &'static str = "LightFM";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// By the steps of BPR with the items fixed; values do not matter. Near the scores of training, not equal.
    fn user_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let (passes, rates) = FOLD_IN;
        Ok(bpr::fold_in(&self.factors.items, items, passes, rates, self.training.seed))
    }
    fn similarity_dim(&self) -> usize {
        self.training.dim
    }
    /// The share of positives that were ranked above the first negative drawn.
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for LightFmModel {
    const FORMAT: &'static str = "lightfm";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let width = self.factors.items.dim();
        let fits = |described: &Option<Described>| {
            described.as_ref().is_none_or(|d| {
                d.space.is_consistent()
                    && d.vectors.dim() == width
                    && d.vectors.as_slice().len() == d.space.len() * width
                    && d.vectors.as_slice().iter().all(|x| x.is_finite())
            })
        };
        if self.training.dim.checked_add(1) == Some(width) && fits(&self.items) && fits(&self.users) {
            Ok(())
        } else {
            Err("settings, features and vectors do not fit".to_owned())
        }
    }
}
