//! EASE: the linear autoencoder with a zero diagonal, in closed form (Steck, WWW 2019).
//!
//! With P = (XᵀX + λ)⁻¹ the weights are B = I - P / diag(P), column by column. The cost is one Cholesky factorisation and
//! inverse of items x items in double precision; the memory is said before it is taken.

use faer::Mat;
use rayon::prelude::*;

use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::linalg::gram::GramRow;
use crate::linalg::spd_inverse::invert_positive_definite;
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::{Result, check, memory};

/// Settings of EASE. Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::{Ease, Estimator, Filter, Interactions};
/// let log = Interactions::from_ratings([("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "milk"), ("bob", "rusk"), ("cy", "nails"), ("cy", "glue")])?;
/// let model = Ease::new(1.0).fit(&log)?;
/// assert_eq!(model.recommend("ann", 1, &Filter::unseen())?[0].id, "rusk");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias = "EASEr")]
#[derive(Debug, Clone, PartialEq)]
pub struct Ease {
    regularization: f64,
    memory_limit: u64,
}

impl Ease {
    /// With λ, the weight of the squared norms: hundreds for dense logs, more for larger ones.
    #[must_use]
    pub fn new(regularization: f64) -> Self {
        Self { regularization, memory_limit: memory::LIMIT }
    }

    /// Most bytes that training may take; default 8 GiB.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Bytes that training on that many items takes: two double-precision matrices of items x items, of which one is then
    /// replaced by the single-precision weights.
    pub fn memory_needed(n_items: usize) -> u64 {
        memory::of_pairs(n_items, 2 * 8)
    }
}

impl Estimator for Ease {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        check::above_zero("regularization", self.regularization)?;
        check::not_empty(matrix)?;
        let n = matrix.n_cols();
        memory::check(|| format!("EASE on {n} items"), Self::memory_needed(n), self.memory_limit)?;
        let inverse = invert_positive_definite(gram(matrix, self.regularization))?;
        let mut weights = vec![0.0; n * n];
        weights.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            for (j, weight) in row.iter_mut().enumerate() {
                // The inverse is symmetric: read along its columns.
                *weight = if i == j { 0.0 } else { (-inverse[(j, i)] / inverse[(j, j)]) as f32 };
            }
        });
        Ok(ItemItemModel {
            kind: ItemItemKind::Ease,
            n_users: matrix.n_rows(),
            n_items: n,
            binary: true,
            weights: Weights::Dense(weights),
        })
    }
}

/// XᵀX + λ for X of ones. Counts below 2²⁴ are exact in single precision, and so are sums of them.
fn gram(matrix: &UserItems, lambda: f64) -> Mat<f64> {
    let n = matrix.n_cols();
    let ones = matrix.map_values(|_, _, _| 1.0);
    let transpose = ones.transpose();
    let mut gram = Mat::<f64>::zeros(n, n);
    gram.as_mut().par_col_chunks_mut(32).enumerate().for_each(|(chunk, mut columns)| {
        let mut row = GramRow::<ItemIdx>::new(n);
        for j in 0..columns.ncols() {
            let item = chunk * 32 + j;
            row.fill(&transpose, &ones, ItemIdx(item as u32));
            for other in &row.touched {
                columns[(other.at(), j)] = f64::from(row.sums[other.at()]);
            }
            columns[(item, j)] += lambda;
        }
    });
    gram
}
