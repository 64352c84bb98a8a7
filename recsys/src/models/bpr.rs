//! Bayesian personalised ranking for matrix factorisation (Rendle, Freudenthaler, Gantner & Schmidt-Thieme, UAI 2009).
//!
//! For a user, an item they met and one they did not: a step of stochastic gradient ascent on ln σ(x·(y⁺ - y⁻)) + b⁺ - b⁻,
//! with quadratic regularisation. One epoch takes every interaction once with a fresh negative.
//!
//! Parallel and yet repeatable: users are assigned to a fixed number of shards. In a round each shard runs plain sequential
//! steps over its next users against its own copy of the item table; then each item moves by the mean of the changes of the
//! shards that touched it. Which thread runs a shard does not matter. (Hogwild, as `implicit` has it, gives other bits each
//! time.) Going user by user also keeps the user's vector in registers and makes the test "has the user met this item?" a
//! look at a bitmap.
//!
//! Somebody new is folded in by the same steps with the items fixed. The steps of training stop on the way to the minimum of
//! the user's objective and owe something to that; an exact solution would belong to another model.

use cairn_tensor::kernel::vectorize;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::others::{Pool, tried};
use crate::data::sparse::{Csr, UserItems};
use crate::data::stored::{StoredInteractions, StoredRows};
use crate::estimator::Estimator;
use crate::models::factors::{FactorModel, Factors, Vectors};
use crate::serve::file::Saved;
use crate::update::{self, Update};
use crate::{Error, Result, check, memory};

/// Fixed, so that the result is; also the most threads that help.
const SHARDS: usize = 8;

/// Passes over a history after which its user's vector has settled, whatever the number of epochs.
const MOST_PASSES: usize = 1000;

/// Settings of BPR. Defaults: 64 factors, 100 epochs, learning rate 0.05, regularisation 0.01, seed 0.
///
/// Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::{Bpr, Estimator, Filter, synthetic};
/// // Users and items are of the group of their number modulo 3.
/// let log = synthetic::planted_groups(150, 90, 3, 12, 0.05, 0)?;
/// let model = Bpr::new().factors(8).fit(&log)?;
/// let list = model.recommend_for(&[(1, 1.0), (4, 1.0), (7, 1.0)], 3, &Filter::unseen())?;
/// assert!(list.iter().all(|entry| entry.id % 3 == 1));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "BayesianPersonalizedRanking")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bpr {
    factors: usize,
    epochs: usize,
    learning_rate: f32,
    regularization: f32,
    seed: u64,
    /// No part of a model.
    #[serde(skip, default = "memory::limit")]
    memory_limit: u64,
}

impl Default for Bpr {
    fn default() -> Self {
        Self {
            factors: 64,
            epochs: 100,
            learning_rate: 0.05,
            regularization: 0.01,
            seed: 0,
            memory_limit: memory::LIMIT,
        }
    }
}

impl Bpr {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Length of the vectors, besides the item's bias.
        factors(factors: usize);
        /// Passes over the interactions.
        #[doc(alias = "iterations")]
        epochs(epochs: usize);
        /// Step size.
        learning_rate(rate: f32);
        /// Weight of the squared norms.
        regularization(weight: f32);
        /// Seed of start and samples.
        seed(seed: u64);
        /// Most bytes that the vectors may take in training; default 8 GiB.
        memory_limit(bytes: u64);
    }

    fn check(&self, histories: &impl Histories) -> Result<()> {
        check::at_least_one("factors", self.factors)?;
        check::above_zero("learning_rate", self.learning_rate)?;
        check::not_negative("regularization", self.regularization)?;
        if (0..histories.users() as u32).all(|user| histories.length(UserIdx(user)) == 0) {
            return Err(Error::Empty { what: "the training matrix" });
        }
        // Each shard has a copy of the items.
        let vectors = histories.users() + histories.items();
        memory::check_vectors(vectors, self.factors, 2 + SHARDS as u64, self.memory_limit)
    }

    /// As [`fit`](Estimator::fit), on a log on disk: each user's row is read when their turn comes, in an order by chance, and the model
    /// has the bits of one that was trained in memory.
    ///
    /// # Errors
    /// As [`fit`](Estimator::fit); [`Error::Io`] and [`Error::ModelFile`] for a log that cannot be read or is damaged.
    pub fn fit_stored<U: Id, I: Id>(&self, log: &StoredInteractions<U, I>) -> Result<BprModel> {
        self.check(&log.by_user)?;
        self.epochs_from(&log.by_user, self.start(&log.by_user)?, self.epochs)
    }
}

/// A trained BPR factorisation. The last entry of an item's vector is its bias, of a user's vector 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BprModel {
    settings: Bpr,
    factors: Factors,
    progress: Vec<f64>,
}

impl BprModel {
    /// The vectors, of one more entry than the factors asked for.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The settings it was trained with.
    pub fn settings(&self) -> &Bpr {
        &self.settings
    }

    /// The vector of a user known by the items they met: the steps of training over as many epochs, from zero, with the
    /// items fixed and random numbers from the seed of the settings. The same history has the same vector.
    ///
    /// # Errors
    /// [`Error::UnknownItem`] for an index out of range.
    pub fn fold_in(&self, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let Bpr { epochs, learning_rate, regularization, seed, .. } = self.settings;
        let mut items = items.to_vec();
        items.sort_unstable();
        items.dedup();
        Ok(fold_in(&self.factors.items, None, &items, epochs, (learning_rate, regularization), seed))
    }
}

/// The vector of a user by the steps of BPR over their items, which are in order, each once, with the item vectors fixed, whose last
/// entries are biases. Where a vector is given that they have besides, theirs is that and what is learned, which alone is regularised.
pub(crate) fn fold_in(
    vectors: &Vectors,
    besides: Option<&[f32]>,
    items: &[ItemIdx],
    passes: usize,
    (rate, reg): (f32, f32),
    seed: u64,
) -> Vec<f32> {
    let (dim, n) = (vectors.dim(), vectors.len() as u32);
    let start = besides.map_or_else(|| vec![0.0; dim], <[f32]>::to_vec);
    let mut user = start.clone();
    user[dim - 1] = 1.0;
    let mut met = vec![false; vectors.len()];
    items.iter().for_each(|item| met[item.at()] = true);
    if items.is_empty() || items.len() >= vectors.len() {
        return user;
    }
    // Of few others most draws would be in vain: they are drawn by their rank from the first.
    let few = items.len() > vectors.len() / 2;
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    for _ in 0..passes.min(MOST_PASSES) * items.len() {
        let (up, down) = if few {
            let up = items[rng.random_range(0..items.len())];
            (up.at(), Pool::All(vectors.len()).unmet(items, &mut rng).at())
        } else {
            pair(items, &met, n, &mut rng)
        };
        let (up, down) = (vectors.get(up), vectors.get(down));
        vectorize(
            #[inline(always)]
            || {
                let (decay, rate) = (1.0 - rate * reg, rate * wrong(&user, up, down));
                for (((u, p), q), s) in user[..dim - 1].iter_mut().zip(up).zip(down).zip(&start) {
                    *u = s + decay * (*u - s) + rate * (p - q);
                }
            },
        );
    }
    user
}

/// An item that was met and one that was not, by `met` over all `n` items; those met are in order.
#[inline(always)]
fn pair(items: &[ItemIdx], met: &[bool], n: u32, rng: &mut Pcg64Mcg) -> (usize, usize) {
    let positive = items[rng.random_range(0..items.len())];
    let other = tried(|| ItemIdx(rng.random_range(0..n)), |item| met[item.at()]);
    let other = other.unwrap_or_else(|| Pool::All(n as usize).unmet(items, rng));
    (positive.at(), other.at())
}

/// What users have met, wherever that lies.
trait Histories: Sync {
    /// Where the row of each user begins, and where the last ends.
    fn offsets(&self) -> &[usize];
    fn items(&self) -> usize;
    /// The items of a user, ascending. `room` is for those that do not lie in memory.
    fn met<'a>(&'a self, user: UserIdx, room: &'a mut Vec<ItemIdx>) -> Result<&'a [ItemIdx]>;

    fn users(&self) -> usize {
        self.offsets().len() - 1
    }
    fn length(&self, user: UserIdx) -> usize {
        self.offsets()[user.at() + 1] - self.offsets()[user.at()]
    }
}

impl Histories for UserItems {
    fn offsets(&self) -> &[usize] {
        Csr::offsets(self)
    }
    fn items(&self) -> usize {
        self.n_cols()
    }
    fn met<'a>(&'a self, user: UserIdx, _: &'a mut Vec<ItemIdx>) -> Result<&'a [ItemIdx]> {
        Ok(self.row(user).0)
    }
}

impl Histories for StoredRows<UserIdx, ItemIdx> {
    fn offsets(&self) -> &[usize] {
        StoredRows::offsets(self)
    }
    fn items(&self) -> usize {
        self.n_cols()
    }
    fn met<'a>(&'a self, user: UserIdx, room: &'a mut Vec<ItemIdx>) -> Result<&'a [ItemIdx]> {
        let part = self.read(user.at()..user.at() + 1)?;
        room.clear();
        room.extend_from_slice(part.columns());
        Ok(room)
    }
}

/// What one shard owns: its users' vectors, its view of the items, its random numbers.
struct Shard {
    users: Vec<UserIdx>,
    /// One vector for each of `users`.
    vectors: Vec<f32>,
    items: Vec<f32>,
    touched: Vec<bool>,
    rng: Pcg64Mcg,
    order: Vec<usize>,
    /// Position in `order`.
    next: usize,
    seen: Vec<bool>,
    /// Steps of this epoch that met a pair in the right order.
    right: u64,
}

impl Estimator for Bpr {
    type Model = BprModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<BprModel> {
        self.check(matrix)?;
        self.epochs_from(matrix, self.start(matrix)?, self.epochs)
    }
}

/// An update has the epochs of a training divided by this, and one at least.
const SHORTER: usize = 5;

impl Update for Bpr {
    /// A fifth of the epochs from the old vectors, those of new users and items, and of users who had no rows, drawn as for a training
    /// anew. Steps are by chance, so vectors differ from a training anew as those of another seed do; lists are as good.
    fn update_matrix(&self, model: &BprModel, before: &UserItems, after: &UserItems) -> Result<BprModel> {
        self.check(after)?;
        let Factors { users, items } = &model.factors;
        update::check_model((users.len(), items.len()), before)?;
        let grown = update::grown(before, after)?;
        if items.dim() != self.factors + 1 {
            let trained = format!("{}, as the model was trained with", items.dim() - 1);
            return Err(Error::parameter("factors", self.factors, trained));
        }
        let mut start = self.start(after)?;
        start.items.as_mut_slice()[..items.as_slice().len()].copy_from_slice(items.as_slice());
        let dim = self.factors + 1;
        for user in before.row_indices().filter(|&user| grown.row_len(user) > 0) {
            let own = user.at() * dim..(user.at() + 1) * dim;
            start.users.as_mut_slice()[own].copy_from_slice(users.get(user.at()));
        }
        self.epochs_from(after, start, (self.epochs / SHORTER).max(1))
    }
}

impl Bpr {
    /// The vectors that training starts from.
    fn start(&self, histories: &impl Histories) -> Result<Factors> {
        let dim = self.factors + 1;
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let scale = 0.1 / (self.factors as f32).sqrt();
        let mut draw = || scale * rng.sample::<f32, _>(StandardNormal);
        let mut users = Vectors::zeros(histories.users(), dim)?;
        for vector in users.as_mut_slice().chunks_mut(dim) {
            vector[..dim - 1].iter_mut().for_each(|x| *x = draw());
            vector[dim - 1] = 1.0;
        }
        let mut items = Vectors::zeros(histories.items(), dim)?;
        for vector in items.as_mut_slice().chunks_mut(dim) {
            vector[..dim - 1].iter_mut().for_each(|x| *x = draw());
        }
        Ok(Factors { users, items })
    }

    /// So many epochs from these vectors.
    fn epochs_from(&self, histories: &impl Histories, start: Factors, epochs: usize) -> Result<BprModel> {
        let dim = self.factors + 1;
        let Factors { mut users, mut items } = start;
        let mut shards = self.shards(histories, &users);
        // Long enough to be worth copying the items, short enough that the copies stay close.
        let round = (2 * histories.items()).max(1024);
        let steps: usize =
            shards.iter().flat_map(|shard| &shard.users).map(|&user| histories.length(user)).sum();
        let mut progress = Vec::new();
        for _ in 0..epochs {
            for shard in &mut shards {
                shard.right = 0;
                shard.order.shuffle(&mut shard.rng);
                shard.next = 0;
            }
            while shards.iter().any(|shard| shard.next < shard.order.len()) {
                shards
                    .par_iter_mut()
                    .try_for_each(|shard| shard.run(self, histories, items.as_slice(), round))?;
                merge(&shards, items.as_mut_slice(), dim);
            }
            let right: u64 = shards.iter().map(|shard| shard.right).sum();
            progress.push(right as f64 / steps.max(1) as f64);
        }
        for (user, vector) in (0..).map(UserIdx).zip(users.as_mut_slice().chunks_mut(dim)) {
            // Nothing was learned of somebody without rows: theirs is the order of the biases.
            if histories.length(user) == 0 {
                vector[..dim - 1].fill(0.0);
            }
        }
        for shard in &shards {
            for (user, vector) in shard.users.iter().zip(shard.vectors.chunks(dim)) {
                users.as_mut_slice()[user.at() * dim..(user.at() + 1) * dim].copy_from_slice(vector);
            }
        }
        if users.as_slice().iter().chain(items.as_slice()).any(|x| !x.is_finite()) {
            return Err(Error::Factorization {
                what: "BPR",
                reason: "the vectors are no longer finite; lower the learning rate".to_owned(),
            });
        }
        Ok(BprModel { settings: self.clone(), factors: Factors { users, items }, progress })
    }
}

impl Bpr {
    /// Users go to the shard that has the fewest interactions so far, so that rounds end together.
    fn shards(&self, histories: &impl Histories, users: &Vectors) -> Vec<Shard> {
        let dim = users.dim();
        let mut shards: Vec<Shard> = (0..SHARDS)
            .map(|n| Shard {
                users: Vec::new(),
                vectors: Vec::new(),
                items: Vec::new(),
                touched: vec![false; histories.items()],
                rng: Pcg64Mcg::seed_from_u64(self.seed ^ (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                order: Vec::new(),
                next: 0,
                seen: vec![false; histories.items()],
                right: 0,
            })
            .collect();
        let mut load = [0; SHARDS];
        for user in (0..histories.users() as u32).map(UserIdx) {
            // Nothing to learn from nobody, nor from somebody who met everything.
            let n = histories.length(user);
            if n > 0 && n < histories.items() {
                let least = (0..SHARDS).min_by_key(|&s| load[s]).unwrap_or(0);
                load[least] += n;
                shards[least].users.push(user);
                shards[least].vectors.extend_from_slice(users.get(user.at()));
            }
        }
        for shard in &mut shards {
            shard.order = (0..shard.users.len()).collect();
            debug_assert_eq!(shard.vectors.len(), shard.users.len() * dim);
        }
        shards
    }
}

impl Shard {
    /// At least `steps` steps, in whole users, against a copy of `items`.
    fn run(&mut self, settings: &Bpr, histories: &impl Histories, items: &[f32], steps: usize) -> Result<()> {
        self.items.clear();
        self.items.extend_from_slice(items);
        self.touched.fill(false);
        let (mut done, mut room) = (0, Vec::new());
        while done < steps && self.next < self.order.len() {
            let at = self.order[self.next];
            self.next += 1;
            let met = histories.met(self.users[at], &mut room)?;
            done += met.len();
            self.learn(settings, at, met);
        }
        Ok(())
    }

    fn learn(&mut self, settings: &Bpr, at: usize, met: &[ItemIdx]) {
        let dim = settings.factors + 1;
        let n = self.seen.len() as u32;
        let user = &mut self.vectors[at * dim..(at + 1) * dim];
        met.iter().for_each(|item| self.seen[item.at()] = true);
        let mut right = 0;
        for _ in 0..met.len() {
            let (positive, negative) = pair(met, &self.seen, n, &mut self.rng);
            self.touched[positive] = true;
            self.touched[negative] = true;
            let (low, high) = (positive.min(negative), positive.max(negative));
            let (head, tail) = self.items.split_at_mut(high * dim);
            let (low_row, high_row) = (&mut head[low * dim..(low + 1) * dim], &mut tail[..dim]);
            let (up, down) = if positive < negative { (low_row, high_row) } else { (high_row, low_row) };
            let wrong = vectorize(
                #[inline(always)]
                || step(user, up, down, settings.learning_rate, settings.regularization),
            );
            right += u64::from(wrong < 0.5);
        }
        self.right += right;
        met.iter().for_each(|item| self.seen[item.at()] = false);
    }
}

/// σ(-score difference): how wrong the order of the pair is, 0.5 for a tie. The last entry of `user` is the constant 1 that
/// carries the items' biases.
#[inline(always)]
fn wrong(user: &[f32], up: &[f32], down: &[f32]) -> f32 {
    const LANES: usize = 16;
    let dim = user.len() - 1;
    let mut sums = [0.0_f32; LANES];
    let whole = dim / LANES * LANES;
    for ((u, p), q) in user[..whole]
        .chunks_exact(LANES)
        .zip(up[..whole].chunks_exact(LANES))
        .zip(down[..whole].chunks_exact(LANES))
    {
        for j in 0..LANES {
            sums[j] += u[j] * (p[j] - q[j]);
        }
    }
    let mut score: f32 = sums.iter().sum::<f32>() + up[dim] - down[dim];
    for j in whole..dim {
        score += user[j] * (up[j] - down[j]);
    }
    1.0 / (1.0 + score.exp())
}

/// One ascent step; how wrong the order was.
#[inline(always)]
fn step(user: &mut [f32], up: &mut [f32], down: &mut [f32], rate: f32, regularization: f32) -> f32 {
    let dim = user.len() - 1;
    let wrong = wrong(user, up, down);
    let (decay, rate) = (1.0 - rate * regularization, rate * wrong);
    for ((u, p), q) in user[..dim].iter_mut().zip(&mut up[..dim]).zip(&mut down[..dim]) {
        let (x, a, b) = (*u, *p, *q);
        *u = decay * x + rate * (a - b);
        *p = decay * a + rate * x;
        *q = decay * b - rate * x;
    }
    up[dim] = decay * up[dim] + rate;
    down[dim] = decay * down[dim] - rate;
    wrong
}

/// Each item moves by the mean change of the shards that touched it.
fn merge(shards: &[Shard], items: &mut [f32], dim: usize) {
    items.par_chunks_mut(dim).enumerate().for_each(|(item, vector)| {
        let touched = || shards.iter().filter(|shard| shard.touched[item] && !shard.items.is_empty());
        let n = touched().count();
        if n > 0 {
            for (j, x) in vector.iter_mut().enumerate() {
                *x = touched().map(|shard| shard.items[item * dim + j]).sum::<f32>() / n as f32;
            }
        }
    });
}

impl FactorModel for BprModel {
    const NAME: &'static str = "BPR";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// By [`BprModel::fold_in`]; values do not matter, as in training. Near the scores of training, not equal.
    fn user_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        self.fold_in(items)
    }
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for BprModel {
    /// "bpr" was without settings.
    const FORMAT: &'static str = "bpr-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let Bpr { factors, learning_rate, regularization, .. } = self.settings;
        if factors.checked_add(1) == Some(self.factors.items.dim())
            && learning_rate.is_finite()
            && regularization.is_finite()
        {
            Ok(())
        } else {
            Err("settings and vectors do not fit".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing met, nothing learned; a history moves away from what there is besides, and is not all that counts.
    #[test]
    fn a_vector_that_somebody_has_besides_stays_a_part_of_theirs() {
        let mut vectors = Vectors::zeros(6, 3).unwrap();
        for (item, vector) in vectors.as_mut_slice().chunks_mut(3).enumerate() {
            vector[item % 2] = 1.0;
        }
        let besides = [0.0, 2.0, 1.0];
        let fold_in = |besides, items: &[ItemIdx]| fold_in(&vectors, besides, items, 20, (0.05, 0.01), 0);
        assert_eq!(fold_in(Some(&besides), &[]), besides);
        let (with, without) = (fold_in(Some(&besides), &[ItemIdx(0)]), fold_in(None, &[ItemIdx(0)]));
        assert!(with[0] > 0.0 && with[1] > 1.0 && with[1] < 2.0, "{with:?}");
        assert!(without[0] > 0.0 && without[1] < 0.0, "{without:?}");
        assert_eq!(without, fold_in(Some(&[0.0, 0.0, 1.0]), &[ItemIdx(0)]));
    }

    #[test]
    fn a_pair_of_who_met_almost_everything_takes_few_draws() {
        let n = 20_000;
        let items: Vec<ItemIdx> = (0..n).filter(|&item| item != 777).map(ItemIdx).collect();
        let met: Vec<bool> = (0..n).map(|item| item != 777).collect();
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        for _ in 0..100 {
            let before = rng.clone();
            assert_eq!(pair(&items, &met, n, &mut rng).1, 777);
            assert!(crate::data::others::draws(before, &rng) < 300);
        }
    }

    /// The one item that is left ends below the others.
    #[test]
    fn somebody_who_met_all_items_but_one_is_folded_in() {
        let n = 50_000;
        let mut vectors = Vectors::zeros(n, 3).unwrap();
        for (item, vector) in vectors.as_mut_slice().chunks_mut(3).enumerate() {
            vector[0] = if item == 777 { 1.0 } else { -0.5 };
        }
        let items: Vec<ItemIdx> = (0..n as u32).filter(|&item| item != 777).map(ItemIdx).collect();
        let user = fold_in(&vectors, None, &items, 1, (0.05, 0.01), 0);
        assert!(user[0] < -0.5 && user[2] == 1.0, "{user:?}");
    }
}
