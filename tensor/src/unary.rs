//! Elementwise operations on one operand: one line of the table for each.
//!
//! The activations follow the definitions and constants of PyTorch and Keras.

use crate::cpu::Isa;
use crate::cpu::elementwise::{self, Closure, Unary};
use crate::{Element, Error, Float, Number, Result, Tensor};

fn map<A: Element, O: Element, F: Unary<A, O>>(op: &'static str, x: &Tensor<A>, f: F) -> Result<Tensor<O>> {
    let mut fault = false;
    let out = Tensor::build(x.dims(), |out| fault = elementwise::map((x.storage(), x.layout()), out, f))?;
    if fault { Err(Error::IntegerOverflow { op, dtype: A::DTYPE }) } else { Ok(out) }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident, $type:ident: $bound:ident, cost $cost:literal, <$s:ident>|$x:ident, $fault:ident| $body:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $type;
            impl<T: $bound> Unary<T, T> for $type {
                const COST: usize = $cost;
                #[inline(always)]
                fn at<$s: Isa>(self, $x: T, $fault: &mut bool) -> T {
                    $body
                }
            }
            impl<T: $bound> Tensor<T> {
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error::OutOfMemory`]; for integers [`Error::IntegerOverflow`].
                pub fn $name(&self) -> Result<Self> {
                    map(stringify!($name), self, $type)
                }
            }
        )*
    };
}

/// A constant of the element type.
#[inline(always)]
fn c<T: Float>(x: f64) -> T {
    T::from_f64(x)
}

unary! {
    /// Negative of each element.
    neg, Neg: Number, cost 1, <S>|x, fault| x.neg(fault);
    /// Absolute value of each element.
    abs, Abs: Number, cost 1, <S>|x, fault| x.abs(fault);
    /// -1, 0 or 1 by the sign of each element; NaN stays.
    sign, Sign: Number, cost 1, <S>|x, fault| {
        if x > T::ZERO { T::ONE } else if x < T::ZERO { T::ONE.neg(fault) } else { x }
    };
    /// Each element times itself.
    square, Square: Number, cost 1, <S>|x, fault| x.mul(x, fault);
    /// max(x, 0); NaN stays.
    relu, Relu: Number, cost 1, <S>|x, _fault| if x < T::ZERO { T::ZERO } else { x };
    /// e to the power of each element.
    exp, Exp: Float, cost 6, <S>|x, _fault| x.exp::<S>();
    /// exp(x) - 1, exact for small x.
    expm1, Expm1: Float, cost 6, <S>|x, _fault| x.expm1::<S>();
    /// Natural logarithm; NaN below 0.
    log, Log: Float, cost 6, <S>|x, _fault| x.ln::<S>();
    /// ln(1 + x), exact for small x.
    log1p, Log1p: Float, cost 8, <S>|x, _fault| x.ln_1p::<S>();
    /// Square root; NaN below 0.
    sqrt, Sqrt: Float, cost 3, <S>|x, _fault| x.sqrt();
    /// 1 / sqrt(x).
    rsqrt, Rsqrt: Float, cost 4, <S>|x, _fault| T::ONE / x.sqrt();
    /// 1 / x.
    recip, Recip: Float, cost 2, <S>|x, _fault| T::ONE / x;
    /// Hyperbolic tangent.
    tanh, Tanh: Float, cost 8, <S>|x, _fault| x.tanh::<S>();
    /// Gauss error function.
    erf, Erf: Float, cost 12, <S>|x, _fault| x.erf::<S>();
    /// Largest integer not above each element.
    floor, Floor: Float, cost 1, <S>|x, _fault| x.floor();
    /// Nearest integer, halves to even.
    round, Round: Float, cost 1, <S>|x, _fault| x.round();
    /// Logistic function 1 / (1 + exp(-x)).
    sigmoid, Sigmoid: Float, cost 8, <S>|x, _fault| x.sigmoid::<S>();
    /// ln(1 + exp(x)), which approaches max(x, 0) on both sides.
    softplus, Softplus: Float, cost 14, <S>|x, _fault| {
        let positive = if x < T::ZERO { T::ZERO } else { x };
        positive + (-x.magnitude()).exp_nonpositive::<S>().ln_1p::<S>()
    };
    /// x · sigmoid(x), also called swish.
    silu, Silu: Float, cost 8, <S>|x, _fault| {
        // -∞ · 0 would be NaN.
        let result = x * x.sigmoid::<S>();
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    };
    /// Gaussian error linear unit, x Φ(x), exact (Hendrycks and Gimpel 2016).
    gelu, Gelu: Float, cost 10, <S>|x, _fault| {
        // For -∞ the product would be ∞ · 0.
        let result = x * x.normal_cdf::<S>();
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    };
    /// Gaussian error linear unit by its tanh approximation.
    gelu_tanh, GeluTanh: Float, cost 10, <S>|x, _fault| {
        let inner = c::<T>((2.0 / std::f64::consts::PI).sqrt()) * (x + c::<T>(0.044_715) * x * x * x);
        // As in `gelu`.
        let result = c::<T>(0.5) * x * (T::ONE + inner.tanh::<S>());
        if x == T::NEG_INFINITY { T::ZERO } else { result }
    };
    /// Scaled exponential linear unit (Klambauer et al. 2017).
    selu, Selu: Float, cost 8, <S>|x, _fault| {
        let (alpha, scale) = (c::<T>(1.673_263_242_354_377_2), c::<T>(1.050_700_987_355_480_5));
        if x > T::ZERO { scale * x } else { scale * alpha * x.expm1::<S>() }
    };
}

macro_rules! waves {
    ($($(#[$doc:meta])* $name:ident, $type:ident, $small:ident;)*) => {$(
        #[derive(Clone, Copy)]
        struct $type;
        impl<T: Float> Unary<T, T> for $type {
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
            /// [`Error::OutOfMemory`].
            pub fn $name(&self) -> Result<Self> {
                map(stringify!($name), self, $type)
            }
        }
    )*};
}

waves! {
    /// Sine of an angle in radians.
    sin, Sin, small_sin;
    /// Cosine of an angle in radians.
    cos, Cos, small_cos;
}

macro_rules! unary_with {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),+), $type:ident: $bound:ident, cost $cost:literal, <$s:ident>|$x:ident| $body:expr;)*) => {
        $(
            #[derive(Clone, Copy)]
            struct $type<T> { $($arg: T),+ }
            impl<T: $bound> Unary<T, T> for $type<T> {
                const COST: usize = $cost;
                #[inline(always)]
                fn at<$s: Isa>(self, $x: T, _: &mut bool) -> T {
                    let $type { $($arg),+ } = self;
                    $body
                }
            }
            impl<T: $bound> Tensor<T> {
                $(#[$doc])*
                ///
                /// # Errors
                /// [`Error::OutOfMemory`].
                pub fn $name(&self, $($arg: T),+) -> Result<Self> {
                    map(stringify!($name), self, $type { $($arg),+ })
                }
            }
        )*
    };
}

unary_with! {
    /// x where positive, `slope` · x elsewhere.
    leaky_relu(slope), LeakyRelu: Float, cost 1, <S>|x| if x > T::ZERO { x } else { slope * x };
    /// x where positive, `alpha` (exp(x) - 1) elsewhere.
    elu(alpha), Elu: Float, cost 8, <S>|x| if x > T::ZERO { x } else { alpha * x.expm1::<S>() };
    /// Each element to one power.
    powf(exponent), Powf: Float, cost 16, <S>|x| x.pow::<S>(exponent);
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
    /// [`Error::BadArgument`] when `low` is above `high` or one of them is NaN.
    pub fn clamp(&self, low: T, high: T) -> Result<Self> {
        if low.partial_cmp(&high).is_none_or(std::cmp::Ordering::is_gt) {
            let (what, must) = ("the lower bound", "at most the upper one");
            return Err(Error::BadArgument { op: "clamp", what, value: low.to_f64(), must });
        }
        map("clamp", self, Clamp { low, high })
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
    pub fn map<O: Element>(&self, f: impl Fn(A) -> O + Send + Sync) -> Result<Tensor<O>> {
        map("map", self, Closure(&f))
    }

    /// The elements converted to another type: floats to integers truncate towards zero and hold at the ends of the
    /// range, NaN becomes 0, anything other than 0 is `true`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn cast<O: Element>(&self) -> Result<Tensor<O>> {
        map("cast", self, Cast)
    }
}

#[derive(Clone, Copy)]
struct Cast;
impl<A: Element, O: Element> Unary<A, O> for Cast {
    #[inline(always)]
    fn at<S: Isa>(self, x: A, _: &mut bool) -> O {
        x.cast()
    }
}
