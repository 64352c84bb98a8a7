//! Matrix products of tensors, by NumPy's rules for batches and vectors.

use crate::cpu::matmul::{Mat, batched};
use crate::cpu::nest::Nest;
use crate::layout::Layout;
use crate::shape::broadcast_shapes;
use crate::{Error, Float, Result, Shape, Tensor};

impl<T: Float> Tensor<T> {
    /// Matrix product over the last two axes: `[…, m, k]` by `[…, k, n]` gives `[…, m, n]`.
    ///
    /// Leading axes are batches and broadcast. An operand of rank 1 is a row on the left, a column on the right, and its
    /// axis is dropped from the result. Strided operands, transposes above all, are not copied.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let batch = Tensor::<f32>::ones([8, 2, 3])?;
    /// let weights = Tensor::<f32>::ones([3, 4])?;
    /// let y = batch.matmul(&weights)?;
    /// assert_eq!(y.shape(), [8, 2, 4]);
    /// assert_eq!(y.get(&[7, 1, 3])?, 3.0);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the inner sizes differ or batches do not broadcast, [`Error::BadShape`] for a
    /// scalar.
    #[doc(alias("mm", "bmm", "dot"))]
    pub fn matmul(&self, rhs: &Self) -> Result<Self> {
        let op = "matmul";
        for operand in [self, rhs] {
            if operand.rank() == 0 {
                return Err(Error::bad_shape(
                    op,
                    operand.shape(),
                    "a scalar is not a matrix; multiply with *",
                ));
            }
        }
        let a = if self.rank() == 1 { self.layout().insert_axis(0) } else { self.layout().clone() };
        let b = if rhs.rank() == 1 { rhs.layout().insert_axis(1) } else { rhs.layout().clone() };
        let (a_batch, [m, k]) = split(&a);
        let (b_batch, [inner, n]) = split(&b);
        if k != inner {
            let why = "the last axis of the left must be as long as the last but one of the right";
            return Err(Error::mismatch(op, self.shape(), rhs.shape(), why));
        }
        let batch = broadcast_shapes(op, &a_batch.shape, &b_batch.shape)
            .map_err(|_| Error::mismatch(op, self.shape(), rhs.shape(), "batch axes must be equal or 1"))?;
        let mut shape = batch.clone();
        if self.rank() > 1 {
            shape.push(m);
        }
        if rhs.rank() > 1 {
            shape.push(n);
        }
        let (a_mat, b_mat) = (mat(self, &a), mat(rhs, &b));
        if let Some(row_step) = folded_rows(&a, &b_batch) {
            // One right operand for all: the batch is more rows of the left.
            let rows = batch.count().saturating_mul(m);
            let a_mat = Mat { row_step, ..a_mat };
            return Self::build(shape, |out| (T::kernels().gemm)((rows, k, n), a_mat, b_mat, out, false));
        }
        let a_batch = a_batch.broadcast_to(op, &batch)?;
        let b_batch = b_batch.broadcast_to(op, &batch)?;
        let nest = Nest::new([&a_batch, &b_batch]);
        let operands = |i: usize| {
            let (row, column) = (i / nest.row_len(), (i % nest.row_len()) as isize);
            let starts = nest.rows_from(row).advance();
            let [x, y] = nest.row_steps();
            (
                Mat { offset: starts[0].wrapping_add_signed(column * x), ..a_mat },
                Mat { offset: starts[1].wrapping_add_signed(column * y), ..b_mat },
            )
        };
        Self::build(shape, |out| batched((m, k, n), operands, out))
    }

    /// `out += lhs · rhs` into a contiguous matrix: how gradients are accumulated without a temporary.
    ///
    /// # Errors
    /// As [`matmul`](Self::matmul); all three must be of rank 2 with fitting sizes.
    pub fn add_matmul(&mut self, lhs: &Self, rhs: &Self) -> Result<()> {
        let op = "add_matmul";
        let (&[m, k], &[inner, n]) = (lhs.shape(), rhs.shape()) else {
            return Err(Error::mismatch(op, lhs.shape(), rhs.shape(), "both must be matrices"));
        };
        if k != inner || self.shape() != [m, n] {
            return Err(Error::mismatch(
                op,
                lhs.shape(),
                rhs.shape(),
                "inner sizes and the output must agree",
            ));
        }
        let (a, b) = (mat(lhs, lhs.layout()), mat(rhs, rhs.layout()));
        (T::kernels().gemm)((m, k, n), a, b, self.as_mut_slice()?, true);
        Ok(())
    }
}

/// The batch axes of a layout, and its last two sizes.
fn split(layout: &Layout) -> (Layout, [usize; 2]) {
    let batch = layout.shape.rank() - 2;
    let leading = Layout {
        shape: Shape::from(&layout.shape[..batch]),
        strides: layout.strides[..batch].into(),
        offset: layout.offset,
    };
    (leading, [layout.shape[batch], layout.shape[batch + 1]])
}

/// The matrix that a layout's last two axes walk over.
fn mat<'a, T: Float>(tensor: &'a Tensor<T>, layout: &Layout) -> Mat<'a, T> {
    let last = layout.shape.rank() - 1;
    Mat {
        data: tensor.storage(),
        offset: layout.offset,
        row_step: layout.strides[last - 1],
        column_step: layout.strides[last],
    }
}

/// The row step with which all matrices of `a` are one tall matrix, if the right operand has no batch of its own.
fn folded_rows(a: &Layout, b_batch: &Layout) -> Option<isize> {
    let rows = a.shape.rank() - 1;
    if b_batch.shape.iter().any(|&size| size != 1) || b_batch.shape.rank() + 1 > rows {
        return None;
    }
    // Sizes of 1 are stepped over; the others must continue one into the next.
    let mut step = None;
    let mut span = 0;
    for (&size, &stride) in a.shape[..rows].iter().zip(&a.strides).rev() {
        if size == 1 {
            continue;
        }
        match step {
            None => step = Some(stride),
            Some(_) if stride != span => return None,
            Some(_) => {}
        }
        span = stride.saturating_mul(size as isize);
    }
    Some(step.unwrap_or(1))
}
