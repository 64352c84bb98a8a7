//! The tensor itself: shared storage and a layout over it.

use std::sync::Arc;

use crate::cpu::buffer::Buffer;
use crate::cpu::copy;
use crate::layout::Layout;
use crate::shape::{Axis, axis_index};
use crate::{Element, Error, Result, Shape};

/// An n-dimensional array of `T` on the CPU.
///
/// A tensor is a view (shape, strides, offset) of shared storage. Cloning, transposing, slicing and broadcasting copy
/// nothing. Writing copies first if the storage is shared, so no tensor ever changes behind another's back.
///
/// Operations take references and return new tensors. Each exists as a method that returns [`Result`], and the common
/// ones as operators, which panic with the error's text instead.
///
/// ```
/// use cairn_tensor::Tensor;
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
/// let mean = x.mean(0)?;                       // over the rows: shape [3]
/// let centred = &x - &mean;                    // broadcast over the rows
/// assert_eq!(centred.to_vec(), [-1.5, -1.5, -1.5, 1.5, 1.5, 1.5]);
/// let gram = x.matmul(&x.t()?)?;               // the transpose is a view
/// assert_eq!(gram.shape(), [2, 2]);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor<T: Element = f32> {
    storage: Arc<Buffer<T>>,
    layout: Layout,
}

impl<T: Element> Tensor<T> {
    /// Row-major tensor over a buffer of exactly the shape's length.
    pub(crate) fn from_buffer(buffer: Buffer<T>, shape: Shape) -> Self {
        debug_assert_eq!(buffer.len(), shape.count());
        Tensor { storage: Arc::new(buffer), layout: Layout::contiguous(shape) }
    }

    /// The same storage under another layout.
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Tensor { storage: Arc::clone(&self.storage), layout }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The whole storage, of which the layout selects elements.
    pub(crate) fn storage(&self) -> &[T] {
        &self.storage
    }

    /// The sizes along each axis.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The sizes as an owned [`Shape`].
    pub fn dims(&self) -> &Shape {
        &self.layout.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.layout.shape.rank()
    }

    /// The number of elements.
    #[inline]
    #[doc(alias = "numel")]
    pub fn len(&self) -> usize {
        self.layout.shape.count()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.layout.shape.contains(&0)
    }

    /// The size along one axis; negative axes count from the end.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    pub fn size(&self, axis: impl Axis) -> Result<usize> {
        Ok(self.shape()[axis_index("size", axis, self.shape())?])
    }

    /// Steps in elements along each axis, as views see them; 0 on a broadcast axis.
    pub fn strides(&self) -> &[isize] {
        &self.layout.strides
    }

    /// Whether the elements stand in row-major order without gaps, so that [`as_slice`](Self::as_slice) works.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Whether both are views of the same storage.
    pub fn shares_storage(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage)
    }

    /// The elements in row-major order without a copy, or `None` for a strided view.
    #[inline]
    pub fn as_slice(&self) -> Option<&[T]> {
        self.is_contiguous().then(|| self.row_major_storage())
    }

    /// The storage's elements from the tensor's first on, as many as the tensor has: its elements in row-major order, if
    /// it is contiguous.
    #[inline]
    pub(crate) fn row_major_storage(&self) -> &[T] {
        debug_assert!(self.is_contiguous(), "elements of a strided view are not in row-major order");
        let start = if self.is_empty() { 0 } else { self.layout.offset };
        &self.storage[start..start + self.len()]
    }

    /// The elements for writing, in row-major order. Copies first if the storage is shared or the view is strided.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let a = Tensor::from_vec(vec![1, 2, 3i64], [3])?;
    /// let mut b = a.clone();
    /// b.as_mut_slice()?[0] = 10;
    /// assert_eq!((a.to_vec(), b.to_vec()), (vec![1, 2, 3], vec![10, 2, 3]));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when a copy is needed and memory cannot hold it.
    pub fn as_mut_slice(&mut self) -> Result<&mut [T]> {
        if !self.is_contiguous() || Arc::get_mut(&mut self.storage).is_none() {
            *self = self.to_contiguous_copy()?;
        }
        let (start, len) = (if self.is_empty() { 0 } else { self.layout.offset }, self.len());
        // Unique: either it was, or the copy above is.
        let storage = Arc::get_mut(&mut self.storage).expect("storage made unique above");
        Ok(&mut storage[start..start + len])
    }

    /// The elements in row-major order.
    pub fn to_vec(&self) -> Vec<T> {
        match self.as_slice() {
            Some(slice) => slice.to_vec(),
            None => {
                let mut out = vec![T::default(); self.len()];
                copy::gather(self.storage(), &self.layout, &mut out);
                out
            }
        }
    }

    /// The elements in row-major order, without a copy when this is the only view of storage that came from a `Vec`.
    pub fn into_vec(self) -> Vec<T> {
        let whole = self.is_contiguous() && self.len() == self.storage.len();
        if !whole {
            return self.to_vec();
        }
        match Arc::try_unwrap(self.storage) {
            Ok(buffer) => buffer.into_vec(),
            Err(shared) => shared.to_vec(),
        }
    }

    /// The same elements in row-major order: this tensor itself if they already stand so, else a copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when a copy is needed and memory cannot hold it.
    #[doc(alias = "ascontiguousarray")]
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.to_contiguous_copy() }
    }

    fn to_contiguous_copy(&self) -> Result<Self> {
        Self::build(self.dims(), |out| copy::gather(self.storage(), &self.layout, out))
    }

    /// The only element of a tensor of one element.
    ///
    /// # Errors
    /// [`Error::BadShape`] when there are none or several.
    pub fn item(&self) -> Result<T> {
        if self.len() == 1 {
            Ok(self.storage[self.layout.offset])
        } else {
            Err(Error::bad_shape("item", self.shape(), "there must be exactly one element"))
        }
    }

    /// The element at a multi-index.
    ///
    /// # Errors
    /// [`Error::BadShape`] when the number of indices is not the rank, [`Error::IndexOutOfRange`] beyond an axis.
    pub fn get(&self, index: &[usize]) -> Result<T> {
        if index.len() != self.rank() {
            return Err(Error::bad_shape("get", self.shape(), "one index for each axis is needed"));
        }
        for (position, (&index, &size)) in index.iter().zip(self.shape()).enumerate() {
            if index >= size {
                return Err(Error::IndexOutOfRange { op: "get", index, position, size });
            }
        }
        Ok(self.storage[self.layout.position(index)])
    }
}
