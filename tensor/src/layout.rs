//! Where the elements of a view stand in its storage: shape, strides and offset. Pure integer arithmetic.

use smallvec::SmallVec;

use crate::shape::count;
use crate::{Error, Result, Shape};

/// Steps in elements along each axis; 0 repeats, negative ones run backwards.
pub(crate) type Strides = SmallVec<[isize; 4]>;

/// Shape, strides and offset of a view. Every reachable position lies within the storage: constructors and the
/// transformations below keep it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) strides: Strides,
    pub(crate) offset: usize,
}

/// Strides of elements in row-major order without gaps.
pub(crate) fn row_major(shape: &[usize]) -> Strides {
    let mut strides = SmallVec::from_elem(0, shape.len());
    let mut step = 1isize;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        // Saturation is harmless: only an empty tensor can have sizes whose product does not fit.
        step = step.saturating_mul(size.max(1) as isize);
    }
    strides
}

impl Layout {
    pub(crate) fn contiguous(shape: Shape) -> Self {
        Layout { strides: row_major(&shape), shape, offset: 0 }
    }

    /// Whether the elements stand in row-major order without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            // The stride of an axis of 1 is never used.
            if size != 1 && stride != step {
                return self.shape.contains(&0);
            }
            step = step.saturating_mul(size as isize);
        }
        true
    }

    /// The position in storage of a multi-index that is known to be in range.
    pub(crate) fn position(&self, index: &[usize]) -> usize {
        let step: isize = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum();
        self.offset.wrapping_add_signed(step)
    }

    /// The view with its axes in another order.
    pub(crate) fn permute(&self, order: &[usize]) -> Self {
        Layout {
            shape: order.iter().map(|&axis| self.shape[axis]).collect(),
            strides: order.iter().map(|&axis| self.strides[axis]).collect(),
            offset: self.offset,
        }
    }

    /// The view of `len` indices from `start`, `step` apart, along one axis.
    pub(crate) fn slice(&self, axis: usize, start: usize, len: usize, step: isize) -> Self {
        let mut view = self.clone();
        if len > 0 {
            view.offset = self.offset.wrapping_add_signed((start as isize).wrapping_mul(self.strides[axis]));
        }
        view.shape.set(axis, len);
        view.strides[axis] = self.strides[axis].saturating_mul(step);
        view
    }

    pub(crate) fn insert_axis(&self, axis: usize) -> Self {
        let mut view = self.clone();
        view.shape.insert(axis, 1);
        view.strides.insert(axis, 0);
        view
    }

    pub(crate) fn remove_axis(&self, axis: usize) -> Self {
        let mut view = self.clone();
        view.shape.remove(axis);
        view.strides.remove(axis);
        view
    }

    /// The view stretched to `shape`: new axes in front and axes of 1 repeat. What repeats takes no memory, so it is here
    /// that the number of elements is held to what can be counted.
    pub(crate) fn broadcast_to(&self, op: &'static str, shape: &[usize]) -> Result<Self> {
        let why = "an axis can be stretched only from size 1, aligned at the last axis";
        if shape.len() < self.shape.rank() {
            return Err(Error::mismatch(op, &self.shape, shape, why));
        }
        let new = shape.len() - self.shape.rank();
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        for (axis, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            if size == shape[new + axis] {
                strides[new + axis] = stride;
            } else if size != 1 {
                return Err(Error::mismatch(op, &self.shape, shape, why));
            }
        }
        if count(shape) > isize::MAX as usize {
            return Err(Error::bad_shape(op, shape, "there are more elements than can be counted"));
        }
        Ok(Layout { shape: shape.into(), strides, offset: self.offset })
    }

    /// The same elements in the same order under another shape of equal length, if strides can express it.
    pub(crate) fn reshape(&self, shape: &Shape) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Layout { shape: shape.clone(), strides: row_major(shape), offset: self.offset });
        }
        // Match runs of old axes with runs of new axes of the same length, from the front. Within a run the old axes must
        // be evenly spaced, as one longer axis would be; the new ones then divide that axis.
        let old: SmallVec<[(usize, isize); 5]> = self
            .shape
            .iter()
            .copied()
            .zip(self.strides.iter().copied())
            .filter(|&(size, _)| size != 1)
            .collect();
        let mut strides: Strides = SmallVec::from_elem(0, shape.rank());
        let (mut o, mut n) = (0, 0);
        while o < old.len() {
            let (mut old_end, mut new_end) = (o + 1, n + 1);
            let (mut old_run, mut new_run) = (old[o].0, shape[n]);
            while old_run != new_run {
                if new_run < old_run {
                    new_run *= shape[new_end];
                    new_end += 1;
                } else {
                    old_run *= old[old_end].0;
                    old_end += 1;
                }
            }
            let even = old[o..old_end].windows(2).all(|pair| pair[0].1 == pair[1].1 * pair[1].0 as isize);
            if !even {
                return None;
            }
            let mut step = old[old_end - 1].1;
            for axis in (n..new_end).rev() {
                strides[axis] = step;
                step *= shape[axis] as isize;
            }
            (o, n) = (old_end, new_end);
        }
        Some(Layout { shape: shape.clone(), strides, offset: self.offset })
    }
}
