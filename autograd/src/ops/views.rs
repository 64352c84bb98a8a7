//! Views: the gradient is viewed back.

use cairn_tensor::{Axis, Float, Shape, Tensor};

use super::when;
use crate::{Result, Var};

impl<T: Float> Var<T> {
    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        self.reshaped("reshape", self.value().reshape(shape)?)
    }

    /// Axes `from` and all after it as one.
    ///
    /// # Errors
    /// For an axis out of range; so for all views.
    pub fn flatten(&self, from: impl Axis) -> Result<Self> {
        self.reshaped("flatten", self.value().flatten(from)?)
    }

    /// Without one axis of size 1.
    pub fn squeeze(&self, axis: impl Axis) -> Result<Self> {
        self.reshaped("squeeze", self.value().squeeze(axis)?)
    }

    /// With a new axis of size 1.
    pub fn unsqueeze(&self, axis: impl Axis) -> Result<Self> {
        self.reshaped("unsqueeze", self.value().unsqueeze(axis)?)
    }

    fn reshaped(&self, op: &'static str, value: Tensor<T>) -> Result<Self> {
        let shape = self.dims().clone();
        Ok(Var::from_op(op, value, [self], move |g, [wanted]| Ok([when(wanted, || g.reshape(&shape))?])))
    }

    /// The axes in another order.
    pub fn permute<A: Axis + Copy, const N: usize>(&self, order: [A; N]) -> Result<Self> {
        let value = self.value().permute(order)?;
        let mut inverse = [0usize; N];
        for (to, axis) in order.into_iter().enumerate() {
            // `permute` has checked the axes.
            let axis = axis.number();
            let from = if axis < 0 { (axis + N as isize) as usize } else { axis as usize };
            inverse[from] = to;
        }
        Ok(Var::from_op("permute", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.permute(inverse))?])
        }))
    }

    /// Two axes exchanged.
    pub fn transpose(&self, a: impl Axis, b: impl Axis) -> Result<Self> {
        let (a, b) = (a.number(), b.number());
        let value = self.value().transpose(a, b)?;
        Ok(Var::from_op("transpose", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.transpose(a, b))?])
        }))
    }

    /// The last two axes exchanged.
    pub fn t(&self) -> Result<Self> {
        let value = self.value().t()?;
        Ok(Var::from_op("t", value, [self], |g, [wanted]| Ok([when(wanted, || g.t())?])))
    }

    /// Stretched to `shape`; the gradient is summed back.
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        let from = self.dims().clone();
        let value = self.value().broadcast_to(shape)?;
        Ok(Var::from_op("broadcast_to", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.sum_to(&from))?])
        }))
    }

    /// `len` consecutive indices from `start` along one axis; all others get gradient 0.
    pub fn narrow(&self, axis: impl Axis, start: usize, len: usize) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().narrow(axis, start, len)?;
        let shape = self.dims().clone();
        Ok(Var::from_op("narrow", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || surround(g, &shape, axis, start))?])
        }))
    }

    /// One index along an axis, which is dropped.
    pub fn index(&self, axis: impl Axis, index: usize) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().index(axis, index)?;
        let shape = self.dims().clone();
        let from_front = if axis < 0 { axis + shape.rank() as isize } else { axis };
        Ok(Var::from_op("index", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || surround(&g.unsqueeze(from_front)?, &shape, axis, index))?])
        }))
    }
}

/// `g` at `start` along an axis of an otherwise zero tensor of `shape`.
fn surround<T: Float>(
    g: &Tensor<T>,
    shape: &Shape,
    axis: isize,
    start: usize,
) -> cairn_tensor::Result<Tensor<T>> {
    let index = if axis < 0 { axis + shape.rank() as isize } else { axis } as usize;
    let zeros = |len: usize| {
        let sizes: Shape =
            shape.iter().enumerate().map(|(i, &size)| if i == index { len } else { size }).collect();
        Tensor::zeros(sizes)
    };
    let after = shape[index] - start - g.shape()[index];
    Tensor::cat(&[&zeros(start)?, g, &zeros(after)?], axis)
}
