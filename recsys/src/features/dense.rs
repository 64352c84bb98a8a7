//! Dense layers of a trained model, as they are kept.

use cairn_autograd::{Var, no_grad};
use cairn_nn::Linear;
use cairn_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::check;

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

    /// For what comes from a file: they fit together, from so many inputs to so many outputs, and are finite. The text names the layer
    /// that is not.
    pub(crate) fn check(&self, inputs: usize, outputs: usize) -> Result<(), String> {
        let mut width = inputs;
        for (at, Dense { weight, bias }) in self.0.iter().enumerate() {
            if width.checked_mul(bias.len()) != Some(weight.len()) {
                return Err(format!("dense layer {at} does not fit"));
            }
            check::finite(format_args!("the weights of dense layer {at}"), weight)?;
            check::finite(format_args!("the biases of dense layer {at}"), bias)?;
            width = bias.len();
        }
        if width == outputs { Ok(()) } else { Err("the last of the dense layers does not fit".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_do_not_fit_or_are_not_finite_are_named() {
        let dense = |inputs: usize, outputs: usize| Dense {
            weight: vec![0.5; inputs * outputs],
            bias: vec![0.1; outputs],
        };
        let layers = Layers(vec![dense(3, 2), dense(2, 1)]);
        assert_eq!(layers.check(3, 1), Ok(()));
        assert!(layers.check(4, 1).unwrap_err().contains("layer 0"));
        assert!(layers.check(3, 2).unwrap_err().contains("last"));
        let mut broken = layers.clone();
        broken.0[1].weight[1] = f32::NAN;
        assert!(broken.check(3, 1).unwrap_err().contains("weights of dense layer 1"));
        let mut broken = layers;
        broken.0[0].bias[1] = f32::INFINITY;
        assert!(broken.check(3, 1).unwrap_err().contains("biases of dense layer 0"));
    }
}
