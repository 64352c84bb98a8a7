//! PureSVD (Cremonesi, Koren & Turrin, RecSys 2010): the rating matrix with zeros for what is missing, cut to rank k.
//!
//! With A ≈ U S Vᵀ a user's scores are their row of A projected on the item space, r V Vᵀ. So the user model is m = r V,
//! an item is scored by its row of V, and somebody new is folded in exactly as those in the training matrix were.

use serde::{Deserialize, Serialize};

use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::linalg::svd::TruncatedSvd;
use crate::models::factors::{FactorModel, Factors, Vectors, dot};
use crate::serve::file::Saved;
use crate::{Result, check};

/// Settings of PureSVD.
///
/// ```
/// use cairn_recsys::{Estimator, Filter, Interactions, PureSvd};
/// let log = Interactions::from_ratings([("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "milk"), ("bob", "rusk"), ("cy", "nails"), ("cy", "glue")])?;
/// let model = PureSvd::new(2).fit(&log)?;
/// assert_eq!(model.recommend(&"ann", 1, &Filter::unseen())?[0].id, "rusk");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "PureSVD")]
#[derive(Debug, Clone, PartialEq)]
pub struct PureSvd {
    svd: TruncatedSvd,
}

impl Default for PureSvd {
    fn default() -> Self {
        Self::new(50)
    }
}

impl PureSvd {
    /// `factors` singular vectors, to a relative residual of 1e-6, which is far below what a ranking notices.
    #[must_use]
    pub fn new(factors: usize) -> Self {
        Self { svd: TruncatedSvd::new(factors).tolerance(1e-6) }
    }

    /// The decomposition's settings, to change tolerance, solver or seed.
    #[must_use]
    pub fn svd(mut self, change: impl FnOnce(TruncatedSvd) -> TruncatedSvd) -> Self {
        self.svd = change(self.svd);
        self
    }
}

/// A trained PureSVD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PureSvdModel {
    factors: Factors,
    singular_values: Vec<f64>,
}

impl PureSvdModel {
    /// User models m = r V and item vectors, the rows of V.
    pub fn factors(&self) -> &Factors {
        &self.factors
    }

    /// The singular values kept, descending.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }
}

impl Estimator for PureSvd {
    type Model = PureSvdModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<PureSvdModel> {
        matrix.check_values("PureSVD", check::BOUNDED, check::is_bounded)?;
        let svd = self.svd.fit_sparse(matrix)?;
        let k = svd.s.len();
        let mut items = Vectors::zeros(matrix.n_cols(), k)?;
        for (i, vector) in items.as_mut_slice().chunks_mut(k).enumerate() {
            vector.iter_mut().enumerate().for_each(|(j, x)| *x = svd.v[(i, j)] as f32);
        }
        let mut users = Vectors::zeros(matrix.n_rows(), k)?;
        for (user, vector) in matrix.row_indices().zip(users.as_mut_slice().chunks_mut(k)) {
            let (columns, values) = matrix.row(user);
            project(&items, columns, values, vector);
        }
        Ok(PureSvdModel { factors: Factors { users, items }, singular_values: svd.s })
    }
}

/// m = r V.
fn project(items: &Vectors, columns: &[ItemIdx], values: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (item, &value) in columns.iter().zip(values) {
        for (m, &v) in out.iter_mut().zip(items.get(item.at())) {
            *m += value * v;
        }
    }
}

impl FactorModel for PureSvdModel {
    const NAME: &'static str = "PureSVD";

    fn factors(&self) -> &Factors {
        &self.factors
    }
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let mut user = vec![0.0; self.factors.items.dim()];
        project(&self.factors.items, items, values, &mut user);
        Ok(user)
    }
    fn explain(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        let target = self.factors.items.get(item.at());
        let share = |(i, value): (&ItemIdx, &f32)| value * dot(self.factors.items.get(i.at()), target);
        Ok(items.iter().zip(values).map(share).collect())
    }
}

impl Saved for PureSvdModel {
    const FORMAT: &'static str = "pure-svd";

    fn validate(&self) -> std::result::Result<(), String> {
        self.factors.validate()
    }
}
