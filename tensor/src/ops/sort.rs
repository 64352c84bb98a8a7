//! Sorting, ranking and searching along an axis.
//!
//! The order is that of the numbers, zeros of either sign equal, with NaN above all numbers: last in ascending order,
//! first in descending order, as in NumPy and PyTorch. Equal elements keep their order, in either direction.

use crate::cpu::sort;
use crate::shape::{Axis, axis_index};
use crate::{Error, Number, Result, Tensor};

impl<T: Number> Tensor<T> {
    /// The elements along an axis in ascending order (`descending`: in descending order), and the index that each had.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![3.0f32, 1.0, 2.0], [3])?;
    /// let (values, indices) = x.sort(0, false)?;
    /// assert_eq!(values.to_vec(), [1.0, 2.0, 3.0]);
    /// assert_eq!(indices.to_vec(), [1, 2, 0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`]; [`Error::BadShape`] for an axis of 2³² and more.
    pub fn sort(&self, axis: impl Axis, descending: bool) -> Result<(Self, Tensor<u32>)> {
        self.ranked("sort", axis, None, descending)
    }

    /// Where the elements along an axis stand in ascending order: the second half of [`sort`](Self::sort).
    ///
    /// # Errors
    /// As [`sort`](Self::sort).
    pub fn argsort(&self, axis: impl Axis, descending: bool) -> Result<Tensor<u32>> {
        Ok(self.ranked("argsort", axis, None, descending)?.1)
    }

    /// The `k` largest elements along an axis in descending order, and the index that each had; of equals the first.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![3.0f32, 1.0, 2.0, 3.0], [4])?;
    /// let (values, indices) = x.topk(3, 0)?;
    /// assert_eq!((values.to_vec(), indices.to_vec()), (vec![3.0, 3.0, 2.0], vec![0, 3, 2]));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the axis has fewer than `k` elements; as [`sort`](Self::sort).
    #[doc(alias = "top_k")]
    pub fn topk(&self, k: usize, axis: impl Axis) -> Result<(Self, Tensor<u32>)> {
        self.ranked("topk", axis, Some(k), true)
    }

    fn ranked(
        &self,
        op: &'static str,
        axis: impl Axis,
        k: Option<usize>,
        descending: bool,
    ) -> Result<(Self, Tensor<u32>)> {
        let axis = axis_index(op, axis, self.shape())?;
        let len = self.shape()[axis];
        if u32::try_from(len).is_err() && !self.is_empty() {
            return Err(Error::bad_shape(op, self.shape(), "positions are counted in 32 bits"));
        }
        let take = k.unwrap_or(len);
        if take > len {
            return Err(Error::bad_setting(op, "k", take, "at most the length of the axis"));
        }
        let last = self.transpose(axis, -1)?;
        let data = last.row_major()?;
        let mut shape = last.dims().clone();
        let end = shape.rank() - 1;
        shape.set(end, take);
        let positions =
            Tensor::<u32>::build(shape.clone(), |out| sort::rank(&data, len, take, descending, out))?;
        let at = positions.row_major()?;
        let values = Self::build(shape, |out| sort::pick(&data, len, take, &at, out))?;
        Ok((values.transpose(axis, -1)?.contiguous()?, positions.transpose(axis, -1)?.contiguous()?))
    }

    /// The distinct elements in ascending order, and for each element of this tensor where its value stands among them.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![5, 1, 5, 3i64], [4])?;
    /// let (values, inverse) = x.unique()?;
    /// assert_eq!((values.to_vec(), inverse.to_vec()), (vec![1, 3, 5], vec![2, 0, 2, 1]));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`sort`](Self::sort).
    pub fn unique(&self) -> Result<(Self, Tensor<u32>)> {
        let flat = self.reshape([self.len()])?;
        let order = flat.ranked("unique", 0, None, false)?.1;
        let (data, order) = (flat.row_major()?, order.row_major()?);
        let mut values: Vec<T> = Vec::new();
        let mut inverse = vec![0; data.len()];
        for &place in &*order {
            let x = data[place as usize];
            if values.last().is_none_or(|last| last.key() != x.key()) {
                values.push(x);
            }
            inverse[place as usize] = (values.len() - 1) as u32;
        }
        let count = values.len();
        Ok((Self::from_vec(values, [count])?, Tensor::from_vec(inverse, self.dims())?))
    }

    /// Where each of `values` would be inserted into this ascending vector to keep it so: before its equals, or behind
    /// them with `right`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let edges = Tensor::from_vec(vec![0.0f32, 1.0, 2.0], [3])?;
    /// let x = Tensor::from_vec(vec![-1.0, 1.0, 1.5, 9.0], [4])?;
    /// assert_eq!(edges.searchsorted(&x, false)?.to_vec(), [0, 1, 2, 3]);
    /// assert_eq!(edges.searchsorted(&x, true)?.to_vec(), [0, 2, 2, 3]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] when this tensor is not of rank 1; [`Error::BadSetting`] when it is not ascending.
    #[doc(alias("digitize", "bucketize"))]
    pub fn searchsorted(&self, values: &Self, right: bool) -> Result<Tensor<u32>> {
        let op = "searchsorted";
        if self.rank() != 1 || u32::try_from(self.len()).is_err() {
            return Err(Error::bad_shape(op, self.shape(), "a vector, counted in 32 bits, is searched"));
        }
        let sorted = self.row_major()?;
        let sorted = &sorted[..];
        if let Some(i) = sorted.windows(2).position(|pair| pair[0].key() > pair[1].key()) {
            let (what, must) = ("an element", "at least the one before");
            return Err(Error::bad_setting(op, what, sorted[i + 1].to_f64(), must));
        }
        values.map(|x| {
            let key = x.key();
            sorted.partition_point(|s| if right { s.key() <= key } else { s.key() < key }) as u32
        })
    }
}
