//! The derivatives of the elementwise functions, as one table.
//!
//! `f_backward` takes the gradient of `f`'s output to that of its input, in one pass: gradient times derivative. It is a
//! method of whatever the derivative is cheapest to compute from, which is said for each: the function's output `y` where
//! the derivative can be written with it, else its input `x`. That tensor is all that has to be kept for the backward pass.

use crate::arithmetic::zip_alike;
use crate::cpu::Isa;
use crate::cpu::elementwise::Binary;
use crate::{Float, Result, Tensor};

/// A constant of the element type.
#[inline(always)]
fn c<T: Float>(x: f64) -> T {
    T::from_f64(x)
}

#[inline(always)]
fn logistic<S: Isa, T: Float>(x: T) -> T {
    x.sigmoid::<S>()
}

/// Density of the standard normal distribution.
#[inline(always)]
fn density<S: Isa, T: Float>(x: T) -> T {
    c::<T>(0.398_942_280_401_432_7) * (c::<T>(-0.5) * x * x).exp::<S>()
}

macro_rules! derivatives {
    ($($name:ident($($arg:ident),*) of $kept:ident, $type:ident, cost $cost:literal, <$s:ident>|$v:ident, $g:ident| $body:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $type<T> { $($arg: T,)* of: std::marker::PhantomData<T> }
        impl<T: Float> Binary<T, T> for $type<T> {
            const COST: usize = $cost;
            #[inline(always)]
            fn at<$s: Isa>(self, $v: T, $g: T, _: &mut bool) -> T {
                $(let $arg = self.$arg;)*
                $body
            }
        }
        impl<T: Float> Tensor<T> {
            #[doc = concat!("Gradient of the input of the function in this method's name, from its ", stringify!($kept), " (this tensor) and the gradient of its output.")]
            ///
            /// # Errors
            /// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) when the two differ in shape.
            pub fn $name(&self, gradient: &Self, $($arg: T),*) -> Result<Self> {
                zip_alike(stringify!($name), self, gradient, $type { $($arg,)* of: std::marker::PhantomData })
            }
        }
    )*};
}

derivatives! {
    // Written with the output y.
    relu_backward() of output, Relu, cost 1, <S>|y, g| if y > T::ZERO { g } else { T::ZERO };
    exp_backward() of output, Exp, cost 1, <S>|y, g| g * y;
    expm1_backward() of output, Expm1, cost 1, <S>|y, g| g * (y + T::ONE);
    sqrt_backward() of output, Sqrt, cost 2, <S>|y, g| c::<T>(0.5) * g / y;
    rsqrt_backward() of output, Rsqrt, cost 1, <S>|y, g| c::<T>(-0.5) * g * y * y * y;
    recip_backward() of output, Recip, cost 1, <S>|y, g| -(g * y * y);
    tanh_backward() of output, Tanh, cost 1, <S>|y, g| g * (T::ONE - y * y);
    sigmoid_backward() of output, Sigmoid, cost 1, <S>|y, g| g * y * (T::ONE - y);

    // Written with the input x. At a kink the derivative is that of the side where the function is constant, or 0.
    abs_backward() of input, Abs, cost 1, <S>|x, g| {
        if x > T::ZERO { g } else if x < T::ZERO { -g } else { T::ZERO * g }
    };
    square_backward() of input, Square, cost 1, <S>|x, g| c::<T>(2.0) * x * g;
    log_backward() of input, Log, cost 2, <S>|x, g| g / x;
    log1p_backward() of input, Log1p, cost 2, <S>|x, g| g / (T::ONE + x);
    sin_backward() of input, Sin, cost 16, <S>|x, g| g * x.cos::<S>();
    cos_backward() of input, Cos, cost 16, <S>|x, g| -(g * x.sin::<S>());
    erf_backward() of input, Erf, cost 8, <S>|x, g| g * c::<T>(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp::<S>();
    softplus_backward() of input, Softplus, cost 8, <S>|x, g| g * logistic::<S, T>(x);
    silu_backward() of input, Silu, cost 8, <S>|x, g| {
        let s = logistic::<S, T>(x);
        g * s * (T::ONE + x * (T::ONE - s))
    };
    gelu_backward() of input, Gelu, cost 24, <S>|x, g| {
        g * (x.normal_cdf::<S>() + x * density::<S, T>(x))
    };
    gelu_tanh_backward() of input, GeluTanh, cost 12, <S>|x, g| {
        let k = c::<T>((2.0 / std::f64::consts::PI).sqrt());
        let t = (k * (x + c::<T>(0.044_715) * x * x * x)).tanh::<S>();
        let slope = k * (T::ONE + c::<T>(3.0 * 0.044_715) * x * x);
        c::<T>(0.5) * g * ((T::ONE + t) + x * (T::ONE - t * t) * slope)
    };
    selu_backward() of input, Selu, cost 8, <S>|x, g| {
        let (alpha, scale) = (c::<T>(1.673_263_242_354_377_2), c::<T>(1.050_700_987_355_480_5));
        if x > T::ZERO { g * scale } else { g * scale * alpha * x.exp::<S>() }
    };
    leaky_relu_backward(slope) of input, LeakyRelu, cost 1, <S>|x, g| if x > T::ZERO { g } else { slope * g };
    elu_backward(alpha) of input, Elu, cost 8, <S>|x, g| if x > T::ZERO { g } else { g * alpha * x.exp::<S>() };
    clamp_backward(low, high) of input, Clamp, cost 1, <S>|x, g| if x < low || x > high { T::ZERO } else { g };
    powf_backward(exponent) of input, Powf, cost 16, <S>|x, g| {
        // x⁰ is 1 everywhere, at 0 too.
        if exponent == T::ZERO { T::ZERO } else { g * exponent * x.pow::<S>(exponent - T::ONE) }
    };
}
