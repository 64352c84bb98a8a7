//! Elementwise functions of one variable: which derivative belongs to which, and what it is computed from.

use cairn_tensor::{Float, Tensor};

use super::when;
use crate::var::Squash;
use crate::{Result, Settings, Var};

macro_rules! functions {
    ($kept:ident: $($name:ident($($arg:ident),*) => $derivative:ident;)*) => {
        impl<T: Float> Var<T> {$(
            #[doc = concat!("As [`Tensor::", stringify!($name), "`](cairn_tensor::Tensor::", stringify!($name), "), differentiable.")]
            ///
            /// # Errors
            /// As for tensors.
            pub fn $name(&self, $($arg: T),*) -> Result<Self> {
                let x = self.value();
                let y = x.$name($($arg),*)?;
                let kept = functions!(@$kept x y);
                let y = Var::from_op(stringify!($name), y, [self], move |g, [wanted]| {
                    Ok([when(wanted, || kept.$derivative(g, $($arg),*))?])
                });
                Ok(y.told(|| Settings::Numbers(vec![$($arg),*])))
            }
        )*}
    };
    (@output $x:ident $y:ident) => { $y.clone() };
    (@input $x:ident $y:ident) => { $x.clone() };
}

functions! { output:
    relu() => relu_backward;
    exp() => exp_backward;
    expm1() => expm1_backward;
    sqrt() => sqrt_backward;
    rsqrt() => rsqrt_backward;
    recip() => recip_backward;
    tanh() => tanh_backward;
}

functions! { input:
    abs() => abs_backward;
    square() => square_backward;
    log() => log_backward;
    log1p() => log1p_backward;
    sin() => sin_backward;
    cos() => cos_backward;
    erf() => erf_backward;
    softplus() => softplus_backward;
    silu() => silu_backward;
    gelu() => gelu_backward;
    gelu_tanh() => gelu_tanh_backward;
    selu() => selu_backward;
    leaky_relu(slope) => leaky_relu_backward;
    elu(alpha) => elu_backward;
    clamp(low, high) => clamp_backward;
    powf(exponent) => powf_backward;
}

impl<T: Float> Var<T> {
    /// Logistic function 1 / (1 + exp(-x)). The result remembers its input (see
    /// [`sigmoid_logits`](Self::sigmoid_logits)).
    ///
    /// # Errors
    /// As for tensors.
    pub fn sigmoid(&self) -> Result<Self> {
        let y = self.value().sigmoid()?;
        let kept = y.clone();
        let var = Var::from_op("sigmoid", y, [self], move |g, [wanted]| {
            Ok([when(wanted, || kept.sigmoid_backward(g))?])
        });
        Ok(var.with_logits(Squash::Sigmoid, self))
    }

    /// Negative of each element.
    ///
    /// # Errors
    /// As for tensors.
    pub fn neg(&self) -> Result<Self> {
        Ok(Var::from_op("neg", self.value().neg()?, [self], |g, [wanted]| Ok([when(wanted, || g.neg())?])))
    }

    /// Each element times a number.
    ///
    /// # Errors
    /// As for tensors.
    pub fn scale(&self, factor: T) -> Result<Self> {
        let value = self.value().scale(factor)?;
        let y =
            Var::from_op("scale", value, [self], move |g, [wanted]| Ok([when(wanted, || g.scale(factor))?]));
        Ok(y.told(|| Settings::Numbers(vec![factor])))
    }

    /// Each element rounded down. Constant between the steps: its gradient is 0, as in PyTorch; so for
    /// [`round`](Self::round) and [`sign`](Self::sign).
    ///
    /// # Errors
    /// As for tensors.
    pub fn floor(&self) -> Result<Self> {
        self.steps("floor", self.value().floor()?)
    }

    /// Each element rounded to the nearest integer, halves to even.
    ///
    /// # Errors
    /// As for tensors.
    pub fn round(&self) -> Result<Self> {
        self.steps("round", self.value().round()?)
    }

    /// -1, 0 or 1 by the sign of each element.
    ///
    /// # Errors
    /// As for tensors.
    pub fn sign(&self) -> Result<Self> {
        self.steps("sign", self.value().sign()?)
    }

    fn steps(&self, op: &'static str, value: Tensor<T>) -> Result<Self> {
        Ok(Var::from_op(op, value, [self], |g, [wanted]| Ok([when(wanted, || Tensor::zeros(g.dims()))?])))
    }
}
