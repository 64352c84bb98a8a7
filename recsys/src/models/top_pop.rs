//! The popularity baseline: everybody gets the most popular items. What every other model must beat.

use serde::{Deserialize, Serialize};

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::update::{self, Update};
use crate::{Result, check};

/// Ranks items by the number of users who met them, whatever the value: leave out rows that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
#[doc(alias = "Pop")]
#[doc(alias = "MostPopular")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopPop;

impl TopPop {
    /// There is nothing to set.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

/// The counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopPopModel {
    n_users: usize,
    counts: Vec<f32>,
}

impl Estimator for TopPop {
    type Model = TopPopModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<TopPopModel> {
        check::not_empty(matrix)?;
        let mut counts = vec![0_u32; matrix.n_cols()];
        for item in matrix.columns() {
            counts[item.at()] += 1;
        }
        Ok(TopPopModel { n_users: matrix.n_rows(), counts: counts.iter().map(|&n| n as f32).collect() })
    }
}

impl Update for TopPop {
    /// Counts anew, which is a pass over the entries: the same bits as a training anew.
    fn update_matrix(
        &self,
        model: &TopPopModel,
        before: &UserItems,
        after: &UserItems,
    ) -> Result<TopPopModel> {
        update::check_model((model.n_users, model.counts.len()), before)?;
        update::grown(before, after)?;
        self.fit_matrix(after)
    }
}

impl Recommender for TopPopModel {
    fn name(&self) -> &'static str {
        "TopPop"
    }
    fn n_users(&self) -> usize {
        self.n_users
    }
    fn n_items(&self) -> usize {
        self.counts.len()
    }
    /// That nobody met an item is what popularity has to say of it: 0, which is below all others.
    fn knows_item(&self, _: ItemIdx, _: bool) -> bool {
        true
    }
    fn reads_item(&self, _: ItemIdx, met: bool) -> bool {
        met
    }
    fn score_users(&self, _: &UserItems, _: &[UserIdx], out: &mut [f32]) -> Result<()> {
        out.chunks_mut(self.counts.len()).for_each(|row| row.copy_from_slice(&self.counts));
        Ok(())
    }
    fn score_history(&self, _: &UserItems, _: &[ItemIdx], _: &[f32], out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(&self.counts);
        Ok(())
    }
}

impl Saved for TopPopModel {
    const FORMAT: &'static str = "top-pop";

    fn validate(&self) -> std::result::Result<(), String> {
        if self.counts.iter().all(|n| n.is_finite()) {
            Ok(())
        } else {
            Err("a count is not finite".to_owned())
        }
    }
}
