//! Picking along an axis by a list of indices.

use crate::cpu::threads;
use crate::shape::{Axis, axis_index, count};
use crate::{Element, Error, Number, Result, Tensor};

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
    pub fn index_select(&self, axis: impl Axis, indices: &[u32]) -> Result<Self> {
        let op = "index_select";
        let axis = axis_index(op, axis, self.shape())?;
        check_indices(op, indices, self.shape()[axis])?;
        let mut shape = self.dims().clone();
        shape.set(axis, indices.len());
        let source = self.contiguous()?;
        let Some(data) = source.as_slice() else { return Ok(source) };
        let size = self.shape()[axis];
        let row = count(&self.shape()[axis + 1..]);
        Self::build(shape, |out| {
            threads::split_units(out, row, row, |first, out| {
                for (i, out) in out.chunks_exact_mut(row).enumerate() {
                    let (slab, pick) = ((first + i) / indices.len(), (first + i) % indices.len());
                    out.copy_from_slice(&data[(slab * size + indices[pick] as usize) * row..][..row]);
                }
                false
            });
        })
    }
}

impl<T: Number> Tensor<T> {
    /// Adds row `i` of `rows` to row `indices[i]` of this matrix; indices may repeat. The reverse of
    /// [`index_select`](Self::index_select) along axis 0.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`]; [`Error::ShapeMismatch`] when rows differ in shape or number.
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
        let rows = rows.contiguous()?;
        let Some(data) = rows.as_slice() else { return Ok(()) };
        if row == 0 {
            return Ok(());
        }
        let out = self.as_mut_slice()?;
        let mut fault = false;
        for (&index, values) in indices.iter().zip(data.chunks_exact(row)) {
            for (o, &x) in out[index as usize * row..][..row].iter_mut().zip(values) {
                *o = o.add(x, &mut fault);
            }
        }
        if fault { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(()) }
    }
}

pub(crate) fn check_indices(op: &'static str, indices: &[u32], size: usize) -> Result<()> {
    match indices.iter().position(|&index| index as usize >= size) {
        Some(position) => {
            Err(Error::IndexOutOfRange { op, index: indices[position] as usize, position, size })
        }
        None => Ok(()),
    }
}
