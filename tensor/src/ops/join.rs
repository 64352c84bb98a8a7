//! Tensors put together along an axis, repeated, and surrounded by a margin.

use crate::cpu::join;
use crate::shape::{Axis, axis_index, count};
use crate::{Element, Error, Result, Shape, Tensor};

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
    /// [`Error::ShapeMismatch`], [`Error::AxisOutOfRange`], [`Error::BadSetting`] for no tensors at all.
    #[doc(alias("concat", "concatenate"))]
    pub fn cat(tensors: &[&Self], axis: impl Axis) -> Result<Self> {
        Self::join("cat", tensors, axis)
    }

    fn join(op: &'static str, tensors: &[&Self], axis: impl Axis) -> Result<Self> {
        let first = *tensors
            .first()
            .ok_or_else(|| Error::bad_setting(op, "the number of tensors", 0, "at least 1"))?;
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
        let sources = tensors.iter().map(|tensor| tensor.row_major()).collect::<Result<Vec<_>>>()?;
        let parts: Vec<&[T]> = sources.iter().map(|source| &source[..]).collect();
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

    /// Surrounded by `value`: `widths` gives, for each axis, how many are put before and behind.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2i64], [1, 2])?;
    /// assert_eq!(x.pad(&[(1, 0), (0, 1)], 0)?.to_vec(), [0, 0, 0, 1, 2, 0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] unless there is a pair for each axis.
    #[doc(alias = "constant_pad")]
    pub fn pad(&self, widths: &[(usize, usize)], value: T) -> Result<Self> {
        if widths.len() != self.rank() {
            return Err(Error::bad_shape("pad", self.shape(), "one pair of widths for each axis is needed"));
        }
        let padded = |(&size, &(before, after)): (&usize, &(usize, usize))| {
            size.saturating_add(before).saturating_add(after)
        };
        let shape: Shape = self.shape().iter().zip(widths).map(padded).collect();
        let Some(_) = shape.last() else { return Ok(self.clone()) };
        let x = self.row_major()?;
        let before: Vec<usize> = widths.iter().map(|&(before, _)| before).collect();
        Self::build(shape.clone(), |out| {
            join::surround((&x[..], self.shape()), &before, (out, &shape), value);
        })
    }

    /// The whole tensor repeated: `counts[i]` times along axis `i`. With more counts than axes, axes are added in front.
    ///
    /// # Errors
    /// [`Error::BadShape`] for fewer counts than axes.
    #[doc(alias = "repeat")]
    pub fn tile(&self, counts: &[usize]) -> Result<Self> {
        let Some(new) = counts.len().checked_sub(self.rank()) else {
            return Err(Error::bad_shape("tile", self.shape(), "one count for each axis is needed"));
        };
        // [c0, s0, c1, s1, …] by broadcasting, then pairs of axes as one.
        let sizes = || std::iter::repeat_n(1, new).chain(self.shape().iter().copied());
        let once: Shape = sizes().flat_map(|size| [1, size]).collect();
        let wide: Shape = counts.iter().zip(sizes()).flat_map(|(&count, size)| [count, size]).collect();
        let shape: Shape =
            counts.iter().zip(sizes()).map(|(&count, size)| count.saturating_mul(size)).collect();
        self.reshape(once)?.broadcast_to(wide)?.contiguous()?.reshape(shape)
    }

    /// Each entry of an axis `times` times in a row.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2i64], [2])?;
    /// assert_eq!(x.repeat(0, 2)?.to_vec(), [1, 1, 2, 2]);
    /// assert_eq!(x.tile(&[2])?.to_vec(), [1, 2, 1, 2]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    #[doc(alias = "repeat_interleave")]
    pub fn repeat(&self, axis: impl Axis, times: usize) -> Result<Self> {
        let axis = axis_index("repeat", axis, self.shape())?;
        let (mut wide, mut shape) = (self.dims().clone(), self.dims().clone());
        wide.insert(axis + 1, times);
        shape.set(axis, self.shape()[axis].saturating_mul(times));
        self.unsqueeze(axis + 1)?.broadcast_to(wide)?.contiguous()?.reshape(shape)
    }
}
