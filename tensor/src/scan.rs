//! Running sums and products along an axis.

use crate::cpu::scan::{self, Step};
use crate::shape::{Axis, axis_index, count};
use crate::{Error, Number, Result, Tensor};

impl<T: Number> Tensor<T> {
    /// Running sum along an axis: each element is the sum of those up to and including it.
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
        let x = self.contiguous()?;
        let data = x.as_slice().unwrap_or_default();
        let (len, columns) = (self.shape()[axis], count(&self.shape()[axis + 1..]));
        let mut fault = false;
        let out = Self::build(self.dims(), |out| fault = scan::scan(data, len, columns, out, step))?;
        if fault { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(out) }
    }
}
