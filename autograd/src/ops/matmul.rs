//! Products: of matrices, of vectors, and by named axes. With y = a b, the gradient of a is g bᵀ, that of b is aᵀ g.

use cairn_tensor::{Float, Shape, Tensor};

use super::{by, einsum, keep, multiply_adds};
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Products of matrices and by named axes.
    Matmul {
        /// See [`Var::matmul`].
        Matmul = "matmul",
        /// See [`Var::outer`].
        Outer = "outer",
        /// See [`Var::einsum`].
        Einsum {
            /// The names of the axes.
            formula: String,
        } = "einsum",
    }
}

impl Rule for Matmul {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        match self {
            Matmul::Matmul => matmul(x.float(0)?, x.float(1)?, wanted),
            Matmul::Outer => {
                let (a, b) = (x.float(0)?, x.float(1)?);
                wanted.ran(a.outer(b)?, |_, [left, right]| {
                    let (a, b) = (keep(right, a), keep(left, b));
                    move |g| Ok([by(b, |b| g.matmul(&b))?, by(a, |a| a.matmul(g))?])
                })
            }
            Matmul::Einsum { formula } => einsum::run(formula, &x.floats()?, wanted),
        }
    }

    fn flops(&self, operands: &[&[usize]], output: &[usize]) -> u64 {
        match (self, operands) {
            (Matmul::Matmul, [a, _]) => multiply_adds(output.iter().chain(a.last())),
            (Matmul::Einsum { formula }, _) => einsum::flops(formula, operands),
            _ => 0,
        }
    }

    /// A formula may have any number of factors.
    fn backward_flops(&self, operands: &[&[usize]], output: &[usize], wanted: &[bool]) -> u64 {
        let factors = wanted.iter().filter(|wanted| **wanted).count();
        self.flops(operands, output).saturating_mul(factors as u64)
    }
}

fn matmul<T: Float>(left: &Tensor<T>, right: &Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    let value = left.matmul(right)?;
    if !wanted.any() {
        return Ok(Ran { value, backward: None });
    }
    // A vector is a matrix with one row (left) or one column (right).
    let a = if left.rank() == 1 { left.unsqueeze(0)? } else { left.clone() };
    let b = if right.rank() == 1 { right.unsqueeze(1)? } else { right.clone() };
    let mut matrix = a.shape()[..a.rank() - 1].to_vec();
    if b.rank() > 2 {
        let (a_batch, b_batch) = (&a.shape()[..a.rank() - 2], &b.shape()[..b.rank() - 2]);
        matrix = cairn_tensor::broadcast_shapes("matmul", a_batch, b_batch)?.to_vec();
        matrix.push(a.shape()[a.rank() - 2]);
    }
    matrix.push(b.shape()[b.rank() - 1]);
    wanted.ran(value, |_, [of_a, of_b]| {
        let (a_shape, b_shape) = (left.dims().clone(), right.dims().clone());
        let (a_matrix, b_matrix) = (a.dims().clone(), b.dims().clone());
        let (a, b) = (of_b.then_some(a), of_a.then_some(b));
        move |g| {
            let g = g.reshape(matrix.as_slice())?;
            Ok([
                by(b, |b| g.matmul(&b.t()?)?.sum_to(&a_matrix)?.reshape(&a_shape))?,
                by(a, |a| right_gradient(&a, &b_matrix, &g)?.reshape(&b_shape))?,
            ])
        }
    })
}

/// aᵀ g, summed over the batches that share b, which is of the shape `b`.
fn right_gradient<T: Float>(a: &Tensor<T>, b: &Shape, g: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    if b.len() == 2 {
        // One b for the whole batch: the sum over the batch is one product of tall matrices.
        let rows =
            |x: &Tensor<T>| x.reshape([x.shape()[..x.rank() - 1].iter().product(), x.shape()[x.rank() - 1]]);
        return rows(a)?.t()?.matmul(&rows(g)?);
    }
    a.t()?.matmul(g)?.sum_to(b)
}

impl<T: Float> Var<T> {
    /// Matrix product over the last two axes, by the rules of [`Tensor::matmul`].
    ///
    /// # Errors
    /// When the inner sizes differ or batches do not broadcast.
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Matmul::Matmul, &[self.into(), rhs.into()])
    }

    /// Sum of products of two vectors.
    ///
    /// # Errors
    /// Unless both are vectors of one length.
    pub fn dot(&self, rhs: &Self) -> Result<Self> {
        // Checked, and named, by the tensors.
        self.value().dot(rhs.value())?;
        self.matmul(rhs)
    }

    /// All products of an element of one vector with one of the other: a matrix.
    ///
    /// # Errors
    /// Unless both are vectors.
    pub fn outer(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Matmul::Outer, &[self.into(), rhs.into()])
    }

    /// Einstein's summation, by the rules of [`Tensor::einsum`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::Tensor;
    /// let a = Var::parameter(Tensor::<f32>::ones([2, 3])?);
    /// let b = Var::constant(Tensor::<f32>::ones([3, 4])?);
    /// let gradients = Var::einsum("ij,jk->ik", &[&a, &b])?.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&a)?.to_vec(), [4.0; 6]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the formula cannot be read or does not fit the operands.
    pub fn einsum(formula: &str, operands: &[&Self]) -> Result<Self> {
        let operands: Vec<_> = operands.iter().map(|&var| var.into()).collect();
        Var::apply(Matmul::Einsum { formula: formula.to_owned() }, &operands)
    }
}
