//! Arithmetic on two tensors and choices between them, with broadcasting. A gradient is summed over the axes its operand was
//! stretched along.

use std::ops;

use cairn_tensor::{Float, Tensor};

use super::{by, keep, when};
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Arithmetic on two tensors, and choices between them, with broadcasting.
    Arithmetic {
        /// a + b
        Add = "add",
        /// a - b
        Sub = "sub",
        /// a b
        Mul = "mul",
        /// a / b
        Div = "div",
        /// a to the power of b
        Pow = "pow",
        /// The larger of a and b.
        Maximum = "maximum",
        /// The smaller of a and b.
        Minimum = "minimum",
        /// a where the mask, the first operand, is true, else b.
        Select = "select",
    }
}

impl Rule for Arithmetic {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        if *self == Arithmetic::Select {
            return select(x.mask(0)?, x.float(1)?, x.float(2)?, wanted);
        }
        let (a, b) = (x.float(0)?, x.float(1)?);
        match self {
            Arithmetic::Add => sum([a, b], a.add(b)?, wanted),
            Arithmetic::Sub => wanted.ran(a.sub(b)?, |_, [left, right]| {
                let (a, b) = (a.dims().clone(), b.dims().clone());
                move |g| Ok([when(left, || g.sum_to(&a))?, when(right, || g.sum_to(&b)?.neg())?])
            }),
            Arithmetic::Mul => wanted.ran(a.mul(b)?, |_, [left, right]| {
                let (x, y) = (keep(right, a), keep(left, b));
                let (a, b) = (a.dims().clone(), b.dims().clone());
                move |g| Ok([by(y, |y| g.mul(&y)?.sum_to(&a))?, by(x, |x| g.mul(&x)?.sum_to(&b))?])
            }),
            Arithmetic::Div => wanted.ran(a.div(b)?, |y, [left, right]| {
                let (a, b, y) = (a.dims().clone(), b.clone(), keep(right, y));
                move |g| {
                    // d(a/b)/db = -(a/b)/b; divided first, since g · y may overflow where the result does not.
                    let of_left = g.div(&b)?;
                    Ok([
                        when(left, || of_left.sum_to(&a))?,
                        by(y, |y| of_left.mul(&y)?.neg()?.sum_to(b.dims()))?,
                    ])
                }
            }),
            Arithmetic::Pow => pow(a, b, wanted),
            Arithmetic::Maximum => chosen(a, b, a.maximum(b)?, wanted),
            Arithmetic::Minimum | Arithmetic::Select => chosen(a, b, a.minimum(b)?, wanted),
        }
    }
}

/// The sum of two tensors, which has been computed.
pub(super) fn sum<T: Float>([a, b]: [&Tensor<T>; 2], value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    wanted.ran(value, |_, [left, right]| {
        let (a, b) = (a.dims().clone(), b.dims().clone());
        move |g| Ok([when(left, || g.sum_to(&a))?, when(right, || g.sum_to(&b))?])
    })
}

fn pow<T: Float>(a: &Tensor<T>, b: &Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    wanted.ran(a.pow(b)?, |y, [left, right]| {
        let (a, b, y) = (a.clone(), b.clone(), keep(right, y));
        move |g| {
            let (zero, one) = (Tensor::scalar(T::ZERO), Tensor::scalar(T::ONE));
            Ok([
                when(left, || {
                    // x⁰ is 1 everywhere, at 0 too, where 0 · 0⁻¹ would be NaN.
                    let slope = b.eq(&zero)?.select(&zero, &b.mul(&a.pow(&b.sub(&one)?)?)?)?;
                    g.mul(&slope)?.sum_to(a.dims())
                })?,
                by(y, |y| {
                    // At 0 it is 0 for exponents from 0 up, where ∞ · 0 would be NaN, and -∞ below.
                    let slope = y.mul(&a.log()?)?;
                    let slope = a.eq(&zero)?.and(&b.ge(&zero)?)?.select(&zero, &slope)?;
                    g.mul(&slope)?.sum_to(b.dims())
                })?,
            ])
        }
    })
}

/// An operation that passes on one of its operands.
fn chosen<T: Float>(a: &Tensor<T>, b: &Tensor<T>, value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    wanted.ran(value, |y, [left, right]| {
        let (a, b, y) = (a.clone(), b.clone(), y.clone());
        move |g| {
            let (zero, half) = (Tensor::scalar(T::ZERO), g.scale(T::from_f64(0.5))?);
            // The operand's share: nothing where it was not chosen, half where both were, else all.
            let share = |own: &Tensor<T>, other: &Tensor<T>| {
                let all_or_half = own.eq(other)?.select(&half, g)?;
                own.eq(&y)?.select(&all_or_half, &zero)?.sum_to(own.dims())
            };
            Ok([when(left, || share(&a, &b))?, when(right, || share(&b, &a))?])
        }
    })
}

fn select<T: Float>(
    condition: &Tensor<bool>,
    a: &Tensor<T>,
    b: &Tensor<T>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    wanted.ran(condition.select(a, b)?, |_, [left, right]| {
        let (condition, a, b) = (condition.clone(), a.dims().clone(), b.dims().clone());
        move |g| {
            let zero = Tensor::scalar(T::ZERO);
            Ok([
                when(left, || condition.select(g, &zero)?.sum_to(&a))?,
                when(right, || condition.select(&zero, g)?.sum_to(&b))?,
            ])
        }
    })
}

impl<T: Float> Var<T> {
    /// Sum, element by element, with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn add(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Add, &[self.into(), rhs.into()])
    }

    /// Difference, element by element, with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn sub(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Sub, &[self.into(), rhs.into()])
    }

    /// Product, element by element, with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn mul(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Mul, &[self.into(), rhs.into()])
    }

    /// Quotient, element by element, with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn div(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Div, &[self.into(), rhs.into()])
    }

    /// `self` to the power `rhs`, element by element, with broadcasting. Where `self` is 0 the derivative by the exponent
    /// is 0 for exponents from 0 up, and -∞ below.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn pow(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Pow, &[self.into(), rhs.into()])
    }

    /// The larger of two elements; where they are equal each gets half the gradient.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn maximum(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Maximum, &[self.into(), rhs.into()])
    }

    /// The smaller of two elements; where they are equal each gets half the gradient.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    pub fn minimum(&self, rhs: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Minimum, &[self.into(), rhs.into()])
    }

    /// Takes `a` where `condition` is true and `b` where it is false; all three are broadcast to one shape.
    ///
    /// # Errors
    /// When the shapes do not broadcast to one.
    #[doc(alias = "where")]
    pub fn select(condition: &Tensor<bool>, a: &Self, b: &Self) -> Result<Self> {
        Var::apply(Arithmetic::Select, &[condition.into(), a.into(), b.into()])
    }
}

/// Operators have no way to return an error: they panic with its text, at the place of the caller, as the front page says; the methods of
/// the same names return it.
#[track_caller]
fn or_panic<T: Float>(result: Result<Var<T>>) -> Var<T> {
    match result {
        Ok(var) => var,
        Err(error) => panic!("{error}"),
    }
}

macro_rules! operator {
    ($($trait:ident, $name:ident;)*) => {$(
        impl<T: Float> ops::$trait<&Var<T>> for &Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: &Var<T>) -> Var<T> {
                or_panic(Var::$name(self, rhs))
            }
        }
        impl<T: Float> ops::$trait<Var<T>> for &Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: Var<T>) -> Var<T> {
                or_panic(Var::$name(self, &rhs))
            }
        }
        impl<T: Float> ops::$trait<&Var<T>> for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: &Var<T>) -> Var<T> {
                or_panic(Var::$name(&self, rhs))
            }
        }
        impl<T: Float> ops::$trait<Var<T>> for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: Var<T>) -> Var<T> {
                or_panic(Var::$name(&self, &rhs))
            }
        }
        impl<T: Float> ops::$trait<T> for &Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: T) -> Var<T> {
                or_panic(Var::$name(self, &Var::constant(Tensor::scalar(rhs))))
            }
        }
        impl<T: Float> ops::$trait<T> for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $name(self, rhs: T) -> Var<T> {
                or_panic(Var::$name(&self, &Var::constant(Tensor::scalar(rhs))))
            }
        }
    )*};
}
/// A number on the left.
macro_rules! number_on_the_left {
    ($t:ty: $($trait:ident, $name:ident;)*) => {$(
        impl ops::$trait<&Var<$t>> for $t {
            type Output = Var<$t>;
            #[track_caller]
            fn $name(self, rhs: &Var<$t>) -> Var<$t> {
                or_panic(Var::$name(&Var::constant(Tensor::scalar(self)), rhs))
            }
        }
        impl ops::$trait<Var<$t>> for $t {
            type Output = Var<$t>;
            #[track_caller]
            fn $name(self, rhs: Var<$t>) -> Var<$t> {
                ops::$trait::$name(self, &rhs)
            }
        }
    )*};
}
number_on_the_left! { f32: Add, add; Sub, sub; Mul, mul; Div, div; }
number_on_the_left! { f64: Add, add; Sub, sub; Mul, mul; Div, div; }

operator! {
    Add, add;
    Sub, sub;
    Mul, mul;
    Div, div;
}

impl<T: Float> ops::Neg for &Var<T> {
    type Output = Var<T>;
    #[track_caller]
    fn neg(self) -> Var<T> {
        or_panic(Var::neg(self))
    }
}
impl<T: Float> ops::Neg for Var<T> {
    type Output = Var<T>;
    #[track_caller]
    fn neg(self) -> Var<T> {
        or_panic(Var::neg(&self))
    }
}
