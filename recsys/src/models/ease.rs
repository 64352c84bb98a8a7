//! EASE: the linear autoencoder with a zero diagonal, in closed form (Steck, WWW 2019).

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rayon::prelude::*;

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::estimator::Estimator;
use crate::linalg::gram::GramRow;
use crate::linalg::spd_inverse::invert_positive_definite;
use crate::models::item_item::{InverseDiagonal, ItemItemKind, ItemItemModel, Weights};
use crate::update::{self, Update};
use crate::{Error, Result, check, memory};

/// Settings of EASE. Interactions count as ones, whatever their value: leave out those that are dislikes by
/// [`Interactions::at_least`](crate::Interactions::at_least).
///
/// A score is the sum of the weights from what a user met to the item. With P = (XᵀX + λ)⁻¹ the weights are B = I - P / diag(P), column by
/// column. The cost is one Cholesky factorisation and inverse of items x items in double precision, whose memory is said before it is
/// taken.
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
        Ok(self.model(matrix.n_rows(), &inverse))
    }
}

impl Ease {
    /// The weights that the inverse of the Gram matrix gives.
    fn model(&self, n_users: usize, inverse: &Mat<f64>) -> ItemItemModel {
        let n = inverse.nrows();
        let mut weights = vec![0.0; n * n];
        weights.par_chunks_mut(n).enumerate().for_each(|(i, row)| {
            for (j, weight) in row.iter_mut().enumerate() {
                // The inverse is symmetric: read along its columns.
                *weight = if i == j { 0.0 } else { (-inverse[(j, i)] / inverse[(j, j)]) as f32 };
            }
        });
        let diagonal = (0..n).map(|i| inverse[(i, i)]).collect();
        ItemItemModel {
            kind: ItemItemKind::Ease,
            n_users,
            n_items: n,
            binary: true,
            weights: Weights::Dense(weights),
            inverse: Some(InverseDiagonal { regularization: self.regularization, diagonal }),
        }
    }
}

impl Update for Ease {
    /// By Woodbury's identity: rows of users that changed are added to the Gram matrix and their old ones taken away, which changes its
    /// inverse by a product as wide as there are such users. Where they are more than a quarter of the items a training anew is
    /// cheaper, and is done. The inverse is known to the single precision of the weights: so are the new ones, to 1e-3 of the
    /// largest.
    fn update_matrix(
        &self,
        model: &ItemItemModel,
        before: &UserItems,
        after: &UserItems,
    ) -> Result<ItemItemModel> {
        check::above_zero("regularization", self.regularization)?;
        check::not_empty(after)?;
        update::check_model((model.n_users, model.n_items), before)?;
        let (old_n, n) = (model.n_items, after.n_cols());
        let before = update::grown(before, after)?;
        let (Weights::Dense(weights), Some(inverse)) = (&model.weights, &model.inverse) else {
            return self.fit_matrix(after);
        };
        if inverse.regularization != self.regularization {
            let trained = format!("{}, as the model was trained with", inverse.regularization);
            return Err(Error::parameter("regularization", self.regularization, trained));
        }
        memory::check(|| format!("EASE on {n} items"), Self::memory_needed(n), self.memory_limit)?;
        let differs = |user: &UserIdx| before.row(*user).0 != after.row(*user).0;
        let users: Vec<UserIdx> = after.row_indices().filter(differs).collect();
        if users.len() > n / 4 {
            return self.fit_matrix(after);
        }
        // P of the old model, whose new items met nobody: 1 / λ on the diagonal.
        let mut p = Mat::from_fn(n, n, |i, j| match (i == j, i.max(j) < old_n) {
            (true, true) => inverse.diagonal[i],
            (true, false) => 1.0 / self.regularization,
            (false, true) => -f64::from(weights[i * old_n + j]) * inverse.diagonal[j],
            (false, false) => 0.0,
        });
        let rows = |matrix: &UserItems| -> Vec<Vec<ItemIdx>> {
            let rows = users.iter().map(|&user| matrix.row(user).0.to_vec());
            rows.filter(|row| !row.is_empty()).collect()
        };
        shift(&mut p, &rows(after), 1.0)?;
        shift(&mut p, &rows(&before), -1.0)?;
        Ok(self.model(after.n_rows(), &p))
    }
}

/// Makes P = G⁻¹ the inverse of G ± Σ x xᵀ over rows x of ones: P ∓ P X (I ± Xᵀ P X)⁻¹ Xᵀ P, in fixed parts whatever the number
/// of threads.
fn shift(p: &mut Mat<f64>, rows: &[Vec<ItemIdx>], sign: f64) -> Result<()> {
    const COLUMNS: usize = 64;
    let (n, r) = (p.nrows(), rows.len());
    if r == 0 {
        return Ok(());
    }
    let mut px = Mat::<f64>::zeros(n, r);
    px.as_mut().par_col_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, mut columns)| {
        for c in 0..columns.ncols() {
            for item in &rows[chunk * COLUMNS + c] {
                for i in 0..n {
                    columns[(i, c)] += p[(i, item.at())];
                }
            }
        }
    });
    let inner = |a: usize, b: usize| rows[a].iter().map(|item| px[(item.at(), b)]).sum::<f64>();
    let core = Mat::from_fn(r, r, |a, b| f64::from(u8::from(a == b)) + sign * inner(a.max(b), a.min(b)));
    let core = invert_positive_definite(core)?;
    p.as_mut().par_col_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, mut columns)| {
        let width = columns.ncols();
        let across = px.subrows(chunk * COLUMNS, width);
        let mut part = Mat::<f64>::zeros(r, width);
        matmul(part.as_mut(), Accum::Replace, core.as_ref(), across.transpose(), 1.0, Par::Seq);
        matmul(columns.as_mut(), Accum::Add, px.as_ref(), part.as_ref(), -sign, Par::Seq);
    });
    Ok(())
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
