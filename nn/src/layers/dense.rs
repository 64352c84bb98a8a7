//! The dense (fully connected) layer: y = activation(x W + b).

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::{Layer, Plan, Spans, Value};
use crate::{Activation, Context, Error, Init, Module, Result};

/// A dense layer as a module: `x W + b`, for `x` of shape `[…, inputs]`.
///
/// The weight is `[inputs, outputs]`, as in Keras; PyTorch keeps the transpose.
#[derive(Debug, Clone, cairn_nn_derive::Module)]
pub struct Linear {
    /// `[inputs, outputs]`
    pub weight: Parameter,
    /// `[outputs]`
    pub bias: Option<Parameter>,
}

impl Linear {
    /// Weights drawn by Glorot's uniform rule, biases 0.
    ///
    /// ```
    /// use cairn_nn::Linear;
    /// use cairn_tensor::{rng, Tensor};
    /// let layer = Linear::new(3, 2, &mut rng(0))?;
    /// let y = layer.forward(&Tensor::ones([5, 3])?.into())?;
    /// assert_eq!(y.shape(), [5, 2]);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// When memory does not hold the weight.
    pub fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Self> {
        let weight = Init::GlorotUniform.tensor([inputs, outputs], rng)?;
        let bias = Init::Zeros.tensor([outputs], rng)?;
        Ok(Linear { weight: Parameter::new(weight), bias: Some(Parameter::new(bias)) })
    }

    /// The layer's output for `x` of shape `[…, inputs]`.
    ///
    /// # Errors
    /// When the last axis of `x` is not the number of inputs.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.linear(&self.weight.var(), self.bias_var().as_ref(), false)?)
    }

    fn bias_var(&self) -> Option<Var> {
        self.bias.as_ref().map(Parameter::var)
    }

    /// As [`forward`](Self::forward), with an activation after it; ReLU is computed in the same operation.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with(&self, x: &Var, activation: Activation) -> Result<Var> {
        match activation {
            Activation::Relu => Ok(x.linear(&self.weight.var(), self.bias_var().as_ref(), true)?),
            other => other.apply(&self.forward(x)?),
        }
    }
}

/// Description of a dense layer: `units` outputs from the last axis of its input.
///
/// Defaults as in Keras: no activation, Glorot's uniform weights, biases from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dense {
    units: usize,
    pub(super) activation: Option<Activation>,
    bias: bool,
    kernel_init: Init,
    bias_init: Init,
}

impl Dense {
    /// A layer with this many outputs.
    pub fn new(units: usize) -> Self {
        Dense {
            units,
            activation: None,
            bias: true,
            kernel_init: Init::GlorotUniform,
            bias_init: Init::Zeros,
        }
    }

    /// With an activation after the product.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Dense { activation: Some(activation), ..self }
    }

    /// With or without a bias.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Dense { bias, ..self }
    }

    /// With other initial weights.
    #[must_use]
    pub fn kernel_init(self, kernel_init: Init) -> Self {
        Dense { kernel_init, ..self }
    }

    /// With other initial biases.
    #[must_use]
    pub fn bias_init(self, bias_init: Init) -> Self {
        Dense { bias_init, ..self }
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let Some((&inputs, leading)) = input.split_last() else {
            return Err(Error::BadInput {
                input: input.clone(),
                why: "a dense layer needs an axis of features".into(),
            });
        };
        if self.units == 0 {
            return Err(Error::BadSetting { what: "the number of units", value: 0.0, must: "at least 1" });
        }
        let output = leading.iter().copied().chain([self.units]).collect();
        let values = inputs.saturating_mul(self.units).saturating_add(if self.bias { self.units } else { 0 });
        Ok(Plan { output, values })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<DenseLayer> {
        let inputs = input.last().copied().unwrap_or(1);
        let weight = Parameter::new(self.kernel_init.tensor([inputs, self.units], rng)?);
        let bias =
            if self.bias { Some(Parameter::new(self.bias_init.tensor([self.units], rng)?)) } else { None };
        Ok(DenseLayer { linear: Linear { weight, bias }, activation: self.activation })
    }
}

/// A dense layer of a `Sequential`: its parameters are visited without a level of their own.
#[derive(Debug)]
pub(super) struct DenseLayer {
    linear: Linear,
    activation: Option<Activation>,
}

impl Module for DenseLayer {
    fn visit(&self, visitor: &mut crate::Visitor<'_>) {
        self.linear.visit(visitor);
    }
}

impl Layer for DenseLayer {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        let x = input.floats()?;
        match self.activation {
            Some(activation) => self.linear.forward_with(&x, activation),
            None => self.linear.forward(&x),
        }
    }

    fn spans(&self, _: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        Ok(spans)
    }
}
