//! Spread and length over axes, and truth values folded over axes.

use crate::cpu::reduce::{self, Add, AddNothing, AddSquares, All, Any};
use crate::ops::reduce::{arrange, fold};
use crate::shape::{Axes, count};
use crate::{DType, Float, Result, Shape, Tensor};

/// The number of elements folded into one.
fn folded(op: &'static str, shape: &[usize], axes: &Axes) -> Result<usize> {
    let mask = axes.mask(op, shape)?;
    Ok(count(&(0..shape.len()).filter(|&i| mask[i]).map(|i| shape[i]).collect::<Shape>()))
}

impl<T: Float> Tensor<T> {
    /// Variance over axes: the mean squared distance from the mean, computed in two passes.
    ///
    /// `correction` is subtracted from the number of values that the sum is divided by: 0 for the variance of the values
    /// themselves (NumPy's default), 1 for an estimate from a sample (PyTorch's default). Where nothing is left to divide
    /// by, the result is NaN or infinite.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 6.0], [4])?;
    /// assert_eq!(x.var(.., 0)?.item()?, 3.5);
    /// assert_eq!(x.std(.., 0)?.item()?, 3.5f32.sqrt());
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`](crate::Error::AxisOutOfRange), [`Error::RepeatedAxis`](crate::Error::RepeatedAxis).
    pub fn var(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        self.variance("var", &axes.into(), correction, false)
    }

    /// As [`var`](Self::var), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn var_keepdim(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        self.variance("var", &axes.into(), correction, true)
    }

    /// Standard deviation over axes: the square root of the [variance](Self::var).
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn std(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        self.variance("std", &axes.into(), correction, false)?.sqrt()
    }

    /// As [`std`](Self::std), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn std_keepdim(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        self.variance("std", &axes.into(), correction, true)?.sqrt()
    }

    fn variance(&self, op: &'static str, axes: &Axes, correction: usize, keepdim: bool) -> Result<Self> {
        let arranged = arrange(op, self, axes)?;
        let shape = if keepdim { arranged.keepdim } else { arranged.kept };
        if arranged.columns.is_none() {
            let data = &arranged.data[..];
            return Self::build(shape, |out| reduce::variance(data, arranged.len, correction as f64, out));
        }
        // Rows are folded whole: the centred values are laid down once.
        let len = folded(op, self.shape(), axes)?;
        let count = Self::scalar(T::from_f64(len as f64));
        let centred = self.sub(&fold(op, self, axes, true, Add)?.div(&count)?)?;
        let squares = fold(op, &centred, axes, keepdim, AddSquares(T::ZERO))?;
        // The mean was rounded; what is left of the sum of differences corrects for it.
        let left = fold(op, &centred, axes, keepdim, Add)?.square()?.div(&count)?;
        let squares = squares.sub(&left)?.relu()?;
        let divisor = T::from_f64((len as f64 - correction as f64).max(0.0));
        squares.div(&Self::scalar(divisor))?.reshape(shape)
    }

    /// Euclidean norm over axes: the square root of the sum of squares, also where the squares leave the range of numbers.
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn norm(&self, axes: impl Into<Axes>) -> Result<Self> {
        self.length(&axes.into(), false)
    }

    /// As [`norm`](Self::norm), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`var`](Self::var).
    pub fn norm_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        self.length(&axes.into(), true)
    }

    /// Whether no element is NaN or infinite.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    #[doc(alias = "isfinite")]
    pub fn all_finite(&self) -> Result<bool> {
        // 0 times what is not finite is NaN, times anything else 0.
        Ok(fold("all_finite", self, &Axes::from(..), false, AddNothing)?.item()? == T::ZERO)
    }

    fn length(&self, axes: &Axes, keepdim: bool) -> Result<Self> {
        let op = "norm";
        let length = fold(op, self, axes, keepdim, AddSquares(T::ZERO))?.sqrt()?;
        // Squares of what is below lose digits, or all of it.
        let small = T::from_f64(if T::DTYPE == DType::F32 { 1e-15 } else { 1e-145 });
        let lost = |length: T| length < small || length == T::INFINITY;
        if self.is_empty() || !length.iter().any(lost) {
            return Ok(length);
        }
        // Of each result the largest element is taken out before, and put back after.
        let largest = self.abs()?.max_keepdim(axes.clone())?;
        let unit = |x: T| if x > T::ZERO && x < T::INFINITY { x } else { T::ONE };
        let largest = largest.map(unit)?;
        let length = fold(op, &self.div(&largest)?, axes, keepdim, AddSquares(T::ZERO))?.sqrt()?;
        let largest = largest.reshape(length.dims())?;
        length.mul(&largest)
    }
}

impl Tensor<bool> {
    /// Whether any element over the axes is true; false for none.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`](crate::Error::AxisOutOfRange), [`Error::RepeatedAxis`](crate::Error::RepeatedAxis).
    pub fn any(&self, axes: impl Into<Axes>) -> Result<Self> {
        fold("any", self, &axes.into(), false, Any)
    }

    /// As [`any`](Self::any), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`any`](Self::any).
    pub fn any_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        fold("any", self, &axes.into(), true, Any)
    }

    /// Whether all elements over the axes are true; true for none.
    ///
    /// # Errors
    /// As [`any`](Self::any).
    pub fn all(&self, axes: impl Into<Axes>) -> Result<Self> {
        fold("all", self, &axes.into(), false, All)
    }

    /// As [`all`](Self::all), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`any`](Self::any).
    pub fn all_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        fold("all", self, &axes.into(), true, All)
    }

    /// How many elements over the axes are true.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, -2.0, 3.0], [3])?;
    /// assert_eq!(x.gt(&Tensor::scalar(0.0))?.count_true(..)?.item()?, 2);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`any`](Self::any).
    #[doc(alias = "count_nonzero")]
    pub fn count_true(&self, axes: impl Into<Axes>) -> Result<Tensor<i64>> {
        let axes = axes.into();
        // The mask is checked under this operation's own name first.
        axes.mask("count_true", self.shape())?;
        self.cast::<i64>()?.sum(axes)
    }
}
