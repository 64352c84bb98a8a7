//! The feed-forward part of a transformer block: two dense layers with an activation between, each step by itself (Vaswani et al.
//! 2017, section 3.3), or with a gate (Shazeer 2020), as in Llama.

use cairn_autograd::Var;
use cairn_tensor::Rng;

use super::super::{Activation, Dropout, Linear};
use crate::{Context, Error, Module, Result};

/// Two dense layers, applied to each step: act(x W₁ + b₁) W₂ + b₂; gated, (act(x W_g) · x W_u) W₂.
///
/// ```
/// use cairn_nn::{Activation, Context, FeedForward};
/// use cairn_tensor::{Tensor, rng};
/// let x = Tensor::ones([2, 10, 64])?.into();
/// let plain = FeedForward::new(64, 256, Activation::Gelu, &mut rng(0))?;
/// assert_eq!(plain.forward(&x, &mut Context::eval())?.shape(), [2, 10, 64]);
/// let swiglu = FeedForward::gated(64, 172, Activation::Silu, &mut rng(0))?;
/// assert_eq!(swiglu.forward(&x, &mut Context::eval())?.shape(), [2, 10, 64]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("MLP", "SwiGLU", "GeGLU", "position-wise feed-forward"))]
pub struct FeedForward {
    /// The first layer, `[features, hidden]`; gated, the gate and what it lets through side by side, `[features, 2 · hidden]`.
    pub up: Linear,
    /// The second, `[hidden, features]`.
    pub down: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gated: bool,
    #[module(skip)]
    dropout: Dropout,
}

impl FeedForward {
    /// Two layers with biases, `hidden` wide between them.
    ///
    /// # Errors
    /// When memory does not hold the weights.
    pub fn new(features: usize, hidden: usize, activation: Activation, rng: &mut Rng) -> Result<Self> {
        Ok(FeedForward {
            // ReLU is computed within the layer.
            up: match activation {
                Activation::Relu => Linear::new(features, hidden, rng)?.activation(Activation::Relu),
                _ => Linear::new(features, hidden, rng)?,
            },
            down: Linear::new(hidden, features, rng)?,
            activation,
            gated: false,
            dropout: Dropout::new(0.0),
        })
    }

    /// Gated, without biases: SiLU makes it SwiGLU, GELU GeGLU.
    ///
    /// # Errors
    /// When memory does not hold the weights; [`Error::BadSetting`] for a width that cannot be doubled.
    pub fn gated(features: usize, hidden: usize, activation: Activation, rng: &mut Rng) -> Result<Self> {
        let Some(both) = hidden.checked_mul(2) else {
            return Err(Error::BadSetting {
                what: "the hidden width",
                value: hidden as f64,
                must: "such that memory holds it",
            });
        };
        Ok(FeedForward {
            up: Linear::new(features, both, rng)?.without_bias(),
            down: Linear::new(hidden, features, rng)?.without_bias(),
            activation,
            gated: true,
            dropout: Dropout::new(0.0),
        })
    }

    /// Drops hidden values in training with this probability, 0 to below 1.
    #[must_use]
    pub fn dropout(self, rate: f32) -> Self {
        FeedForward { dropout: Dropout::new(rate), ..self }
    }

    /// The output for `[…, features]`.
    ///
    /// # Errors
    /// When the features do not fit; for a dropout rate out of range.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let up = self.up.forward(x)?;
        let hidden = if self.gated {
            let width = up.shape()[up.shape().len() - 1] / 2;
            self.activation.forward(&up.narrow(-1, 0, width)?)?.mul(&up.narrow(-1, width, width)?)?
        } else if self.activation == Activation::Relu {
            up
        } else {
            self.activation.forward(&up)?
        };
        self.down.forward(&self.dropout.forward(&hidden, cx)?)
    }
}
