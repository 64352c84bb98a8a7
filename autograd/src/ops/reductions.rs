//! Reductions: the gradient is stretched back over the axes that were reduced.

use cairn_tensor::{Axes, Float, Shape, Tensor};

use super::when;
use crate::{Result, Settings, Var};

impl<T: Float> Var<T> {
    /// Sum over axes: one, an array, or `..` for all.
    ///
    /// # Errors
    /// For an axis out of range or named twice; so for all reductions.
    pub fn sum(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.spread("sum", self.value().sum(&axes)?, &axes, |_, _| T::ONE)
    }

    /// As [`sum`](Self::sum), leaving the reduced axes with size 1.
    pub fn sum_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.spread("sum", self.value().sum_keepdim(&axes)?, &axes, |_, _| T::ONE)
    }

    /// Mean over axes.
    pub fn mean(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.spread("mean", self.value().mean(&axes)?, &axes, share)
    }

    /// As [`mean`](Self::mean), leaving the reduced axes with size 1.
    pub fn mean_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.spread("mean", self.value().mean_keepdim(&axes)?, &axes, share)
    }

    /// An operation in which every element has the same part: `factor(elements, results)` of its result's gradient.
    fn spread(
        &self,
        op: &'static str,
        value: Tensor<T>,
        axes: &Axes,
        factor: impl Fn(usize, usize) -> T,
    ) -> Result<Self> {
        let (kept, shape) = (axes.keepdim(op, self.shape())?, self.dims().clone());
        let factor = factor(self.value().len(), value.len());
        let result = Var::from_op(op, value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.scale(factor)?.reshape(&kept)?.broadcast_to(&shape))?])
        });
        Ok(result.told(|| reduced(self.shape(), axes)))
    }

    /// Largest element over axes; equal ones share the gradient evenly.
    pub fn max(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let kept = self.value().max_keepdim(&axes)?;
        self.extremum("max", self.value().max(&axes)?, kept, axes)
    }

    /// As [`max`](Self::max), leaving the reduced axes with size 1.
    pub fn max_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let kept = self.value().max_keepdim(&axes)?;
        self.extremum("max", kept.clone(), kept, axes)
    }

    /// Smallest element over axes; equal ones share the gradient evenly.
    pub fn min(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let kept = self.value().min_keepdim(&axes)?;
        self.extremum("min", self.value().min(&axes)?, kept, axes)
    }

    /// As [`min`](Self::min), leaving the reduced axes with size 1.
    pub fn min_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let kept = self.value().min_keepdim(&axes)?;
        self.extremum("min", kept.clone(), kept, axes)
    }

    fn extremum(&self, op: &'static str, value: Tensor<T>, kept: Tensor<T>, axes: Axes) -> Result<Self> {
        let (x, told) = (self.value().clone(), axes.clone());
        let result = Var::from_op(op, value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                let chosen = x.eq(&kept)?.cast::<T>()?;
                let share = chosen.div(&chosen.sum_keepdim(&axes)?)?;
                share.mul(&g.reshape(kept.dims())?)
            })?])
        });
        Ok(result.told(|| reduced(self.shape(), &told)))
    }

    /// Product over axes, differentiated exactly where elements are 0 too.
    pub fn prod(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.product(self.value().prod(&axes)?, axes)
    }

    /// As [`prod`](Self::prod), leaving the reduced axes with size 1.
    pub fn prod_keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        self.product(self.value().prod_keepdim(&axes)?, axes)
    }

    fn product(&self, value: Tensor<T>, axes: Axes) -> Result<Self> {
        let (x, kept) = (self.value().clone(), axes.keepdim("prod", self.shape())?);
        let told = axes.clone();
        let result = Var::from_op("prod", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || product_of_others(&x, &axes)?.mul(&g.reshape(&kept)?))?])
        });
        Ok(result.told(|| reduced(self.shape(), &told)))
    }

    /// Summed down to `shape`, which must broadcast to this variable's.
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        let value = self.value().sum_to(shape)?;
        let from = self.dims().clone();
        Ok(Var::from_op("sum_to", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.broadcast_to(&from))?])
        }))
    }
}

/// The axes of a reduction that has been done.
pub(super) fn reduced<T: Float>(shape: &[usize], axes: &Axes) -> Settings<T> {
    let marked: Shape = (0..shape.len()).map(|axis| axis + 2).collect();
    let kept = axes.keepdim("sum", &marked).unwrap_or(marked);
    Settings::Axes((0..shape.len()).filter(|&axis| kept[axis] == 1).collect())
}

/// What one of `elements` contributes to one of `results` means.
fn share<T: Float>(elements: usize, results: usize) -> T {
    T::from_f64(results as f64 / elements as f64)
}

/// For each element the product of all others it is multiplied with: total / x, unless there are zeros, where one zero
/// leaves its own entry alone and two leave none.
pub(super) fn product_of_others<T: Float>(x: &Tensor<T>, axes: &Axes) -> cairn_tensor::Result<Tensor<T>> {
    let (zero, one) = (Tensor::scalar(T::ZERO), Tensor::scalar(T::ONE));
    let is_zero = x.eq(&zero)?;
    let without_zeros = is_zero.select(&one, x)?;
    let product = without_zeros.prod_keepdim(axes)?;
    let zeros = is_zero.cast::<T>()?.sum_keepdim(axes)?;
    let no_zero = product.div(&without_zeros)?;
    let one_zero = is_zero.select(&product, &zero)?;
    let some_zero = zeros.eq(&one)?.select(&one_zero, &zero)?;
    zeros.eq(&zero)?.select(&no_zero, &some_zero)
}
