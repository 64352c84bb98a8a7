//! Picking and ranking by index: the gradient is added where the values were taken from.

use cairn_tensor::{Axis, Float, Shape, Tensor};

use super::when;
use crate::trace::from_front;
use crate::{Entries, Result, Settings, Var};

impl<T: Float> Var<T> {
    /// The entries of an axis named by `indices`. For rows of a large table see [`lookup`](Self::lookup), whose gradient
    /// is sparse; this one's is dense.
    ///
    /// # Errors
    /// As for tensors; so for all operations here.
    pub fn index_select(&self, axis: impl Axis, indices: &[u32]) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().index_select(axis, indices)?;
        let told = indices;
        let (shape, indices) = (self.value().transpose(axis, 0)?.dims().clone(), indices.to_vec());
        let result = Var::from_op("index_select", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                // Rows of the transpose.
                let mut whole = Tensor::zeros(&shape)?;
                whole.index_add(&indices, &g.transpose(axis, 0)?)?;
                whole.transpose(axis, 0)
            })?])
        });
        Ok(result.told(|| {
            let axis = from_front(axis, self.shape().len());
            Settings::Entries(vec![Entries { axis, indices: told.to_vec(), dropped: false }])
        }))
    }

    /// This variable with row `i` of `rows` added to its row `indices[i]`.
    pub fn index_add(&self, indices: &[u32], rows: &Self) -> Result<Self> {
        let mut value = self.value().clone();
        value.index_add(indices, rows.value())?;
        let indices = indices.to_vec();
        Ok(Var::from_op("index_add", value, [self, rows], move |g, [own, added]| {
            Ok([when(own, || Ok(g.clone()))?, when(added, || g.index_select(0, &indices))?])
        }))
    }

    /// Element by element along an axis, as `index` says.
    pub fn gather(&self, axis: impl Axis, index: &Tensor<u32>) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().gather(axis, index)?;
        self.taken_from("gather", value, axis, index.clone())
    }

    /// Values taken from this variable at `places` along an axis.
    fn taken_from(
        &self,
        op: &'static str,
        value: Tensor<T>,
        axis: isize,
        places: Tensor<u32>,
    ) -> Result<Self> {
        let shape = self.dims().clone();
        Ok(Var::from_op(op, value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                let mut whole = Tensor::zeros(&shape)?;
                whole.scatter_add(axis, &places, g)?;
                Ok(whole)
            })?])
        }))
    }

    /// This variable with each element of `values` added to the one that `index` names along an axis.
    pub fn scatter_add(&self, axis: impl Axis, index: &Tensor<u32>, values: &Self) -> Result<Self> {
        let axis = axis.number();
        let mut value = self.value().clone();
        value.scatter_add(axis, index, values.value())?;
        let index = index.clone();
        Ok(Var::from_op("scatter_add", value, [self, values], move |g, [own, added]| {
            Ok([when(own, || Ok(g.clone()))?, when(added, || g.gather(axis, &index))?])
        }))
    }

    /// The elements along an axis in order, and where each stood. The places have no derivative.
    pub fn sort(&self, axis: impl Axis, descending: bool) -> Result<(Self, Tensor<u32>)> {
        let axis = axis.number();
        let (values, places) = self.value().sort(axis, descending)?;
        Ok((self.taken_from("sort", values, axis, places.clone())?, places))
    }

    /// The `k` largest elements along an axis in descending order, and where each stood.
    pub fn topk(&self, k: usize, axis: impl Axis) -> Result<(Self, Tensor<u32>)> {
        let axis = axis.number();
        let (values, places) = self.value().topk(k, axis)?;
        Ok((self.taken_from("topk", values, axis, places.clone())?, places))
    }

    /// The elements where `mask`, broadcast to this variable's shape, is true, as a vector.
    pub fn masked_select(&self, mask: &Tensor<bool>) -> Result<Self> {
        let value = self.value().masked_select(mask)?;
        let (mask, shape) = (mask.broadcast_to(self.dims())?, self.dims().clone());
        Ok(Var::from_op("masked_select", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || masked_put(&mask, g, &shape))?])
        }))
    }

    /// This variable with `value` wherever `mask`, broadcast to its shape, is true.
    pub fn masked_fill(&self, mask: &Tensor<bool>, value: T) -> Result<Self> {
        let filled = self.value().masked_fill(mask, value)?;
        let (mask, told) = (mask.clone(), mask);
        let result = Var::from_op("masked_fill", filled, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.masked_fill(&mask, T::ZERO))?])
        });
        Ok(result.told(|| Settings::Mask(told.clone(), Some(value))))
    }
}

/// Zeros of `shape` with `values`, in order, where `mask` is true.
fn masked_put<T: Float>(
    mask: &Tensor<bool>,
    values: &Tensor<T>,
    shape: &Shape,
) -> cairn_tensor::Result<Tensor<T>> {
    Tensor::build(shape, |out| {
        let mut values = values.iter();
        for (o, keep) in out.iter_mut().zip(mask.iter()) {
            *o = keep.then(|| values.next()).flatten().unwrap_or(T::ZERO);
        }
    })
}
