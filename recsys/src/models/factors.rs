//! Vectors for users and items, and scores as their inner products: what PureSVD, ALS and BPR share.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use serde::{Deserialize, Serialize};

use crate::data::ids::{Index, ItemIdx, UserIdx};

/// A table of vectors, one after another; to faer a column-major matrix with one vector a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vectors {
    dim: usize,
    data: Vec<f32>,
}

impl Vectors {
    /// `n` vectors of `dim` zeros.
    pub(crate) fn zeros(n: usize, dim: usize) -> Self {
        Self { dim, data: vec![0.0; n * dim] }
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
    /// row-major.
    pub(crate) fn inner_products(&self, queries: &[f32], out: &mut [f32]) {
        let n = self.len();
        let queries = MatRef::from_column_major_slice(queries, self.dim, queries.len() / self.dim);
        let out = MatMut::from_column_major_slice_mut(out, n, queries.ncols());
        matmul(out, Accum::Replace, self.as_mat().transpose(), queries, 1.0, Par::Seq);
    }

    /// Cosine of vector `n` with every vector; 0 where a vector is zero.
    pub(crate) fn cosines(&self, n: usize, out: &mut [f32]) {
        self.inner_products(self.get(n), out);
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let own = norm(self.get(n));
        for (other, out) in out.iter_mut().enumerate() {
            let norms = own * norm(self.get(other));
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
    pub(crate) fn score_users(&self, users: &[UserIdx], out: &mut [f32]) {
        let queries: Vec<f32> = users.iter().flat_map(|user| self.users.get(user.at())).copied().collect();
        self.items.inner_products(&queries, out);
    }

    pub(crate) fn item_similarity(&self, item: ItemIdx, out: &mut [f32]) {
        self.items.cosines(item.at(), out);
    }

    pub(crate) fn user_similarity(&self, user: UserIdx, out: &mut [f32]) {
        self.users.cosines(user.at(), out);
    }
}

impl Factors {
    /// For what comes from a file.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let whole = |v: &Vectors| {
            v.dim > 0 && v.data.len().is_multiple_of(v.dim) && v.data.iter().all(|x| x.is_finite())
        };
        if whole(&self.users) && whole(&self.items) && self.users.dim == self.items.dim {
            Ok(())
        } else {
            Err("the vectors are not two tables of one width".to_owned())
        }
    }
}
