//! RP3beta: random walks item - user - item, popular targets discounted
//! (Paudel, Christoffel, Newell & Bernstein, ACM TiiS 2016).
//!
//! With P the row-normalised matrix in either direction, entries raised to α: W = P(item→user) P(user→item), divided by the
//! target's degree to the β, the best k targets of each item kept.

use crate::data::ids::Idx;
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::Estimator;
use crate::linalg::gram::best_of_product;
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::{Result, check, memory};

/// Settings of RP3beta. Defaults: α = 1, β = 0.6, 100 neighbours, 8 GiB for them. Values are not looked at, only what was met.
#[derive(Debug, Clone, PartialEq)]
pub struct Rp3Beta {
    neighbours: usize,
    alpha: f32,
    beta: f32,
    memory_limit: u64,
}

impl Default for Rp3Beta {
    fn default() -> Self {
        Self { neighbours: 100, alpha: 1.0, beta: 0.6, memory_limit: memory::LIMIT }
    }
}

impl Rp3Beta {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Targets kept for each item.
        neighbours(neighbours: usize);
        /// Exponent of the transition probabilities.
        alpha(alpha: f32);
        /// Exponent of the discount for popular targets; 0 gives P3alpha.
        beta(beta: f32);
        /// Most bytes that the neighbours may take in training.
        memory_limit(bytes: u64);
    }
}

/// Rows of equal probabilities, to the alpha.
fn transitions<R: Idx, C: Idx>(matrix: &Csr<R, C>, alpha: f32) -> Csr<R, C> {
    matrix.map_values(|row, _, _| (1.0 / matrix.row_len(row) as f32).powf(alpha))
}

impl Estimator for Rp3Beta {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        check::at_least_one("neighbours", self.neighbours)?;
        check::not_negative("alpha", self.alpha)?;
        check::not_negative("beta", self.beta)?;
        check::not_empty(matrix)?;
        let transpose = matrix.transpose();
        let needed = memory::of_neighbours(&transpose, matrix, self.neighbours);
        memory::check(|| format!("neighbours of {} items", matrix.n_cols()), needed, self.memory_limit)?;
        let discount: Vec<f32> =
            transpose.row_indices().map(|i| (transpose.row_len(i) as f32).powf(-self.beta)).collect();
        let (there, back) = (transitions(&transpose, self.alpha), transitions(matrix, self.alpha));
        let weights = best_of_product(&there, &back, self.neighbours, |_, j, sum| sum * discount[j.at()]);
        Ok(ItemItemModel {
            kind: ItemItemKind::Rp3Beta,
            n_users: matrix.n_rows(),
            n_items: matrix.n_cols(),
            binary: true,
            weights: Weights::Sparse(weights),
            inverse: None,
        })
    }
}
