//! A sparse matrix times a table of vectors, as an operation with a derivative: the sum of what somebody met, a step along the graph of
//! users and items, the sum of the vectors of somebody's features.
//!
//! Rows of a product are independent, and each is added up in the order of its columns; the derivative is the product with the transposed
//! matrix. So the bits are the same on any number of threads.

use std::sync::Arc;

use cairn_autograd::{Gradient, Result, RowGradient, Var};
use cairn_tensor::Tensor;
use cairn_tensor::kernel::vectorize;
use rayon::prelude::*;

use crate::data::ids::Idx;
use crate::data::sparse::Csr;

/// Rows that one task computes: few, since popular items make some very long.
const ROWS: usize = 16;

/// A sparse matrix in both orders. A clone shares it.
#[derive(Debug)]
pub(crate) struct Sparse<R, C> {
    rows: Arc<Csr<R, C>>,
    columns: Arc<Csr<C, R>>,
}

impl<R, C> Clone for Sparse<R, C> {
    fn clone(&self) -> Self {
        Self { rows: Arc::clone(&self.rows), columns: Arc::clone(&self.columns) }
    }
}

impl<R: Idx, C: Idx> Sparse<R, C> {
    pub(crate) fn new(matrix: Csr<R, C>) -> Self {
        let columns = Arc::new(matrix.transpose());
        Self { rows: Arc::new(matrix), columns }
    }

    /// The same matrix with its rows for columns.
    pub(crate) fn transposed(&self) -> Sparse<C, R> {
        Sparse { rows: Arc::clone(&self.columns), columns: Arc::clone(&self.rows) }
    }

    /// `[rows, dim]` of a table `[columns, dim]`, whose gradient is dense.
    pub(crate) fn times(&self, table: &Var) -> Result<Var> {
        let columns = Arc::clone(&self.columns);
        self.product(table, move |g| {
            let all: Vec<C> = columns.row_indices().collect();
            Ok(Gradient::Dense(product(&columns, &all, g)?))
        })
    }

    /// As [`times`](Self::times), for a table that is a parameter: its gradient has the rows of what the matrix holds alone.
    pub(crate) fn sums(&self, table: &Var) -> Result<Var> {
        let columns = Arc::clone(&self.columns);
        let shape = table.dims().clone();
        self.product(table, move |g| {
            let met: Vec<C> = columns.row_indices().filter(|&c| columns.row_len(c) > 0).collect();
            let numbers: Vec<u32> = met.iter().map(|c| c.to_u32()).collect();
            let values = product(&columns, &met, g)?;
            Ok(Gradient::Rows(RowGradient::from_lookup(shape.clone(), &numbers, &values)?))
        })
    }

    fn product(
        &self,
        table: &Var,
        gradient: impl Fn(&Tensor) -> Result<Gradient> + Send + Sync + 'static,
    ) -> Result<Var> {
        let all: Vec<R> = self.rows.row_indices().collect();
        let value = product(&self.rows, &all, table.value())?;
        Ok(Var::from_op("sparse_product", value, [table], move |g, _| Ok([Some(gradient(g)?)])))
    }
}

/// Some rows of the product of a matrix and a table `[columns, dim]`.
fn product<R: Idx, C: Idx>(matrix: &Csr<R, C>, rows: &[R], table: &Tensor) -> Result<Tensor> {
    let table = table.contiguous()?;
    let dim = table.shape().last().copied().unwrap_or(1);
    let mut out = Tensor::zeros([rows.len(), dim])?.into_vec();
    let vectors = table.as_slice().unwrap_or_default();
    out.par_chunks_mut((ROWS * dim).max(1)).zip(rows.par_chunks(ROWS)).for_each(|(out, rows)| {
        for (sum, &row) in out.chunks_mut(dim).zip(rows) {
            let (columns, values) = matrix.row(row);
            vectorize(
                #[inline(always)]
                || {
                    for (column, &value) in columns.iter().zip(values) {
                        let vector = &vectors[column.at() * dim..(column.at() + 1) * dim];
                        sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += value * x);
                    }
                },
            );
        }
    });
    Ok(Tensor::from_vec(out, [rows.len(), dim])?)
}

#[cfg(test)]
mod tests {
    use cairn_tensor::rng;

    use super::*;
    use crate::data::ids::{ItemIdx, UserIdx};

    /// A row and a column without entries among them.
    fn matrix() -> Csr<UserIdx, ItemIdx> {
        let entries = [(0, 1, 2.0), (0, 3, -1.0), (2, 0, 0.5), (2, 3, 3.0), (3, 3, 1.0)];
        Csr::from_entries(4, 5, entries.map(|(u, i, v)| (UserIdx(u), ItemIdx(i), v))).unwrap()
    }

    fn dense() -> Tensor {
        let mut values = vec![0.0; 20];
        matrix().entries().for_each(|(u, i, v)| values[u.at() * 5 + i.at()] = v);
        Tensor::from_vec(values, [4, 5]).unwrap()
    }

    #[test]
    fn products_and_gradients_are_those_of_the_dense_matrix() {
        let sparse = Sparse::new(matrix());
        let table = Tensor::normal([5, 3], 0.0, 1.0, &mut rng(1)).unwrap();
        let weights = Var::constant(Tensor::normal([4, 3], 0.0, 1.0, &mut rng(2)).unwrap());
        let run = |product: &dyn Fn(&Var) -> Var| {
            let table = Var::parameter(table.clone());
            let product = product(&table);
            let gradients = product.mul(&weights).unwrap().sum(..).unwrap().backward().unwrap();
            (product.value().to_vec(), gradients.get(&table).unwrap().clone())
        };
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        let (want, gradient) = run(&|table| Var::constant(dense()).matmul(table).unwrap());
        let gradient = gradient.to_dense().unwrap().to_vec();
        let (all, all_gradient) = run(&|table| sparse.times(table).unwrap());
        let (some, some_gradient) = run(&|table| sparse.sums(table).unwrap());
        assert!(close(&all, &want) && all == some);
        assert!(close(&all_gradient.to_dense().unwrap().to_vec(), &gradient));
        let Gradient::Rows(rows) = &some_gradient else { panic!("not of rows") };
        assert_eq!(rows.rows(), [0, 1, 3]);
        assert!(close(&rows.to_dense().unwrap().to_vec(), &gradient));
        let back = sparse.transposed().times(&weights).unwrap();
        assert!(close(&back.value().to_vec(), &gradient));
    }
}
