//! Running sums and products along an axis.

use crate::cpu::scan::{self, Step};
use crate::shape::{Axis, axis_index, count};
use crate::{Error, Float, Number, Result, Tensor};

impl<T: Number> Tensor<T> {
    /// Running sum along an axis: each element is the sum of those up to and including it; of `f32`, summed in `f64`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2, 3, 4i64], [4])?;
    /// assert_eq!(x.cumsum(0)?.to_vec(), [1, 3, 6, 10]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`]; for integers [`Error::IntegerOverflow`].
    pub fn cumsum(&self, axis: impl Axis) -> Result<Self> {
        self.scan("cumsum", axis, scan::Sum)
    }

    /// Running product along an axis.
    ///
    /// # Errors
    /// As [`cumsum`](Self::cumsum).
    pub fn cumprod(&self, axis: impl Axis) -> Result<Self> {
        self.scan("cumprod", axis, scan::Product)
    }

    fn scan(&self, op: &'static str, axis: impl Axis, step: impl Step<T>) -> Result<Self> {
        let axis = axis_index(op, axis, self.shape())?;
        let x = self.row_major()?;
        let data = &x[..];
        let (len, columns) = (self.shape()[axis], count(&self.shape()[axis + 1..]));
        let mut overflow = false;
        let out = Self::build(self.dims(), |out| overflow = scan::scan(data, len, columns, out, step))?;
        if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(out) }
    }
}

impl<T: Float> Tensor<T> {
    /// Gradient of the input of [`cumprod`](Self::cumprod) along `axis`, from that input (this tensor) and the gradient of
    /// its output; exact where elements are 0 too.
    ///
    /// With y_j = x_1 … x_j, the derivative of Σ g y by x_i is (x_1 … x_{i-1}) s_i, where s_i = g_i + x_{i+1} s_{i+1}: two
    /// running folds, and no division.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in shape, [`Error::AxisOutOfRange`].
    pub fn cumprod_backward(&self, gradient: &Self, axis: impl Axis) -> Result<Self> {
        let op = "cumprod_backward";
        let axis = axis_index(op, axis, self.shape())?;
        if self.shape() != gradient.shape() {
            return Err(Error::mismatch(op, self.shape(), gradient.shape(), "the shapes must be equal"));
        }
        let (x, g) = (self.row_major()?, gradient.row_major()?);
        let (x, g) = (&x[..], &g[..]);
        let (len, columns) = (self.shape()[axis], count(&self.shape()[axis + 1..]));
        Self::build(self.dims(), |out| {
            for run in 0..out.len().checked_div(len).unwrap_or(0) {
                let start = run / columns * len * columns + run % columns;
                let at = |i: usize| start + i * columns;
                let mut tail = T::ZERO;
                for i in (0..len).rev() {
                    let after = if i + 1 < len { x[at(i + 1)] } else { T::ZERO };
                    tail = g[at(i)] + after * tail;
                    out[at(i)] = tail;
                }
                let mut product = T::ONE;
                for i in 0..len {
                    out[at(i)] *= product;
                    product *= x[at(i)];
                }
            }
        })
    }
}
