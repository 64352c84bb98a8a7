//! A dense layer in one operation, and its parts: `activation(x w + b)`.
//!
//! Bias and activation are applied to the product's sums before they are written, or, where those are too few for that, the bias is
//! laid down first, and the activation applied in place.

use crate::cpu::linear::relu_in_place;
use crate::cpu::matmul::Mat;
use crate::{Error, Float, Result, Tensor};

impl<T: Float> Tensor<T> {
    /// `x w + b` for `x` of shape `[…, inputs]`, `weight` `[inputs, outputs]` and, if given, `bias` `[outputs]`, followed
    /// by max(·, 0) when `relu` is set.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the sizes do not fit together.
    #[doc(alias = "dense")]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>, relu: bool) -> Result<Self> {
        let op = "linear";
        let (Some((&inputs, rows)), &[fan_in, outputs]) = (self.shape().split_last(), weight.shape()) else {
            return Err(Error::mismatch(
                op,
                self.shape(),
                weight.shape(),
                "input […, n] and weight [n, m] are needed",
            ));
        };
        if inputs != fan_in {
            let why = "the input's last axis must be as long as the weight's first";
            return Err(Error::mismatch(op, self.shape(), weight.shape(), why));
        }
        let bias = match bias {
            Some(bias) if bias.shape() != [outputs] => {
                return Err(Error::mismatch(
                    op,
                    weight.shape(),
                    bias.shape(),
                    "the bias must have one value per output",
                ));
            }
            Some(bias) => Some(bias.row_major()?),
            None => None,
        };
        let x = self.row_major()?;
        let mut shape = self.dims().clone();
        let last = shape.rank() - 1;
        shape.set(last, outputs);
        let count = crate::shape::count(rows);
        let bias = bias.as_deref();
        let a = Mat { data: &x, offset: 0, row_step: inputs as isize, column_step: 1 };
        let strides = weight.strides();
        let b = Mat {
            data: weight.storage(),
            offset: weight.layout().offset,
            row_step: strides[0],
            column_step: strides[1],
        };
        Self::build(shape, |out| {
            (T::kernels().linear)((count, inputs, outputs), a, b, (bias, relu), out);
        })
    }

    /// The gradients of a dense layer's weight and bias, in one pass: `xᵀ g` and the sums of the columns of `g`, for this tensor as the
    /// layer's input x, `[…, inputs]`, and the gradient g of its output, `[…, outputs]`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// let g = Tensor::from_vec(vec![10.0, 100.0], [2, 1])?;
    /// let [weight, bias] = x.linear_gradients(&g)?;
    /// assert_eq!(weight.to_vec(), [310.0, 420.0]);
    /// assert_eq!(bias.to_vec(), [110.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] unless both have the same axes but for the last.
    pub fn linear_gradients(&self, gradient: &Self) -> Result<[Self; 2]> {
        let (Some((&inputs, rows)), Some((&outputs, g_rows))) =
            (self.shape().split_last(), gradient.shape().split_last())
        else {
            let why = "rows of inputs and of outputs are needed";
            return Err(Error::mismatch("linear_gradients", self.shape(), gradient.shape(), why));
        };
        if rows != g_rows {
            let why = "there must be one row of the gradient for each of the input";
            return Err(Error::mismatch("linear_gradients", self.shape(), gradient.shape(), why));
        }
        let count = crate::shape::count(rows);
        let (x, g) = (self.row_major()?, gradient.row_major()?);
        let a = Mat { data: &x, offset: 0, row_step: 1, column_step: inputs as isize };
        let b = Mat { data: &g, offset: 0, row_step: outputs as isize, column_step: 1 };
        let (mut bias, mut summed) = (Self::zeros([outputs])?, false);
        let sums = bias.as_mut_slice()?;
        let weight = Self::build([inputs, outputs], |out| {
            summed = (T::kernels().with_column_sums)((inputs, count, outputs), a, b, out, sums);
            if !summed {
                (T::kernels().gemm)((inputs, count, outputs), a, b, out, false);
            }
        })?;
        let bias = if summed { bias } else { gradient.reshape([count, outputs])?.sum(0)? };
        Ok([weight, bias])
    }

    /// One row of [`linear`](Self::linear), with this as the weight, into memory that is there: a single answer takes none. Sums are
    /// in the quickest order, so that the last digits may differ from `linear`'s.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let weight = Tensor::from_vec(vec![1.0f32, -2.0, 3.0, -4.0], [2, 2])?;
    /// let mut out = [0.0; 2];
    /// weight.linear_row(&[1.0, 1.0], None, true, &mut out)?;
    /// assert_eq!(out, [4.0, 0.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`linear`](Self::linear), where `out` must have as many elements as the weight has columns.
    pub fn linear_row(&self, x: &[T], bias: Option<&Self>, relu: bool, out: &mut [T]) -> Result<()> {
        let op = "linear_row";
        if self.shape() != [x.len(), out.len()] {
            let why = "the weight must be [numbers that go in, numbers that come out]";
            return Err(Error::mismatch(op, &[x.len(), out.len()], self.shape(), why));
        }
        if let Some(bias) = bias {
            if bias.shape() != [out.len()] {
                let why = "the bias must have one value per output";
                return Err(Error::mismatch(op, self.shape(), bias.shape(), why));
            }
            match bias.as_slice() {
                Some(bias) => out.copy_from_slice(bias),
                None => out.iter_mut().zip(bias.iter()).for_each(|(out, bias)| *out = bias),
            }
        }
        let strides = self.strides();
        let (data, offset) = (self.storage(), self.layout().offset);
        let b = Mat { data, offset, row_step: strides[0], column_step: strides[1] };
        (T::kernels().quick_row)(x, b, out, bias.is_some());
        if relu {
            relu_in_place(out);
        }
        Ok(())
    }
}
