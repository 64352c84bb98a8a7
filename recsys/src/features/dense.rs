//! Dense layers of a trained model, as they are kept.

use cairn_autograd::{Var, no_grad};
use cairn_nn::Linear;
use cairn_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Layers, with ReLU after all but the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layers(Vec<Dense>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Dense {
    /// `[inputs, outputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layers {
    pub(crate) fn new(layers: &[Linear]) -> Self {
        let dense = |layer: &Linear| Dense {
            weight: layer.weight.value().to_vec(),
            bias: layer.bias.as_ref().map_or_else(Vec::new, |bias| bias.value().to_vec()),
        };
        Self(layers.iter().map(dense).collect())
    }

    /// Rows of inputs, one after another, as rows of outputs.
    pub(crate) fn forward(&self, inputs: Vec<f32>, rows: usize) -> cairn_nn::Result<Vec<f32>> {
        let width = inputs.len() / rows.max(1);
        let inputs = Var::constant(Tensor::from_vec(inputs, [rows, width])?);
        Ok(no_grad(|| self.apply(inputs))?.value().to_vec())
    }

    /// As [`forward`](Self::forward), differentiable by the inputs.
    pub(crate) fn apply(&self, inputs: Var) -> cairn_nn::Result<Var> {
        let mut x = inputs;
        for (at, Dense { weight, bias }) in self.0.iter().enumerate() {
            let weight = Var::constant(Tensor::from_slice(weight, [x.shape()[1], bias.len()])?);
            let bias = Var::constant(Tensor::from_slice(bias, [bias.len()])?);
            x = x.linear(&weight, Some(&bias), at + 1 < self.0.len())?;
        }
        Ok(x)
    }

    /// Whether they fit together and are finite, for what comes from a file: from so many inputs to so many outputs.
    pub(crate) fn fit(&self, inputs: usize, outputs: usize) -> bool {
        let mut width = inputs;
        self.0.iter().all(|Dense { weight, bias }| {
            let fits = width.checked_mul(bias.len()) == Some(weight.len());
            width = bias.len();
            fits && weight.iter().chain(bias).all(|x| x.is_finite())
        }) && width == outputs
    }
}
