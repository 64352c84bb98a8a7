//! Elements in row-major order, whatever the strides of the tensor they are of.

use std::fmt;
use std::ops::Deref;

use crate::{Element, Result, Tensor};

/// A tensor's elements as one slice in row-major order; see [`Tensor::row_major`].
///
/// It dereferences to `[T]`. A tensor that is stored in that order lends its own memory, a strided view is copied first.
pub struct RowMajor<'a, T: Element>(Source<'a, T>);

enum Source<'a, T: Element> {
    Lent(&'a [T]),
    /// Contiguous by construction.
    Owned(Tensor<T>),
}

impl<T: Element> Tensor<T> {
    /// The elements as a slice in row-major order, copied only if they are stored in another.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 2, 3, 4i64], [2, 2])?;
    /// assert_eq!(x.row_major()?[..], [1, 2, 3, 4]);
    /// assert_eq!(x.t()?.row_major()?[..], [1, 3, 2, 4]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when a copy is needed and memory cannot hold it.
    #[doc(alias = "ravel")]
    #[inline]
    pub fn row_major(&self) -> Result<RowMajor<'_, T>> {
        Ok(RowMajor(match self.as_slice() {
            Some(slice) => Source::Lent(slice),
            None => Source::Owned(self.contiguous()?),
        }))
    }

    /// As [`row_major`](Self::row_major), of a tensor that nobody else holds on to, such as a view made for it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) when a copy is needed and memory cannot hold it.
    pub fn into_row_major(self) -> Result<RowMajor<'static, T>> {
        Ok(RowMajor(Source::Owned(if self.is_contiguous() { self } else { self.contiguous()? })))
    }
}

impl<T: Element> Deref for RowMajor<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Source::Lent(slice) => slice,
            Source::Owned(tensor) => tensor.row_major_storage(),
        }
    }
}

impl<T: Element> AsRef<[T]> for RowMajor<'_, T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Element> fmt::Debug for RowMajor<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
