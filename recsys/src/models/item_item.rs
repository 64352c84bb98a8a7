//! Item-to-item weights: the model that item-kNN, RP3beta, SLIM and EASE all produce.
//!
//! A user's scores are the sum of their items' rows of weights. So one type scores, folds in, explains and saves for all
//! four; they differ in how the weights come about.

use cairn_tensor::kernel::vectorize;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::models::knn::check_history;
use crate::recommender::Recommender;
use crate::serve::file::Saved;

/// Which method the weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ItemItemKind {
    /// Item neighbourhoods.
    ItemKnn,
    /// Random walks of three steps.
    Rp3Beta,
    /// Sparse linear method.
    Slim,
    /// Embarrassingly shallow autoencoder.
    Ease,
    /// Graph filtering.
    GfCf,
}

/// Weights from every item (row) to every item (column).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Weights {
    Sparse(Csr<ItemIdx, ItemIdx>),
    /// Row-major, items x items.
    Dense(Vec<f32>),
}

/// A trained item-to-item model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemItemModel {
    pub(crate) kind: ItemItemKind,
    pub(crate) n_users: usize,
    pub(crate) n_items: usize,
    /// Whether a history counts by its values or only by what is in it.
    pub(crate) binary: bool,
    pub(crate) weights: Weights,
    /// Of EASE, for its update.
    pub(crate) inverse: Option<InverseDiagonal>,
}

/// What the weights of EASE, B = I - P / diag(P), do not say of P.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InverseDiagonal {
    /// λ
    pub(crate) regularization: f64,
    /// diag(P)
    pub(crate) diagonal: Vec<f64>,
}

impl ItemItemModel {
    /// The method.
    pub fn kind(&self) -> ItemItemKind {
        self.kind
    }

    /// The weight from one item to another; 0 where none is stored.
    pub fn weight(&self, from: ItemIdx, to: ItemIdx) -> f32 {
        match &self.weights {
            Weights::Sparse(weights) => weights.get(from, to).unwrap_or(0.0),
            Weights::Dense(weights) => weights[from.at() * self.n_items + to.at()],
        }
    }

    fn strength(&self, value: f32) -> f32 {
        if self.binary { 1.0 } else { value }
    }

    fn add(&self, items: &[ItemIdx], values: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (&item, &value) in items.iter().zip(values) {
            let strength = self.strength(value);
            match &self.weights {
                Weights::Sparse(weights) => {
                    let (columns, weights) = weights.row(item);
                    for (column, &weight) in columns.iter().zip(weights) {
                        out[column.at()] += strength * weight;
                    }
                }
                Weights::Dense(weights) => {
                    let row = &weights[item.at() * self.n_items..(item.at() + 1) * self.n_items];
                    vectorize(
                        #[inline(always)]
                        || out.iter_mut().zip(row).for_each(|(out, &weight)| *out += strength * weight),
                    );
                }
            }
        }
    }
}

impl Recommender for ItemItemModel {
    fn name(&self) -> &'static str {
        match self.kind {
            ItemItemKind::ItemKnn => "ItemKNN",
            ItemItemKind::Rp3Beta => "RP3beta",
            ItemItemKind::Slim => "SLIM",
            ItemItemKind::Ease => "EASE",
            ItemItemKind::GfCf => "GF-CF",
        }
    }
    fn n_users(&self) -> usize {
        self.n_users
    }
    fn n_items(&self) -> usize {
        self.n_items
    }
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (&user, out) in users.iter().zip(out.chunks_mut(self.n_items)) {
            let (items, values) = seen.row(user);
            self.add(items, values, out);
        }
        Ok(())
    }
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        if !self.binary {
            check_history(items, values)?;
        }
        self.add(items, values, out);
        Ok(())
    }
    /// The weights of `item`; items without one are no neighbours.
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        match &self.weights {
            Weights::Sparse(weights) => {
                out.fill(f32::NAN);
                let (columns, weights) = weights.row(item);
                columns.iter().zip(weights).for_each(|(column, &weight)| out[column.at()] = weight);
            }
            Weights::Dense(weights) => {
                out.copy_from_slice(&weights[item.at() * self.n_items..(item.at() + 1) * self.n_items]);
            }
        }
        Ok(())
    }
    fn contributions(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        Ok(items.iter().zip(values).map(|(&from, &v)| self.strength(v) * self.weight(from, item)).collect())
    }
}

impl Saved for ItemItemModel {
    /// "item-item" was without what an update of EASE goes on from.
    const FORMAT: &'static str = "item-item-2";

    fn validate(&self) -> std::result::Result<(), String> {
        let fits = match &self.weights {
            Weights::Sparse(w) => {
                w.is_consistent() && (w.n_rows(), w.n_cols()) == (self.n_items, self.n_items)
            }
            Weights::Dense(w) => {
                self.n_items.checked_mul(self.n_items) == Some(w.len()) && w.iter().all(|w| w.is_finite())
            }
        };
        let diagonal = self.inverse.as_ref().map_or(self.n_items, |inverse| inverse.diagonal.len());
        let fits = fits && diagonal == self.n_items;
        if fits { Ok(()) } else { Err("the weights are not a matrix of items by items".to_owned()) }
    }
}
