//! Matrix products. With y = a b: the gradient of a is g bᵀ, that of b is aᵀ g.

use cairn_tensor::{Float, Tensor};

use super::when;
use crate::{Result, Var};

impl<T: Float> Var<T> {
    /// Matrix product over the last two axes, by the rules of [`Tensor::matmul`].
    ///
    /// # Errors
    /// When the inner sizes differ or batches do not broadcast.
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        let value = self.value().matmul(rhs.value())?;
        // A vector is a matrix with one row (left) or one column (right).
        let a = if self.shape().len() == 1 { self.value().unsqueeze(0)? } else { self.value().clone() };
        let b = if rhs.shape().len() == 1 { rhs.value().unsqueeze(1)? } else { rhs.value().clone() };
        let mut matrix = a.shape()[..a.rank() - 1].to_vec();
        if b.rank() > 2 {
            matrix = cairn_tensor::broadcast_shapes(
                "matmul",
                &a.shape()[..a.rank() - 2],
                &b.shape()[..b.rank() - 2],
            )?
            .to_vec();
            matrix.push(a.shape()[a.rank() - 2]);
        }
        matrix.push(b.shape()[b.rank() - 1]);
        let (a_shape, b_shape) = (self.dims().clone(), rhs.dims().clone());
        Ok(Var::from_op("matmul", value, [self, rhs], move |g, [left, right]| {
            let g = g.reshape(matrix.as_slice())?;
            Ok([
                when(left, || g.matmul(&b.t()?)?.sum_to(a.dims())?.reshape(&a_shape))?,
                when(right, || right_gradient(&a, &b, &g)?.reshape(&b_shape))?,
            ])
        }))
    }
}

/// aᵀ g, summed over the batches that share `b`.
fn right_gradient<T: Float>(a: &Tensor<T>, b: &Tensor<T>, g: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    if b.rank() == 2 {
        // One b for the whole batch: the sum over the batch is one product of tall matrices.
        let rows =
            |x: &Tensor<T>| x.reshape([x.shape()[..x.rank() - 1].iter().product(), x.shape()[x.rank() - 1]]);
        return rows(a)?.t()?.matmul(&rows(g)?);
    }
    a.t()?.matmul(g)?.sum_to(b.dims())
}
