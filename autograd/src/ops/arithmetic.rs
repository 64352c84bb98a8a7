//! Arithmetic on two variables, with broadcasting. A gradient is summed over the axes its operand was stretched along.

use std::ops;

use cairn_tensor::{Float, Tensor};

use super::when;
use crate::{Result, Settings, Var};

impl<T: Float> Var<T> {
    /// Sum, element by element, with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast; so for all operations here.
    pub fn add(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.dims().clone(), rhs.dims().clone());
        let value = self.value().add(rhs.value())?;
        Ok(Var::from_op("add", value, [self, rhs], move |g, [left, right]| {
            Ok([when(left, || g.sum_to(&a))?, when(right, || g.sum_to(&b))?])
        }))
    }

    /// Difference, element by element, with broadcasting.
    pub fn sub(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.dims().clone(), rhs.dims().clone());
        let value = self.value().sub(rhs.value())?;
        Ok(Var::from_op("sub", value, [self, rhs], move |g, [left, right]| {
            Ok([when(left, || g.sum_to(&a))?, when(right, || g.sum_to(&b)?.neg())?])
        }))
    }

    /// Product, element by element, with broadcasting.
    pub fn mul(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.value().clone(), rhs.value().clone());
        let value = a.mul(&b)?;
        Ok(Var::from_op("mul", value, [self, rhs], move |g, [left, right]| {
            Ok([when(left, || g.mul(&b)?.sum_to(a.dims()))?, when(right, || g.mul(&a)?.sum_to(b.dims()))?])
        }))
    }

    /// Quotient, element by element, with broadcasting.
    pub fn div(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.value().clone(), rhs.value().clone());
        let value = a.div(&b)?;
        let y = value.clone();
        Ok(Var::from_op("div", value, [self, rhs], move |g, [left, right]| {
            Ok([
                when(left, || g.div(&b)?.sum_to(a.dims()))?,
                // d(a/b)/db = -(a/b)/b
                when(right, || g.mul(&y)?.div(&b)?.neg()?.sum_to(b.dims()))?,
            ])
        }))
    }

    /// `self` to the power `rhs`, element by element, with broadcasting. Where `self` is 0 the derivative by the exponent
    /// is taken as 0.
    pub fn pow(&self, rhs: &Self) -> Result<Self> {
        let (a, b) = (self.value().clone(), rhs.value().clone());
        let value = a.pow(&b)?;
        let y = value.clone();
        Ok(Var::from_op("pow", value, [self, rhs], move |g, [left, right]| {
            let (zero, one) = (Tensor::scalar(T::ZERO), Tensor::scalar(T::ONE));
            Ok([
                when(left, || {
                    // x⁰ is 1 everywhere, at 0 too, where 0 · 0⁻¹ would be NaN.
                    let slope = b.eq(&zero)?.select(&zero, &b.mul(&a.pow(&b.sub(&one)?)?)?)?;
                    g.mul(&slope)?.sum_to(a.dims())
                })?,
                when(right, || {
                    let log = a.eq(&zero)?.select(&zero, &a.log()?)?;
                    g.mul(&y)?.mul(&log)?.sum_to(b.dims())
                })?,
            ])
        }))
    }

    /// The larger of two elements; where they are equal each gets half the gradient.
    pub fn maximum(&self, rhs: &Self) -> Result<Self> {
        let value = self.value().maximum(rhs.value())?;
        self.chosen("maximum", rhs, value)
    }

    /// The smaller of two elements; where they are equal each gets half the gradient.
    pub fn minimum(&self, rhs: &Self) -> Result<Self> {
        let value = self.value().minimum(rhs.value())?;
        self.chosen("minimum", rhs, value)
    }

    /// An operation that passes on one of its operands.
    fn chosen(&self, op: &'static str, rhs: &Self, value: Tensor<T>) -> Result<Self> {
        let (a, b, y) = (self.value().clone(), rhs.value().clone(), value.clone());
        Ok(Var::from_op(op, value, [self, rhs], move |g, [left, right]| {
            let (zero, half) = (Tensor::scalar(T::ZERO), g.scale(T::from_f64(0.5))?);
            // The operand's share: nothing where it was not chosen, half where both were, else all.
            let share = |own: &Tensor<T>, other: &Tensor<T>| {
                let all_or_half = own.eq(other)?.select(&half, g)?;
                own.eq(&y)?.select(&all_or_half, &zero)?.sum_to(own.dims())
            };
            Ok([when(left, || share(&a, &b))?, when(right, || share(&b, &a))?])
        }))
    }

    /// Takes `a` where `condition` is true and `b` where it is false; all three are broadcast to one shape.
    pub fn select(condition: &Tensor<bool>, a: &Self, b: &Self) -> Result<Self> {
        let value = condition.select(a.value(), b.value())?;
        let told = condition.clone();
        let (condition, a_shape, b_shape) = (condition.clone(), a.dims().clone(), b.dims().clone());
        let result = Var::from_op("select", value, [a, b], move |g, [left, right]| {
            let zero = Tensor::scalar(T::ZERO);
            Ok([
                when(left, || condition.select(g, &zero)?.sum_to(&a_shape))?,
                when(right, || condition.select(&zero, g)?.sum_to(&b_shape))?,
            ])
        });
        Ok(result.told(|| Settings::Mask(told, None)))
    }
}

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
