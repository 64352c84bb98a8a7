//! Neighbourhoods for ratings: the k most similar users (or items) with a rating of that item (by that user), weighted by
//! similarity. Plain, around means, in standard deviations around means, or around the baseline (Koren 2010). Only positive similarities count, as in Surprise. Of equally
//! similar neighbours the one whose first row comes first in the log counts: where many are alike, as with few common ratings,
//! another order of the rows gives other predictions.
//!
//! Similarities are kept for all pairs, four bytes each; the memory is said before it is taken.

use serde::{Deserialize, Serialize};

use super::baseline::{BaselineMethod, Biases};
use super::similarity::{Similarity, Sums};
use super::{RatingModel, RatingStats};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{ItemUsers, UserItems};
use crate::estimator::Estimator;
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Error, Result, check, memory};

/// What ratings are taken relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Centring {
    /// Nothing: the weighted mean of the neighbours' ratings.
    #[default]
    None,
    /// Each neighbour's own mean.
    Means,
    /// Each neighbour's own mean, in units of its standard deviation.
    ZScores,
    /// The baseline of each neighbour's rating.
    Baseline,
}

/// Settings. Defaults: 40 neighbours, user-based, mean squared difference, at least 1 neighbour and 1 common rating.
#[doc(alias = "KNNBasic")]
#[doc(alias = "KNNWithMeans")]
#[doc(alias = "KNNWithZScore")]
#[doc(alias = "KNNBaseline")]
#[derive(Debug, Clone, PartialEq)]
pub struct RatingKnn {
    neighbours: usize,
    min_neighbours: usize,
    min_support: u32,
    item_based: bool,
    similarity: Similarity,
    centring: Centring,
    baseline: BaselineMethod,
    rating_scale: Option<(f32, f32)>,
    memory_limit: u64,
}

impl Default for RatingKnn {
    fn default() -> Self {
        Self {
            neighbours: 40,
            min_neighbours: 1,
            min_support: 1,
            item_based: false,
            similarity: Similarity::default(),
            centring: Centring::default(),
            baseline: BaselineMethod::ALS,
            rating_scale: None,
            memory_limit: memory::LIMIT,
        }
    }
}

impl RatingKnn {
    /// The plain weighted mean, with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Around means: Surprise's `KNNWithMeans`.
    #[must_use]
    pub fn with_means() -> Self {
        Self { centring: Centring::Means, ..Self::default() }
    }

    /// Around means, in standard deviations: Surprise's `KNNWithZScore`. Some rate between 2 and 4 what others rate between 1 and 5.
    #[must_use]
    pub fn with_z_scores() -> Self {
        Self { centring: Centring::ZScores, ..Self::default() }
    }

    /// Around the baseline: Surprise's `KNNBaseline`.
    #[must_use]
    pub fn with_baseline() -> Self {
        Self { centring: Centring::Baseline, ..Self::default() }
    }

    setters! {
        /// The most neighbours that count.
        neighbours(k: usize);
        #[doc(alias = "min_k")]
        /// With fewer neighbours than this the prediction is what it would be without any.
        min_neighbours(k: usize);
        /// Pairs with fewer common ratings than this have a similarity of 0.
        min_support(n: u32);
    }

    /// Neighbours are items, not users.
    #[must_use]
    pub fn item_based(mut self) -> Self {
        self.item_based = true;
        self
    }

    setters! {
        /// The measure of similarity.
        similarity(similarity: Similarity);
        /// How the baseline is found, where one is used.
        baseline(method: BaselineMethod);
    }

    rating_scale_setter!();

    setters! {
        /// Most bytes that the similarities may take.
        memory_limit(bytes: u64);
    }

    /// Bytes that the similarities of that many users, or items, take.
    pub fn memory_needed(n: usize) -> u64 {
        memory::of_pairs(n, 4)
    }

    fn uses_baseline(&self) -> bool {
        self.centring == Centring::Baseline || matches!(self.similarity, Similarity::PearsonBaseline { .. })
    }

    fn check(&self, n: usize) -> Result<()> {
        check::at_least_one("neighbours", self.neighbours)?;
        self.similarity.check()?;
        let kind = if self.item_based { ItemIdx::KIND } else { UserIdx::KIND };
        memory::check(|| format!("similarities of {n} {kind}s"), Self::memory_needed(n), self.memory_limit)
    }
}

/// A trained neighbourhood model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatingKnnModel {
    stats: RatingStats,
    item_based: bool,
    neighbours: usize,
    min_neighbours: usize,
    min_support: u32,
    similarity: Similarity,
    centring: Centring,
    /// All pairs of users, or of items.
    similarities: Vec<f32>,
    /// Mean rating of each user, or of each item; the mean of all without ratings.
    means: Vec<f32>,
    /// Standard deviation of each user's, or each item's, ratings, and that of all; empty where it is not asked for.
    deviations: Vec<f32>,
    deviation: f32,
    biases: Option<Biases>,
    /// Who rated an item; only where neighbours are users.
    raters: Option<ItemUsers>,
    n_users: usize,
}

impl Estimator for RatingKnn {
    type Model = RatingKnnModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<RatingKnnModel> {
        let n = if self.item_based { matrix.n_cols() } else { matrix.n_rows() };
        self.check(n)?;
        let stats = RatingStats::new("nearest neighbours", matrix, self.rating_scale)?;
        let biases =
            if self.uses_baseline() { Some(Biases::fit(matrix, stats.mean(), self.baseline)?) } else { None };
        let across = matrix.transpose();
        let similarities = match (self.similarity, &biases) {
            (Similarity::PearsonBaseline { .. }, Some(biases)) => {
                let rest = matrix.map_values(|u, i, v| v - biases.of(Some(u), Some(i)));
                self.similarities(&rest, &rest.transpose())
            }
            _ => self.similarities(matrix, &across),
        };
        let rows: Vec<&[f32]> = if self.item_based {
            across.row_indices().map(|i| across.row(i).1).collect()
        } else {
            matrix.row_indices().map(|u| matrix.row(u).1).collect()
        };
        let means = rows.iter().map(|values| stats.mean_of(values)).collect();
        let deviation = deviation(rows.iter().copied().flatten()).unwrap_or(1.0);
        let deviations = match self.centring {
            Centring::ZScores => {
                rows.iter().map(|row| self::deviation(row.iter()).unwrap_or(deviation)).collect()
            }
            _ => Vec::new(),
        };
        Ok(RatingKnnModel {
            stats,
            item_based: self.item_based,
            neighbours: self.neighbours,
            min_neighbours: self.min_neighbours,
            min_support: self.min_support,
            similarity: self.similarity,
            centring: self.centring,
            similarities,
            means,
            deviations,
            deviation,
            biases,
            raters: (!self.item_based).then_some(across),
            n_users: matrix.n_rows(),
        })
    }
}

impl RatingKnn {
    fn similarities(&self, users: &UserItems, items: &ItemUsers) -> Vec<f32> {
        if self.item_based {
            self.similarity.matrix(items, users, self.min_support)
        } else {
            self.similarity.matrix(users, items, self.min_support)
        }
    }
}

/// Somebody to predict for: by index, or by a history with what follows from it.
struct Query<'a> {
    items: &'a [ItemIdx],
    values: &'a [f32],
    /// Similarities with all users, where neighbours are users.
    similar: Option<&'a [f32]>,
    mean: f32,
    /// Where neighbours are users, and z-scores count.
    deviation: f32,
    bias: f32,
}

/// A neighbour: similarity, and the rating less what it is taken relative to, in units of its deviation where z-scores count.
type Vote = (f32, f32);

/// The standard deviation; `None` where all are equal, or there are none.
fn deviation<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> Option<f32> {
    let n = values.clone().count() as f64;
    let mean = values.clone().map(|&v| f64::from(v)).sum::<f64>() / n;
    let squares: f64 = values.map(|&v| (f64::from(v) - mean).powi(2)).sum();
    // Equal numbers leave only what rounding their mean leaves.
    let deviation = (squares / n).sqrt();
    (deviation > mean.abs() * 1e-12).then_some(deviation as f32)
}

impl RatingKnnModel {
    fn n(&self) -> usize {
        self.means.len()
    }

    fn similar_to(&self, x: usize) -> &[f32] {
        let n = self.n();
        &self.similarities[x * n..(x + 1) * n]
    }

    fn query<'a>(&'a self, seen: &'a UserItems, user: UserIdx) -> Query<'a> {
        let (items, values) = seen.row(user);
        let (similar, mean, deviation) = if self.item_based {
            (None, 0.0, 1.0)
        } else {
            (Some(self.similar_to(user.at())), self.means[user.at()], self.scale(user.at()))
        };
        let bias = self.biases.as_ref().map_or(0.0, |b| b.users[user.at()]);
        Query { items, values, similar, mean, deviation, bias }
    }

    /// By what a neighbour's difference is divided.
    fn scale(&self, x: usize) -> f32 {
        self.deviations.get(x).copied().unwrap_or(1.0)
    }

    /// By what the mean of the neighbours' differences is multiplied.
    fn spread(&self, query: &Query<'_>, item: ItemIdx) -> f32 {
        if self.item_based { self.scale(item.at()) } else { query.deviation }
    }

    /// What the rating is without neighbours.
    fn base(&self, query: &Query<'_>, item: ItemIdx) -> f32 {
        match (self.centring, &self.biases) {
            (Centring::Means | Centring::ZScores, _) if self.item_based => self.means[item.at()],
            (Centring::Means | Centring::ZScores, _) => query.mean,
            (Centring::Baseline, Some(biases)) => biases.mean + query.bias + biases.items[item.at()],
            _ => self.stats.mean(),
        }
    }

    /// Similar neighbours with a rating, unordered; with their position in the query's history where they are items.
    fn votes(&self, query: &Query<'_>, item: ItemIdx, out: &mut Vec<(Vote, usize)>) {
        out.clear();
        if let (Some(similar), Some(raters)) = (query.similar, &self.raters) {
            let (users, ratings) = raters.row(item);
            for (position, (user, &rating)) in users.iter().zip(ratings).enumerate() {
                let weight = similar[user.at()];
                if weight > 0.0 {
                    let reference = match (self.centring, &self.biases) {
                        (Centring::Means | Centring::ZScores, _) => self.means[user.at()],
                        (Centring::Baseline, Some(biases)) => biases.of(Some(*user), Some(item)),
                        _ => 0.0,
                    };
                    out.push(((weight, (rating - reference) / self.scale(user.at())), position));
                }
            }
        } else {
            let similar = self.similar_to(item.at());
            for (position, (other, &rating)) in query.items.iter().zip(query.values).enumerate() {
                let weight = similar[other.at()];
                if weight > 0.0 {
                    let reference = match (self.centring, &self.biases) {
                        (Centring::Means | Centring::ZScores, _) => self.means[other.at()],
                        (Centring::Baseline, Some(biases)) => {
                            biases.mean + query.bias + biases.items[other.at()]
                        }
                        _ => 0.0,
                    };
                    out.push(((weight, (rating - reference) / self.scale(other.at())), position));
                }
            }
        }
        if out.len() > self.neighbours {
            // Equal similarities go by index.
            let better = |a: &(Vote, usize), b: &(Vote, usize)| b.0.0.total_cmp(&a.0.0).then(a.1.cmp(&b.1));
            out.select_nth_unstable_by(self.neighbours - 1, better);
            out.truncate(self.neighbours);
            out.sort_unstable_by_key(|&(_, position)| position);
        }
    }

    /// `votes` is a buffer.
    fn rating(&self, query: &Query<'_>, item: ItemIdx, votes: &mut Vec<(Vote, usize)>) -> f32 {
        self.votes(query, item, votes);
        let base = self.base(query, item);
        if votes.is_empty() || votes.len() < self.min_neighbours {
            return base;
        }
        let weights: f32 = votes.iter().map(|((w, _), _)| w).sum();
        let sum: f32 = votes.iter().map(|((w, v), _)| w * v).sum();
        match self.centring {
            Centring::None => sum / weights,
            Centring::Means | Centring::Baseline => base + sum / weights,
            Centring::ZScores => base + self.spread(query, item) * sum / weights,
        }
    }

    fn rate_all(&self, query: &Query<'_>, out: &mut [f32]) {
        let mut votes = Vec::new();
        for (item, out) in (0..).map(ItemIdx).zip(out) {
            *out = self.rating(query, item, &mut votes);
        }
    }

    /// The bias of somebody known by a history; 0 where no baseline is used.
    fn bias(&self, items: &[ItemIdx], values: &[f32]) -> f32 {
        self.biases.as_ref().map_or(0.0, |biases| biases.fold_in(items, values))
    }

    fn unsupported(&self, operation: &'static str) -> Error {
        Error::Unsupported { model: self.name(), operation }
    }
}

impl Recommender for RatingKnnModel {
    fn name(&self) -> &'static str {
        match (self.centring, self.item_based) {
            (Centring::None, false) => "kNN (users)",
            (Centring::Means, false) => "kNN with means (users)",
            (Centring::ZScores, false) => "kNN with z-scores (users)",
            (Centring::Baseline, false) => "kNN baseline (users)",
            (Centring::None, true) => "kNN (items)",
            (Centring::Means, true) => "kNN with means (items)",
            (Centring::ZScores, true) => "kNN with z-scores (items)",
            (Centring::Baseline, true) => "kNN baseline (items)",
        }
    }
    fn n_users(&self) -> usize {
        self.n_users
    }
    fn n_items(&self) -> usize {
        self.stats.n_items()
    }
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (&user, out) in users.iter().zip(out.chunks_mut(self.stats.n_items())) {
            self.rate_all(&self.query(seen, user), out);
        }
        Ok(())
    }
    /// Exact, but for the bias of a baseline found by gradient steps, which comes out near that of training.
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        let bias = self.bias(items, values);
        let mut similar = Vec::new();
        if let Some(raters) = &self.raters {
            similar.resize(self.n_users, 0.0);
            let mut sums = vec![Sums::default(); self.n_users];
            let support = self.min_support;
            match (self.similarity, &self.biases) {
                (Similarity::PearsonBaseline { .. }, Some(biases)) => {
                    let rest: Vec<f32> = items
                        .iter()
                        .zip(values)
                        .map(|(i, v)| v - (biases.mean + bias + biases.items[i.at()]))
                        .collect();
                    let raters = raters.map_values(|i, u, v| v - biases.of(Some(u), Some(i)));
                    self.similarity.row(items, &rest, &raters, support, &mut sums, &mut similar);
                }
                _ => self.similarity.row(items, values, raters, support, &mut sums, &mut similar),
            }
        }
        let query = Query {
            items,
            values,
            similar: self.raters.is_some().then_some(&similar[..]),
            mean: self.stats.mean_of(values),
            deviation: match self.centring {
                Centring::ZScores => deviation(values.iter()).unwrap_or(self.deviation),
                _ => 1.0,
            },
            bias,
        };
        self.rate_all(&query, out);
        Ok(())
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        if !self.item_based {
            return Err(self.unsupported("similar items"));
        }
        out.copy_from_slice(self.similar_to(item.at()));
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        if self.item_based {
            return Err(self.unsupported("similar users"));
        }
        out.copy_from_slice(self.similar_to(user.at()));
        Ok(())
    }
    /// Where neighbours are items: what each adds to the rating, or to the mean or baseline it starts from.
    fn contributions(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        if !self.item_based {
            return Err(self.unsupported("explanations"));
        }
        let query =
            Query { items, values, similar: None, mean: 0.0, deviation: 1.0, bias: self.bias(items, values) };
        let mut votes = Vec::new();
        self.votes(&query, item, &mut votes);
        let weights: f32 = votes.iter().map(|((w, _), _)| w).sum();
        let spread = self.spread(&query, item);
        let mut shares = vec![0.0; items.len()];
        if votes.len() >= self.min_neighbours {
            votes.iter().for_each(|&((w, v), position)| shares[position] = spread * w * v / weights);
        }
        Ok(shares)
    }
}

impl RatingModel for RatingKnnModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, seen: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        match (user, item, &self.biases) {
            (Some(user), Some(item), _) => self.rating(&self.query(seen, user), item, &mut Vec::new()),
            (user, item, Some(biases)) if self.centring == Centring::Baseline => biases.of(user, item),
            _ => self.stats.mean(),
        }
    }
}

impl Saved for RatingKnnModel {
    const FORMAT: &'static str = "rating-knn-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.stats.n_items())?;
        let n = if self.item_based { self.stats.n_items() } else { self.n_users };
        let finite = |v: &[f32]| v.iter().all(|x| x.is_finite());
        let biases = self.biases.as_ref().is_none_or(|b| {
            b.validate().is_ok() && b.users.len() == self.n_users && b.items.len() == self.stats.n_items()
        });
        let raters = match &self.raters {
            None => self.item_based,
            Some(raters) => {
                !self.item_based
                    && raters.is_consistent()
                    && (raters.n_rows(), raters.n_cols()) == (self.stats.n_items(), self.n_users)
            }
        };
        let tables = self.means.len() == n && self.similarities.len() == n * n;
        let kinds = self.biases.is_some()
            || !(self.centring == Centring::Baseline
                || matches!(self.similarity, Similarity::PearsonBaseline { .. }));
        let scaled = self.centring == Centring::ZScores;
        let positive = |v: &[f32]| v.iter().all(|x| x.is_finite() && *x > 0.0);
        let deviations = self.deviations.len() == if scaled { n } else { 0 }
            && positive(&self.deviations)
            && positive(&[self.deviation]);
        if biases
            && deviations
            && raters
            && tables
            && kinds
            && self.neighbours > 0
            && finite(&self.means)
            && finite(&self.similarities)
        {
            Ok(())
        } else {
            Err("the tables do not fit together".to_owned())
        }
    }
}
