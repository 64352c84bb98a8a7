//! The feed-forward part of a transformer block: two dense layers with an activation between, each step by itself (Vaswani et al.
//! 2017, section 3.3), or with a gate (Shazeer 2020), as in Llama.

use cairn_autograd::Var;
use cairn_tensor::{Gate, Rng};

use super::super::{Activation, Dropout, Linear};
use crate::spec::Dense;
use crate::{Context, Error, Init, Module, Result};

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
    /// The gate, `[features, hidden]`, where it is a layer by itself: see [`with_gate`](Self::with_gate).
    pub gate: Option<Linear>,
    /// The second, `[hidden, features]`.
    pub down: Linear,
    #[module(skip)]
    activation: Activation,
    #[module(skip)]
    gated: bool,
    #[module(skip)]
    dropout: Dropout,
}

/// What a feed-forward part is like, but for its sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) activation: Activation,
    pub(super) gated: bool,
    pub(super) bias: bool,
    pub(super) init: Init,
    /// Whether values are drawn as by PyTorch's dense layers, and not by `init`.
    pub(super) pytorch_init: bool,
}

impl Kind {
    fn new(activation: Activation) -> Self {
        Kind { activation, gated: false, bias: true, init: Init::GlorotUniform, pytorch_init: false }
    }

    /// A layer of the part.
    fn dense(&self, inputs: usize, outputs: usize) -> Dense {
        let dense = Dense::new(outputs).bias(self.bias);
        if !self.pytorch_init {
            return dense.kernel_init(self.init);
        }
        let within = Init::Uniform(1.0 / (inputs.max(1) as f32).sqrt());
        dense.kernel_init(within).bias_init(within)
    }
}

impl FeedForward {
    /// Two layers with biases, `hidden` wide between them; weights by Glorot's uniform rule, biases 0.
    ///
    /// # Errors
    /// When memory does not hold the weights.
    pub fn new(features: usize, hidden: usize, activation: Activation, rng: &mut Rng) -> Result<Self> {
        Self::drawn([features, hidden], Kind::new(activation), rng)
    }

    /// Of this kind.
    pub(super) fn drawn([features, hidden]: [usize; 2], kind: Kind, rng: &mut Rng) -> Result<Self> {
        let Kind { activation, gated, .. } = kind;
        let Some(width) = hidden.checked_mul(if gated { 2 } else { 1 }) else {
            return Err(Error::BadSetting {
                what: "the hidden width",
                value: hidden as f64,
                must: "such that memory holds it",
            });
        };
        let up = kind.dense(features, width);
        // ReLU is computed within the layer.
        let within = activation == Activation::Relu && !gated;
        let up = if within { up.activation(activation) } else { up };
        Ok(FeedForward {
            up: up.layer(features, rng)?,
            gate: None,
            down: kind.dense(hidden, features).layer(hidden, rng)?,
            activation,
            gated,
            dropout: Dropout::new(0.0),
        })
    }

    /// Gated, without biases: SiLU makes it SwiGLU, GELU GeGLU.
    ///
    /// # Errors
    /// When memory does not hold the weights; [`Error::BadSetting`] for a width that cannot be doubled.
    pub fn gated(features: usize, hidden: usize, activation: Activation, rng: &mut Rng) -> Result<Self> {
        let kind = Kind { gated: true, bias: false, ..Kind::new(activation) };
        Self::drawn([features, hidden], kind, rng)
    }

    /// Gated, of given layers: `gate` and `up` `[features, hidden]`, `down` `[hidden, features]`, as open language models have them in
    /// their files.
    pub fn with_gate(gate: Linear, up: Linear, down: Linear, activation: Activation) -> Self {
        FeedForward { up, gate: Some(gate), down, activation, gated: true, dropout: Dropout::new(0.0) }
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
        let up = self.up.forward_in(x, cx)?;
        let hidden = if self.gated {
            let gate = self.gate.as_ref().map(|gate| gate.forward_in(x, cx)).transpose()?;
            self.let_through(&up, gate.as_ref())?
        } else if self.activation == Activation::Relu {
            up
        } else {
            self.activation.forward(&up)?
        };
        let hidden = self.dropout.forward(&hidden, cx)?;
        self.down.forward_in(&hidden, cx)
    }

    /// act(gate) · up, in one pass where there is an operation for it. Without a gate of its own, `up` begins with it.
    fn let_through(&self, up: &Var, gate: Option<&Var>) -> Result<Var> {
        let kind = match self.activation {
            Activation::Relu => Some(Gate::Relu),
            Activation::Sigmoid => Some(Gate::Sigmoid),
            Activation::Silu => Some(Gate::Silu),
            Activation::Gelu => Some(Gate::Gelu),
            Activation::GeluTanh => Some(Gate::GeluTanh),
            _ => None,
        };
        Ok(match (kind, gate) {
            (Some(kind), Some(gate)) => gate.gated(kind, up)?,
            (Some(kind), None) => up.gated_halves(kind)?,
            (None, Some(gate)) => self.activation.forward(gate)?.mul(up)?,
            (None, None) => {
                let width = up.shape()[up.shape().len() - 1] / 2;
                self.activation.forward(&up.narrow(-1, 0, width)?)?.mul(&up.narrow(-1, width, width)?)?
            }
        })
    }
}
