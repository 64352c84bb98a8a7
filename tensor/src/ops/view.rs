//! Views: the same storage under another shape. Nothing here copies, but [`reshape`](Tensor::reshape) of a strided view.

use smallvec::SmallVec;

use crate::shape::{Axis, axis_index, count};
use crate::{Element, Error, Result, Shape, Tensor};

impl<T: Element> Tensor<T> {
    /// The same elements in row-major order under another shape. A view if strides allow, else a copy.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when the shape holds another number of elements.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.count() != self.len() {
            return Err(Error::WrongLength { op: "reshape", shape, len: self.len() });
        }
        match self.layout().reshape(&shape) {
            Some(layout) => Ok(self.view(layout)),
            None => {
                let copy = self.contiguous()?;
                Ok(copy.view(crate::layout::Layout::contiguous(shape)))
            }
        }
    }

    /// Axes `from` and all after it as one; `flatten(1)` keeps the batch axis.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    #[doc(alias = "ravel")]
    pub fn flatten(&self, from: impl Axis) -> Result<Self> {
        let from = axis_index("flatten", from, self.shape())?;
        let mut shape: Shape = self.shape()[..from].into();
        shape.push(count(&self.shape()[from..]));
        self.reshape(shape)
    }

    /// The axes in another order: axis `i` of the result is axis `order[i]` of this tensor.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`], [`Error::RepeatedAxis`], or [`Error::BadShape`] when an axis is left out.
    #[doc(alias = "transpose")]
    pub fn permute<A: Axis + Copy>(&self, order: impl AsRef<[A]>) -> Result<Self> {
        let (op, order) = ("permute", order.as_ref());
        if order.len() != self.rank() {
            return Err(Error::bad_shape(op, self.shape(), "every axis must be named once"));
        }
        let mut seen: SmallVec<[bool; 8]> = SmallVec::from_elem(false, order.len());
        let mut axes: SmallVec<[usize; 8]> = SmallVec::from_elem(0, order.len());
        for (axis, &name) in axes.iter_mut().zip(order) {
            *axis = axis_index(op, name, self.shape())?;
            if std::mem::replace(&mut seen[*axis], true) {
                return Err(Error::RepeatedAxis { op, axis: *axis, shape: self.dims().clone() });
            }
        }
        Ok(self.view(self.layout().permute(&axes)))
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    pub fn transpose(&self, a: impl Axis, b: impl Axis) -> Result<Self> {
        let (a, b) = (axis_index("transpose", a, self.shape())?, axis_index("transpose", b, self.shape())?);
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        Ok(self.view(self.layout().permute(&order)))
    }

    /// The last two axes exchanged: the transpose of a matrix, or of each matrix of a batch.
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2.
    pub fn t(&self) -> Result<Self> {
        if self.rank() < 2 {
            return Err(Error::bad_shape("t", self.shape(), "a transpose needs two axes"));
        }
        self.transpose(-1, -2)
    }

    /// Without one axis of size 1.
    ///
    /// # Errors
    /// [`Error::BadShape`] when the axis is longer, [`Error::AxisOutOfRange`].
    pub fn squeeze(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis_index("squeeze", axis, self.shape())?;
        if self.shape()[axis] != 1 {
            return Err(Error::bad_shape("squeeze", self.shape(), "only an axis of size 1 can be dropped"));
        }
        Ok(self.view(self.layout().remove_axis(axis)))
    }

    /// With a new axis of size 1, which becomes axis `axis` of the result (-1: the last).
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`].
    #[doc(alias = "expand_dims")]
    pub fn unsqueeze(&self, axis: impl Axis) -> Result<Self> {
        let mut larger = self.dims().clone();
        larger.push(1);
        let number = axis.number();
        let axis = axis_index("unsqueeze", number, &larger).map_err(|_| Error::AxisOutOfRange {
            op: "unsqueeze",
            axis: number,
            shape: self.dims().clone(),
        })?;
        Ok(self.view(self.layout().insert_axis(axis)))
    }

    /// Stretched to `shape` by repeating axes of size 1 and adding axes in front, without a copy.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when another axis would have to change, [`Error::BadShape`] for more elements than an
    /// `isize` can count.
    #[doc(alias = "expand")]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        Ok(self.view(self.layout().broadcast_to("broadcast_to", &shape.into())?))
    }

    /// `len` consecutive indices from `start` along one axis.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] when they reach beyond the axis.
    #[doc(alias = "slice")]
    pub fn narrow(&self, axis: impl Axis, start: usize, len: usize) -> Result<Self> {
        let op = "narrow";
        let axis = axis_index(op, axis, self.shape())?;
        let size = self.shape()[axis];
        match start.checked_add(len) {
            Some(end) if end <= size => Ok(self.view(self.layout().slice(axis, start, len, 1))),
            end => Err(Error::IndexOutOfRange { op, index: end.unwrap_or(usize::MAX), position: 1, size }),
        }
    }

    /// One index along an axis, which is dropped: `x.index(0, 3)` is the fourth row of a matrix.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`], [`Error::AxisOutOfRange`].
    pub fn index(&self, axis: impl Axis, index: usize) -> Result<Self> {
        let op = "index";
        let axis = axis_index(op, axis, self.shape())?;
        let size = self.shape()[axis];
        if index >= size {
            return Err(Error::IndexOutOfRange { op, index, position: 0, size });
        }
        Ok(self.view(self.layout().slice(axis, index, 1, 1).remove_axis(axis)))
    }

    /// The elements one by one in row-major order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T> + '_ {
        let layout = self.layout();
        let mut index = vec![0; self.rank()];
        let mut first = true;
        (0..self.len()).map(move |_| {
            if !std::mem::take(&mut first) {
                for (i, &size) in index.iter_mut().zip(&*layout.shape).rev() {
                    *i += 1;
                    if *i < size {
                        break;
                    }
                    *i = 0;
                }
            }
            self.storage()[layout.position(&index)]
        })
    }
}
