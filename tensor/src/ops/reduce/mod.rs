//! Reductions over one, several or all axes.
//!
//! Each comes in two forms: the plain one drops the reduced axes, `…_keepdim` leaves them with size 1, ready to broadcast
//! back.

mod statistics;

use crate::cpu::reduce::{self, Add, Fold, Max, Min, Mul};
use crate::layout::Layout;
use crate::shape::{Axes, count};
use crate::{Element, Error, Float, Number, Result, RowMajor, Shape, Tensor};

/// A view whose reduced axes have been moved to one end, as the kernels want it.
pub(crate) struct Arranged<'a, T: Element> {
    pub(crate) data: RowMajor<'a, T>,
    /// Sizes of the axes that stay.
    pub(crate) kept: Shape,
    /// The shape with reduced axes of size 1.
    pub(crate) keepdim: Shape,
    /// Elements folded into one.
    pub(crate) len: usize,
    /// Reduced axes come before the last kept ones: `[matrices, len, columns]`.
    pub(crate) columns: Option<usize>,
}

pub(crate) fn arrange<'a, T: Element>(
    op: &'static str,
    x: &'a Tensor<T>,
    axes: &Axes,
) -> Result<Arranged<'a, T>> {
    let mask = axes.mask(op, x.shape())?;
    let kept: Shape = (0..x.rank()).filter(|&i| !mask[i]).map(|i| x.shape()[i]).collect();
    let keepdim: Shape = (0..x.rank()).map(|i| if mask[i] { 1 } else { x.shape()[i] }).collect();
    let len = count(&(0..x.rank()).filter(|&i| mask[i]).map(|i| x.shape()[i]).collect::<Shape>());
    // kept… reduced… kept…: fold whole rows, without moving anything.
    let reduced: Vec<usize> = (0..x.rank()).filter(|&i| mask[i]).collect();
    if let (Some(&first), Some(&last)) = (reduced.first(), reduced.last()) {
        let together = last - first + 1 == reduced.len();
        let columns = count(&x.shape()[last + 1..]);
        if together && columns > 1 && x.is_contiguous() {
            return Ok(Arranged { data: x.row_major()?, kept, keepdim, len, columns: Some(columns) });
        }
    }
    let order: Vec<usize> = (0..x.rank()).filter(|&i| !mask[i]).chain(reduced).collect();
    let data = x.view(x.layout().permute(&order)).into_row_major()?;
    Ok(Arranged { data, kept, keepdim, len, columns: None })
}

/// What is folded into one result as one run of elements.
pub(crate) struct Runs<T: Element> {
    pub(crate) data: RowMajor<'static, T>,
    /// Elements of a run.
    pub(crate) len: usize,
    /// The results' shape.
    pub(crate) shape: Shape,
}

/// A tensor with the axes that are folded moved behind the others, in their own order.
pub(crate) fn runs<T: Element>(
    op: &'static str,
    x: &Tensor<T>,
    axes: &Axes,
    keepdim: bool,
) -> Result<Runs<T>> {
    let mask = axes.mask(op, x.shape())?;
    let (folded, kept): (Vec<usize>, Vec<usize>) = (0..x.rank()).partition(|&axis| mask[axis]);
    let sizes = |axes: &[usize]| axes.iter().map(|&axis| x.shape()[axis]).collect::<Shape>();
    let len = count(&sizes(&folded));
    let shape = if keepdim { axes.keepdim(op, x.shape())? } else { sizes(&kept) };
    let order = [kept, folded].concat();
    Ok(Runs { data: x.view(x.layout().permute(&order)).into_row_major()?, len, shape })
}

/// Folds over axes.
pub(crate) fn fold<T: Element, F: Fold<T>>(
    op: &'static str,
    x: &Tensor<T>,
    axes: &Axes,
    keepdim: bool,
    fold: F,
) -> Result<Tensor<T>> {
    let arranged = arrange(op, x, axes)?;
    let data = &arranged.data[..];
    let mut overflow = false;
    let shape = if keepdim { arranged.keepdim } else { arranged.kept };
    let out = Tensor::build(shape, |out| {
        overflow = match arranged.columns {
            Some(columns) => reduce::columns(data, arranged.len, columns, out, fold),
            None => reduce::runs(data, arranged.len, out, fold),
        };
    })?;
    if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(out) }
}

fn reject_empty<T: Element>(op: &'static str, x: &Tensor<T>, axes: &Axes) -> Result<()> {
    let mask = axes.mask(op, x.shape())?;
    let empty = x.shape().iter().zip(&mask).any(|(&size, &reduced)| reduced && size == 0);
    if empty { Err(Error::EmptyReduction { op, shape: x.dims().clone() }) } else { Ok(()) }
}

macro_rules! reduction {
    ($($(#[$doc:meta])* $name:ident, $keepdim:ident: $bound:ident, |$x:ident, $axes:ident, $keep:ident| $body:expr;)*) => {
        impl_reduction! { $($(#[$doc])* $name, $keepdim: $bound, |$x, $axes, $keep| $body;)* }
    };
}
macro_rules! impl_reduction {
    ($($(#[$doc:meta])* $name:ident, $keepdim:ident: $bound:ident, |$x:ident, $axes:ident, $keep:ident| $body:expr;)*) => {$(
        impl<T: $bound> Tensor<T> {
            $(#[$doc])*
            ///
            /// `axes` is one axis, an array of axes, or `..` for all.
            ///
            /// # Errors
            /// [`Error::AxisOutOfRange`], [`Error::RepeatedAxis`]; [`Error::IntegerOverflow`] when a sum or product of
            /// integers, or of some of them, does not fit their type (`cast` to a wider one first).
            pub fn $name(&self, axes: impl Into<Axes>) -> Result<Self> {
                let ($x, $axes, $keep) = (self, axes.into(), false);
                $body
            }

            #[doc = concat!("As [`", stringify!($name), "`](Self::", stringify!($name), "), leaving the reduced axes with size 1.")]
            ///
            /// # Errors
            #[doc = concat!("As [`", stringify!($name), "`](Self::", stringify!($name), ").")]
            pub fn $keepdim(&self, axes: impl Into<Axes>) -> Result<Self> {
                let ($x, $axes, $keep) = (self, axes.into(), true);
                $body
            }
        }
    )*};
}

reduction! {
    /// Sum over axes, accurate to a few units in the last place for any length; 0 for no elements.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// assert_eq!(x.sum(0)?.to_vec(), [4.0, 6.0]);
    /// assert_eq!(x.sum(-1)?.to_vec(), [3.0, 7.0]);
    /// assert_eq!(x.sum(..)?.item()?, 10.0);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    sum, sum_keepdim: Number, |x, axes, keep| fold("sum", x, &axes, keep, Add);
    /// Product over axes; 1 for no elements.
    prod, prod_keepdim: Number, |x, axes, keep| fold("prod", x, &axes, keep, Mul);
    /// Mean over axes; NaN for no elements.
    mean, mean_keepdim: Float, |x, axes, keep| {
        let mask = axes.mask("mean", x.shape())?;
        let count = count(&(0..x.rank()).filter(|&i| mask[i]).map(|i| x.shape()[i]).collect::<Shape>());
        // Divided and not multiplied by 1 / count, which is rounded: the mean of equal numbers is that number.
        fold("mean", x, &axes, keep, Add)?.div(&Self::scalar(T::from_f64(count as f64)))
    };
    /// Largest element over axes; NaN if one is among them. No elements are an [`Error::EmptyReduction`].
    max, max_keepdim: Number, |x, axes, keep| {
        reject_empty("max", x, &axes)?;
        fold("max", x, &axes, keep, Max)
    };
    /// Smallest element over axes; NaN if one is among them. No elements are an [`Error::EmptyReduction`].
    min, min_keepdim: Number, |x, axes, keep| {
        reject_empty("min", x, &axes)?;
        fold("min", x, &axes, keep, Min)
    };
}

impl<T: Number> Tensor<T> {
    /// Where the largest element stands over axes, the first of equals; a NaN counts as the largest. Over several axes, or
    /// all (`..`), positions are counted in row-major order over these.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1, 5, 7, 2i64], [2, 2])?;
    /// assert_eq!(x.argmax(-1)?.to_vec(), [1, 0]);
    /// assert_eq!(x.argmax(..)?.item()?, 2);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::EmptyReduction`], [`Error::AxisOutOfRange`], [`Error::RepeatedAxis`]; [`Error::BadShape`] for more positions
    /// than 32 bits count.
    pub fn argmax(&self, axes: impl Into<Axes>) -> Result<Tensor<u32>> {
        self.arg_best("argmax", &axes.into(), false, Max)
    }

    /// As [`argmax`](Self::argmax), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`argmax`](Self::argmax).
    pub fn argmax_keepdim(&self, axes: impl Into<Axes>) -> Result<Tensor<u32>> {
        self.arg_best("argmax", &axes.into(), true, Max)
    }

    /// Where the smallest element stands over axes, the first of equals; a NaN counts as the smallest. Places are counted
    /// as by [`argmax`](Self::argmax).
    ///
    /// # Errors
    /// As [`argmax`](Self::argmax).
    pub fn argmin(&self, axes: impl Into<Axes>) -> Result<Tensor<u32>> {
        self.arg_best("argmin", &axes.into(), false, Min)
    }

    /// As [`argmin`](Self::argmin), leaving the reduced axes with size 1.
    ///
    /// # Errors
    /// As [`argmax`](Self::argmax).
    pub fn argmin_keepdim(&self, axes: impl Into<Axes>) -> Result<Tensor<u32>> {
        self.arg_best("argmin", &axes.into(), true, Min)
    }

    fn arg_best(
        &self,
        op: &'static str,
        axes: &Axes,
        keepdim: bool,
        fold: impl Fold<T>,
    ) -> Result<Tensor<u32>> {
        reject_empty(op, self, axes)?;
        let runs = runs(op, self, axes, keepdim)?;
        if u32::try_from(runs.len).is_err() && !self.is_empty() {
            return Err(Error::bad_shape(op, self.shape(), "positions are counted in 32 bits"));
        }
        let data = &runs.data[..];
        Tensor::build(runs.shape, |out| reduce::arg_best(data, runs.len, out, fold))
    }

    /// Summed down to `shape`, which must broadcast to this tensor's: the gradient of broadcasting.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when `shape` does not broadcast to this tensor's shape.
    pub fn sum_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if *self.dims() == shape {
            return Ok(self.clone());
        }
        Layout::contiguous(shape.clone()).broadcast_to("sum_to", self.shape())?;
        let new = self.rank() - shape.rank();
        let axes: Vec<usize> =
            (0..self.rank()).filter(|&i| i < new || shape[i - new] == 1 && self.shape()[i] != 1).collect();
        self.sum(axes.as_slice())?.reshape(shape)
    }
}
