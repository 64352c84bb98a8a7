//! Operations on each element by itself: [`arithmetic`] of two operands, [`functions`] of one with their derivatives, and
//! here those of other forms (bounds, choice, conversion, any closure).

pub(crate) mod arithmetic;
mod functions;

use std::any::Any;

use crate::cpu::Isa;
use crate::cpu::elementwise::{self, Binary, Closure, Unary};
use crate::{Element, Error, Float, Number, Result, Tensor};

fn map<A: Element, O: Element, F: Unary<A, O>>(op: &'static str, x: &Tensor<A>, f: F) -> Result<Tensor<O>> {
    let mut overflow = false;
    let out = Tensor::build(x.dims(), |out| overflow = elementwise::map((x.storage(), x.layout()), out, f))?;
    if overflow { Err(Error::IntegerOverflow { op, dtype: A::DTYPE }) } else { Ok(out) }
}

#[derive(Clone, Copy)]
struct Clamp<T> {
    low: T,
    high: T,
}
impl<T: Number> Unary<T, T> for Clamp<T> {
    #[inline(always)]
    fn at<S: Isa>(self, x: T, _: &mut bool) -> T {
        if x < self.low {
            self.low
        } else if x > self.high {
            self.high
        } else {
            x
        }
    }
}

impl<T: Number> Tensor<T> {
    /// Each element held within `low` and `high`; NaN stays.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when `low` is above `high` or one of them is NaN.
    #[doc(alias = "clip")]
    pub fn clamp(&self, low: T, high: T) -> Result<Self> {
        if low.partial_cmp(&high).is_none_or(std::cmp::Ordering::is_gt) {
            let (what, must) = ("the lower bound", "at most the upper one");
            return Err(Error::bad_setting("clamp", what, low.to_f64(), must));
        }
        map("clamp", self, Clamp { low, high })
    }
}

/// Passes the gradient where the value was not held at a bound.
#[derive(Clone, Copy)]
struct ClampBackward<T>(Clamp<T>);
impl<T: Float> Binary<T, T> for ClampBackward<T> {
    #[inline(always)]
    fn at<S: Isa>(self, x: T, g: T, _: &mut bool) -> T {
        if x < self.0.low || x > self.0.high { T::ZERO } else { g }
    }
}

impl<T: Float> Tensor<T> {
    /// Gradient of the input of [`clamp`](Self::clamp), from its input (this tensor) and the gradient of its output.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the two differ in shape.
    pub fn clamp_backward(&self, gradient: &Self, low: T, high: T) -> Result<Self> {
        arithmetic::zip_alike("clamp_backward", self, gradient, ClampBackward(Clamp { low, high }))
    }
}

#[derive(Clone, Copy)]
struct Not;
impl Unary<bool, bool> for Not {
    #[inline(always)]
    fn at<S: Isa>(self, x: bool, _: &mut bool) -> bool {
        !x
    }
}

impl Tensor<bool> {
    /// The opposite of each truth value.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn not(&self) -> Result<Self> {
        map("not", self, Not)
    }

    /// Takes `a` where true and `b` where false; all three are broadcast to one shape.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![-1.0f32, 2.0, -3.0], [3])?;
    /// let zero = Tensor::scalar(0.0);
    /// assert_eq!(x.lt(&zero)?.select(&zero, &x)?.to_vec(), [0.0, 2.0, 0.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the shapes do not broadcast.
    #[doc(alias = "where")]
    pub fn select<T: Element>(&self, a: &Tensor<T>, b: &Tensor<T>) -> Result<Tensor<T>> {
        let op = "select";
        let shape = crate::shape::broadcast_shapes(op, a.shape(), b.shape())?;
        let shape = crate::shape::broadcast_shapes(op, self.shape(), &shape)?;
        let condition = self.layout().broadcast_to(op, &shape)?;
        let (la, lb) = (a.layout().broadcast_to(op, &shape)?, b.layout().broadcast_to(op, &shape)?);
        Tensor::build(shape, |out| {
            elementwise::select((self.storage(), &condition), (a.storage(), &la), (b.storage(), &lb), out);
        })
    }
}

impl<A: Element> Tensor<A> {
    /// Applies a function to each element, on several threads for large tensors.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 4.0], [2])?;
    /// assert_eq!(x.map(|x| x as u32 + 1)?.to_vec(), [2, 5]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[doc(alias = "apply")]
    pub fn map<O: Element>(&self, f: impl Fn(A) -> O + Send + Sync) -> Result<Tensor<O>> {
        map("map", self, Closure(&f))
    }

    /// The elements converted to another type: floats to integers truncate towards zero, anything other than 0 is `true`, and what
    /// a float type has no number for becomes the nearest, or infinite. Nothing is copied where the type is the same.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let labels = Tensor::from_vec(vec![-100i64, 1], [2])?;
    /// assert_eq!(labels.cast::<u32>().unwrap_err().to_string(), "cast: -100 does not fit into u32; `clamp` it first, or replace it");
    /// assert_eq!(labels.clamp(0, 1)?.cast::<u32>()?.to_vec(), [0, 1]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] for a value that an integer type does not hold, NaN among them; [`Error::OutOfMemory`].
    #[doc(alias("astype", "to"))]
    pub fn cast<O: Element>(&self) -> Result<Tensor<O>> {
        if let Some(same) = (self as &dyn Any).downcast_ref::<Tensor<O>>() {
            return Ok(same.clone());
        }
        match map("cast", self, Cast) {
            Err(Error::IntegerOverflow { op, .. }) => {
                let value = self.to_vec().into_iter().find(|x| !x.fits::<O>());
                let value = value.map_or_else(String::new, |x| x.to_string());
                Err(Error::DoesNotFit { op, value, dtype: O::DTYPE })
            }
            result => result,
        }
    }
}

#[derive(Clone, Copy)]
struct Cast;
impl<A: Element, O: Element> Unary<A, O> for Cast {
    #[inline(always)]
    fn at<S: Isa>(self, x: A, does_not_fit: &mut bool) -> O {
        *does_not_fit |= !x.fits::<O>();
        x.cast()
    }
}
