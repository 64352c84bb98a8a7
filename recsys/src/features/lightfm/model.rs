//! A trained LightFM.

use serde::{Deserialize, Serialize};

use super::Training;
use crate::data::ids::{ItemIdx, UserIdx};
use crate::features::described::Described;
use crate::features::kept::Kept;
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
    pub(super) kept: Kept,
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
        set_last(&mut vector);
        Ok(vector)
    }

    /// The vector of somebody who met these items, and of whom `features` is that of what else is known.
    fn folded(&self, features: Option<&[f32]>, items: &[ItemIdx]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        Ok(known::fold_in(&self.factors.items, features, items, self.training.seed))
    }
}

/// A user's vector ends with 1, by which an item's bias counts.
fn set_last(vector: &mut [f32]) {
    if let Some(last) = vector.last_mut() {
        *last = 1.0;
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
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        _: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let vector = self.folded(Some(&self.user_vector_of(user)?), items)?;
        self.factors.items.inner_products(&vector, out);
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
        self.folded(None, items)
    }
    fn next_vector(&self, user: UserIdx, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        let features = self.users.as_ref().map(|described| {
            let mut vector = described.sum(self.kept.of_user(user));
            set_last(&mut vector);
            vector
        });
        self.folded(features.as_deref(), items)
    }
    fn user_is_known(&self, user: UserIdx, met: bool) -> bool {
        met || self.kept.has_user(user)
    }
    fn item_is_known(&self, item: ItemIdx, met: bool) -> bool {
        met || self.kept.has_item(item)
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
    /// "lightfm" was without the features of its users.
    const FORMAT: &'static str = "lightfm-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let width = self.factors.items.dim();
        let sizes = (self.factors.users.len(), self.factors.items.len());
        if self.training.dim.checked_add(1) != Some(width)
            || !self.kept.fits(sizes, self.user_space(), self.item_space())
        {
            return Err("settings and vectors do not fit".to_owned());
        }
        for (what, known) in [("items", &self.items), ("users", &self.users)] {
            known.iter().try_for_each(|known| known.check(what, width))?;
        }
        Ok(())
    }

    fn as_feature_model(&self) -> Option<&dyn FeatureModel> {
        Some(self)
    }
}
