//! Several tensors put together along an axis.

use crate::cpu::join;
use crate::shape::{Axis, axis_index, count};
use crate::{Element, Error, Result, Tensor};

impl<T: Element> Tensor<T> {
    /// The tensors one after the other along an axis; all other sizes must agree.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![1, 2i64], [1, 2])?;
    /// let b = Tensor::from_vec(vec![3, 4, 5, 6i64], [2, 2])?;
    /// assert_eq!(Tensor::cat(&[&a, &b], 0)?.to_vec(), [1, 2, 3, 4, 5, 6]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::AxisOutOfRange`], [`Error::BadArgument`] for no tensors at all.
    pub fn cat(tensors: &[&Self], axis: impl Axis) -> Result<Self> {
        Self::join("cat", tensors, axis)
    }

    fn join(op: &'static str, tensors: &[&Self], axis: impl Axis) -> Result<Self> {
        let first = *tensors.first().ok_or(Error::BadArgument {
            op,
            what: "the number of tensors",
            value: 0.0,
            must: "at least 1",
        })?;
        let axis = axis_index(op, axis, first.shape())?;
        let mut shape = first.dims().clone();
        let mut total = 0usize;
        for tensor in tensors {
            let fits = tensor.rank() == shape.rank()
                && tensor.shape().iter().zip(&*shape).enumerate().all(|(i, (a, b))| i == axis || a == b);
            if !fits {
                let why = "all sizes but that of the joined axis must be equal";
                return Err(Error::mismatch(op, first.shape(), tensor.shape(), why));
            }
            total = total.saturating_add(tensor.shape()[axis]);
        }
        shape.set(axis, total);
        // `out` is a stack of slabs, one for each index before the axis; every tensor fills a part of each.
        let before = count(&shape[..axis]);
        let sources = tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&[T]> = sources.iter().map(|source| source.as_slice().unwrap_or_default()).collect();
        Self::build(shape, |out| join::slabs(&parts, before, out))
    }

    /// The tensors, all of one shape, along a new axis.
    ///
    /// # Errors
    /// As [`cat`](Self::cat), where all sizes must agree.
    pub fn stack(tensors: &[&Self], axis: impl Axis) -> Result<Self> {
        let op = "stack";
        let Some(first) = tensors.first() else { return Self::join(op, tensors, axis) };
        let mut wider = first.dims().clone();
        wider.push(1);
        let axis = axis_index(op, axis, &wider)?;
        if let Some(other) = tensors.iter().find(|tensor| tensor.shape() != first.shape()) {
            return Err(Error::mismatch(op, first.shape(), other.shape(), "the shapes must be equal"));
        }
        let parts = tensors.iter().map(|tensor| tensor.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
        Self::join(op, &parts.iter().collect::<Vec<_>>(), axis)
    }
}
