//! Neighbourhoods for ranking: item-kNN and user-kNN with cosine, TF-IDF and BM25 weights.
//!
//! Similarity is the cosine of weighted vectors, shrunk towards zero where few have both: dot / (norms + shrink). TF-IDF
//! and BM25 treat an item as a document and its users as words: a user who met everything says little about any item
//! (as in the `implicit` library, whose defaults K1 = 100, B = 0.8 are kept).

use serde::{Deserialize, Serialize};

use crate::ids::{Index, ItemIdx, UserIdx};
use crate::linalg::gram::best_of_product;
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::recommender::{Fit, Recommender};
use crate::sparse::{Csr, ItemUsers, UserItems};
use crate::{Error, Result};

/// How entries are weighted before the cosine.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KnnWeighting {
    /// As they are. The default.
    #[default]
    Cosine,
    /// sqrt(value) ln(N / (1 + n)) for N items, of which the user met n.
    TfIdf,
    /// Okapi BM25.
    Bm25 {
        /// Saturation of the value.
        k1: f32,
        /// Strength of the normalisation by an item's popularity.
        b: f32,
    },
}

impl KnnWeighting {
    /// BM25 with K1 = 100, B = 0.8.
    #[must_use]
    pub fn bm25() -> Self {
        Self::Bm25 { k1: 100.0, b: 0.8 }
    }

    /// Weights of a matrix of documents (rows) by words (columns).
    fn apply<R: Index, C: Index>(self, documents: &Csr<R, C>) -> Csr<R, C> {
        let mut df = vec![0_u32; documents.n_cols()];
        documents.columns().iter().for_each(|word| df[word.at()] += 1);
        let n = documents.n_rows() as f32;
        let idf = |word: C| (n / (1.0 + df[word.at()] as f32)).ln().max(0.0);
        match self {
            Self::Cosine => documents.clone(),
            Self::TfIdf => documents.map_values(|_, word, value| value.max(0.0).sqrt() * idf(word)),
            Self::Bm25 { k1, b } => {
                let length = |d: R| documents.row(d).1.iter().sum::<f32>();
                let average = documents.values().iter().map(|&v| f64::from(v)).sum::<f64>() as f32 / n;
                let lengths: Vec<f32> = documents.row_indices().map(length).collect();
                documents.map_values(|d, word, value| {
                    let norm = 1.0 - b + b * lengths[d.at()] / average;
                    value * (k1 + 1.0) / (k1 * norm + value) * idf(word)
                })
            }
        }
    }
}

fn norms<R: Index, C: Index>(matrix: &Csr<R, C>) -> Vec<f32> {
    let norm = |r| matrix.row(r).1.iter().map(|v| v * v).sum::<f32>().sqrt();
    matrix.row_indices().map(norm).collect()
}

fn check(neighbours: usize, shrink: f32, matrix: &UserItems) -> Result<()> {
    if neighbours == 0 {
        return Err(Error::parameter("neighbours", 0, "at least 1"));
    }
    if !(shrink >= 0.0 && shrink.is_finite()) {
        return Err(Error::parameter("shrink", shrink, "0 or more"));
    }
    if matrix.nnz() == 0 {
        return Err(Error::Empty { what: "the training matrix" });
    }
    matrix.check_values("kNN", "finite and not negative", |v| v.is_finite() && v >= 0.0)
}

macro_rules! knn_settings {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            neighbours: usize,
            shrink: f32,
            weighting: KnnWeighting,
        }

        impl $name {
            /// With that many neighbours, plain cosine, no shrinkage.
            #[must_use]
            pub fn new(neighbours: usize) -> Self {
                Self { neighbours, shrink: 0.0, weighting: KnnWeighting::Cosine }
            }

            /// Added to the product of the norms.
            #[must_use]
            pub fn shrink(mut self, shrink: f32) -> Self {
                self.shrink = shrink;
                self
            }

            /// Weights of entries.
            #[must_use]
            pub fn weighting(mut self, weighting: KnnWeighting) -> Self {
                self.weighting = weighting;
                self
            }
        }
    };
}

knn_settings!(
    /// Item-kNN: an item scores by its similarity to the items of the history, of which each knows its nearest ones.
    ItemKnn
);
knn_settings!(
    /// User-kNN: an item scores by what the nearest users did with it.
    UserKnn
);

impl Fit for ItemKnn {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        check(self.neighbours, self.shrink, matrix)?;
        let weighted: ItemUsers = self.weighting.apply(&matrix.transpose());
        let norms = norms(&weighted);
        let weights = best_of_product(&weighted, &weighted.transpose(), self.neighbours, |i, j, dot| {
            dot / (norms[i.at()] * norms[j.at()] + self.shrink)
        });
        Ok(ItemItemModel {
            kind: ItemItemKind::ItemKnn,
            n_users: matrix.n_rows(),
            n_items: matrix.n_cols(),
            binary: false,
            weights: Weights::Sparse(weights),
        })
    }
}

/// A trained user-kNN: the neighbours of every user, and what a new one is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserKnnModel {
    neighbours: Csr<UserIdx, UserIdx>,
    /// Weighted rows divided by their norms are not stored: the weights of columns and the norms are, which is far less.
    norms: Vec<f32>,
    n_items: usize,
    k: usize,
    shrink: f32,
    weighting: KnnWeighting,
}

impl Fit for UserKnn {
    type Model = UserKnnModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<UserKnnModel> {
        check(self.neighbours, self.shrink, matrix)?;
        let weighted = self.weighting.apply(matrix);
        let norms = norms(&weighted);
        let neighbours = best_of_product(&weighted, &weighted.transpose(), self.neighbours, |u, v, dot| {
            dot / (norms[u.at()] * norms[v.at()] + self.shrink)
        });
        Ok(UserKnnModel {
            neighbours,
            norms,
            n_items: matrix.n_cols(),
            k: self.neighbours,
            shrink: self.shrink,
            weighting: self.weighting,
        })
    }
}

impl UserKnnModel {
    fn add(seen: &UserItems, users: &[UserIdx], similarities: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (&user, &similarity) in users.iter().zip(similarities) {
            let (items, values) = seen.row(user);
            for (item, &value) in items.iter().zip(values) {
                out[item.at()] += similarity * value;
            }
        }
    }

    /// Nearest users of the training matrix, and how near.
    pub fn neighbours(&self, user: UserIdx) -> (&[UserIdx], &[f32]) {
        self.neighbours.row(user)
    }
}

impl Recommender for UserKnnModel {
    fn name(&self) -> &'static str {
        "UserKNN"
    }
    fn n_users(&self) -> usize {
        self.norms.len()
    }
    fn n_items(&self) -> usize {
        self.n_items
    }
    fn score_users(&self, seen: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        for (&user, out) in users.iter().zip(out.chunks_mut(self.n_items)) {
            let (users, similarities) = self.neighbours.row(user);
            Self::add(seen, users, similarities, out);
        }
        Ok(())
    }
    /// Somebody who is in the training matrix with the very same history finds themselves among their neighbours, so here
    /// fold-in agrees with training but for that one neighbour.
    fn score_history(
        &self,
        seen: &UserItems,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        // The newcomer is weighted as one more row of the matrix.
        let mut rows: Vec<(UserIdx, ItemIdx, f32)> = seen.entries().collect();
        let new = UserIdx(seen.n_rows() as u32);
        rows.extend(items.iter().zip(values).map(|(&i, &v)| (new, i, v)));
        let weighted = self.weighting.apply(&Csr::from_entries(seen.n_rows() + 1, seen.n_cols(), rows)?);
        let norms = norms(&weighted);
        let mut profile = vec![0.0; self.n_items];
        let (columns, values) = weighted.row(new);
        columns.iter().zip(values).for_each(|(i, &v)| profile[i.at()] = v);
        let similarity = |user: UserIdx| {
            let (items, values) = weighted.row(user);
            let dot: f32 = items.iter().zip(values).map(|(i, v)| v * profile[i.at()]).sum();
            let similarity = dot / (norms[user.at()] * norms[new.at()] + self.shrink);
            if similarity > 0.0 { similarity } else { f32::NAN }
        };
        let similarities: Vec<f32> = seen.row_indices().map(similarity).collect();
        let mut best = crate::top_k::top_k(&similarities, self.k);
        best.sort_unstable_by_key(|e| e.item);
        let (users, near): (Vec<_>, Vec<_>) = best.iter().map(|e| (UserIdx(e.item.0), e.score)).unzip();
        Self::add(seen, &users, &near, out);
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        out.fill(f32::NAN);
        let (users, similarities) = self.neighbours.row(user);
        users.iter().zip(similarities).for_each(|(u, &s)| out[u.at()] = s);
        Ok(())
    }
}
