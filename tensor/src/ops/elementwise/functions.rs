//! Functions of one operand: a row of the table for each, with its derivative beside it.
//!
//! `f_backward` takes the gradient of `f`'s output to that of its input, in one pass: gradient times derivative. It is a
//! method of whatever the derivative is cheapest to compute from, which each row says: the function's output `y` where the
//! derivative can be written with it, else its input `x`. That tensor is all that is saved for the backward pass. At a kink
//! the derivative is that of the side where the function is constant, or 0.
//!
//! The activations follow the definitions and constants of PyTorch and Keras.

use std::marker::PhantomData;

use super::arithmetic::zip_alike;
use super::map;
use crate::cpu::Isa;
use crate::cpu::elementwise::{self, Binary, Unary};
use crate::{Float, Number, Result, Tensor};

/// The table: a function, and `f_backward` if it has a derivative.
///
/// `name(settings), Type: bound, cost in additions, the value for x`, and then `name_backward from what is saved, cost, the
/// input's gradient` for the saved value and the gradient `g` of the output.
macro_rules! functions {
    ($(
        $(#[$doc:meta])* $name:ident $settings:tt, $type:ident: $bound:ident,
        cost $cost:literal, <$s:ident>|$x:ident $(, $overflow:ident)?| $body:expr
        $(, $back:ident from $saved:ident, cost $back_cost:literal, |$v:ident, $g:ident| $derivative:expr)?;
    )*) => {$(
        function! {
            $(#[$doc])* $name $settings, $type: $bound, cost $cost, <$s>|$x $(, $overflow)?| $body
        }
        $(derivative! {
            $name $settings, $type, $back from $saved, cost $back_cost, <$s>|$v, $g| $derivative
        })?
    )*};
}

macro_rules! function {
    ($(#[$doc:meta])* $name:ident($($setting:ident),*), $type:ident: $bound:ident, cost $cost:literal, <$s:ident>|$x:ident $(, $overflow:ident)?| $body:expr) => {
        #[derive(Clone, Copy)]
        struct $type<T> { $($setting: T,)* of: PhantomData<T> }
        impl<T: $bound> Unary<T, T> for $type<T> {
            const COST: usize = $cost;
            #[inline(always)]
            fn at<$s: Isa>(self, $x: T, _fault: &mut bool) -> T {
                $(let $overflow = _fault;)?
                $(let $setting = self.$setting;)*
                $body
            }
        }
        impl<T: $bound> Tensor<T> {
            $(#[$doc])*
            ///
            /// # Errors
            /// [`Error::OutOfMemory`](crate::Error::OutOfMemory); for integers
            /// [`Error::IntegerOverflow`](crate::Error::IntegerOverflow).
            pub fn $name(&self $(, $setting: T)*) -> Result<Self> {
                map(stringify!($name), self, $type { $($setting,)* of: PhantomData })
            }
        }
    };
}

macro_rules! derivative {
    ($name:ident($($setting:ident),*), $type:ident, $back:ident from $saved:ident, cost $cost:literal, <$s:ident>|$v:ident, $g:ident| $derivative:expr) => {
        impl<T: Float> Binary<T, T> for $type<T> {
            const COST: usize = $cost;
            #[inline(always)]
            fn at<$s: Isa>(self, $v: T, $g: T, _: &mut bool) -> T {
                $(let $setting = self.$setting;)*
                $derivative
            }
        }
        impl<T: Float> Tensor<T> {
            #[doc = concat!("Gradient of the input of [`", stringify!($name), "`](Self::", stringify!($name), "), from its ", stringify!($saved), " (this tensor) and the gradient of its output.")]
            ///
            /// # Errors
            /// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) when the two differ in shape.
            pub fn $back(&self, gradient: &Self $(, $setting: T)*) -> Result<Self> {
                zip_alike(stringify!($back), self, gradient, $type { $($setting,)* of: PhantomData })
            }
        }
    };
}

/// A constant of the element type.
#[inline(always)]
fn c<T: Float>(x: f64) -> T {
    T::from_f64(x)
}

/// Density of the standard normal distribution.
#[inline(always)]
fn density<S: Isa, T: Float>(x: T) -> T {
    c::<T>(0.398_942_280_401_432_7) * (c::<T>(-0.5) * x * x).exp::<S>()
}

/// `x` held within ±`limit`; NaN stays.
#[inline(always)]
fn hold<T: Float>(x: T, limit: T) -> T {
    let below = if x > limit { limit } else { x };
    if below < -limit { -limit } else { below }
}

/// An infinite value made a large finite one.
#[inline(always)]
fn finite<T: Float>(x: T) -> T {
    hold(x, c::<T>(1e30))
}

functions! {
    /// Negative of each element.
    neg(), Neg: Number, cost 1, <S>|x, overflow| x.neg(overflow);
    /// Absolute value of each element.
    abs(), Abs: Number, cost 1, <S>|x, overflow| x.abs(overflow),
    abs_backward from input, cost 1, |x, g| {
        if x > T::ZERO { g } else if x < T::ZERO { -g } else { T::ZERO * g }
    };
    /// -1, 0 or 1 by the sign of each element; NaN stays.
    sign(), Sign: Number, cost 1, <S>|x, overflow| {
        if x > T::ZERO { T::ONE } else if x < T::ZERO { T::ONE.neg(overflow) } else { x }
    };
    /// Each element times itself.
    square(), Square: Number, cost 1, <S>|x, overflow| x.mul(x, overflow),
    square_backward from input, cost 1, |x, g| c::<T>(2.0) * (x * g);
    /// max(x, 0); NaN stays.
    relu(), Relu: Number, cost 1, <S>|x| if x < T::ZERO { T::ZERO } else { x },
    relu_backward from output, cost 1, |y, g| if y > T::ZERO { g } else { T::ZERO };
    /// e to the power of each element.
    exp(), Exp: Float, cost 6, <S>|x| x.exp::<S>(),
    exp_backward from output, cost 1, |y, g| g * y;
    /// exp(x) - 1, exact for small x.
    expm1(), Expm1: Float, cost 6, <S>|x| x.expm1::<S>(),
    expm1_backward from output, cost 1, |y, g| g * (y + T::ONE);
    /// Natural logarithm; NaN below 0.
    #[doc(alias = "ln")]
    log(), Log: Float, cost 6, <S>|x| x.ln::<S>(),
    log_backward from input, cost 2, |x, g| g / x;
    /// ln(1 + x), exact for small x.
    log1p(), Log1p: Float, cost 8, <S>|x| x.ln_1p::<S>(),
    log1p_backward from input, cost 2, |x, g| g / (T::ONE + x);
    /// Square root; NaN below 0.
    sqrt(), Sqrt: Float, cost 3, <S>|x| x.sqrt(),
    sqrt_backward from output, cost 2, |y, g| c::<T>(0.5) * g / y;
    /// 1 / sqrt(x).
    rsqrt(), Rsqrt: Float, cost 4, <S>|x| T::ONE / x.sqrt(),
    rsqrt_backward from output, cost 1, |y, g| c::<T>(-0.5) * g * y * y * y;
    /// 1 / x.
    #[doc(alias = "reciprocal")]
    recip(), Recip: Float, cost 2, <S>|x| T::ONE / x,
    recip_backward from output, cost 1, |y, g| -(g * y * y);
    /// Hyperbolic tangent.
    tanh(), Tanh: Float, cost 8, <S>|x| x.tanh::<S>(),
    tanh_backward from output, cost 1, |y, g| g * (T::ONE - y * y);
    /// Gauss error function.
    erf(), Erf: Float, cost 12, <S>|x| x.erf::<S>(),
    erf_backward from input, cost 8, |x, g| g * c::<T>(std::f64::consts::FRAC_2_SQRT_PI) * (-(x * x)).exp::<S>();
    /// Largest integer not above each element.
    floor(), Floor: Float, cost 1, <S>|x| x.floor();
    /// Nearest integer, halves to even.
    round(), Round: Float, cost 1, <S>|x| x.round();
    /// Logistic function 1 / (1 + exp(-x)).
    sigmoid(), Sigmoid: Float, cost 8, <S>|x| x.sigmoid::<S>(),
    sigmoid_backward from output, cost 1, |y, g| g * y * (T::ONE - y);
    /// ln(1 + exp(x)), which approaches max(x, 0) on both sides.
    softplus(), Softplus: Float, cost 14, <S>|x| {
        let positive = if x < T::ZERO { T::ZERO } else { x };
        positive + (-x.magnitude()).exp_nonpositive::<S>().ln_1p::<S>()
    },
    softplus_backward from input, cost 8, |x, g| g * x.sigmoid::<S>();
    /// x · sigmoid(x), also called swish.
    #[doc(alias = "swish")]
    silu(), Silu: Float, cost 8, <S>|x| {
        // -∞ · 0 would be NaN.
        let result = x * x.sigmoid::<S>();
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    },
    silu_backward from input, cost 8, |x, g| {
        let s = x.sigmoid::<S>();
        // At the ends, where ∞ · 0 would be NaN, the slope is that of max(x, 0).
        let slope = s * (T::ONE + finite(x) * (T::ONE - s));
        g * slope
    };
    /// Gaussian error linear unit, x Φ(x), exact (Hendrycks and Gimpel 2016).
    gelu(), Gelu: Float, cost 10, <S>|x| {
        // For -∞ the product would be ∞ · 0.
        let result = x * x.normal_cdf::<S>();
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    },
    gelu_backward from input, cost 24, |x, g| {
        // As in `silu`.
        g * (x.normal_cdf::<S>() + finite(x) * density::<S, T>(x))
    };
    /// Gaussian error linear unit by its tanh approximation.
    gelu_tanh(), GeluTanh: Float, cost 10, <S>|x| {
        let inner = c::<T>((2.0 / std::f64::consts::PI).sqrt()) * (x + c::<T>(0.044_715) * x * x * x);
        // As in `gelu`.
        let result = c::<T>(0.5) * x * (T::ONE + inner.tanh::<S>());
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    },
    gelu_tanh_backward from input, cost 12, |x, g| {
        // Beyond ±100 the slope is 0 or 1 to the last digit, and cubes do not overflow up to there.
        let x = hold(x, c::<T>(100.0));
        let k = c::<T>((2.0 / std::f64::consts::PI).sqrt());
        let t = (k * (x + c::<T>(0.044_715) * x * x * x)).tanh::<S>();
        let slope = k * (T::ONE + c::<T>(3.0 * 0.044_715) * x * x);
        c::<T>(0.5) * g * ((T::ONE + t) + x * (T::ONE - t * t) * slope)
    };
    /// Scaled exponential linear unit (Klambauer et al. 2017).
    selu(), Selu: Float, cost 8, <S>|x| {
        let (alpha, scale) = (c::<T>(1.673_263_242_354_377_2), c::<T>(1.050_700_987_355_480_5));
        if x > T::ZERO { scale * x } else { scale * alpha * x.expm1::<S>() }
    },
    selu_backward from input, cost 8, |x, g| {
        let (alpha, scale) = (c::<T>(1.673_263_242_354_377_2), c::<T>(1.050_700_987_355_480_5));
        if x > T::ZERO { g * scale } else { g * scale * alpha * x.exp::<S>() }
    };
    /// x where positive, `slope` · x elsewhere.
    leaky_relu(slope), LeakyRelu: Float, cost 1, <S>|x| if x > T::ZERO { x } else { slope * x },
    leaky_relu_backward from input, cost 1, |x, g| if x > T::ZERO { g } else { slope * g };
    /// x where positive, `alpha` (exp(x) - 1) elsewhere.
    elu(alpha), Elu: Float, cost 8, <S>|x| if x > T::ZERO { x } else { alpha * x.expm1::<S>() },
    elu_backward from input, cost 8, |x, g| if x > T::ZERO { g } else { g * alpha * x.exp::<S>() };
    /// Each element to one power.
    powf(exponent), Powf: Float, cost 16, <S>|x| x.pow::<S>(exponent),
    powf_backward from input, cost 16, |x, g| {
        // x⁰ is 1 everywhere, at 0 too.
        if exponent == T::ZERO { T::ZERO } else { g * exponent * x.pow::<S>(exponent - T::ONE) }
    };
}

/// Sine and cosine: large angles have a path of their own, off the vectorised loop.
macro_rules! angles {
    ($($(#[$doc:meta])* $name:ident, $type:ident, $small:ident, $back:ident |$x:ident, $g:ident| $derivative:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $type<T> { of: PhantomData<T> }
        impl<T: Float> Unary<T, T> for $type<T> {
            const COST: usize = 8;
            #[inline(always)]
            fn at<S: Isa>(self, x: T, _: &mut bool) -> T {
                x.$name::<S>()
            }
            #[inline(always)]
            fn slice<S: Isa>(self, x: &[T], out: &mut [T], _: &mut bool) {
                elementwise::in_blocks(x, out, T::is_large_angle, T::$small::<S>, T::$name::<S>);
            }
        }
        impl<T: Float> Tensor<T> {
            $(#[$doc])*
            ///
            /// # Errors
            /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
            pub fn $name(&self) -> Result<Self> {
                map(stringify!($name), self, $type { of: PhantomData })
            }
        }
        derivative! { $name(), $type, $back from input, cost 16, <S>|$x, $g| $derivative }
    )*};
}

angles! {
    /// Sine of an angle in radians.
    sin, Sin, small_sin, sin_backward |x, g| g * x.cos::<S>();
    /// Cosine of an angle in radians.
    cos, Cos, small_cos, cos_backward |x, g| -(g * x.sin::<S>());
}
