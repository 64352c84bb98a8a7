//! Parts, repetitions and triangles: the gradient goes back to where the values came from, and elsewhere there is none.

use cairn_tensor::{Axes, Axis, Float, Shape, Slice, Tensor};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Parts, repetitions and triangles.
    Slicing {
        /// See [`Var::slice`].
        Slice {
            /// What is taken of each axis.
            slices: Vec<Slice>,
        } = "slice",
        /// Reversed.
        Flip {
            /// Along these axes, ascending.
            axes: Vec<usize>,
        } = "flip",
        /// Surrounded by a number.
        Pad {
            /// For each axis how much is put before and behind.
            widths: Vec<(usize, usize)>,
            /// The number.
            value: f64,
        } = "pad",
        /// The whole repeated.
        Tile {
            /// How often along each axis; axes are added in front where there are more counts.
            counts: Vec<usize>,
        } = "tile",
        /// Each entry of an axis several times in a row.
        Repeat {
            /// The axis.
            axis: usize,
            /// How often.
            times: usize,
        } = "repeat",
        /// The diagonals of matrices.
        Diagonal {
            /// Which one: 0 is the main diagonal, those above it are positive.
            offset: isize,
        } = "diagonal",
        /// Zeros above a diagonal.
        Tril {
            /// Which one.
            offset: isize,
        } = "tril",
        /// Zeros below a diagonal.
        Triu {
            /// Which one.
            offset: isize,
        } = "triu",
    }
}

impl Rule for Slicing {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        match self {
            Slicing::Slice { slices } => wanted.ran_one(x.slice(slices)?, |_| {
                let (slices, shape) = (slices.clone(), x.dims().clone());
                move |g| {
                    let mut whole = Tensor::zeros(&shape)?;
                    whole.slice_assign(&slices, g)?;
                    Ok(whole)
                }
            }),
            Slicing::Flip { axes } => {
                let axes = Axes::from(axes.as_slice());
                wanted.ran_one(x.flip(&axes)?, |_| move |g: &Tensor<T>| g.flip(&axes))
            }
            Slicing::Pad { widths, value } => wanted.ran_one(x.pad(widths, T::from_f64(*value))?, |_| {
                let (widths, shape) = (widths.clone(), x.dims().clone());
                move |g| {
                    let mut axes = widths.iter().zip(shape.iter()).enumerate();
                    axes.try_fold(g.clone(), |inner, (axis, (&(before, _), &size))| {
                        inner.narrow(axis, before, size)
                    })
                }
            }),
            Slicing::Tile { counts } => {
                let value = x.tile(counts)?;
                let new = counts.len() - x.rank();
                let sizes = std::iter::repeat_n(1, new).chain(x.shape().iter().copied());
                let copies: Shape =
                    counts.iter().zip(sizes).flat_map(|(&count, size)| [count, size]).collect();
                copied(x, value, copies, (0..counts.len()).map(|i| 2 * i).collect(), wanted)
            }
            &Slicing::Repeat { axis, times } => {
                let value = x.repeat(axis, times)?;
                let mut copies = x.shape().to_vec();
                copies.insert(axis + 1, times);
                copied(x, value, copies.into(), vec![axis + 1], wanted)
            }
            &Slicing::Diagonal { offset } => wanted.ran_one(x.diagonal(offset)?, |_| {
                let shape = x.dims().clone();
                move |g| {
                    let mut whole = Tensor::zeros(&shape)?;
                    whole.diagonal_assign(offset, g)?;
                    Ok(whole)
                }
            }),
            &Slicing::Tril { offset } => {
                wanted.ran_one(x.tril(offset)?, |_| move |g: &Tensor<T>| g.tril(offset))
            }
            &Slicing::Triu { offset } => {
                wanted.ran_one(x.triu(offset)?, |_| move |g: &Tensor<T>| g.triu(offset))
            }
        }
    }
}

/// Copies stand along `axes` of `copies`, the shape before axes were joined: the gradient is summed over them.
fn copied<T: Float>(
    x: &Tensor<T>,
    value: Tensor<T>,
    copies: Shape,
    axes: Vec<usize>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    wanted.ran_one(value, |_| {
        let shape = x.dims().clone();
        move |g| g.reshape(&copies)?.sum(axes.as_slice())?.reshape(&shape)
    })
}

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
    /// For more slices than axes, and for what lies beyond an axis.
    pub fn slice(&self, slices: impl AsRef<[Slice]>) -> Result<Self> {
        Var::apply(Slicing::Slice { slices: slices.as_ref().to_vec() }, &[self.into()])
    }

    /// Reversed along axes.
    ///
    /// # Errors
    /// For an axis out of range or named twice.
    pub fn flip(&self, axes: impl Into<Axes>) -> Result<Self> {
        let axes = self.axes("flip", &axes.into())?;
        Var::apply(Slicing::Flip { axes }, &[self.into()])
    }

    /// Divided along an axis into parts of the given sizes, which add up to the axis.
    ///
    /// # Errors
    /// When they do not; for an axis out of range.
    pub fn split(&self, axis: impl Axis, sizes: &[usize]) -> Result<Vec<Self>> {
        let axis = axis.number();
        // All that can be wrong is found before the first part is made.
        self.value().split(axis, sizes)?;
        self.parts(axis, sizes.iter().copied())
    }

    /// Divided along an axis into `count` parts as even as can be, the first ones longer.
    ///
    /// # Errors
    /// For no parts or more than entries; for an axis out of range.
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
    ///
    /// # Errors
    /// Unless there are as many widths as axes; when memory does not hold the result.
    pub fn pad(&self, widths: &[(usize, usize)], value: T) -> Result<Self> {
        Var::apply(Slicing::Pad { widths: widths.to_vec(), value: value.to_f64() }, &[self.into()])
    }

    /// The whole repeated: `counts[i]` times along axis `i`. With more counts than axes, axes are added in front.
    ///
    /// # Errors
    /// For fewer counts than axes; when memory does not hold the result.
    pub fn tile(&self, counts: &[usize]) -> Result<Self> {
        Var::apply(Slicing::Tile { counts: counts.to_vec() }, &[self.into()])
    }

    /// Each entry of an axis `times` times in a row.
    ///
    /// # Errors
    /// For an axis out of range; when memory does not hold the result.
    #[doc(alias = "repeat_interleave")]
    pub fn repeat(&self, axis: impl Axis, times: usize) -> Result<Self> {
        let axis = self.axis("repeat", axis)?;
        Var::apply(Slicing::Repeat { axis, times }, &[self.into()])
    }

    /// The diagonal of each matrix over the last two axes.
    ///
    /// # Errors
    /// For fewer than two axes.
    pub fn diagonal(&self, offset: isize) -> Result<Self> {
        Var::apply(Slicing::Diagonal { offset }, &[self.into()])
    }

    /// Each matrix over the last two axes with zeros above diagonal number `offset`.
    ///
    /// # Errors
    /// For fewer than two axes.
    pub fn tril(&self, offset: isize) -> Result<Self> {
        Var::apply(Slicing::Tril { offset }, &[self.into()])
    }

    /// Each matrix over the last two axes with zeros beneath diagonal number `offset`.
    ///
    /// # Errors
    /// For fewer than two axes.
    pub fn triu(&self, offset: isize) -> Result<Self> {
        Var::apply(Slicing::Triu { offset }, &[self.into()])
    }
}
