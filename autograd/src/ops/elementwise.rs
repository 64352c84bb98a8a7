//! Functions of one element: which derivative belongs to which, and what it is computed from.

use cairn_tensor::{Float, Tensor};

use crate::logits::Activated;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

/// One line a function: the variant with its attributes, the method, and the derivative, a method of the function's input or of
/// its output.
macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident $({ $($arg:ident),+ })? $name:ident => $derivative:ident of $saved:ident;)*) => {
        operations! {
            /// Functions of one element.
            Elementwise {
                $($(#[$doc])* $variant $({ $(#[doc = "The argument of this name."] $arg: f64),+ })? = stringify!($name),)*
                /// 1 / (1 + exp(-x))
                Sigmoid = "sigmoid",
                /// -x
                Neg = "neg",
                /// x times a number
                Scale {
                    /// The number.
                    factor: f64,
                } = "scale",
                /// x rounded down.
                Floor = "floor",
                /// x rounded to the nearest integer, halves to even.
                Round = "round",
                /// -1, 0 or 1.
                Sign = "sign",
            }
        }

        impl Rule for Elementwise {
            fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
                let x = x.float(0)?;
                match *self {
                    $(Elementwise::$variant $({ $($arg),+ })? => {
                        $($(let $arg = T::from_f64($arg);)+)?
                        wanted.ran_one(x.$name($($($arg),+)?)?, |y| {
                            let saved = functions!(@$saved x y).clone();
                            move |g| saved.$derivative(g, $($($arg),+)?)
                        })
                    })*
                    Elementwise::Sigmoid => wanted.ran_one(x.sigmoid()?, |y| {
                        let y = y.clone();
                        move |g| y.sigmoid_backward(g)
                    }),
                    Elementwise::Neg => wanted.ran_one(x.neg()?, |_| |g: &Tensor<T>| g.neg()),
                    Elementwise::Scale { factor } => {
                        let factor = T::from_f64(factor);
                        wanted.ran_one(x.scale(factor)?, |_| move |g: &Tensor<T>| g.scale(factor))
                    }
                    Elementwise::Floor => flat(x.floor()?, wanted),
                    Elementwise::Round => flat(x.round()?, wanted),
                    Elementwise::Sign => flat(x.sign()?, wanted),
                }
            }
        }

        impl<T: Float> Var<T> {$(
            #[doc = concat!("As [`Tensor::", stringify!($name), "`](cairn_tensor::Tensor::", stringify!($name), "), differentiable.")]
            ///
            /// # Errors
            /// When memory runs out; for arguments that the function of tensors refuses.
            pub fn $name(&self $(, $($arg: T),+)?) -> Result<Self> {
                Var::apply(Elementwise::$variant $({ $($arg: $arg.to_f64()),+ })?, &[self.into()])
            }
        )*}
    };
    (@output $x:ident $y:ident) => { $y };
    (@input $x:ident $y:ident) => {{
        let _ = $y;
        $x
    }};
}

functions! {
    /// max(x, 0)
    Relu relu => relu_backward of output;
    /// exp(x)
    Exp exp => exp_backward of output;
    /// exp(x) - 1
    Expm1 expm1 => expm1_backward of output;
    /// √x
    Sqrt sqrt => sqrt_backward of output;
    /// 1 / √x
    Rsqrt rsqrt => rsqrt_backward of output;
    /// 1 / x
    Recip recip => recip_backward of output;
    /// Hyperbolic tangent.
    Tanh tanh => tanh_backward of output;
    /// |x|
    Abs abs => abs_backward of input;
    /// x²
    Square square => square_backward of input;
    /// ln x
    Log log => log_backward of input;
    /// ln(1 + x)
    Log1p log1p => log1p_backward of input;
    /// Sine.
    Sin sin => sin_backward of input;
    /// Cosine.
    Cos cos => cos_backward of input;
    /// The error function.
    Erf erf => erf_backward of input;
    /// ln(1 + exp(x))
    Softplus softplus => softplus_backward of input;
    /// x sigmoid(x)
    Silu silu => silu_backward of input;
    /// Gaussian error linear unit, exact.
    Gelu gelu => gelu_backward of input;
    /// Gaussian error linear unit, tanh approximation.
    GeluTanh gelu_tanh => gelu_tanh_backward of input;
    /// Scaled exponential linear unit.
    Selu selu => selu_backward of input;
    /// x above 0, else `slope` x.
    LeakyRelu { slope } leaky_relu => leaky_relu_backward of input;
    /// x above 0, else `alpha` (exp(x) - 1).
    Elu { alpha } elu => elu_backward of input;
    /// x brought into the bounds.
    Clamp { low, high } clamp => clamp_backward of input;
    /// x to the power of `exponent`.
    Powf { exponent } powf => powf_backward of input;
}

/// A function that is constant between its steps.
fn flat<T: Float>(value: Tensor<T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
    wanted.ran_one(value, |_| |g: &Tensor<T>| Tensor::zeros(g.dims()))
}

impl<T: Float> Var<T> {
    /// Logistic function 1 / (1 + exp(-x)). The result remembers its input (see
    /// [`sigmoid_logits`](Self::sigmoid_logits)).
    ///
    /// # Errors
    /// When memory runs out.
    pub fn sigmoid(&self) -> Result<Self> {
        Ok(Var::apply(Elementwise::Sigmoid, &[self.into()])?.with_logits(Activated::Sigmoid, self))
    }

    /// Negative of each element.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn neg(&self) -> Result<Self> {
        Var::apply(Elementwise::Neg, &[self.into()])
    }

    /// Each element times a number.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn scale(&self, factor: T) -> Result<Self> {
        Var::apply(Elementwise::Scale { factor: factor.to_f64() }, &[self.into()])
    }

    /// Each element rounded down. Constant between the steps: its gradient is 0, as in PyTorch; so for
    /// [`round`](Self::round) and [`sign`](Self::sign).
    ///
    /// # Errors
    /// When memory runs out.
    pub fn floor(&self) -> Result<Self> {
        Var::apply(Elementwise::Floor, &[self.into()])
    }

    /// Each element rounded to the nearest integer, halves to even.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn round(&self) -> Result<Self> {
        Var::apply(Elementwise::Round, &[self.into()])
    }

    /// -1, 0 or 1 by the sign of each element.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn sign(&self) -> Result<Self> {
        Var::apply(Elementwise::Sign, &[self.into()])
    }
}
