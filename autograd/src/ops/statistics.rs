//! Spread and length over axes, and running folds along one.

use cairn_tensor::{Axes, Axis, Float, Tensor};

use super::reductions::reduced;
use super::when;
use crate::trace::from_front;
use crate::{Result, Settings, Var};

impl<T: Float> Var<T> {
    /// Variance over axes; `correction` is subtracted from the number of values.
    ///
    /// # Errors
    /// As for tensors; so for all operations here.
    pub fn var(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        let axes = axes.into();
        self.variance("var", self.value().var(&axes, correction)?, axes, correction)
    }

    /// As [`var`](Self::var), leaving the reduced axes with size 1.
    pub fn var_keepdim(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        let axes = axes.into();
        self.variance("var", self.value().var_keepdim(&axes, correction)?, axes, correction)
    }

    fn variance(&self, op: &'static str, value: Tensor<T>, axes: Axes, correction: usize) -> Result<Self> {
        let x = self.value().clone();
        Ok(Var::from_op(op, value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                // 2 (x - mean) / (n - correction)
                let factor = T::from_f64(2.0 / divisor(&x, &axes, correction)?);
                let kept = axes.keepdim(op, x.shape())?;
                x.sub(&x.mean_keepdim(&axes)?)?.mul(&g.reshape(&kept)?.scale(factor)?)
            })?])
        }))
    }

    /// Standard deviation over axes. Where it is 0, so is its gradient.
    pub fn std(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        let axes = axes.into();
        self.deviation(self.value().std(&axes, correction)?, axes, correction)
    }

    /// As [`std`](Self::std), leaving the reduced axes with size 1.
    pub fn std_keepdim(&self, axes: impl Into<Axes>, correction: usize) -> Result<Self> {
        let axes = axes.into();
        self.deviation(self.value().std_keepdim(&axes, correction)?, axes, correction)
    }

    fn deviation(&self, value: Tensor<T>, axes: Axes, correction: usize) -> Result<Self> {
        let (x, y) = (self.value().clone(), value.clone());
        Ok(Var::from_op("std", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                // (x - mean) / ((n - correction) std)
                let factor = T::from_f64(1.0 / divisor(&x, &axes, correction)?);
                let kept = axes.keepdim("std", x.shape())?;
                let share = ratio(&g.scale(factor)?, &y)?.reshape(&kept)?;
                x.sub(&x.mean_keepdim(&axes)?)?.mul(&share)
            })?])
        }))
    }

    /// Euclidean norm over axes. Where it is 0, so is its gradient.
    pub fn norm(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.length(self.value().norm(&axes)?, axes)
    }

    /// As [`norm`](Self::norm), leaving the reduced axes with size 1.
    pub fn norm_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.length(self.value().norm_keepdim(&axes)?, axes)
    }

    fn length(&self, value: Tensor<T>, axes: Axes) -> Result<Self> {
        let (x, y, told) = (self.value().clone(), value.clone(), axes.clone());
        let result = Var::from_op("norm", value, [self], move |g, [wanted]| {
            // x / |x|
            Ok([when(wanted, || x.mul(&ratio(g, &y)?.reshape(axes.keepdim("norm", x.shape())?)?))?])
        });
        Ok(result.told(|| reduced(self.shape(), &told)))
    }

    /// Running sum along an axis.
    pub fn cumsum(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().cumsum(axis)?;
        let result = Var::from_op("cumsum", value, [self], move |g, [wanted]| {
            // Each element is part of every sum from its own on: a running sum from the end.
            Ok([when(wanted, || g.flip(axis)?.cumsum(axis)?.flip(axis))?])
        });
        Ok(result.told(|| Settings::Axis(from_front(axis, self.shape().len()))))
    }

    /// Running product along an axis, differentiated exactly where elements are 0 too.
    pub fn cumprod(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let x = self.value().clone();
        Ok(Var::from_op("cumprod", x.cumprod(axis)?, [self], move |g, [wanted]| {
            Ok([when(wanted, || x.cumprod_backward(g, axis))?])
        }))
    }
}

/// What a sum of squares over these axes is divided by.
fn divisor<T: Float>(x: &Tensor<T>, axes: &Axes, correction: usize) -> cairn_tensor::Result<f64> {
    let results = axes.keepdim("var", x.shape())?.count();
    Ok((x.len() as f64 / results.max(1) as f64 - correction as f64).max(0.0))
}

/// a / b, and 0 where b is 0.
fn ratio<T: Float>(a: &Tensor<T>, b: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    let zero = Tensor::scalar(T::ZERO);
    b.eq(&zero)?.select(&zero, &a.div(b)?)
}
