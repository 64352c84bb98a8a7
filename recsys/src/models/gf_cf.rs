//! GF-CF: graph filtering in closed form (Shen et al., CIKM 2021).
//!
//! What LightGCN learns by propagating vectors over the graph of users and items is, in the limit, a low-pass filter of a user's row. Here
//! the filter is written down: with R̃ = D_U^-½ R D_I^-½ and V its first right singular vectors the weights between items are
//! R̃ᵀR̃ + α D_I^-½ V Vᵀ D_I^½, a linear filter and an ideal one. There is nothing to train but a truncated SVD.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::linalg::gram::GramRow;
use crate::linalg::svd::TruncatedSvd;
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::{Result, check, memory};

/// Settings of GF-CF. Defaults: 256 singular vectors (all, where there are fewer), α = 0.3, seed 0. Interactions count as ones, whatever
/// their value: leave out those that are dislikes by [`Interactions::at_least`](crate::Interactions::at_least).
///
/// ```
/// use cairn_recsys::{Estimator, Filter, GfCf, Interactions};
/// let log = Interactions::from_ratings([("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "milk"), ("bob", "rusk"), ("cy", "nails"), ("cy", "glue")])?;
/// let model = GfCf::new().fit(&log)?;
/// assert_eq!(model.recommend("ann", 1, &Filter::unseen())?[0].id, "rusk");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[doc(alias("GFCF", "LightGCN", "graph filtering"))]
#[derive(Debug, Clone, PartialEq)]
pub struct GfCf {
    factors: usize,
    alpha: f32,
    seed: u64,
    memory_limit: u64,
}

impl Default for GfCf {
    fn default() -> Self {
        Self { factors: 256, alpha: 0.3, seed: 0, memory_limit: memory::LIMIT }
    }
}

impl GfCf {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Singular vectors of the ideal filter.
        factors(factors: usize);
        /// α, the weight of the ideal filter.
        alpha(alpha: f32);
        /// Seed of the decomposition's start.
        seed(seed: u64);
        /// Most bytes that the weights may take; default 8 GiB.
        memory_limit(bytes: u64);
    }

    /// Bytes that the weights of that many items take.
    pub fn memory_needed(n_items: usize) -> u64 {
        memory::of_pairs(n_items, 4)
    }
}

impl Estimator for GfCf {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        /// Rows of weights of a task.
        const ROWS: usize = 64;
        check::at_least_one("factors", self.factors)?;
        check::weight("alpha", self.alpha)?;
        check::not_empty(matrix)?;
        let n = matrix.n_cols();
        memory::check(|| format!("GF-CF on {n} items"), Self::memory_needed(n), self.memory_limit)?;
        let mut degrees = vec![0.0_f32; n];
        matrix.columns().iter().for_each(|item| degrees[item.at()] += 1.0);
        let normal = matrix
            .map_values(|user, item, _| 1.0 / (matrix.row_len(user) as f32 * degrees[item.at()]).sqrt());
        let transpose = normal.transpose();
        let k = self.factors.min(n).min(matrix.n_rows());
        let svd = TruncatedSvd::new(k).tolerance(1e-6).seed(self.seed).fit_sparse(&normal)?;
        // Rows of D^-½ V and of D^½ V; an item that nobody met has neither.
        let scaled = |power: f32| {
            Mat::<f32>::from_fn(svd.s.len(), n, |j, i| {
                if degrees[i] > 0.0 { degrees[i].powf(power) * svd.v[(i, j)] as f32 } else { 0.0 }
            })
        };
        let (from, to) = (scaled(-0.5), scaled(0.5));
        let mut weights = vec![0.0_f32; n * n];
        weights.par_chunks_mut(n * ROWS).enumerate().for_each(|(chunk, rows)| {
            let count = rows.len() / n;
            let out = faer::MatMut::from_column_major_slice_mut(rows, n, count);
            let own = from.subcols(chunk * ROWS, count);
            matmul(out, Accum::Replace, to.transpose(), own, self.alpha, Par::Seq);
            let mut row = GramRow::<ItemIdx>::new(n);
            for (i, out) in rows.chunks_mut(n).enumerate() {
                row.fill(&transpose, &normal, ItemIdx((chunk * ROWS + i) as u32));
                row.touched.iter().for_each(|j| out[j.at()] += row.sums[j.at()]);
            }
        });
        Ok(ItemItemModel {
            kind: ItemItemKind::GfCf,
            n_users: matrix.n_rows(),
            n_items: n,
            binary: true,
            weights: Weights::Dense(weights),
            inverse: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{UserIdx, synthetic};

    /// The filter of the paper, written out with dense matrices; the projection from the eigenvectors of R̃ᵀR̃.
    #[test]
    fn the_weights_are_the_filter_of_the_paper() {
        let matrix = synthetic::planted_groups(30, 20, 3, 6, 0.2, 5).unwrap().user_items();
        let degree = |i: u32| matrix.columns().iter().filter(|item| item.0 == i).count() as f64;
        let normal = Mat::<f64>::from_fn(30, 20, |u, i| {
            let (user, item) = (UserIdx(u as u32), ItemIdx(i as u32));
            let met = matrix.get(user, item).is_some();
            if met { 1.0 / (matrix.row_len(user) as f64 * degree(i as u32)).sqrt() } else { 0.0 }
        });
        let svd = normal.thin_svd().unwrap();
        let linear = normal.transpose() * &normal;
        let model = GfCf::new().factors(4).alpha(0.7).fit_matrix(&matrix).unwrap();
        for i in 0..20 {
            for j in 0..20 {
                let ideal: f64 = (0..4).map(|k| svd.V()[(i, k)] * svd.V()[(j, k)]).sum();
                let scale = (degree(j as u32) / degree(i as u32)).sqrt();
                let want = linear[(i, j)] + 0.7 * scale * ideal;
                let got = f64::from(model.weight(ItemIdx(i as u32), ItemIdx(j as u32)));
                assert!((got - want).abs() < 1e-4 * (1.0 + want.abs()), "{i} {j}: {got} for {want}");
            }
        }
    }
}
