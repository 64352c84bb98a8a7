//! ALS with features: what is known of an item or a user is factorised together with who met what.

use serde::{Deserialize, Serialize};

use super::known::{BY_ITEMS, BY_USERS, FeatureModel, Known, feature_setters, trained_with};
use super::space::{FeatureMatrix, FeatureSpace};
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
/// Features are categories: a number has no "met" and "not met", and is to be made a category of its range.
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

    /// The matrix with a row for each feature of items below, and a column for each of users behind.
    fn joined(&self, matrix: &UserItems) -> Result<UserItems> {
        let (n_users, n_items) = (matrix.n_rows() as u32, matrix.n_cols() as u32);
        let mut entries: Vec<(UserIdx, ItemIdx, f32)> = matrix.entries().collect();
        let (mut more_users, mut more_items) = (0, 0);
        if let Some(features) = &self.known.items {
            check_categories(features, matrix.n_cols())?;
            more_users = features.space().len();
            let rows = features.rows().entries();
            entries.extend(rows.map(|(item, feature, _)| (UserIdx(n_users + feature.0), item, 1.0)));
        }
        if let Some(features) = &self.known.users {
            check_categories(features, matrix.n_rows())?;
            more_items = features.space().len();
            let rows = features.rows().entries();
            entries.extend(rows.map(|(user, feature, _)| (user, ItemIdx(n_items + feature.0), 1.0)));
        }
        Csr::from_entries(matrix.n_rows() + more_users, matrix.n_cols() + more_items, entries)
    }
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
}

impl Estimator for FeatureAls {
    type Model = FeatureAlsModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<FeatureAlsModel> {
        check::not_empty(matrix)?;
        let model = self.als.fit_matrix(&self.joined(matrix)?)?;
        let Factors { users, items } = model.factors();
        let first = |vectors: &Vectors, n: usize| -> Result<Vectors> {
            let mut part = Vectors::zeros(n, vectors.dim())?;
            let len = part.as_slice().len();
            part.as_mut_slice().copy_from_slice(&vectors.as_slice()[..len]);
            Ok(part)
        };
        Ok(FeatureAlsModel {
            factors: Factors { users: first(users, matrix.n_rows())?, items: first(items, matrix.n_cols())? },
            by_items: AlsModel::of_one_side(&self.als, items)?,
            by_users: AlsModel::of_one_side(&self.als, users)?,
            items: self.known.items.as_ref().map(|features| features.space().clone()),
            users: self.known.users.as_ref().map(|features| features.space().clone()),
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
        vector(&self.by_users, space, self.factors.users.len(), row)
    }

    /// The vector of a user by what is known of them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without features of users, and those of [`FeatureSpace::encode`].
    pub fn user_vector_of(&self, row: &FeatureRow) -> Result<Vec<f32>> {
        let space = trained_with(Self::NAME, self.users.as_ref(), BY_USERS)?;
        vector(&self.by_items, space, self.factors.items.len(), row)
    }
}

/// The vector of who has these features, which stand behind the `n` first of the other side.
fn vector(other: &AlsModel, space: &FeatureSpace, n: usize, row: &FeatureRow) -> Result<Vec<f32>> {
    let features: Vec<ItemIdx> =
        space.encode(row)?.into_iter().map(|(feature, _)| ItemIdx(n as u32 + feature.0)).collect();
    other.fold_in(&features, &vec![1.0; features.len()])
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
}

impl Saved for FeatureAlsModel {
    const FORMAT: &'static str = "ials-features";

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
        if fits(&self.factors.items, &self.by_items, &self.users)
            && fits(&self.factors.users, &self.by_users, &self.items)
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
