//! Parts, repetitions and triangles: the gradient goes back to where the values came from, and elsewhere there is none.

use cairn_tensor::{Axes, Axis, Float, Shape, Slice, Tensor};

use super::reductions::reduced;
use super::when;
use crate::{Entries, Result, Settings, Var};

impl<T: Float> Var<T> {
    /// A part by indices, ranges and steps, see [`s!`](cairn_tensor::s).
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::{Tensor, s};
    /// let x = Var::parameter(Tensor::<f32>::ones([5])?);
    /// let gradients = x.slice(s![..;2])?.sum(..)?.backward()?;
    /// assert_eq!(gradients.of(&x)?.to_vec(), [1.0, 0.0, 1.0, 0.0, 1.0]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for tensors; so for all operations here.
    pub fn slice(&self, slices: impl AsRef<[Slice]>) -> Result<Self> {
        let value = self.value().slice(slices.as_ref())?;
        let (kept, shape) = (slices.as_ref().to_vec(), self.dims().clone());
        let result = Var::from_op("slice", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                let mut whole = Tensor::zeros(&shape)?;
                whole.slice_assign(&kept, g)?;
                Ok(whole)
            })?])
        });
        Ok(result.told(|| entries(self.shape(), slices.as_ref())))
    }

    /// Reversed along axes.
    pub fn flip(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = axes.into();
        let value = self.value().flip(&axes)?;
        let told = axes.clone();
        let result =
            Var::from_op("flip", value, [self], move |g, [wanted]| Ok([when(wanted, || g.flip(&axes))?]));
        Ok(result.told(|| reduced(self.shape(), &told)))
    }

    /// Divided along an axis into parts of the given sizes, which add up to the axis.
    pub fn split(&self, axis: impl Axis, sizes: &[usize]) -> Result<Vec<Self>> {
        let axis = axis.number();
        // All that can be wrong is found before the first part is made.
        self.value().split(axis, sizes)?;
        self.parts(axis, sizes.iter().copied())
    }

    /// Divided along an axis into `count` parts as even as can be, the first ones longer.
    pub fn chunk(&self, axis: impl Axis, count: usize) -> Result<Vec<Self>> {
        let axis = axis.number();
        let parts = self.value().chunk(axis, count)?;
        let sizes = parts.iter().map(|part| part.size(axis)).collect::<cairn_tensor::Result<Vec<_>>>()?;
        self.parts(axis, sizes.into_iter())
    }

    fn parts(&self, axis: isize, sizes: impl Iterator<Item = usize>) -> Result<Vec<Self>> {
        let mut start = 0;
        sizes
            .map(|size| {
                let part = self.narrow(axis, start, size);
                start += size;
                part
            })
            .collect()
    }

    /// Surrounded by `value`: `widths` gives, for each axis, how many are put before and behind.
    pub fn pad(&self, widths: &[(usize, usize)], value: T) -> Result<Self> {
        let padded = self.value().pad(widths, value)?;
        let (starts, shape): (Vec<usize>, _) = (widths.iter().map(|w| w.0).collect(), self.dims().clone());
        let result = Var::from_op("pad", padded, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                starts
                    .iter()
                    .zip(shape.iter())
                    .enumerate()
                    .try_fold(g.clone(), |inner, (axis, (&start, &size))| inner.narrow(axis, start, size))
            })?])
        });
        Ok(result.told(|| Settings::Pad(widths.to_vec(), value)))
    }

    /// The whole repeated: `counts[i]` times along axis `i`. With more counts than axes, axes are added in front.
    pub fn tile(&self, counts: &[usize]) -> Result<Self> {
        let value = self.value().tile(counts)?;
        let new = counts.len() - self.shape().len();
        let sizes = std::iter::repeat_n(1, new).chain(self.shape().iter().copied());
        let copies: Shape = counts.iter().zip(sizes).flat_map(|(&count, size)| [count, size]).collect();
        let result = self.copied("tile", value, copies, (0..counts.len()).map(|i| 2 * i).collect())?;
        Ok(result.told(|| Settings::Counts(counts.to_vec())))
    }

    /// Each entry of an axis `times` times in a row.
    pub fn repeat(&self, axis: impl Axis, times: usize) -> Result<Self> {
        let axis = axis.number();
        let value = self.value().repeat(axis, times)?;
        let at = if axis < 0 { axis + self.shape().len() as isize } else { axis } as usize + 1;
        let mut copies = self.shape().to_vec();
        copies.insert(at, times);
        self.copied("repeat", value, copies.into(), vec![at])
    }

    /// Copies stand along `axes` of `copies`, the shape before axes were joined: the gradient is summed over them.
    fn copied(&self, op: &'static str, value: Tensor<T>, copies: Shape, axes: Vec<usize>) -> Result<Self> {
        let shape = self.dims().clone();
        Ok(Var::from_op(op, value, [self], move |g, [wanted]| {
            Ok([when(wanted, || g.reshape(&copies)?.sum(axes.as_slice())?.reshape(&shape))?])
        }))
    }

    /// The diagonal of each matrix over the last two axes.
    pub fn diagonal(&self, offset: isize) -> Result<Self> {
        let value = self.value().diagonal(offset)?;
        let shape = self.dims().clone();
        Ok(Var::from_op("diagonal", value, [self], move |g, [wanted]| {
            Ok([when(wanted, || {
                let mut whole = Tensor::zeros(&shape)?;
                whole.diagonal_assign(offset, g)?;
                Ok(whole)
            })?])
        }))
    }

    /// Each matrix over the last two axes with zeros above diagonal number `offset`.
    pub fn tril(&self, offset: isize) -> Result<Self> {
        let value = self.value().tril(offset)?;
        Ok(Var::from_op("tril", value, [self], move |g, [wanted]| Ok([when(wanted, || g.tril(offset))?])))
    }

    /// Each matrix over the last two axes with zeros beneath diagonal number `offset`.
    pub fn triu(&self, offset: isize) -> Result<Self> {
        let value = self.value().triu(offset)?;
        Ok(Var::from_op("triu", value, [self], move |g, [wanted]| Ok([when(wanted, || g.triu(offset))?])))
    }
}

/// What slices take of each axis, of those that they do not take whole.
fn entries<T: Float>(shape: &[usize], slices: &[Slice]) -> Settings<T> {
    let taken = shape.iter().zip(slices).enumerate().filter_map(|(axis, (&size, &slice))| {
        let all = Tensor::arange(0u32, size as u32, 1).ok()?;
        let part = all.slice([slice]).ok()?;
        let (indices, dropped) = (part.to_vec(), part.rank() == 0);
        (dropped || indices.len() != size || indices.first() != Some(&0)).then_some(Entries {
            axis,
            indices,
            dropped,
        })
    });
    Settings::Entries(taken.collect())
}
