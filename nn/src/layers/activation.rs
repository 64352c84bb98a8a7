//! Activations, by name.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, Value};
use crate::{Context, Result};

/// A function applied element by element (softmax: along the last axis) after a layer.
///
/// The option of a layer, `Dense::new(64).activation(Relu)`, or a layer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x above 0, else this slope times x.
    LeakyRelu(f32),
    /// x above 0, else alpha (exp(x) - 1).
    Elu(f32),
    /// Scaled exponential linear unit.
    Selu,
    /// Gaussian error linear unit, exact.
    Gelu,
    /// Gaussian error linear unit, tanh approximation.
    GeluTanh,
    /// x sigmoid(x), also called swish.
    Silu,
    /// ln(1 + exp(x))
    Softplus,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + exp(-x)); a loss computes from its input, so training stays stable.
    Sigmoid,
    /// Probabilities along the last axis; a loss computes from its input, so training stays stable.
    Softmax,
}

impl Activation {
    /// The function applied to a variable.
    ///
    /// # Errors
    /// When memory runs out; softmax of a scalar.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(match *self {
            Activation::Relu => x.relu()?,
            Activation::LeakyRelu(slope) => x.leaky_relu(slope)?,
            Activation::Elu(alpha) => x.elu(alpha)?,
            Activation::Selu => x.selu()?,
            Activation::Gelu => x.gelu()?,
            Activation::GeluTanh => x.gelu_tanh()?,
            Activation::Silu => x.silu()?,
            Activation::Softplus => x.softplus()?,
            Activation::Tanh => x.tanh()?,
            Activation::Sigmoid => x.sigmoid()?,
            Activation::Softmax => x.softmax(-1)?,
        })
    }

    /// The name in lower case, as in layer names.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Elu(_) => "elu",
            Activation::Selu => "selu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Silu => "silu",
            Activation::Softplus => "softplus",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
            Activation::Softmax => "softmax",
        }
    }
}

impl Layer for Activation {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        Activation::forward(self, &input.floats()?)
    }
}

pub(super) mod spec {
    pub use super::Activation;
}

impl LayerConfig for Activation {
    const KIND: &'static str = "activation";

    fn name(&self) -> &'static str {
        Activation::name(*self)
    }

    fn plan(&self, input: &Shape) -> Result<Plan> {
        Ok(Plan::of(input.clone()))
    }

    fn build(&self, _: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(*self))
    }

    fn keeps_steps(&self) -> bool {
        true
    }
}
