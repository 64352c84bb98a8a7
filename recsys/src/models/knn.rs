//! Neighbourhoods for ranking: item-kNN and user-kNN with cosine, TF-IDF and BM25 weights.
//!
//! Similarity is the cosine of weighted vectors, shrunk towards zero where few have both: dot / (norms + shrink). TF-IDF
//! and BM25 treat an item as a document and its users as words: a user who met everything says little about any item
//! (as in the `implicit` library, whose defaults K1 = 100, B = 0.8 are kept). Of equally similar neighbours the one whose first
//! row comes first in the log counts.

use cairn_processes::{Alone, Communicator};
use serde::{Deserialize, Serialize};

use crate::by_rank::{by_rank, sum_of};
use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::interactions::Interactions;
use crate::data::sparse::{Csr, ItemUsers, UserItems};
use crate::error::number;
use crate::estimator::{Estimator, fitted};
use crate::linalg::gram::{best_of_product, best_of_rows, from_rows};
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::recommender::Recommender;
use crate::serve::file::Saved;
use crate::serve::fitted::Fitted;
use crate::update::{self, Update};
use crate::{Error, Result, check, memory};

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
        /// Saturation of the value: 0 or more.
        k1: f32,
        /// Strength of the normalisation by an item's popularity: 0 to 1.
        b: f32,
    },
}

impl KnnWeighting {
    /// BM25 with K1 = 100, B = 0.8.
    #[must_use]
    pub fn bm25() -> Self {
        Self::Bm25 { k1: 100.0, b: 0.8 }
    }

    fn check(self) -> Result<()> {
        let Self::Bm25 { k1, b } = self else { return Ok(()) };
        check::weight("k1", k1)?;
        if (0.0..=1.0).contains(&b) { Ok(()) } else { Err(Error::parameter("b", number(b.into()), "0 to 1")) }
    }

    /// What has to be known of a matrix of documents (rows) by words (columns) to weight any row.
    fn learn<R: Idx, C: Idx>(self, documents: &Csr<R, C>) -> Weigher {
        let mut df = vec![0_u32; documents.n_cols()];
        documents.columns().iter().for_each(|word| df[word.at()] += 1);
        let n = documents.n_rows() as f32;
        let total: f64 = documents.values().iter().map(|&v| f64::from(v)).sum();
        Weigher {
            weighting: self,
            idf: df.iter().map(|&df| (n / (1.0 + df as f32)).ln().max(0.0)).collect(),
            average: total as f32 / n,
        }
    }
}

/// A weighting with the counts of the matrix it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Weigher {
    weighting: KnnWeighting,
    idf: Vec<f32>,
    /// Mean sum of a row.
    average: f32,
}

impl Weigher {
    fn row<C: Idx>(&self, words: &[C], values: &[f32]) -> Vec<f32> {
        let length: f32 = values.iter().sum();
        let weight = |(word, &value): (&C, &f32)| match self.weighting {
            KnnWeighting::Cosine => value,
            KnnWeighting::TfIdf => value.max(0.0).sqrt() * self.idf[word.at()],
            // Nothing counts for nothing, also where its length or its weight would be divided by nothing.
            KnnWeighting::Bm25 { .. } if value == 0.0 => 0.0,
            KnnWeighting::Bm25 { k1, b } => {
                let norm = 1.0 - b + b * length / self.average;
                value * (k1 + 1.0) / (k1 * norm + value) * self.idf[word.at()]
            }
        };
        words.iter().zip(values).map(weight).collect()
    }

    fn apply<R: Idx, C: Idx>(&self, documents: &Csr<R, C>) -> Csr<R, C> {
        let rows = documents.row_indices().flat_map(|d| {
            let (words, values) = documents.row(d);
            self.row(words, values)
        });
        let values = rows.collect();
        Csr::from_parts(
            documents.n_cols(),
            documents.offsets().to_vec(),
            documents.columns().to_vec(),
            values,
        )
    }
}

fn norm(values: &[f32]) -> f32 {
    values.iter().map(|v| v * v).sum::<f32>().sqrt()
}

/// dot / (norms + shrink); 0 where nothing can be said.
fn cosine(dot: f32, norms: f32, shrink: f32) -> f32 {
    let scale = norms + shrink;
    if scale > 0.0 { dot / scale } else { 0.0 }
}

fn norms<R: Idx, C: Idx>(matrix: &Csr<R, C>) -> Vec<f32> {
    matrix.row_indices().map(|r| norm(matrix.row(r).1)).collect()
}

fn check_training(neighbours: usize, shrink: f32, weighting: KnnWeighting, matrix: &UserItems) -> Result<()> {
    check::at_least_one("neighbours", neighbours)?;
    check::not_negative("shrink", shrink)?;
    weighting.check()?;
    check::not_empty(matrix)?;
    matrix.check_values("kNN", check::NOT_NEGATIVE, check::is_not_negative)
}

/// As [`check_training`] has it: BM25 and TF-IDF weigh counts.
pub(crate) fn check_history(items: &[ItemIdx], values: &[f32]) -> Result<()> {
    match values.iter().position(|&v| !check::is_not_negative(v)) {
        None => Ok(()),
        Some(at) => Err(check::entry(items, values, at)),
    }
}

macro_rules! knn_settings {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            neighbours: usize,
            shrink: f32,
            weighting: KnnWeighting,
            memory_limit: u64,
        }

        impl $name {
            /// With that many neighbours, plain cosine, no shrinkage, 8 GiB for the neighbours.
            #[must_use]
            pub fn new(neighbours: usize) -> Self {
                let weighting = KnnWeighting::Cosine;
                Self { neighbours, shrink: 0.0, weighting, memory_limit: memory::LIMIT }
            }

            setters! {
                /// Added to the product of the norms.
                shrink(shrink: f32);
                /// Weights of entries.
                weighting(weighting: KnnWeighting);
                /// Most bytes that the neighbours may take in training.
                memory_limit(bytes: u64);
            }
        }
    };
}

knn_settings!(
    #[doc(alias = "ItemItemRecommender")]
    #[doc(alias = "CosineRecommender")]
    #[doc(alias = "BM25Recommender")]
    /// Item-kNN: an item scores by its similarity to the items of the history, of which each knows its nearest ones.
    ItemKnn
);
knn_settings!(
    /// User-kNN: an item scores by what the nearest users did with it.
    UserKnn
);

impl Estimator for ItemKnn {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        self.fit_matrix_on(matrix, &Alone)
    }
}

impl ItemKnn {
    /// As [`fit`](Estimator::fit), together with other processes, which have the same settings and the same log: each finds the neighbours
    /// of some of the items. The model is the same on all, with the same bits at any number of them.
    ///
    /// # Errors
    /// As [`fit`](Estimator::fit), of any process on all of them; [`Error::Processes`] says of which.
    pub fn fit_on<U: Id, I: Id>(
        &self,
        log: &Interactions<U, I>,
        processes: &dyn Communicator,
    ) -> Result<Fitted<ItemItemModel, U, I>> {
        fitted(log, |matrix| self.fit_matrix_on(matrix, processes))
    }

    /// As [`fit_on`](Self::fit_on), on a matrix of users by items.
    ///
    /// # Errors
    /// As there.
    pub fn fit_matrix_on(&self, matrix: &UserItems, processes: &dyn Communicator) -> Result<ItemItemModel> {
        let n = matrix.n_cols();
        let transpose = matrix.transpose();
        let check = || {
            check_training(self.neighbours, self.shrink, self.weighting, matrix)?;
            let needed = memory::of_neighbours(&transpose, matrix, self.neighbours);
            memory::check(|| format!("neighbours of {n} items"), needed, self.memory_limit)
        };
        let facts = || vec![("the settings", format!("{self:?}")), ("the matrix", sum_of(matrix))];
        let rows = by_rank(processes, "item neighbours", facts, check().map(|()| n), 1, |own| {
            let weighted: ItemUsers = self.weighting.learn(&transpose).apply(&transpose);
            let norms = norms(&weighted);
            Ok(best_of_rows(&weighted, &weighted.transpose(), own, self.neighbours, |i, j, dot| {
                cosine(dot, norms[i.at()] * norms[j.at()], self.shrink)
            }))
        })?;
        let weights = from_rows(n, rows);
        Ok(ItemItemModel {
            kind: ItemItemKind::ItemKnn,
            n_users: matrix.n_rows(),
            n_items: matrix.n_cols(),
            binary: false,
            weights: Weights::Sparse(weights),
            inverse: None,
        })
    }
}

impl Update for ItemKnn {
    /// With the plain cosine only the neighbours of items that changed, and of those met together with one, are looked for: the same
    /// bits as a training anew, which it is for the other weightings, as these go by the whole log. The model does not keep its settings:
    /// a model that was trained with others is not refused, and its neighbours would stand beside those by other measures.
    fn update_matrix(
        &self,
        model: &ItemItemModel,
        before: &UserItems,
        after: &UserItems,
    ) -> Result<ItemItemModel> {
        check_training(self.neighbours, self.shrink, self.weighting, after)?;
        update::check_model((model.n_users, model.n_items), before)?;
        let before = update::grown(before, after)?;
        let Weights::Sparse(old) = &model.weights else { return self.fit_matrix(after) };
        if model.kind != ItemItemKind::ItemKnn || self.weighting != KnnWeighting::Cosine {
            return self.fit_matrix(after);
        }
        let rows = after.transpose();
        let needed = memory::of_neighbours(&rows, after, self.neighbours);
        memory::check(|| format!("neighbours of {} items", after.n_cols()), needed, self.memory_limit)?;
        let touched = touched(&before.transpose(), &before, &rows, after);
        let weights = self.updated(old, &rows, after, &touched);
        Ok(ItemItemModel {
            n_users: after.n_rows(),
            n_items: after.n_cols(),
            weights: Weights::Sparse(weights),
            ..model.clone()
        })
    }
}

impl ItemKnn {
    fn updated(
        &self,
        old: &Csr<ItemIdx, ItemIdx>,
        rows: &ItemUsers,
        columns: &UserItems,
        touched: &[bool],
    ) -> Csr<ItemIdx, ItemIdx> {
        let norms = norms(rows);
        update_neighbours(old, rows, columns, touched, self.neighbours, |i, j, dot| {
            cosine(dot, norms[i.at()] * norms[j.at()], self.shrink)
        })
    }
}

impl Update for UserKnn {
    /// As for items: with the plain cosine only the neighbours of users whose rows changed, and of those who met one of their items. A
    /// model of another number of neighbours, shrinkage or weighting is trained anew.
    fn update_matrix(
        &self,
        model: &UserKnnModel,
        before: &UserItems,
        after: &UserItems,
    ) -> Result<UserKnnModel> {
        check_training(self.neighbours, self.shrink, self.weighting, after)?;
        update::check_model((model.norms.len(), model.n_items), before)?;
        let before = update::grown(before, after)?;
        // Old neighbours by one measure beside new ones by another would not compare.
        let settings = (self.neighbours, self.shrink, self.weighting);
        let same = (model.k, model.shrink, model.weigher.weighting) == settings;
        if self.weighting != KnnWeighting::Cosine || !same {
            return self.fit_matrix(after);
        }
        let columns = after.transpose();
        let needed = memory::of_neighbours(after, &columns, self.neighbours);
        memory::check(|| format!("neighbours of {} users", after.n_rows()), needed, self.memory_limit)?;
        let touched = touched(&before, &before.transpose(), after, &columns);
        let norms = norms(after);
        let (old, k) = (&model.neighbours, self.neighbours);
        let neighbours = update_neighbours(old, after, &columns, &touched, k, |u, v, dot| {
            cosine(dot, norms[u.at()] * norms[v.at()], self.shrink)
        });
        let weigher = self.weighting.learn(after);
        Ok(UserKnnModel { neighbours, norms, n_items: after.n_cols(), weigher, ..model.clone() })
    }
}

/// The rows whose similarities may differ: those that changed, and those with a column in common with one, before or after.
fn touched<R: Idx, C: Idx>(
    before: &Csr<R, C>,
    before_columns: &Csr<C, R>,
    after: &Csr<R, C>,
    after_columns: &Csr<C, R>,
) -> Vec<bool> {
    let changed = update::changed(before, after);
    let mut touched = changed.clone();
    for row in after.row_indices().filter(|row| changed[row.at()]) {
        for (rows, columns) in [(before, before_columns), (after, after_columns)] {
            for &column in rows.row(row).0 {
                columns.row(column).0.iter().for_each(|other| touched[other.at()] = true);
            }
        }
    }
    touched
}

/// The old neighbours, and those of the rows that are touched looked for anew.
fn update_neighbours<R: Idx, C: Idx>(
    old: &Csr<R, R>,
    rows: &Csr<R, C>,
    columns: &Csr<C, R>,
    touched: &[bool],
    k: usize,
    score: impl Fn(R, R, f32) -> f32 + Sync,
) -> Csr<R, R> {
    // Rows that are not touched are passed over as rows without entries.
    let of_touched = |row: R| -> Vec<(C, f32)> {
        let (columns, values) = rows.row(row);
        if touched[row.at()] {
            columns.iter().copied().zip(values.iter().copied()).collect()
        } else {
            Vec::new()
        }
    };
    let part: Csr<R, C> = from_rows(rows.n_cols(), rows.row_indices().map(of_touched).collect());
    let new = best_of_product(&part, columns, k, score);
    let row = |row: R| {
        let (columns, values) = if touched[row.at()] { new.row(row) } else { old.row(row) };
        columns.iter().copied().zip(values.iter().copied()).collect()
    };
    from_rows(rows.n_rows(), rows.row_indices().map(row).collect())
}

/// A trained user-kNN: the neighbours of every user, and what a new one is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserKnnModel {
    neighbours: Csr<UserIdx, UserIdx>,
    /// Lengths of the weighted rows. The rows themselves are made again from the training matrix when they are needed.
    norms: Vec<f32>,
    n_items: usize,
    k: usize,
    shrink: f32,
    weigher: Weigher,
}

impl Estimator for UserKnn {
    type Model = UserKnnModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<UserKnnModel> {
        check_training(self.neighbours, self.shrink, self.weighting, matrix)?;
        let transpose = matrix.transpose();
        let needed = memory::of_neighbours(matrix, &transpose, self.neighbours);
        memory::check(|| format!("neighbours of {} users", matrix.n_rows()), needed, self.memory_limit)?;
        drop(transpose);
        let weigher = self.weighting.learn(matrix);
        let weighted = weigher.apply(matrix);
        let norms = norms(&weighted);
        let neighbours = best_of_product(&weighted, &weighted.transpose(), self.neighbours, |u, v, dot| {
            cosine(dot, norms[u.at()] * norms[v.at()], self.shrink)
        });
        Ok(UserKnnModel {
            neighbours,
            norms,
            n_items: matrix.n_cols(),
            k: self.neighbours,
            shrink: self.shrink,
            weigher,
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
    /// A user of the training matrix with the very same history is taken for the same person and is no neighbour.
    fn score_history(
        &self,
        seen: &UserItems,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        check_history(items, values)?;
        let weighted = self.weigher.row(items, values);
        let length = norm(&weighted);
        let mut profile = vec![0.0; self.n_items];
        items.iter().zip(&weighted).for_each(|(i, &v)| profile[i.at()] = v);
        let similarity = |user: UserIdx| {
            let row = seen.row(user);
            if row == (items, values) {
                return f32::NAN;
            }
            let weighted = self.weigher.row(row.0, row.1);
            let dot: f32 = row.0.iter().zip(&weighted).map(|(i, v)| v * profile[i.at()]).sum();
            let similarity = cosine(dot, self.norms[user.at()] * length, self.shrink);
            if similarity > 0.0 { similarity } else { f32::NAN }
        };
        let similarities: Vec<f32> = seen.row_indices().map(similarity).collect();
        let mut best = crate::serve::top_k::top_k(&similarities, self.k);
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

impl Saved for UserKnnModel {
    const FORMAT: &'static str = "user-knn";

    fn validate(&self) -> std::result::Result<(), String> {
        let n = self.norms.len();
        // Only a consistent matrix has a number of rows.
        let square =
            self.neighbours.is_consistent() && (self.neighbours.n_rows(), self.neighbours.n_cols()) == (n, n);
        if !square || self.weigher.idf.len() != self.n_items {
            return Err("neighbours, lengths and weights do not fit".to_owned());
        }
        check::finite("the lengths of users", &self.norms)?;
        check::finite("the weights of items", &self.weigher.idf)
    }
}

#[cfg(test)]
mod tests {
    use cairn_files::container;

    use super::*;

    #[test]
    fn a_matrix_that_has_not_even_a_number_of_rows_is_refused() {
        let log = crate::synthetic::planted_groups(20, 12, 2, 4, 0.1, 0).unwrap();
        let model = UserKnn::new(3).fit(&log).unwrap().model().clone();
        assert!(model.validate().is_ok());
        // No columns, no row starts, no entries.
        let neighbours = container::take(&mut &[0_u8; 4][..]).unwrap();
        let broken = UserKnnModel { neighbours, ..model };
        assert!(broken.validate().is_err());
    }
}
