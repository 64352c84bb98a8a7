//! Slope One: r = mean of the user + mean over the user's items j of the average difference i - j (Lemire & Maclachlan, SDM
//! 2005).
//!
//! Differences are kept for all pairs of items, four bytes each; the memory is said before it is taken.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{RatingModel, RatingStats};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::{Result, memory};

/// Stands for the difference of two items that nobody rated both of.
const NOBODY: f32 = f32::INFINITY;

/// Settings: the scale, and how much memory training may take (8 GiB by default).
#[derive(Debug, Clone, PartialEq)]
pub struct SlopeOne {
    rating_scale: Option<(f32, f32)>,
    memory_limit: u64,
}

impl Default for SlopeOne {
    fn default() -> Self {
        Self { rating_scale: None, memory_limit: memory::LIMIT }
    }
}

impl SlopeOne {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    rating_scale_setter!();

    /// Most bytes that the differences may take.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Bytes that the differences of that many items take.
    pub fn memory_needed(n_items: usize) -> u64 {
        memory::of_pairs(n_items, 4)
    }
}

impl Estimator for SlopeOne {
    type Model = SlopeOneModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<SlopeOneModel> {
        let stats = RatingStats::new("Slope One", matrix, self.rating_scale)?;
        let n = matrix.n_cols();
        memory::check(|| format!("Slope One on {n} items"), Self::memory_needed(n), self.memory_limit)?;
        let by_item = matrix.transpose();
        let mut differences = vec![NOBODY; n * n];
        differences.par_chunks_mut(n).enumerate().for_each_init(
            || vec![(0.0_f64, 0_u32); n],
            |sums, (item, row)| {
                sums.fill((0.0, 0));
                let (users, ratings) = by_item.row(ItemIdx(item as u32));
                for (&user, &own) in users.iter().zip(ratings) {
                    let (others, values) = matrix.row(user);
                    for (other, &value) in others.iter().zip(values) {
                        let (sum, count) = &mut sums[other.at()];
                        *sum += f64::from(own) - f64::from(value);
                        *count += 1;
                    }
                }
                for (out, &(sum, count)) in row.iter_mut().zip(&*sums).filter(|(_, (_, count))| *count > 0) {
                    *out = (sum / f64::from(count)) as f32;
                }
            },
        );
        Ok(SlopeOneModel { stats, n_users: matrix.n_rows(), differences })
    }
}

/// Average differences of all pairs of items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlopeOneModel {
    stats: RatingStats,
    n_users: usize,
    /// Row i, column j: mean of (rating of i - rating of j) over users who rated both; [`NOBODY`] if there are none.
    differences: Vec<f32>,
}

impl SlopeOneModel {
    /// The average of (rating of `a` - rating of `b`) over users who rated both; `None` if nobody did.
    ///
    /// # Panics
    /// If an index is out of range.
    pub fn difference(&self, a: ItemIdx, b: ItemIdx) -> Option<f32> {
        let found = self.row(a)[b.at()];
        if found == NOBODY { None } else { Some(found) }
    }

    fn row(&self, item: ItemIdx) -> &[f32] {
        let n = self.stats.n_items();
        &self.differences[item.at() * n..(item.at() + 1) * n]
    }

    fn score(&self, items: &[ItemIdx], mean: f32, item: ItemIdx) -> f32 {
        let row = self.row(item);
        let (mut sum, mut count) = (0.0, 0_u32);
        for other in items {
            let difference = row[other.at()];
            if difference != NOBODY {
                sum += difference;
                count += 1;
            }
        }
        if count == 0 { mean } else { mean + sum / count as f32 }
    }

    fn score_all(&self, items: &[ItemIdx], values: &[f32], out: &mut [f32]) {
        let mean = self.stats.mean_of(values);
        for (item, out) in (0..).map(ItemIdx).zip(out) {
            *out = if self.stats.ratings_of(item) == 0 || items.is_empty() {
                self.stats.mean()
            } else {
                self.score(items, mean, item)
            };
        }
    }
}

impl Recommender for SlopeOneModel {
    fn name(&self) -> &'static str {
        "SlopeOne"
    }
    fn n_users(&self) -> usize {
        self.n_users
    }
    fn n_items(&self) -> usize {
        self.stats.n_items()
    }
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (&user, out) in users.iter().zip(out.chunks_mut(self.stats.n_items())) {
            let (items, values) = seen.row(user);
            self.score_all(items, values, out);
        }
        Ok(())
    }
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        self.score_all(items, values, out);
        Ok(())
    }
    fn contributions(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        let row = self.row(item);
        let count = items.iter().filter(|j| row[j.at()] != NOBODY).count() as f32;
        let share = |(j, &value): (&ItemIdx, &f32)| {
            let difference = row[j.at()];
            let slope = if difference == NOBODY { 0.0 } else { difference / count };
            value / items.len() as f32 + slope
        };
        Ok(items.iter().zip(values).map(share).collect())
    }
}

impl RatingModel for SlopeOneModel {
    fn stats(&self) -> &RatingStats {
        &self.stats
    }
    fn expected(&self, seen: &UserItems, user: Option<UserIdx>, item: Option<ItemIdx>) -> f32 {
        let (Some(user), Some(item)) = (user, item) else { return self.stats.mean() };
        let (items, values) = seen.row(user);
        self.score(items, self.stats.mean_of(values), item)
    }
}

impl Saved for SlopeOneModel {
    const FORMAT: &'static str = "slope-one";

    fn validate(&self) -> std::result::Result<(), String> {
        self.stats.validate(self.stats.n_items())?;
        let n = self.stats.n_items();
        if self.differences.len() == n * n && self.differences.iter().all(|d| !d.is_nan()) {
            Ok(())
        } else {
            Err("the differences are not a table of items by items".to_owned())
        }
    }
}
