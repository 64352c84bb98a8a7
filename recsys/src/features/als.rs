//! ALS with features: what is known of an item or a user is factorised together with who met what.

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::known::{BY_ITEMS, BY_USERS, FeatureModel, Known, feature_setters, trained_with};
use super::space::{FeatureIdx, FeatureMatrix, FeatureSpace};
use super::table::FeatureRow;
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::models::als::{Als, AlsModel};
use crate::models::factors::{FactorModel, Factors, Vectors, dot};
use crate::serve::file::Saved;
use crate::{Error, Result, check};

/// Settings of ALS with features: those of [`Als`], and the features.
///
/// A feature of items is one more user, who met the items that have it; a feature of users is one more item. So the solvers of [`Als`] do
/// all the work, a sweep costs as much more as there are features, and an item that nobody met has the vector that its features give it
/// (collective matrix factorisation, Singh & Gordon, KDD 2008, with the loss of implicit ALS on every part).
///
/// Features are categories: a number has no "met" and "not met", and is to be made a category of its range. One that only items which
/// nobody met have, or only users who met nothing, is left out and says nothing.
///
/// ```
/// use cairn_recsys::features::{FeatureAls, FeatureMatrix, FeatureRow, FeatureTable};
/// use cairn_recsys::{Als, Estimator, Filter, Split, synthetic};
/// let log = synthetic::planted_groups(80, 40, 4, 8, 0.0, 0)?;
/// let table = FeatureTable::new((0..40).map(|item| (item, FeatureRow::new().category("group", &(item % 4).to_string()))))?;
/// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
/// let (train, _) = log.split(Split::cold_items(0.2, 0))?;
/// let model = FeatureAls::new(Als::new().factors(4)).item_features(&features).fit(&train)?;
/// let rows = [FeatureRow::new().category("group", "3"), FeatureRow::new().category("group", "1")];
/// let scores = model.score_new_items(&7, &rows)?;
/// assert!(scores[0] > scores[1]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias("CMF", "collective matrix factorization"))]
pub struct FeatureAls {
    als: Als,
    known: Known,
}

impl FeatureAls {
    /// With these settings of the factorisation, and no features yet.
    #[must_use]
    pub fn new(als: Als) -> Self {
        Self { als, known: Known::default() }
    }

    feature_setters!();

    /// The matrix with a row for each feature of items below, and a column for each of users behind, of those that are `met`.
    fn joined(&self, matrix: &UserItems, met: &Met) -> Result<UserItems> {
        let (n_users, n_items) = (matrix.n_rows() as u32, matrix.n_cols() as u32);
        let mut entries: Vec<(UserIdx, ItemIdx, f32)> = matrix.entries().collect();
        let (mut more_users, mut more_items) = (0, 0);
        if let Some(features) = &self.known.items {
            more_users = features.space().len();
            let rows = features.rows().entries().filter(|(_, feature, _)| met.of_items[feature.at()]);
            entries.extend(rows.map(|(item, feature, _)| (UserIdx(n_users + feature.0), item, 1.0)));
        }
        if let Some(features) = &self.known.users {
            more_items = features.space().len();
            let rows = features.rows().entries().filter(|(_, feature, _)| met.of_users[feature.at()]);
            entries.extend(rows.map(|(user, feature, _)| (user, ItemIdx(n_items + feature.0), 1.0)));
        }
        Csr::from_entries(matrix.n_rows() + more_users, matrix.n_cols() + more_items, entries)
    }
}

/// Which features somebody has who met something, or something that was met: of others a factorisation knows no more than their names.
struct Met {
    of_users: Vec<bool>,
    of_items: Vec<bool>,
    items: Vec<bool>,
}

impl Met {
    fn new(known: &Known, matrix: &UserItems) -> Self {
        let mut items = vec![false; matrix.n_cols()];
        matrix.columns().iter().for_each(|item| items[item.at()] = true);
        let of_users = met_features(known.users.as_ref(), |user| matrix.row_len(user) > 0);
        let of_items = met_features(known.items.as_ref(), |item| items[item.at()]);
        Self { of_users, of_items, items }
    }
}

fn met_features<X: Idx>(features: Option<&FeatureMatrix<X>>, met: impl Fn(X) -> bool) -> Vec<bool> {
    let Some(features) = features else { return Vec::new() };
    let mut found = vec![false; features.space().len()];
    let rows = features.rows().entries().filter(|&(x, ..)| met(x));
    rows.for_each(|(_, feature, _)| found[feature.at()] = true);
    found
}

/// Vectors that are solved for by blocks come near 0 where nothing is known, not to it.
fn forget(vectors: &mut Vectors, known: impl Fn(usize) -> bool) {
    let dim = vectors.dim();
    let rows = vectors.as_mut_slice().chunks_mut(dim.max(1)).enumerate();
    rows.filter(|(at, _)| !known(*at)).for_each(|(_, row)| row.fill(0.0));
}

fn check_categories<X: Idx>(features: &FeatureMatrix<X>, n: usize) -> Result<()> {
    features.check(n)?;
    match features.space().number_column() {
        Some(name) => Err(Error::parameter(
            "features",
            format!("numbers in column `{name}`"),
            "categories alone, of ranges for instance",
        )),
        None => Ok(()),
    }
}

/// A trained ALS with features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureAlsModel {
    factors: Factors,
    /// For the vectors of users: all items, features of users behind them.
    by_items: AlsModel,
    /// For the vectors of items: all users, features of items behind them.
    by_users: AlsModel,
    items: Option<FeatureSpace>,
    users: Option<FeatureSpace>,
    kept: Kept,
}

impl Estimator for FeatureAls {
    type Model = FeatureAlsModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<FeatureAlsModel> {
        check::not_empty(matrix)?;
        self.known.items.as_ref().map_or(Ok(()), |features| check_categories(features, matrix.n_cols()))?;
        self.known.users.as_ref().map_or(Ok(()), |features| check_categories(features, matrix.n_rows()))?;
        let met = Met::new(&self.known, matrix);
        let model = self.als.fit_matrix(&self.joined(matrix, &met)?)?;
        let of_users = |feature: FeatureIdx| met.of_users[feature.at()];
        let kept = Kept::new(&self.known, of_users, |feature| met.of_items[feature.at()]);
        let Factors { mut users, mut items } = model.factors().clone();
        drop(model);
        let (n_users, n_items) = (matrix.n_rows(), matrix.n_cols());
        forget(&mut users, |at| at < n_users || met.of_items[at - n_users]);
        forget(&mut items, |at| match at.checked_sub(n_items) {
            Some(feature) => met.of_users[feature],
            None => met.items[at] || kept.has_item(ItemIdx(at as u32)),
        });
        let first = |vectors: &Vectors, n: usize| -> Result<Vectors> {
            let mut part = Vectors::zeros(n, vectors.dim())?;
            let len = part.as_slice().len();
            part.as_mut_slice().copy_from_slice(&vectors.as_slice()[..len]);
            Ok(part)
        };
        Ok(FeatureAlsModel {
            factors: Factors { users: first(&users, n_users)?, items: first(&items, n_items)? },
            by_items: AlsModel::of_one_side(&self.als, &items)?,
            by_users: AlsModel::of_one_side(&self.als, &users)?,
            items: self.known.items.as_ref().map(|features| features.space().clone()),
            users: self.known.users.as_ref().map(|features| features.space().clone()),
            kept,
        })
    }
}

impl FeatureAlsModel {
    /// The vectors of users and items.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The vector of an item by what is known of it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of items, and those of [`FeatureSpace::encode`].
    pub fn item_vector(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let space = trained_with(Self::NAME, self.items.as_ref(), BY_ITEMS)?;
        let features = space.encode(row)?.into_iter().map(|(feature, _)| feature);
        vector(&self.by_users, self.factors.users.len(), &[], &[], features)
    }

    /// The vector of a user by what is known of them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of users, and those of [`FeatureSpace::encode`].
    pub fn user_vector_of(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        self.described(row, &[], &[])
    }

    /// The vector of a user by what is known of them and what they met.
    fn described(&self, row: &FeatureRow, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let space = trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?;
        let features = space.encode(row)?.into_iter().map(|(feature, _)| feature);
        vector(&self.by_items, self.factors.items.len(), items, values, features)
    }
}

/// The vector of who met some of the `n` first of the other side, with values, and has these features, which stand behind them.
fn vector(
    other: &AlsModel,
    n: usize,
    met: &[ItemIdx],
    values: &[f32],
    features: impl Iterator<Item = FeatureIdx>,
) -> Result<Vec<f32>> {
    check::history(met, values, n)?;
    let all = &other.factors().items;
    // A vector of zeros is of a feature that says nothing.
    let features =
        features.map(|feature| n + feature.at()).filter(|&at| all.get(at).iter().any(|x| *x != 0.0));
    let met: Vec<ItemIdx> = met.iter().copied().chain(features.map(|at| ItemIdx(at as u32))).collect();
    let mut values = values.to_vec();
    values.resize(met.len(), 1.0);
    other.fold_in(&met, &values)
}

impl FeatureModel for FeatureAlsModel {
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
        self.factors.items.inner_products(&self.user_vector_of(user)?, out);
        Ok(())
    }
    fn score_described_history(
        &self,
        user: &FeatureRow,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        self.factors.items.inner_products(&self.described(user, items, values)?, out);
        Ok(())
    }
}

impl FactorModel for FeatureAlsModel {
    const NAME: &'static str = "iALS with features";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    /// That of somebody without features.
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        check::known(items, self.factors.items.len())?;
        self.by_items.fold_in(items, values)
    }
    /// Solved for as in training.
    fn next_vector(&self, user: UserIdx, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let features = self.kept.of_user(user).map(|(feature, _)| feature);
        vector(&self.by_items, self.factors.items.len(), items, values, features)
    }
    fn user_is_known(&self, user: UserIdx, met: bool) -> bool {
        met || self.kept.has_user(user)
    }
    fn item_is_known(&self, item: ItemIdx, met: bool) -> bool {
        met || self.kept.has_item(item)
    }
}

impl Saved for FeatureAlsModel {
    /// "ials-features" was without the features of its users.
    const FORMAT: &'static str = "ials-features-2";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()?;
        self.by_items.validate()?;
        self.by_users.validate()?;
        let fits = |own: &Vectors, all: &AlsModel, space: &Option<FeatureSpace>| {
            let all = &all.factors().items;
            let more = space.as_ref().map_or(0, FeatureSpace::len);
            let numbered = space.as_ref().is_none_or(FeatureSpace::is_consistent);
            numbered && own.dim() == all.dim() && own.len().checked_add(more) == Some(all.len())
        };
        let sizes = (self.factors.users.len(), self.factors.items.len());
        if fits(&self.factors.items, &self.by_items, &self.users)
            && fits(&self.factors.users, &self.by_users, &self.items)
            && self.kept.fits(sizes, self.users.as_ref(), self.items.as_ref())
        {
            Ok(())
        } else {
            Err("vectors and features do not fit".to_owned())
        }
    }

    fn as_feature_model(&self) -> Option<&dyn FeatureModel> {
        Some(self)
    }
}
