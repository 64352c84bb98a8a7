//! Shapes and axes: the sizes along each axis, and how callers name axes.

use std::fmt;
use std::ops::{Deref, RangeFull};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{Error, Result};

/// The sizes of a tensor along its axes, outermost first; no axes at all is a scalar.
///
/// Converts from what one writes: `[2, 3]`, a slice, a `Vec`, a single `usize`, or `()` for a scalar. It dereferences to
/// `[usize]`.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// The number of elements: the product of the sizes, saturating at `usize::MAX`. (`len`, which a shape has from
    /// `[usize]`, is the number of axes.)
    pub fn count(&self) -> usize {
        count(&self.0)
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(&mut self, size: usize) {
        self.0.push(size);
    }

    pub(crate) fn insert(&mut self, axis: usize, size: usize) {
        self.0.insert(axis, size);
    }

    pub(crate) fn remove(&mut self, axis: usize) -> usize {
        self.0.remove(axis)
    }

    pub(crate) fn set(&mut self, axis: usize, size: usize) {
        self.0[axis] = size;
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, size) in self.0.iter().enumerate() {
            write!(f, "{}{size}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(sizes: I) -> Self {
        Shape(sizes.into_iter().collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape(SmallVec::from_slice(&sizes))
    }
}
impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sizes: &[usize; N]) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}
impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}
impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Shape(SmallVec::from_vec(sizes))
    }
}
impl From<&Vec<usize>> for Shape {
    fn from(sizes: &Vec<usize>) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}
impl From<usize> for Shape {
    fn from(size: usize) -> Self {
        [size].into()
    }
}
impl From<()> for Shape {
    fn from((): ()) -> Self {
        Shape::default()
    }
}

/// Which axes an operation works on: one (`0`, `-1`), several (`[0, -1]`), or all (`..`).
///
/// Negative axes count from the end, as in NumPy. Order does not matter; naming an axis twice is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes(Option<SmallVec<[isize; 4]>>);

impl Axes {
    /// The shape that a reduction of `shape` over these axes has with `keepdim`: each of them becomes 1.
    ///
    /// # Errors
    /// For an axis out of range or named twice.
    pub fn keepdim(&self, op: &'static str, shape: &[usize]) -> Result<Shape> {
        let mask = self.mask(op, shape)?;
        Ok(shape.iter().zip(&mask).map(|(&size, &reduced)| if reduced { 1 } else { size }).collect())
    }

    /// Which of the axes of `shape` are meant.
    pub(crate) fn mask(&self, op: &'static str, shape: &[usize]) -> Result<SmallVec<[bool; 8]>> {
        let Some(axes) = &self.0 else {
            return Ok(SmallVec::from_elem(true, shape.len()));
        };
        let mut mask = SmallVec::from_elem(false, shape.len());
        for &axis in axes {
            let axis = axis_index(op, axis, shape)?;
            if std::mem::replace(&mut mask[axis], true) {
                return Err(Error::RepeatedAxis { op, axis, shape: shape.into() });
            }
        }
        Ok(mask)
    }
}

impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Self {
        Axes(None)
    }
}
impl From<&Axes> for Axes {
    fn from(axes: &Axes) -> Self {
        axes.clone()
    }
}

/// One axis by its number; negative numbers count from the end.
pub trait Axis {
    /// The number as given.
    fn number(self) -> isize;
}

macro_rules! axis {
    ($($t:ty),*) => {$(
        impl Axis for $t {
            fn number(self) -> isize {
                // A number beyond isize is out of range for any tensor, and stays so when saturated.
                isize::try_from(self).unwrap_or(isize::MAX)
            }
        }
        impl From<$t> for Axes {
            fn from(axis: $t) -> Self {
                Axes(Some(SmallVec::from_elem(axis.number(), 1)))
            }
        }
        impl<const N: usize> From<[$t; N]> for Axes {
            fn from(axes: [$t; N]) -> Self {
                Axes(Some(axes.into_iter().map(Axis::number).collect()))
            }
        }
        impl From<&[$t]> for Axes {
            fn from(axes: &[$t]) -> Self {
                Axes(Some(axes.iter().map(|&axis| axis.number()).collect()))
            }
        }
    )*};
}
// With `i32` among them an integer literal, which falls back to `i32`, is understood.
axis!(i32, isize, usize);

/// The position of `axis` in `shape`, counted from the front.
pub(crate) fn axis_index(op: &'static str, axis: impl Axis, shape: &[usize]) -> Result<usize> {
    let axis = axis.number();
    let rank = shape.len() as isize;
    let index = if axis < 0 { axis + rank } else { axis };
    if (0..rank).contains(&index) {
        Ok(index as usize)
    } else {
        Err(Error::AxisOutOfRange { op, axis, shape: shape.into() })
    }
}

/// The shape that both operands of an elementwise operation are stretched to, by NumPy's rule: shapes are aligned at
/// the end, and an axis of 1, or a missing one, takes the other's size.
///
/// # Errors
/// [`Error::ShapeMismatch`], in the name of `op`.
pub fn broadcast_shapes(op: &'static str, lhs: &[usize], rhs: &[usize]) -> Result<Shape> {
    let rank = lhs.len().max(rhs.len());
    let size = |shape: &[usize], i: usize| {
        let missing = rank - shape.len();
        if i < missing { 1 } else { shape[i - missing] }
    };
    (0..rank)
        .map(|i| match (size(lhs, i), size(rhs, i)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(Error::mismatch(op, lhs, rhs, "sizes must be equal or 1, aligned at the last axis")),
        })
        .collect()
}

/// The product of sizes, saturating. An axis of 0 makes it 0, however large the others are.
pub(crate) fn count(sizes: &[usize]) -> usize {
    if sizes.contains(&0) { 0 } else { sizes.iter().fold(1, |n, &size| n.saturating_mul(size)) }
}
