//! The dense (fully connected) layer: y = activation(x W + b).

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, Value, optional_var};
use crate::adapters::{LowRank, Slot};
use crate::weights::{Flow, Framework, Permutation, Rule};
use crate::{Activation, Context, Error, Init, Result};

/// A dense layer: `x W + b`, for `x` of shape `[…, inputs]`, and an activation if one is set.
///
/// The weight is `[inputs, outputs]`, as in Keras; PyTorch keeps the transpose. It may be stored quantised or
/// in 16 bits, for inference and as the frozen base of what is trained beside it: the layer computes with it as it is
/// ([`Var::linear_stored`]).
///
/// ```
/// use cairn_nn::Linear;
/// use cairn_tensor::{BlockFormat, QuantizedTensor, Tensor, rng};
/// let layer = Linear::new(64, 10, &mut rng(0))?;
/// let x = Tensor::<f32>::normal([2, 64], 0.0, 1.0, &mut rng(1))?.into();
/// let exact = layer.forward(&x)?;
/// // Blocks run along the inputs: rows of outputs are quantised, and seen transposed.
/// let rows = QuantizedTensor::quantize(&layer.weight.value().t()?, BlockFormat::Q8_0)?;
/// layer.weight.set_any(rows.packed()?.t()?.into());
/// let error = layer.forward(&x)?.value().sub(exact.value())?.norm(..)?.item()?;
/// assert!(error < 0.02 * exact.value().norm(..)?.item()?);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, cairn_nn_derive::Module)]
#[doc(alias("Dense", "FullyConnected"))]
pub struct Linear {
    /// `[inputs, outputs]`
    pub weight: Parameter,
    /// `[outputs]`
    pub bias: Option<Parameter>,
    activation: Option<Activation>,
    /// What is trained beside a frozen weight.
    lora: Slot,
}

impl Linear {
    /// Weights drawn by Glorot's uniform rule, biases 0.
    ///
    /// ```
    /// use cairn_nn::{Activation::Tanh, Linear};
    /// use cairn_tensor::{rng, Tensor};
    /// let layer = Linear::new(3, 2, &mut rng(0))?.activation(Tanh);
    /// let y = layer.forward(&Tensor::ones([5, 3])?.into())?;
    /// assert_eq!(y.shape(), [5, 2]);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// When memory does not hold the weight.
    pub fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Self> {
        spec::Dense::new(outputs).layer(inputs, rng)
    }

    /// A layer of given parameters: a weight `[inputs, outputs]`, perhaps another layer's, and a bias `[outputs]`.
    pub fn with_parameters(weight: Parameter, bias: Option<Parameter>) -> Self {
        Linear { weight, bias, activation: None, lora: Slot::default() }
    }

    /// With an activation after the product; ReLU is computed in the same operation.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        Linear { activation: Some(activation), ..self }
    }

    /// Without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Linear { bias: None, ..self }
    }

    /// The layer's output for `x` of shape `[…, inputs]`.
    ///
    /// # Errors
    /// When the last axis of `x` is not the number of inputs.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        self.forward_in(x, &mut Context::eval())
    }

    /// As [`forward`](Self::forward), in a context: in training, [adapters](crate::adapters) of the layer drop some of what they are
    /// given.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_in(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let adapters = self.lora.adapters();
        let relu = self.activation == Some(Activation::Relu) && adapters.is_none();
        let bias = optional_var(self.bias.as_ref());
        let y = match self.weight.stored() {
            Some(weight) => x.linear_stored(&weight, bias.as_ref(), relu)?,
            None => x.linear(&self.weight.var(), bias.as_ref(), relu)?,
        };
        let y = match adapters {
            Some(adapters) => LowRank::added(&adapters, x, &y, cx)?,
            None => y,
        };
        match self.activation {
            None => Ok(y),
            Some(Activation::Relu) if relu => Ok(y),
            Some(activation) => activation.forward(&y),
        }
    }
}

impl Layer for Linear {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        self.forward_in(&input.floats()?, cx)
    }
}

pub(super) mod spec {
    use super::*;

    /// Description of a [`Linear`] layer: `units` outputs from the last axis of its input.
    ///
    /// Defaults as in Keras: no activation, Glorot's uniform weights, biases from 0.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[doc(alias = "Linear")]
    pub struct Dense {
        units: usize,
        pub(in super::super) activation: Option<Activation>,
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
        #[doc(alias = "use_bias")]
        pub fn bias(self, bias: bool) -> Self {
            Dense { bias, ..self }
        }

        /// With other initial weights.
        #[must_use]
        #[doc(alias = "kernel_initializer")]
        pub fn kernel_init(self, kernel_init: Init) -> Self {
            Dense { kernel_init, ..self }
        }

        /// With other initial biases.
        #[must_use]
        #[doc(alias = "bias_initializer")]
        pub fn bias_init(self, bias_init: Init) -> Self {
            Dense { bias_init, ..self }
        }

        /// The layer for so many inputs, with parameters drawn.
        ///
        /// # Errors
        /// For an initial value of an impossible spread, or when memory does not hold the weight.
        pub fn layer(&self, inputs: usize, rng: &mut Rng) -> Result<Linear> {
            let weight = Parameter::new(self.kernel_init.tensor([inputs, self.units], rng)?);
            let bias = if self.bias { Some(self.bias_init.tensor([self.units], rng)?) } else { None };
            let bias = bias.map(Parameter::new);
            Ok(Linear { weight, bias, activation: self.activation, lora: Slot::default() })
        }
    }

    impl LayerConfig for Dense {
        const KIND: &'static str = "dense";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let Some((&inputs, leading)) = input.split_last() else {
                return Err(Error::BadInput {
                    input: input.clone(),
                    why: "a dense layer needs an axis of features".into(),
                });
            };
            if self.units == 0 {
                return Err(Error::BadSetting {
                    what: "the number of units",
                    value: 0.0,
                    must: "at least 1",
                });
            }
            let output = leading.iter().copied().chain([self.units]).collect();
            let values =
                inputs.saturating_mul(self.units).saturating_add(if self.bias { self.units } else { 0 });
            Ok(Plan { output, values })
        }

        fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(input.last().copied().unwrap_or(1), rng)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            let inputs = flow.flattened.take();
            let (weight, permutation) = match framework {
                Framework::Keras => ("/kernel", Permutation::Same),
                _ => (".weight", inputs.map_or(Permutation::Transposed, Permutation::DenseAfter)),
            };
            let weight = Rule::new("weight", weight, permutation);
            let bias = self.bias.then(|| Rule::new("bias", framework.value("bias"), Permutation::Same));
            Ok([weight].into_iter().chain(bias).collect())
        }
    }
}
