//! Elementwise operations on two operands, with broadcasting, and the operators that stand for them.
//!
//! One line of the table below makes a method with its documentation; the operators are made from the methods.

use std::ops;

use crate::cpu::Isa;
use crate::cpu::elementwise::{self, Binary, Unary};
use crate::error::or_panic;
use crate::shape::broadcast_shapes;
use crate::{Element, Error, Float, Number, Result, Tensor};

/// Runs a two-operand operation over broadcast operands.
fn zip<A: Element, O: Element, F: Binary<A, O>>(
    op: &'static str,
    a: &Tensor<A>,
    b: &Tensor<A>,
    f: F,
) -> Result<Tensor<O>> {
    let mut overflow = false;
    let out = if a.shape() == b.shape() {
        Tensor::build(a.dims(), |out| {
            overflow = elementwise::zip((a.storage(), a.layout()), (b.storage(), b.layout()), out, f);
        })?
    } else {
        let shape = broadcast_shapes(op, a.shape(), b.shape())?;
        let (la, lb) = (a.layout().broadcast_to(op, &shape)?, b.layout().broadcast_to(op, &shape)?);
        Tensor::build(shape, |out| {
            overflow = elementwise::zip((a.storage(), &la), (b.storage(), &lb), out, f);
        })?
    };
    if overflow { Err(Error::IntegerOverflow { op, dtype: A::DTYPE }) } else { Ok(out) }
}

/// As [`zip`], for operands that must have one shape.
pub(crate) fn zip_alike<T: Element, F: Binary<T, T>>(
    op: &'static str,
    a: &Tensor<T>,
    b: &Tensor<T>,
    f: F,
) -> Result<Tensor<T>> {
    if a.shape() != b.shape() {
        return Err(Error::mismatch(op, a.shape(), b.shape(), "the shapes must be equal"));
    }
    zip(op, a, b, f)
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident, $type:ident: $bound:ident -> $out:ty, <$s:ident>|$a:ident, $b:ident, $overflow:ident| $body:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            pub(crate) struct $type;
            impl<T: $bound> Binary<T, $out> for $type {
                #[inline(always)]
                fn at<$s: Isa>(self, $a: T, $b: T, $overflow: &mut bool) -> $out {
                    $body
                }
            }
            impl<T: $bound> Tensor<T> {
                $(#[$doc])*
                ///
                /// The operands are broadcast to one shape, as in NumPy.
                ///
                /// # Errors
                /// [`Error::ShapeMismatch`] when the shapes do not broadcast; for integers [`Error::IntegerOverflow`].
                pub fn $name(&self, rhs: &Self) -> Result<Tensor<$out>> {
                    zip(stringify!($name), self, rhs, $type)
                }
            }
        )*
    };
}

binary! {
    /// Sum, element by element.
    add, Add: Number -> T, <S>|a, b, overflow| a.add(b, overflow);
    /// Difference, element by element.
    sub, Sub: Number -> T, <S>|a, b, overflow| a.sub(b, overflow);
    /// Product, element by element (for the matrix product see [`Tensor::matmul`]).
    mul, Mul: Number -> T, <S>|a, b, overflow| a.mul(b, overflow);
    /// Quotient, element by element; integers round towards zero.
    div, Div: Number -> T, <S>|a, b, overflow| a.div(b, overflow);
    /// The larger of two elements; NaN if either is.
    maximum, Maximum: Number -> T, <S>|a, b, _fault| if a > b || a.is_nan() { a } else { b };
    /// The smaller of two elements; NaN if either is.
    minimum, Minimum: Number -> T, <S>|a, b, _fault| if a < b || a.is_nan() { a } else { b };
    /// `self` to the power `rhs`, element by element.
    pow, Pow: Float -> T, <S>|a, b, _fault| a.pow::<S>(b);
    /// Whether elements are equal.
    eq, Eq: Element -> bool, <S>|a, b, _fault| a == b;
    /// Whether elements differ.
    ne, Ne: Element -> bool, <S>|a, b, _fault| a != b;
    /// Whether elements of `self` are less.
    lt, Lt: Element -> bool, <S>|a, b, _fault| a < b;
    /// Whether elements of `self` are less or equal.
    le, Le: Element -> bool, <S>|a, b, _fault| a <= b;
    /// Whether elements of `self` are greater.
    gt, Gt: Element -> bool, <S>|a, b, _fault| a > b;
    /// Whether elements of `self` are greater or equal.
    ge, Ge: Element -> bool, <S>|a, b, _fault| a >= b;
}

macro_rules! logical {
    ($($(#[$doc:meta])* $name:ident, $type:ident: |$a:ident, $b:ident| $body:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $type;
            impl Binary<bool, bool> for $type {
                #[inline(always)]
                fn at<S: Isa>(self, $a: bool, $b: bool, _: &mut bool) -> bool {
                    $body
                }
            }
            impl Tensor<bool> {
                $(#[$doc])*
                ///
                /// The operands are broadcast to one shape.
                ///
                /// # Errors
                /// [`Error::ShapeMismatch`] when the shapes do not broadcast.
                pub fn $name(&self, rhs: &Self) -> Result<Self> {
                    zip(stringify!($name), self, rhs, $type)
                }
            }
        )*
    };
}

logical! {
    /// Whether both are true.
    and, And: |a, b| a & b;
    /// Whether one or both are true.
    or, Or: |a, b| a | b;
    /// Whether one, but not both, are true.
    xor, Xor: |a, b| a ^ b;
}

impl<T: Number> Tensor<T> {
    /// `self += rhs` in place, where `rhs` broadcasts to the shape of `self`. Copies first if storage is shared.
    ///
    /// # Errors
    /// As [`add`](Self::add); `self` is then unchanged, or for integers holds partly updated values.
    pub fn add_assign(&mut self, rhs: &Self) -> Result<()> {
        let op = "add_assign";
        let rhs = rhs.broadcast_to(self.dims()).map_err(|_| {
            Error::mismatch(op, self.shape(), rhs.shape(), "the right must broadcast to the left")
        })?;
        let overflow = elementwise::update(self.as_mut_slice()?, &rhs.row_major()?, Add);
        if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(()) }
    }

    /// Each element times `factor`.
    ///
    /// # Errors
    /// For integers [`Error::IntegerOverflow`].
    pub fn scale(&self, factor: T) -> Result<Self> {
        zip("scale", self, &Tensor::scalar(factor), Mul)
    }

    /// As [`scale`](Self::scale), in place. Copies first if storage is shared.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let mut x = Tensor::from_vec(vec![1.0f32, -2.0], [2])?;
    /// let before = x.clone();
    /// x.scale_assign(0.5)?;
    /// assert_eq!((x, before.to_vec()), (before.scale(0.5)?, vec![1.0, -2.0]));
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`scale`](Self::scale); `self` is then unchanged, or for integers holds partly scaled values.
    pub fn scale_assign(&mut self, factor: T) -> Result<()> {
        let op = "scale_assign";
        let overflow = elementwise::change(self.as_mut_slice()?, Times(factor));
        if overflow { Err(Error::IntegerOverflow { op, dtype: T::DTYPE }) } else { Ok(()) }
    }
}

/// An element times a number.
#[derive(Clone, Copy)]
struct Times<T>(T);
impl<T: Number> Unary<T, T> for Times<T> {
    #[inline(always)]
    fn at<S: Isa>(self, x: T, overflow: &mut bool) -> T {
        x.mul(self.0, overflow)
    }
}

macro_rules! operator {
    ($($trait:ident, $name:ident, $fallible:ident;)*) => {$(
        impl<T: Number> ops::$trait<&Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: &Tensor<T>) -> Tensor<T> {
                or_panic(Tensor::$fallible(self, rhs))
            }
        }
        impl<T: Number> ops::$trait<Tensor<T>> for &Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: Tensor<T>) -> Tensor<T> {
                or_panic(Tensor::$fallible(self, &rhs))
            }
        }
        impl<T: Number> ops::$trait<&Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: &Tensor<T>) -> Tensor<T> {
                or_panic(Tensor::$fallible(&self, rhs))
            }
        }
        impl<T: Number> ops::$trait<Tensor<T>> for Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: Tensor<T>) -> Tensor<T> {
                or_panic(Tensor::$fallible(&self, &rhs))
            }
        }
        impl<T: Number> ops::$trait<T> for &Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: T) -> Tensor<T> {
                or_panic(Tensor::$fallible(self, &Tensor::scalar(rhs)))
            }
        }
        impl<T: Number> ops::$trait<T> for Tensor<T> {
            type Output = Tensor<T>;
            #[track_caller]
            fn $name(self, rhs: T) -> Tensor<T> {
                or_panic(Tensor::$fallible(&self, &Tensor::scalar(rhs)))
            }
        }
    )*};
}
operator! {
    Add, add, add;
    Sub, sub, sub;
    Mul, mul, mul;
    Div, div, div;
}

impl<T: Number> ops::Neg for &Tensor<T> {
    type Output = Tensor<T>;
    #[track_caller]
    fn neg(self) -> Tensor<T> {
        or_panic(Tensor::neg(self))
    }
}
impl<T: Number> ops::Neg for Tensor<T> {
    type Output = Tensor<T>;
    #[track_caller]
    fn neg(self) -> Tensor<T> {
        or_panic(Tensor::neg(&self))
    }
}
impl<T: Number> ops::AddAssign<&Tensor<T>> for Tensor<T> {
    #[track_caller]
    fn add_assign(&mut self, rhs: &Tensor<T>) {
        or_panic(Tensor::add_assign(self, rhs));
    }
}

/// Equal shapes and equal elements; NaN equals nothing, as in IEEE 754.
impl<T: Element> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.iter().zip(other.iter()).all(|(a, b)| a == b)
    }
}
