//! Co-clustering: users and items are grouped at once, and a rating is expected to be the average of its block, corrected by how far
//! the user's and the item's own means lie from those of their groups (George & Merugu, ICDM 2005).
//!
//! r = block + (mean of the user - mean of the user's group) + (mean of the item - mean of the item's group)
//!
//! Each pass takes averages and then moves every user, and after that every item, to the group in which its ratings are met best: the
//! steps of Surprise's `CoClustering`, whose defaults these are. Within a side nobody's choice depends on another's, so a side is
//! done in parallel and the result is that of one thread. An average over nothing is the mean of all ratings.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{RatingModel, RatingStats};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Result, check, memory};

/// Settings. Defaults: 3 groups of users, 3 of items, 20 passes, seed 0.
///
/// ```
/// use cairn_recsys::{Estimator, Interactions, rating::CoClustering};
/// let log = Interactions::from_ratings((0..400_u32).map(|n| (n % 20, n * 7 % 31, (n % 5 + 1) as f32)))?;
/// let model = CoClustering::new().user_clusters(4).fit(&log)?;
/// assert!((1.0..=5.0).contains(&model.predict(&3, &10)?));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CoClustering {
    user_clusters: usize,
    item_clusters: usize,
    epochs: usize,
    rating_scale: Option<(f32, f32)>,
    seed: u64,
}

impl Default for CoClustering {
    fn default() -> Self {
        Self { user_clusters: 3, item_clusters: 3, epochs: 20, rating_scale: None, seed: 0 }
    }
}

impl CoClustering {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Groups of users.
        #[doc(alias = "n_cltr_u")]
        user_clusters(groups: usize);
        /// Groups of items.
        #[doc(alias = "n_cltr_i")]
        item_clusters(groups: usize);
        /// Passes over both sides.
        #[doc(alias = "n_epochs")]
        epochs(epochs: usize);
    }

    rating_scale_setter!();

    setters! {
        /// Seed of the groups at the start.
        #[doc(alias = "random_state")]
        seed(seed: u64);
    }

    fn check(&self) -> Result<()> {
        check::at_least_one("user_clusters", self.user_clusters)?;
        check::at_least_one("item_clusters", self.item_clusters)?;
        // The blocks, and the means and counts of groups.
        let (users, items) = (self.user_clusters as u64, self.item_clusters as u64);
        let needed = users.saturating_add(1).saturating_mul(items.saturating_add(1)).saturating_mul(32);
        memory::check(|| format!("{users} `user_clusters` by {items} `item_clusters`"), needed, memory::LIMIT)
    }
}

/// The sum and the number of some ratings.
#[derive(Clone, Copy, Default)]
struct Sum(f64, u32);

impl Sum {
    fn add(&mut self, rating: f32) {
        self.0 += f64::from(rating);
        self.1 += 1;
    }

    fn mean_or(self, otherwise: f32) -> f32 {
        if self.1 == 0 { otherwise } else { (self.0 / f64::from(self.1)) as f32 }
    }
}

/// The mean of each row's values; of a row without any the mean of all.
fn means<R: Idx, C: Idx>(matrix: &Csr<R, C>, stats: &RatingStats) -> Vec<f32> {
    matrix.row_indices().map(|row| stats.mean_of(matrix.row(row).1)).collect()
}

/// One side: the group of each user or item, the mean of each one's ratings, and the groups' means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Side {
    group: Vec<u32>,
    means: Vec<f32>,
    group_means: Vec<f32>,
}

impl Side {
    fn new(group: Vec<u32>, groups: usize, means: Vec<f32>) -> Self {
        Self { group, means, group_means: vec![0.0; groups] }
    }

    fn groups(&self) -> usize {
        self.group_means.len()
    }

    /// What this side adds to the average of a block.
    fn offset(&self, at: usize) -> f32 {
        self.means[at] - self.group_means[self.group[at] as usize]
    }

    fn validate(&self, len: usize) -> std::result::Result<(), String> {
        let finite = self.means.iter().chain(&self.group_means).all(|mean| mean.is_finite());
        let within = self.group.iter().all(|&group| (group as usize) < self.groups());
        if finite && within && self.group.len() == len && self.means.len() == len {
            Ok(())
        } else {
            Err("the groups do not fit".to_owned())
        }
    }
}

/// The group of a row, with this mean, in which its values are met with the least sum of squares; of equals the first.
/// `block(group, column)` is the average of the block, `offset(column)` what the other side adds.
fn nearest<C: Idx>(
    (columns, values): (&[C], &[f32]),
    mean: f32,
    group_means: &[f32],
    block: impl Fn(usize, C) -> f32,
    offset: impl Fn(C) -> f32,
) -> u32 {
    let mut best = (f64::INFINITY, 0);
    for (group, &group_mean) in (0..).zip(group_means) {
        let mut squares = 0.0_f64;
        for (&column, &value) in columns.iter().zip(values) {
            let expected = block(group as usize, column) + (mean - group_mean) + offset(column);
            squares += f64::from(value - expected).powi(2);
        }
        if squares < best.0 {
            best = (squares, group);
        }
    }
    best.1
}

/// Groups of users and items with the averages of their blocks, `[groups of users, groups of items]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Clusters {
    users: Side,
    items: Side,
    blocks: Vec<f32>,
}

impl Clusters {
    /// From groups to start with.
    fn fit(matrix: &UserItems, stats: &RatingStats, users: Side, items: Side, epochs: usize) -> Self {
        let by_item = matrix.transpose();
        let blocks = vec![0.0; users.groups() * items.groups()];
        let mut clusters = Clusters { users, items, blocks };
        for _ in 0..epochs {
            clusters.average(matrix, stats.mean());
            clusters.users.group = (0..matrix.n_rows() as u32)
                .into_par_iter()
                .map(|u| clusters.group_of_user(matrix, u))
                .collect();
            clusters.items.group = (0..by_item.n_rows() as u32)
                .into_par_iter()
                .map(|i| clusters.group_of_item(&by_item, i))
                .collect();
        }
        clusters.average(matrix, stats.mean());
        clusters
    }

    /// The averages of blocks and groups, in the order of the matrix.
    fn average(&mut self, matrix: &UserItems, mean: f32) {
        let (mut users, mut items) =
            (vec![Sum::default(); self.users.groups()], vec![Sum::default(); self.items.groups()]);
        let mut blocks = vec![Sum::default(); self.blocks.len()];
        for (user, item, rating) in matrix.entries() {
            let (g, h) = (self.users.group[user.at()] as usize, self.items.group[item.at()] as usize);
            users[g].add(rating);
            items[h].add(rating);
            blocks[g * items.len() + h].add(rating);
        }
        let of = |sums: Vec<Sum>| sums.into_iter().map(|sum| sum.mean_or(mean)).collect();
        (self.users.group_means, self.items.group_means, self.blocks) = (of(users), of(items), of(blocks));
    }

    fn block(&self, user_group: usize, item_group: usize) -> f32 {
        self.blocks[user_group * self.items.groups() + item_group]
    }

    fn group_of_user(&self, matrix: &UserItems, user: u32) -> u32 {
        let row = matrix.row(UserIdx(user));
        self.group_of_history(row, self.users.means[user as usize])
    }

    /// The group of somebody with these ratings.
    fn group_of_history(&self, row: (&[ItemIdx], &[f32]), mean: f32) -> u32 {
        let block = |group, item: ItemIdx| self.block(group, self.items.group[item.at()] as usize);
        nearest(row, mean, &self.users.group_means, block, |item| self.items.offset(item.at()))
    }

    fn group_of_item(&self, by_item: &Csr<ItemIdx, UserIdx>, item: u32) -> u32 {
        let mean = self.items.means[item as usize];
        let block = |group, user: UserIdx| self.block(self.users.group[user.at()] as usize, group);
        let offset = |user: UserIdx| self.users.offset(user.at());
        nearest(by_item.row(ItemIdx(item)), mean, &self.items.group_means, block, offset)
    }
}

impl Estimator for CoClustering {
    type Model = CoClusteringModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<CoClusteringModel> {
        self.check()?;
        let stats = RatingStats::new("co-clustering", matrix, self.rating_scale)?;
        let mut rng = Pcg64::seed_from_u64(self.seed);
        let mut draw = |n: usize, groups: usize| -> Vec<u32> {
            (0..n).map(|_| rng.random_range(0..groups as u64) as u32).collect()
        };
        let (users, items) =
            (draw(matrix.n_rows(), self.user_clusters), draw(matrix.n_cols(), self.item_clusters));
        let users = Side::new(users, self.user_clusters, means(matrix, &stats));
        let items = Side::new(items, self.item_clusters, means(&matrix.transpose(), &stats));
        let clusters = Clusters::fit(matrix, &stats, users, items, self.epochs);
        Ok(CoClusteringModel { stats, clusters })
    }
}

/// Trained groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoClusteringModel {
    stats: RatingStats,
    clusters: Clusters,
}

impl CoClusteringModel {
    /// The group of each user.
    pub fn user_groups(&self) -> &[u32] {
        &self.clusters.users.group
    }

    /// The group of each item.
    pub fn item_groups(&self) -> &[u32] {
        &self.clusters.items.group
    }

    /// What somebody of this group whose ratings have this mean would give each item; an item without ratings counts as average.
    fn score_all(&self, group: u32, mean: f32, out: &mut [f32]) {
        for (item, out) in (0..).map(ItemIdx).zip(out) {
            *out = self.score(group, mean, item);
        }
    }

    fn score(&self, group: u32, mean: f32, item: ItemIdx) -> f32 {
        if self.stats.ratings_of(item) == 0 {
            return mean;
        }
        let Clusters { users, items, .. } = &self.clusters;
        let block = self.clusters.block(group as usize, items.group[item.at()] as usize);
        block + (mean - users.group_means[group as usize]) + items.offset(item.at())
    }
}

impl Recommender for CoClusteringModel {
    fn name(&self) -> &'static str {
        "CoClustering"
    }
    fn n_users(&self) -> usize {
        self.clusters.users.group.len()
    }
    fn n_items(&self) -> usize {
        self.stats.n_items()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        let side = &self.clusters.users;
        for (&user, out) in users.iter().zip(out.chunks_mut(self.stats.n_items())) {
            self.score_all(side.group[user.at()], side.means[user.at()], out);
        }
        Ok(())
    }
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        let mean = self.stats.mean_of(values);
        self.score_all(self.clusters.group_of_history((items, values), mean), mean, out);
        Ok(())
    }
}

impl RatingModel for CoClusteringModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, _: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        let Clusters { users, items, .. } = &self.clusters;
        match (user, item) {
            (Some(u), Some(i)) => self.score(users.group[u.at()], users.means[u.at()], i),
            (Some(u), None) => users.means[u.at()],
            (None, Some(i)) => items.means[i.at()],
            (None, None) => self.stats.mean(),
        }
    }
}

impl Saved for CoClusteringModel {
    const FORMAT: &'static str = "co-clustering";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.stats.n_items())?;
        let Clusters { users, items, blocks } = &self.clusters;
        users.validate(users.group.len())?;
        items.validate(self.stats.n_items())?;
        if blocks.len() == users.groups() * items.groups() && blocks.iter().all(|block| block.is_finite()) {
            Ok(())
        } else {
            Err("the averages are not a table of groups by groups".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Clusters, CoClusteringModel, Side, means};
    use crate::data::ids::UserIdx;
    use crate::rating::{RatingModel, RatingStats};
    use crate::{Interactions, Result};

    /// The log of tests/golden/surprise_ratings.py, ids by first appearance as there.
    fn log() -> Result<Interactions> {
        let (mut state, mut rows) = (12345_u64, Vec::new());
        for (user, item) in (0..30_u32).flat_map(|user| (0..25_u32).map(move |item| (user, item))) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = state >> 33;
            if draw % 10 < 4 {
                let value = (draw / 10 + u64::from(user / 6) + u64::from(item / 5)) % 5 + 1;
                rows.push((user, item, value as f32));
            }
        }
        Interactions::from_ratings(rows)
    }

    #[test]
    fn from_the_same_groups_predictions_are_those_of_surprise() -> Result<()> {
        let (log, groups) = (log()?, 3);
        let matrix = log.user_items();
        let stats = RatingStats::new("co-clustering", &matrix, Some((1.0, 5.0)))?;
        let start = |ids: &[u32]| ids.iter().map(|id| id % groups as u32).collect();
        let users = Side::new(start(log.catalog().users.ids()), groups, means(&matrix, &stats));
        let items = Side::new(start(log.catalog().items.ids()), groups, means(&matrix.transpose(), &stats));
        let clusters = Clusters::fit(&matrix, &stats, users, items, 20);
        let model = CoClusteringModel { stats, clusters };

        let golden = include_str!("../../tests/golden/surprise_ratings.csv");
        let mut compared = 0;
        for line in golden.lines().filter_map(|line| line.strip_prefix("co-clustering,")) {
            let mut fields = line.split(',');
            let mut id = || fields.next().and_then(|field| field.parse::<u32>().ok());
            let (user, item) = (
                id().and_then(|id| log.catalog().user(&id).ok()),
                id().and_then(|id| log.catalog().item(&id).ok()),
            );
            let expected: f32 = fields.next().and_then(|field| field.parse().ok()).unwrap_or(f32::NAN);
            let got = model.stats.clip(model.expected(&matrix, user, item));
            assert!((got - expected).abs() < 2e-5, "{line}: {got}");
            compared += 1;
        }
        assert!(compared > 10, "{compared} predictions");
        let row = matrix.row(UserIdx(7));
        assert_eq!(model.clusters.group_of_history(row, model.stats.mean_of(row.1)), model.user_groups()[7]);
        Ok(())
    }
}
