//! Vectors for users and items, and scores as their inner products: what all factorisations share.
//!
//! A factorisation is a way to find the vectors. What it is afterwards is the same for all of them, so it says what is its own
//! in [`FactorModel`] and is a [`Recommender`] by that.

use std::fmt::Debug;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::recommender::Recommender;
use crate::{Error, Result, check, memory};

/// A table of vectors, one after another; to faer a column-major matrix with one vector a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    dim: usize,
    data: Vec<f32>,
}

impl Vectors {
    /// `n` vectors of `dim` zeros.
    ///
    /// # Errors
    /// [`Error::Memory`] where the system has none for them.
    pub(crate) fn zeros(n: usize, dim: usize) -> Result<Self> {
        Ok(Self { dim, data: memory::zeros(n, dim)? })
    }

    /// Vectors that were made elsewhere, one after another.
    #[cfg(feature = "neural")]
    pub(crate) fn from_parts(dim: usize, data: Vec<f32>) -> Self {
        debug_assert!(data.len().is_multiple_of(dim.max(1)));
        Self { dim, data }
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// One vector.
    pub fn get(&self, n: usize) -> &[f32] {
        &self.data[n * self.dim..(n + 1) * self.dim]
    }

    /// All vectors, one after another.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// dim x n.
    pub(crate) fn as_mat(&self) -> MatRef<'_, f32> {
        MatRef::from_column_major_slice(&self.data, self.dim, self.len())
    }

    /// Inner products of all vectors with each of `queries` (a query after another): `out` is queries x vectors,
    /// row-major. A single query is waited for: its products are computed by all threads, where there are enough vectors.
    pub(crate) fn inner_products(&self, queries: &[f32], out: &mut [f32]) {
        /// Vectors of a task: half a megabyte of the usual length.
        const VECTORS: usize = 2048;
        let queries = MatRef::from_column_major_slice(queries, self.dim, queries.len() / self.dim);
        let products = |vectors: MatRef<'_, f32>, out: &mut [f32]| {
            let out = MatMut::from_column_major_slice_mut(out, vectors.ncols(), queries.ncols());
            matmul(out, Accum::Replace, vectors.transpose(), queries, 1.0, Par::Seq);
        };
        if queries.ncols() != 1 || self.len() <= VECTORS {
            return products(self.as_mat(), out);
        }
        let parts = self.data.par_chunks(VECTORS * self.dim).zip(out.par_chunks_mut(VECTORS));
        parts.for_each(|(vectors, out)| {
            products(MatRef::from_column_major_slice(vectors, self.dim, out.len()), out);
        });
    }

    /// Cosine of vector `n` with every vector, over the first `dim` entries; 0 where a vector is zero.
    pub(crate) fn cosines(&self, n: usize, dim: usize, out: &mut [f32]) {
        let own = &self.get(n)[..dim];
        let rows = self.as_mat().subrows(0, dim).transpose();
        let products = MatMut::from_column_major_slice_mut(out, self.len(), 1);
        let query = MatRef::from_column_major_slice(own, dim, 1);
        matmul(products, Accum::Replace, rows, query, 1.0, Par::Seq);
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let own = norm(own);
        for (other, out) in out.iter_mut().enumerate() {
            let norms = own * norm(&self.get(other)[..dim]);
            *out = if norms > 0.0 { *out / norms } else { 0.0 };
        }
    }
}

/// One vector for each user and for each item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// User vectors.
    pub users: Vectors,
    /// Item vectors, of the same length.
    pub items: Vectors,
}

impl Factors {
    /// Inner products of all items with each of `users`: `out` is users x items, row-major.
    pub(crate) fn score_users(&self, users: &[UserIdx], out: &mut [f32]) {
        let queries: Vec<f32> = users.iter().flat_map(|user| self.users.get(user.at())).copied().collect();
        self.items.inner_products(&queries, out);
    }

    /// The inner product of one user and one item, by a plain sum.
    pub(crate) fn product(&self, user: UserIdx, item: ItemIdx) -> f32 {
        dot(self.users.get(user.at()), self.items.get(item.at()))
    }

    /// For what comes from a file.
    pub(crate) fn validate(&self) -> std::result::Result<(), String> {
        let whole = |v: &Vectors| v.dim > 0 && v.data.len().is_multiple_of(v.dim);
        if !whole(&self.users) || !whole(&self.items) || self.users.dim != self.items.dim {
            return Err("the vectors are not two tables of one width".to_owned());
        }
        check::finite("the vectors of users", &self.users.data)?;
        check::finite("the vectors of items", &self.items.data)
    }
}

/// A plain sum in the order of the entries.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A trained factorisation: a [`Recommender`] that scores by inner products of vectors, lists without writing all scores out,
/// and finds similar items and users by the cosine of their vectors.
///
/// ```
/// use cairn_recsys::{FactorModel, Factors, ItemIdx, Recommender, Result};
///
/// /// A user is the mean of the items they met.
/// #[derive(Debug)]
/// struct MeanOfItems(Factors);
///
/// impl FactorModel for MeanOfItems {
///     const NAME: &'static str = "mean of items";
///     fn factors(&self) -> &Factors {
///         &self.0
///     }
///     fn user_vector(&self, items: &[ItemIdx], _values: &[f32]) -> Result<Vec<f32>> {
///         let mut sum = vec![0.0; self.0.items.dim()];
///         for item in items {
///             let vector = self.0.items.get(item.0 as usize);
///             sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x / items.len() as f32);
///         }
///         Ok(sum)
///     }
/// }
/// fn is_a_recommender<M: Recommender>() {}
/// is_a_recommender::<MeanOfItems>();
/// ```
pub trait FactorModel: Debug + Send + Sync {
    /// Short name for tables and messages.
    const NAME: &'static str;

    /// Whether the inner products are the scores. Where they are not, [`score`](Self::score) makes scores of them, and there is
    /// no [`inner_product`](Recommender::inner_product) to make lists or an index by.
    const SCORES_ARE_PRODUCTS: bool = true;

    /// The vectors.
    fn factors(&self) -> &Factors;

    /// The vector of a user known only by a history: `items` ascending and distinct, with their `values`.
    ///
    /// # Errors
    /// The model's own, such as values it cannot take.
    fn user_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>>;

    /// The vector of a user of training who by now has met these items, of whom more may be known than that: by default it is not.
    ///
    /// # Errors
    /// Those of [`user_vector`](Self::user_vector).
    fn next_vector(&self, user: UserIdx, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let _ = user;
        self.user_vector(items, values)
    }

    /// As [`Recommender::knows_user`]: by default those who `met` something.
    fn user_is_known(&self, user: UserIdx, met: bool) -> bool {
        let _ = user;
        met
    }

    /// As [`Recommender::knows_item`]: by default those that somebody `met`.
    fn item_is_known(&self, item: ItemIdx, met: bool) -> bool {
        let _ = item;
        met
    }

    /// As [`Recommender::reads_item`]: by default those that are known.
    fn item_is_read(&self, item: ItemIdx, met: bool) -> bool {
        self.item_is_known(item, met)
    }

    /// The score that an inner product stands for: itself, unless [`SCORES_ARE_PRODUCTS`](Self::SCORES_ARE_PRODUCTS) says
    /// otherwise.
    fn score(&self, product: f32) -> f32 {
        product
    }

    /// How many entries of a vector say what is similar; those behind them are biases. All by default.
    fn similarity_dim(&self) -> usize {
        self.factors().items.dim()
    }

    /// As [`Recommender::contributions`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] by default.
    fn explain(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        let _ = (items, values, item);
        Err(Error::Unsupported { model: Self::NAME, operation: "explanations" })
    }

    /// As [`Recommender::progress`]: empty by default.
    fn training_curve(&self) -> &[f64] {
        &[]
    }
}

/// Makes scores of inner products where they are not the same.
fn finish<M: FactorModel>(model: &M, products: &mut [f32]) {
    if !M::SCORES_ARE_PRODUCTS {
        products.iter_mut().for_each(|product| *product = model.score(*product));
    }
}

impl<M: FactorModel> Recommender for M {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn n_users(&self) -> usize {
        self.factors().users.len()
    }
    fn n_items(&self) -> usize {
        self.factors().items.len()
    }
    fn score_users(&self, _: &UserItems, users: &[UserIdx], out: &mut [f32]) -> Result<()> {
        self.factors().score_users(users, out);
        finish(self, out);
        Ok(())
    }
    fn inner_product(&self) -> Option<&Factors> {
        M::SCORES_ARE_PRODUCTS.then(|| self.factors())
    }
    fn knows_user(&self, user: UserIdx, met: bool) -> bool {
        self.user_is_known(user, met)
    }
    fn knows_item(&self, item: ItemIdx, met: bool) -> bool {
        self.item_is_known(item, met)
    }
    fn reads_item(&self, item: ItemIdx, met: bool) -> bool {
        self.item_is_read(item, met)
    }
    fn score_history(&self, _: &UserItems, items: &[ItemIdx], values: &[f32], out: &mut [f32]) -> Result<()> {
        self.factors().items.inner_products(&self.user_vector(items, values)?, out);
        finish(self, out);
        Ok(())
    }
    fn score_next(
        &self,
        _: &UserItems,
        user: UserIdx,
        items: &[ItemIdx],
        values: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        self.factors().items.inner_products(&self.next_vector(user, items, values)?, out);
        finish(self, out);
        Ok(())
    }
    fn fold_in_vector(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        if M::SCORES_ARE_PRODUCTS {
            self.user_vector(items, values)
        } else {
            Err(Error::Unsupported { model: M::NAME, operation: "the vector of a new user" })
        }
    }
    fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) -> Result<()> {
        self.factors().items.cosines(item.at(), self.similarity_dim(), out);
        Ok(())
    }
    fn user_similarity(&self, user: UserIdx, out: &mut [f32]) -> Result<()> {
        self.factors().users.cosines(user.at(), self.similarity_dim(), out);
        Ok(())
    }
    fn contributions(&self, items: &[ItemIdx], values: &[f32], item: ItemIdx) -> Result<Vec<f32>> {
        self.explain(items, values, item)
    }
    fn progress(&self) -> &[f64] {
        self.training_curve()
    }
}
