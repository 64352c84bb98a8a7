//! A trained LightFM.

use serde::{Deserialize, Serialize};

use super::Training;
use crate::data::ids::{ItemIdx, UserIdx};
use crate::features::described::Described;
use crate::features::known::{self, BY_ITEMS, BY_USERS, FeatureModel, trained_with};
use crate::features::space::FeatureSpace;
use crate::features::table::FeatureRow;
use crate::models::factors::{FactorModel, Factors, dot};
use crate::serve::file::Saved;
use crate::{Result, check};

/// A trained LightFM. The last entry of an item's vector is its bias, of a user's vector 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LightFmModel {
    pub(super) training: Training,
    pub(super) factors: Factors,
    pub(super) items: Option<Described>,
    pub(super) users: Option<Described>,
    pub(super) progress: Vec<f64>,
}

impl LightFmModel {
    /// The vectors of all users and items, of one more entry than asked for.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The vector of an item by what is known of it.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a model without features of items, and those of [`FeatureSpace::encode`].
    pub fn item_vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        trained_with(Self::NAME, self.items.as_ref(), BY_ITEMS)?.vector(row)
    }

    /// The vector of a user by what is known of them.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a model without features of users, and those of [`FeatureSpace::encode`].
    pub fn user_vector_of(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let mut vector = trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?.vector(row)?;
        if let Some(last) = vector.last_mut() {
            *last = 1.0;
        }
        Ok(vector)
    }
}

impl FeatureModel for LightFmModel {
    fn item_space(&self) -> Option<&FeatureSpace> {
        self.items.as_ref().map(|described| &described.space)
    }
    fn user_space(&self) -> Option<&FeatureSpace> {
        self.users.as_ref().map(|described| &described.space)
    }
    fn score_described_items(&self, user: UserIdx, items: &[FeatureRow]) -> Result<Vec<f32>> {
        let own = self.factors.users.get(user.0 as usize);
        items.iter().map(|row| Ok(dot(own, &self.item_vector(row)?))).collect()
    }
    fn score_described_user(&self, user: &FeatureRow, out: &mut [f32]) -> Result<()> {
        self.factors.items.inner_products(&self.user_vector_of(user)?, out);
        Ok(())
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
        Ok(known::fold_in(&self.factors.items, items, self.training.seed))
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
        if self.training.dim.checked_add(1) != Some(width) {
            return Err("settings and vectors do not fit".to_owned());
        }
        for (what, known) in [("items", &self.items), ("users", &self.users)] {
            known.iter().try_for_each(|known| known.check(what, width))?;
        }
        Ok(())
    }
}
