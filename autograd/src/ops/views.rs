//! Views: the gradient is viewed back.

use cairn_tensor::{Axis, Float, Shape, Tensor};

use super::when;
use crate::trace::from_front;
use crate::{Entries, Result, Settings, Var};

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
        // `permute` has checked the axes.
        let order = order.map(|axis| from_front(axis.number(), N));
        let mut inverse = [0usize; N];
        for (to, from) in order.into_iter().enumerate() {
            inverse[from] = to;
        }
        let result = Var::from_op("permute", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.permute(inverse))?])
        });
        Ok(result.told(|| Settings::Order(order.to_vec())))
    }

    /// Two axes exchanged.
    pub fn transpose(&self, a: impl Axis, b: impl Axis) -> Result<Self> {
        let (a, b) = (a.number(), b.number());
        let value = self.value().transpose(a, b)?;
        let result = Var::from_op("transpose", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.transpose(a, b))?])
        });
        Ok(result.told(|| exchanged(self.shape().len(), a, b)))
    }

    /// The last two axes exchanged.
    pub fn t(&self) -> Result<Self> {
        let value = self.value().t()?;
        let result = Var::from_op("t", value, [self], |g, [wanted]| Ok([when(wanted, || g.t())?]));
        Ok(result.told(|| exchanged(self.shape().len(), -1, -2)))
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
        let result = Var::from_op("narrow", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || surround(g, &shape, axis, start))?])
        });
        Ok(result.told(|| Settings::Range { axis: from_front(axis, self.shape().len()), start, len }))
    }

    /// One index along an axis, which is dropped.
    pub fn index(&self, axis: impl Axis, index: usize) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().index(axis, index)?;
        let shape = self.dims().clone();
        let dropped = from_front(axis, shape.rank());
        let result = Var::from_op("index", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || surround(&g.unsqueeze(dropped)?, &shape, axis, index))?])
        });
        Ok(result.told(|| {
            Settings::Entries(vec![Entries { axis: dropped, indices: vec![index as u32], dropped: true }])
        }))
    }
}

/// Two axes exchanged, as an order.
fn exchanged<T: Float>(rank: usize, a: isize, b: isize) -> Settings<T> {
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(from_front(a, rank), from_front(b, rank));
    Settings::Order(order)
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
