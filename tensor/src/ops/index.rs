//! Elements and rows picked, added and replaced by lists of indices and by masks.

use crate::cpu::elementwise;
use crate::cpu::index::{self, mask};
use crate::shape::{Axis, axis_index, count};
use crate::{Element, Error, Float, Number, Result, Tensor};

impl<T: Element> Tensor<T> {
    /// The entries of an axis named by `indices`, in that order, with repetition if they repeat: rows of a matrix along
    /// axis 0, the lookup of an embedding.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2, 3, 4, 5, 6i64], [3, 2])?;
    /// assert_eq!(x.index_select(0, &[2, 0])?.to_vec(), [5, 6, 1, 2]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] with the first index beyond the axis and its place in the list.
    #[doc(alias("take", "embedding"))]
    pub fn index_select(&self, axis: impl Axis, indices: &[u32]) -> Result<Self> {
        let op = "index_select";
        let axis = axis_index(op, axis, self.shape())?;
        check_indices(op, indices, self.shape()[axis])?;
        let mut shape = self.dims().clone();
        shape.set(axis, indices.len());
        let source = self.row_major()?;
        let data = &source[..];
        let size = self.shape()[axis];
        let columns = count(&self.shape()[axis + 1..]);
        Self::build(shape, |out| index::select(data, (size, columns), indices, out))
    }
}

fn check_like(op: &'static str, axis: usize, x: &[usize], index: &Tensor<u32>) -> Result<()> {
    let like = x.len() == index.rank() && (0..x.len()).all(|i| i == axis || x[i] == index.shape()[i]);
    if !like {
        return Err(Error::mismatch(op, x, index.shape(), "all axes but the indexed one must be alike"));
    }
    let index = index.row_major()?;
    check_indices(op, &index, x[axis])
}

impl<T: Element> Tensor<T> {
    /// Element by element along an axis: `out[i, j] = self[index[i, j], j]` for axis 0 of a matrix. `index` is like this
    /// tensor but for that axis.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2, 3, 4, 5, 6i64], [2, 3])?;
    /// let best = Tensor::from_vec(vec![2u32, 0], [2, 1])?;
    /// assert_eq!(x.gather(1, &best)?.to_vec(), [3, 4]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::IndexOutOfRange`], [`Error::AxisOutOfRange`].
    #[doc(alias("take_along_axis", "take_along_dim"))]
    pub fn gather(&self, axis: impl Axis, index: &Tensor<u32>) -> Result<Self> {
        let op = "gather";
        let axis = axis_index(op, axis, self.shape())?;
        check_like(op, axis, self.shape(), index)?;
        let source = self.row_major()?;
        let data = &source[..];
        let sizes = (self.shape()[axis], index.shape()[axis], count(&self.shape()[axis + 1..]));
        let positions = index.row_major()?;
        Self::build(index.dims(), |out| index::gather(data, sizes, &positions, out))
    }
}

impl<T: Number> Tensor<T> {
    /// Adds each element of `values` to the one that `index` names along an axis: the reverse of
    /// [`gather`](Self::gather). Indices may repeat.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::IndexOutOfRange`], [`Error::AxisOutOfRange`]; `self` is then unchanged. For integers
    /// [`Error::IntegerOverflow`], after which `self` holds partly updated values.
    #[doc(alias = "index_put")]
    pub fn scatter_add(&mut self, axis: impl Axis, index: &Tensor<u32>, values: &Self) -> Result<()> {
        let op = "scatter_add";
        let axis = axis_index(op, axis, self.shape())?;
        check_like(op, axis, self.shape(), index)?;
        if index.shape() != values.shape() {
            return Err(Error::mismatch(
                op,
                index.shape(),
                values.shape(),
                "one value for each index is needed",
            ));
        }
        let values = values.row_major()?;
        let data = &values[..];
        let sizes = (self.shape()[axis], index.shape()[axis], count(&self.shape()[axis + 1..]));
        let positions = index.row_major()?;
        let overflow = index::scatter_add(self.as_mut_slice()?, sizes, &positions, data);
        if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(()) }
    }
}

impl Tensor<u32> {
    /// For each index a row of `classes` zeros with a 1 at its place: a new last axis.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let labels = Tensor::from_vec(vec![2u32, 0], [2])?;
    /// assert_eq!(labels.one_hot::<f32>(3)?.to_vec(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for an index that is no class.
    pub fn one_hot<T: Number>(&self, classes: usize) -> Result<Tensor<T>> {
        let index = self.row_major()?;
        let index = &index[..];
        check_indices("one_hot", index, classes)?;
        let mut shape = self.dims().clone();
        shape.push(classes);
        let mut out = Tensor::zeros(shape)?;
        if classes > 0 {
            for (row, &hot) in out.as_mut_slice()?.chunks_exact_mut(classes).zip(index) {
                row[hot as usize] = T::ONE;
            }
        }
        Ok(out)
    }
}

impl<T: Number> Tensor<T> {
    /// Adds row `i` of `rows` to row `indices[i]` of this matrix; indices may repeat. The reverse of
    /// [`index_select`](Self::index_select) along axis 0.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`]; [`Error::ShapeMismatch`] when rows differ in shape or number; `self` is then unchanged. For
    /// integers [`Error::IntegerOverflow`], after which `self` holds partly updated values.
    pub fn index_add(&mut self, indices: &[u32], rows: &Self) -> Result<()> {
        let op = "index_add";
        let mut expected = self.dims().clone();
        if self.rank() == 0 {
            return Err(Error::bad_shape(op, self.shape(), "a scalar has no rows"));
        }
        let size = self.shape()[0];
        expected.set(0, indices.len());
        if rows.dims() != &expected {
            return Err(Error::mismatch(op, self.shape(), rows.shape(), "one row for each index is needed"));
        }
        check_indices(op, indices, size)?;
        let row = count(&self.shape()[1..]);
        if row == 0 {
            return Ok(());
        }
        let overflow = index::add_rows(self.as_mut_slice()?, row, indices, &rows.row_major()?);
        if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(()) }
    }
}

impl<T: Float> Tensor<T> {
    /// Sums of rows (entries of axis 0): row `k` of the result is the sum of the rows `order[ends[k - 1]..ends[k]]` of this
    /// tensor, added in that order; `[ends.len(), …]`. So the gradients of equal ids are collected.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], [3])?;
    /// assert_eq!(x.sum_rows(&[0, 2, 1], &[2, 3])?.to_vec(), [4.0, 2.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] for a scalar, [`Error::IndexOutOfRange`] for a row there is not, [`Error::BadSetting`] for ends
    /// that descend or lie beyond the order.
    pub fn sum_rows(&self, order: &[u32], ends: &[u32]) -> Result<Self> {
        let op = "sum_rows";
        let Some((&rows, row)) = self.shape().split_first() else {
            return Err(Error::bad_shape(op, self.shape(), "a scalar has no rows"));
        };
        check_indices(op, order, rows)?;
        let mut last = 0;
        for &end in ends {
            if end < last || end as usize > order.len() {
                let must = "ascending and within the order";
                return Err(Error::bad_setting(op, "an end", end, must));
            }
            last = end;
        }
        let len = count(row);
        let shape: crate::Shape = std::iter::once(ends.len()).chain(row.iter().copied()).collect();
        let x = self.row_major()?;
        Self::build(shape, |out| index::sum_rows(&x, len, order, ends, out))
    }
}

impl Tensor<bool> {
    /// The multi-indices of the true elements in row-major order: a matrix of one row for each, one column for each
    /// axis.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![false, true, true, false], [2, 2])?;
    /// assert_eq!(x.nonzero()?.to_vec(), [0, 1, 1, 0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[doc(alias = "argwhere")]
    pub fn nonzero(&self) -> Result<Tensor<i64>> {
        let mask = self.row_major()?;
        let mask = &mask[..];
        let totals = mask::totals(mask);
        let rows = totals.last().copied().unwrap_or(0);
        Tensor::build([rows, self.rank()], |out| mask::positions(mask, self.shape(), &totals, out))
    }
}

impl<T: Element> Tensor<T> {
    /// The elements where `mask`, which is broadcast to this tensor's shape, is true, as a vector in row-major order.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the mask does not broadcast.
    #[doc(alias = "boolean_mask")]
    pub fn masked_select(&self, mask: &Tensor<bool>) -> Result<Self> {
        let op = "masked_select";
        let mask = mask.view(mask.layout().broadcast_to(op, self.shape())?);
        let (mask, x) = (mask.row_major()?, self.row_major()?);
        let (mask, x) = (&mask[..], &x[..]);
        let totals = mask::totals(mask);
        Self::build([totals.last().copied().unwrap_or(0)], |out| mask::compress(x, mask, &totals, out))
    }

    /// This tensor with `value` wherever `mask`, broadcast with it, is true.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the mask does not broadcast to this tensor's shape.
    pub fn masked_fill(&self, mask: &Tensor<bool>, value: T) -> Result<Self> {
        let mask = mask.view(mask.layout().broadcast_to("masked_fill", self.shape())?);
        mask.select(&Self::scalar(value), self)
    }
}

impl<T: Float> Tensor<T> {
    /// This tensor times `scale` wherever `mask`, broadcast with it, is true, and 0 elsewhere, whatever is there: dropout, with a mask of
    /// what is kept.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let (x, kept) = (Tensor::from_vec(vec![1.0f32, -2.0], [2])?, Tensor::from_vec(vec![false, true], [2])?);
    /// assert_eq!(x.masked_scale(&kept, 2.0)?.to_vec(), [0.0, -4.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the mask does not broadcast to this tensor's shape.
    pub fn masked_scale(&self, mask: &Tensor<bool>, scale: T) -> Result<Self> {
        let mask = mask.view(mask.layout().broadcast_to("masked_scale", self.shape())?);
        let (mask, x) = (mask.row_major()?, self.row_major()?);
        let (mask, x) = (&mask[..], &x[..]);
        Self::build(self.dims(), |out| elementwise::masked_scale(mask, x, scale, out))
    }
}

pub(crate) fn check_indices(op: &'static str, indices: &[u32], size: usize) -> Result<()> {
    match index::first_outside(indices, size) {
        Some(position) => {
            Err(Error::IndexOutOfRange { op, index: indices[position] as usize, position, size })
        }
        None => Ok(()),
    }
}
