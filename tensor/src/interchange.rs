//! Tensors as other crates' arrays, and theirs as tensors: ndarray (feature `ndarray`) and faer (feature `faer`).
//!
//! Views copy nothing, whatever the strides. Owned arrays change hands without a copy where their elements stand in
//! row-major order in a `Vec` that nobody else holds, else with one.

#[cfg(feature = "ndarray")]
mod nd {
    use ndarray::{Array, ArrayD, ArrayViewD, Axis, Dimension, IxDyn, ShapeBuilder};

    use crate::{Element, Error, Result, Tensor};

    impl<T: Element> Tensor<T> {
        /// A tensor of an ndarray array's elements: without a copy if they stand in row-major order (ndarray's standard
        /// layout).
        ///
        /// ```
        /// use cairn_tensor::Tensor;
        /// let array = ndarray::array![[1.0f32, 2.0], [3.0, 4.0]];
        /// let x = Tensor::from_ndarray(array)?;
        /// assert_eq!(x.sum(0)?.to_vec(), [4.0, 6.0]);
        /// # Ok::<(), cairn_tensor::Error>(())
        /// ```
        ///
        /// # Errors
        /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
        pub fn from_ndarray<D: Dimension>(array: Array<T, D>) -> Result<Self> {
            let shape = array.shape().to_vec();
            if array.is_standard_layout() {
                let count = array.len();
                let (mut elements, offset) = array.into_raw_vec_and_offset();
                // A slice of a larger array brings all of it; only the whole is taken over as it is.
                if offset.unwrap_or(0) > 0 || elements.len() > count {
                    elements.drain(..offset.unwrap_or(0));
                    elements.truncate(count);
                }
                return Self::from_vec(elements, shape);
            }
            Self::from_vec(array.iter().copied().collect(), shape)
        }

        /// The elements as an ndarray view, without a copy.
        ///
        /// ```
        /// use cairn_tensor::Tensor;
        /// let x = Tensor::arange(0i64, 6, 1)?.reshape([2, 3])?.t()?.flip(0)?;
        /// assert_eq!(x.view_ndarray()?[[0, 1]], 5);
        /// # Ok::<(), cairn_tensor::Error>(())
        /// ```
        ///
        /// # Errors
        /// [`Error::BadShape`] for a shape that ndarray does not have: one with an axis of 0 beside others so long that
        /// their product cannot be counted.
        pub fn view_ndarray(&self) -> Result<ArrayViewD<'_, T>> {
            if self.is_empty() {
                return ArrayViewD::from_shape(IxDyn(self.shape()), &[]).map_err(|_| {
                    Error::bad_shape(
                        "view_ndarray",
                        self.shape(),
                        "its other sizes are too large for ndarray",
                    )
                });
            }
            // ndarray takes strides that are not negative; axes that run backwards are turned round afterwards.
            let layout = self.layout();
            let mut start = layout.offset;
            let mut strides = Vec::with_capacity(self.rank());
            for (&size, &stride) in layout.shape.iter().zip(&layout.strides) {
                if stride < 0 {
                    start = start.wrapping_add_signed(stride * (size as isize - 1));
                }
                strides.push(if size == 1 { 0 } else { stride.unsigned_abs() });
            }
            let shape = IxDyn(self.shape()).strides(IxDyn(&strides));
            let mut view = ArrayViewD::from_shape(shape, &self.storage()[start..]).map_err(|_| {
                Error::bad_shape("view_ndarray", self.shape(), "ndarray does not take these strides")
            })?;
            for (axis, &stride) in layout.strides.iter().enumerate() {
                if stride < 0 {
                    view.invert_axis(Axis(axis));
                }
            }
            Ok(view)
        }

        /// The elements as an ndarray array: without a copy under the conditions of [`into_vec`](Self::into_vec).
        ///
        /// # Errors
        /// As [`view_ndarray`](Self::view_ndarray).
        pub fn into_ndarray(self) -> Result<ArrayD<T>> {
            let shape = self.dims().clone();
            ArrayD::from_shape_vec(IxDyn(&shape), self.into_vec()).map_err(|_| {
                Error::bad_shape("into_ndarray", &shape, "its other sizes are too large for ndarray")
            })
        }
    }
}

#[cfg(feature = "faer")]
mod matrices {
    use faer::MatRef;

    use crate::cpu::faer_view;
    use crate::{Element, Error, Result, Tensor};

    impl<T: Element> Tensor<T> {
        /// A matrix as faer's view, without a copy, whatever the strides.
        ///
        /// ```
        /// use cairn_tensor::Tensor;
        /// let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
        /// let gram = x.view_faer()? * x.t()?.view_faer()?;
        /// assert_eq!(gram[(0, 1)], 32.0);
        /// # Ok::<(), cairn_tensor::Error>(())
        /// ```
        ///
        /// # Errors
        /// [`Error::BadShape`] unless the rank is 2.
        pub fn view_faer(&self) -> Result<MatRef<'_, T>> {
            let [rows, columns] = *self.shape() else {
                return Err(Error::bad_shape("view_faer", self.shape(), "a matrix has two axes"));
            };
            let (offset, strides) = (self.layout().offset, self.strides());
            let offset = if self.is_empty() { 0 } else { offset };
            Ok(faer_view::view(self.storage(), offset, (rows, columns), (strides[0], strides[1])))
        }

        /// A tensor of a faer matrix's elements, copied: faer's own are column-major, with gaps.
        ///
        /// # Errors
        /// [`Error::OutOfMemory`].
        pub fn from_faer(matrix: MatRef<'_, T>) -> Result<Self> {
            let (rows, columns) = matrix.shape();
            Self::build([rows, columns], |out| {
                for (i, row) in out.chunks_exact_mut(columns.max(1)).enumerate() {
                    row.iter_mut().enumerate().for_each(|(j, x)| *x = matrix[(i, j)]);
                }
            })
        }
    }
}
