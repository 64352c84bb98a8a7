//! Parts of a tensor by ranges, indices and steps; reversed, divided, repeated, padded; triangles and diagonals.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::cpu::nest::Nest;
use crate::cpu::{slice, threads};
use crate::layout::Layout;
use crate::shape::{Axes, Axis, axis_index, count};
use crate::{Element, Error, Float, Result, Tensor};

/// What is taken of one axis: an index, which drops the axis, or a range with a step. Made by [`s!`](crate::s).
///
/// Negative numbers count from the end. A range must lie within the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    start: isize,
    /// `None`: to the end.
    end: Option<isize>,
    step: isize,
    index: bool,
}

impl Slice {
    /// Every `step`-th element of the range; a negative step takes them from its end to its start.
    #[must_use]
    pub fn step(self, step: isize) -> Self {
        Slice { step, ..self }
    }
}

impl From<RangeFull> for Slice {
    fn from(_: RangeFull) -> Self {
        Slice { start: 0, end: None, step: 1, index: false }
    }
}

macro_rules! slice_from {
    ($($t:ty),*) => {$(
        impl From<$t> for Slice {
            fn from(index: $t) -> Self {
                Slice { start: index.number(), end: None, step: 1, index: true }
            }
        }
        impl From<Range<$t>> for Slice {
            fn from(range: Range<$t>) -> Self {
                Slice { start: range.start.number(), end: Some(range.end.number()), step: 1, index: false }
            }
        }
        impl From<RangeInclusive<$t>> for Slice {
            fn from(range: RangeInclusive<$t>) -> Self {
                // One past -1 is the end, not the start.
                let end = match range.end().number() {
                    -1 => None,
                    end => Some(end.saturating_add(1)),
                };
                Slice { start: range.start().number(), end, step: 1, index: false }
            }
        }
        impl From<RangeFrom<$t>> for Slice {
            fn from(range: RangeFrom<$t>) -> Self {
                Slice { start: range.start.number(), end: None, step: 1, index: false }
            }
        }
        impl From<RangeTo<$t>> for Slice {
            fn from(range: RangeTo<$t>) -> Self {
                Slice { start: 0, end: Some(range.end.number()), step: 1, index: false }
            }
        }
        impl From<RangeToInclusive<$t>> for Slice {
            fn from(range: RangeToInclusive<$t>) -> Self {
                Slice { start: 0, ..Slice::from(0..=range.end.number()) }
            }
        }
    )*};
}
slice_from!(i32, isize, usize);

/// Slices of the axes in order, for [`Tensor::slice`]: indices, ranges, and ranges with a step after a semicolon.
///
/// ```
/// use cairn_tensor::{s, Tensor};
/// let x = Tensor::arange(0i64, 12, 1)?.reshape([3, 4])?;
/// assert_eq!(x.slice(s![1..3, 0])?.to_vec(), [4, 8]);
/// assert_eq!(x.slice(s![-1, ..;2])?.to_vec(), [8, 10]);
/// assert_eq!(x.slice(s![0, ..;-1])?.to_vec(), [3, 2, 1, 0]);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[macro_export]
macro_rules! s {
    ($($range:expr $(; $step:expr)?),* $(,)?) => {
        [$($crate::Slice::from($range)$(.step($step))?),*]
    };
}

impl<T: Element> Tensor<T> {
    /// A part of the tensor, without a copy: one [`Slice`] for each of the leading axes, see [`s!`](crate::s). Axes that
    /// are not named are taken whole.
    ///
    /// # Errors
    /// [`Error::BadShape`] for more slices than axes, [`Error::IndexOutOfRange`], [`Error::BadSetting`] for a step of 0.
    pub fn slice(&self, slices: impl AsRef<[Slice]>) -> Result<Self> {
        Ok(self.view(sliced("slice", self.layout(), slices.as_ref())?))
    }

    /// Writes `values`, broadcast to its shape, into the part of the tensor that [`slice`](Self::slice) would give.
    ///
    /// ```
    /// use cairn_tensor::{s, Tensor};
    /// let mut x = Tensor::<f32>::zeros([2, 4])?;
    /// x.slice_assign(s![.., 1..;2], &Tensor::from_vec(vec![1.0, 2.0], [2])?)?;
    /// assert_eq!(x.to_vec(), [0.0, 1.0, 0.0, 2.0, 0.0, 1.0, 0.0, 2.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`slice`](Self::slice); [`Error::ShapeMismatch`] when the values do not broadcast to the part.
    pub fn slice_assign(&mut self, slices: impl AsRef<[Slice]>, values: &Self) -> Result<()> {
        let op = "slice_assign";
        let part = sliced(op, &Layout::contiguous(self.dims().clone()), slices.as_ref())?;
        self.write_part(op, &part, values)
    }

    /// Writes `values`, broadcast to its shape, onto the diagonal that [`diagonal`](Self::diagonal) would give.
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2; [`Error::ShapeMismatch`] when the values do not broadcast to the diagonal.
    pub fn diagonal_assign(&mut self, offset: isize, values: &Self) -> Result<()> {
        let op = "diagonal_assign";
        let part = diagonal_of(op, &Layout::contiguous(self.dims().clone()), offset)?;
        self.write_part(op, &part, values)
    }

    /// Writes `values` where `part`, a layout of this tensor as if it were contiguous, points to.
    fn write_part(&mut self, op: &'static str, part: &Layout, values: &Self) -> Result<()> {
        let values = values.view(values.layout().broadcast_to(op, &part.shape)?);
        let nest = Nest::new([part, values.layout()]);
        let (len, [to, from]) = (nest.row_len(), nest.row_steps());
        let source = values.storage();
        let out = self.as_mut_slice()?;
        if len == 0 {
            return Ok(());
        }
        let mut rows = nest.rows_from(0);
        for _ in 0..count(&part.shape) / len {
            let [at, source_at] = rows.advance();
            for i in 0..len as isize {
                out[at.wrapping_add_signed(i * to)] = source[source_at.wrapping_add_signed(i * from)];
            }
        }
        Ok(())
    }

    /// Reversed along axes, without a copy.
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`], [`Error::RepeatedAxis`].
    #[doc(alias = "reverse")]
    pub fn flip(&self, axes: impl Into<Axes>) -> Result<Self> {
        let mask = axes.into().mask("flip", self.shape())?;
        let mut layout = self.layout().clone();
        for axis in (0..self.rank()).filter(|&axis| mask[axis]) {
            let size = self.shape()[axis];
            layout = layout.slice(axis, size.saturating_sub(1), size, -1);
        }
        Ok(self.view(layout))
    }

    /// Divided along an axis into parts of the given sizes, which add up to the axis; views.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when they do not add up, [`Error::AxisOutOfRange`].
    pub fn split(&self, axis: impl Axis, sizes: &[usize]) -> Result<Vec<Self>> {
        let op = "split";
        let axis = axis_index(op, axis, self.shape())?;
        let total = sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        if total != self.shape()[axis] {
            return Err(Error::WrongLength { op, shape: self.shape()[axis].into(), len: total });
        }
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for &size in sizes {
            parts.push(self.view(self.layout().slice(axis, start, size, 1)));
            start += size;
        }
        Ok(parts)
    }

    /// Divided along an axis into `count` parts, of which the first are longer by one where it does not divide evenly;
    /// views.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for no parts, [`Error::AxisOutOfRange`].
    pub fn chunk(&self, axis: impl Axis, count: usize) -> Result<Vec<Self>> {
        let op = "chunk";
        let axis = axis_index(op, axis, self.shape())?;
        if count == 0 {
            let (what, must) = ("the number of parts", "at least 1");
            return Err(Error::bad_setting(op, what, 0, must));
        }
        let (each, longer) = (self.shape()[axis] / count, self.shape()[axis] % count);
        let sizes: Vec<usize> = (0..count).map(|i| each + usize::from(i < longer)).collect();
        self.split(axis, &sizes)
    }

    /// The diagonal of each matrix over the last two axes, as a last axis, without a copy. `offset` above 0 is a diagonal
    /// above the main one, below 0 one beneath.
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2.
    #[doc(alias = "diag")]
    pub fn diagonal(&self, offset: isize) -> Result<Self> {
        Ok(self.view(diagonal_of("diagonal", self.layout(), offset)?))
    }

    /// Each matrix over the last two axes with zeros (`false`) above diagonal number `offset` (0: the main one).
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2.
    pub fn tril(&self, offset: isize) -> Result<Self> {
        self.kept("tril", |row, columns| 0..row.saturating_add(offset).saturating_add(1).clamp(0, columns))
    }

    /// Each matrix over the last two axes with zeros (`false`) beneath diagonal number `offset` (0: the main one).
    ///
    /// # Errors
    /// [`Error::BadShape`] below rank 2.
    pub fn triu(&self, offset: isize) -> Result<Self> {
        self.kept("triu", |row, columns| row.saturating_add(offset).clamp(0, columns)..columns)
    }

    /// Each matrix with zeros beside the columns that `kept` names for a row, given how many there are.
    fn kept(&self, op: &'static str, kept: impl Fn(isize, isize) -> Range<isize> + Sync) -> Result<Self> {
        let [.., rows, columns] = *self.shape() else {
            return Err(Error::bad_shape(op, self.shape(), "a triangle needs two axes"));
        };
        let x = self.row_major()?;
        Self::build(self.dims(), |out| slice::keep_columns(&x, (rows, columns), kept, out))
    }
}

/// The layout of a part.
fn sliced(op: &'static str, layout: &Layout, slices: &[Slice]) -> Result<Layout> {
    if slices.len() > layout.shape.rank() {
        return Err(Error::bad_shape(op, &layout.shape, "there are more slices than axes"));
    }
    let mut layout = layout.clone();
    let mut axis = 0;
    for (position, slice) in slices.iter().enumerate() {
        let size = layout.shape[axis];
        // Within the axis, its end included unless this is an index.
        let place = |at: isize, last: usize| {
            let from_start = if at < 0 { at.saturating_add_unsigned(size) } else { at };
            usize::try_from(from_start).ok().filter(|&place| place <= last).ok_or_else(|| {
                let index = usize::try_from(at).unwrap_or(at.unsigned_abs());
                Error::IndexOutOfRange { op, index, position, size }
            })
        };
        if slice.index {
            let last = size.checked_sub(1).ok_or(Error::IndexOutOfRange { op, index: 0, position, size })?;
            layout = layout.slice(axis, place(slice.start, last)?, 1, 1).remove_axis(axis);
            continue;
        }
        let (start, end) = (place(slice.start, size)?, slice.end.map_or(Ok(size), |end| place(end, size))?);
        if slice.step == 0 {
            let (what, must) = ("a step", "other than 0");
            return Err(Error::bad_setting(op, what, 0, must));
        }
        let len = end.saturating_sub(start).div_ceil(slice.step.unsigned_abs());
        let first = if slice.step > 0 { start } else { end.saturating_sub(1) };
        layout = layout.slice(axis, first, len, slice.step);
        axis += 1;
    }
    Ok(layout)
}

impl<T: Float> Tensor<T> {
    /// Adds `values` to the entries along an axis from `start` on: those that [`narrow`](Self::narrow) would give, whose gradient
    /// comes back like this.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let mut x = Tensor::<f32>::ones([2, 3])?;
    /// x.narrow_add(1, 1, &Tensor::from_vec(vec![1.0, 2.0, 3.0, 4.0], [2, 2])?)?;
    /// assert_eq!(x.to_vec(), [1.0, 2.0, 3.0, 1.0, 4.0, 5.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::AxisOutOfRange`]; [`Error::ShapeMismatch`] when the values are not shaped like such a part, or go beyond the axis.
    pub fn narrow_add(&mut self, axis: impl Axis, start: usize, values: &Self) -> Result<()> {
        let op = "narrow_add";
        let axis = axis_index(op, axis, self.shape())?;
        let size = self.shape()[axis];
        let len = values.shape().get(axis).copied().unwrap_or(0);
        let mut part = self.dims().clone();
        part.set(axis, len);
        if values.dims() != &part || start.checked_add(len).is_none_or(|end| end > size) {
            let why = "values must be shaped like the tensor but for the axis, and end within it";
            return Err(Error::mismatch(op, self.shape(), values.shape(), why));
        }
        let inner: usize = part[axis + 1..].iter().product();
        let (row, from, len) = (size * inner, start * inner, len * inner);
        let values = values.row_major()?;
        if len == 0 {
            return Ok(());
        }
        threads::split_units(self.as_mut_slice()?, row, len, |first, out| {
            for (out, values) in out.chunks_exact_mut(row).zip(values[first * len..].chunks_exact(len)) {
                out[from..from + len].iter_mut().zip(values).for_each(|(sum, &value)| *sum += value);
            }
            false
        });
        Ok(())
    }
}

/// The layout of a diagonal of each matrix over the last two axes.
fn diagonal_of(op: &'static str, layout: &Layout, offset: isize) -> Result<Layout> {
    let Some(row) = layout.shape.rank().checked_sub(2) else {
        return Err(Error::bad_shape(op, &layout.shape, "a diagonal needs two axes"));
    };
    let (rows, columns) = (layout.shape[row], layout.shape[row + 1]);
    let (down, right) = if offset < 0 { (offset.unsigned_abs(), 0) } else { (0, offset.unsigned_abs()) };
    let len = rows.saturating_sub(down).min(columns.saturating_sub(right));
    let mut layout = layout.clone();
    if len > 0 {
        layout = layout.slice(row, down, len, 1).slice(row + 1, right, len, 1);
    }
    layout.strides[row] = layout.strides[row].saturating_add(layout.strides[row + 1]);
    layout.shape.set(row, len);
    Ok(layout.remove_axis(row + 1))
}
