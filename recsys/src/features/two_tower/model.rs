//! Trained towers.

use serde::{Deserialize, Serialize};

use super::TwoTower;
use super::network::{self, Inputs, Network, Rows};
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::ItemUsers;
use crate::features::dense::Layers;
use crate::features::kept::Kept;
use crate::features::known::{BY_ITEMS, BY_USERS, FeatureModel, trained_with};
use crate::features::space::{FeatureIdx, FeatureMatrix, FeatureSpace};
use crate::features::table::FeatureRow;
use crate::models::factors::{FactorModel, Factors, Vectors, dot};
use crate::neural::passes::{failure, forget_unmoved};
use crate::serve::file::Saved;
use crate::{Result, check};

/// Rows that go through a tower at a time.
const ROWS: usize = 4096;

/// A trained [`TwoTower`]: what came out of the towers for users and items, and the towers for who is new.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwoTowerModel {
    factors: Factors,
    user_tower: Tower,
    item_tower: Tower,
    users: Option<FeatureSpace>,
    items: Option<FeatureSpace>,
    kept: Kept,
    progress: Vec<f64>,
}

/// A tower: a vector for each item, features behind them, and the layers on their sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tower {
    table: Vectors,
    layers: Layers,
}

impl Tower {
    fn new(tower: &network::Tower) -> Self {
        let values = tower.table.value().to_vec();
        let table = Vectors::from_parts(tower.table.shape()[1], values);
        Self { table, layers: Layers::new(&tower.layers) }
    }

    /// Makes zeros of the vectors that no step moved from what they were at the `start`. Which were moved.
    fn forget_unmoved(&mut self, start: &network::Tower) -> Vec<bool> {
        let dim = self.table.dim();
        forget_unmoved(self.table.as_mut_slice(), &start.table.value().to_vec(), dim)
    }

    /// What comes out for rows of weighted features.
    fn vectors<'r>(
        &self,
        rows: impl ExactSizeIterator<Item = (&'r [FeatureIdx], &'r [f32])>,
    ) -> Result<Vec<f32>> {
        let (n, dim) = (rows.len(), self.table.dim());
        let mut sums = vec![0.0; n * dim];
        for (sum, (features, weights)) in sums.chunks_mut(dim).zip(rows) {
            for (feature, weight) in features.iter().zip(weights) {
                sum.iter_mut().zip(self.table.get(feature.at())).for_each(|(sum, x)| *sum += weight * x);
            }
        }
        self.layers.forward(sums, n).map_err(|e| failure(TwoTowerModel::NAME, &e))
    }

    /// What comes out for all rows.
    fn all(&self, rows: &Inputs) -> Result<Vectors> {
        let mut out = Vec::new();
        let every: Vec<UserIdx> = rows.row_indices().collect();
        for part in every.chunks(ROWS) {
            out.extend(self.vectors(part.iter().map(|&row| rows.row(row)))?);
        }
        Ok(Vectors::from_parts(self.table.dim(), out))
    }

    /// For what comes from a file: the tower of `what`.
    fn check(
        &self,
        what: &str,
        (dim, n_items): (usize, usize),
        space: Option<&FeatureSpace>,
    ) -> Result<(), String> {
        let known = space.map_or(0, FeatureSpace::len);
        let rows = n_items.checked_add(known).and_then(|rows| rows.checked_mul(dim));
        let fits = self.table.dim() == dim
            && Some(self.table.as_slice().len()) == rows
            && space.is_none_or(FeatureSpace::is_consistent);
        if !fits {
            return Err(format!("features, table and vectors of the tower of {what} do not fit"));
        }
        check::finite(format_args!("the table of the tower of {what}"), self.table.as_slice())?;
        self.layers.check(dim, dim).map_err(|reason| format!("the tower of {what}: {reason}"))
    }
}

impl TwoTowerModel {
    pub(super) fn new(
        settings: &TwoTower,
        (network, start): (&Network, &Network),
        rows: &Rows<'_>,
        by_item: &ItemUsers,
        progress: Vec<f64>,
    ) -> Result<Self> {
        let (mut user_tower, mut item_tower) = (Tower::new(&network.users), Tower::new(&network.items));
        let of_users = user_tower.forget_unmoved(&start.users);
        let of_items = item_tower.forget_unmoved(&start.items);
        let every = rows.matrix.row_indices().map(|user| (user, None));
        let users = user_tower.all(&rows.users(every, |item| of_users[item.at()]))?;
        // The identity of an item that nobody met was never trained.
        let items = by_item.row_indices().map(|item| (item, by_item.row_len(item) > 0));
        let items = item_tower.all(&rows.items(items))?;
        let n_items = by_item.n_rows();
        let model = Self {
            factors: Factors { users, items },
            user_tower,
            item_tower,
            users: settings.known.users.as_ref().map(FeatureMatrix::space).cloned(),
            items: settings.known.items.as_ref().map(FeatureMatrix::space).cloned(),
            kept: Kept::new(
                &settings.known,
                |feature| of_users[n_items + feature.at()],
                |feature| of_items[n_items + feature.at()],
            ),
            progress,
        };
        let reason = &"the vectors are no longer finite; lower the learning rate";
        model.validate().map_err(|_| failure(Self::NAME, reason))?;
        Ok(model)
    }

    /// What came out of the towers for users and items.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The vector of somebody who met these items and of whom `row` is known; either may say nothing. Items that training made no input of
    /// are passed over.
    ///
    /// # Errors
    /// [`Error::UnknownItem`](crate::Error::UnknownItem) for an index out of range;
    /// [`Error::Unsupported`](crate::Error::Unsupported) for features where the model was trained without, and those of
    /// [`FeatureSpace::encode`].
    pub fn user_vector_with(&self, items: &[ItemIdx], row: &FeatureRow) -> Result<Vec<f32>> {
        let known = if row.iter().next().is_some() {
            trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?.encode(row)?
        } else {
            Vec::new()
        };
        self.user_vector_of(items, known)
    }

    /// As [`user_vector_with`](Self::user_vector_with), for features that are encoded.
    fn user_vector_of(
        &self,
        items: &[ItemIdx],
        known: impl IntoIterator<Item = (FeatureIdx, f32)>,
    ) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        let read = items.iter().filter(|item| self.is_input(**item));
        let mut features: Vec<FeatureIdx> = read.map(|item| FeatureIdx(item.0)).collect();
        let mut weights = vec![1.0 / features.len().max(1) as f32; features.len()];
        self.extend(known, &mut features, &mut weights);
        self.user_tower.vectors(std::iter::once((&features[..], &weights[..])))
    }

    /// Whether an item was a part of what the tower of users was trained on.
    fn is_input(&self, item: ItemIdx) -> bool {
        self.user_tower.table.get(item.at()).iter().any(|x| *x != 0.0)
    }

    /// The vector of an item by what is known of it.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a model without features of items, and those of [`FeatureSpace::encode`].
    pub fn item_vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let (mut features, mut weights) = (Vec::new(), Vec::new());
        let space = trained_with(Self::NAME, self.items.as_ref(), BY_ITEMS)?;
        self.extend(space.encode(row)?, &mut features, &mut weights);
        self.item_tower.vectors(std::iter::once((&features[..], &weights[..])))
    }

    /// Features of what is known stand behind the items.
    fn extend(
        &self,
        known: impl IntoIterator<Item = (FeatureIdx, f32)>,
        features: &mut Vec<FeatureIdx>,
        weights: &mut Vec<f32>,
    ) {
        let n_items = self.factors.items.len() as u32;
        for (feature, weight) in known {
            features.push(FeatureIdx(n_items + feature.0));
            weights.push(weight);
        }
    }
}

impl FeatureModel for TwoTowerModel {
    fn item_space(&self) -> Option<&FeatureSpace> {
        self.items.as_ref()
    }
    fn user_space(&self) -> Option<&FeatureSpace> {
        self.users.as_ref()
    }
    fn score_described_items(&self, user: UserIdx, items: &[FeatureRow]) -> Result<Vec<f32>> {
        let own = self.factors.users.get(user.at());
        items.iter().map(|row| Ok(dot(own, &self.item_vector(row)?))).collect()
    }
    fn score_described_user(&self, user: &FeatureRow, out: &mut [f32]) -> Result<()> {
        trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?;
        self.factors.items.inner_products(&self.user_vector_with(&[], user)?, out);
        Ok(())
    }
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        _: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?;
        self.factors.items.inner_products(&self.user_vector_with(items, user)?, out);
        Ok(())
    }
}

impl FactorModel for TwoTowerModel {
    const NAME: &'static str = "two towers";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// Through the tower of users, as in training; values do not matter.
    fn user_vector(&self, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        self.user_vector_of(items, [])
    }
    fn next_vector(&self, user: UserIdx, items: &[ItemIdx], _: &[f32]) -> Result<Vec<f32>> {
        self.user_vector_of(items, self.kept.of_user(user))
    }
    fn user_is_known(&self, user: UserIdx, met: bool) -> bool {
        met || self.kept.has_user(user)
    }
    fn item_is_known(&self, item: ItemIdx, met: bool) -> bool {
        met || self.kept.has_item(item)
    }
    fn item_is_read(&self, item: ItemIdx, _: bool) -> bool {
        self.is_input(item)
    }
    /// The mean loss of each epoch.
    fn training_curve(&self) -> &[f64] {
        &self.progress
    }
}

impl Saved for TwoTowerModel {
    /// "two-tower" was without the features of its users.
    const FORMAT: &'static str = "two-tower-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        let size = (self.factors.items.dim(), self.factors.items.len());
        if !self.kept.fits((self.factors.users.len(), size.1), self.users.as_ref(), self.items.as_ref()) {
            return Err("features and what is kept of users and items do not fit".to_owned());
        }
        self.user_tower.check("users", size, self.users.as_ref())?;
        self.item_tower.check("items", size, self.items.as_ref())
    }

    fn as_feature_model(&self) -> Option<&dyn FeatureModel> {
        Some(self)
    }
}
