//! The layouts of other libraries, as what is done to a value on its way in and on its way out.

use cairn_tensor::{Recurrence, Tensor};

use crate::layouts::recurrent::{one_bias, swap_gates, two_biases};
use crate::layouts::torch;
use crate::{Error, Result};

/// How a value is laid out elsewhere.
pub(super) enum Turn {
    Same,
    /// A matrix transposed.
    Dense,
    /// Inputs in the order of an image's axes.
    DenseAfter([usize; 3]),
    Conv2d,
    Conv1d,
    /// One value for each number of an image.
    Features([usize; 3]),
    /// The two biases of PyTorch, of so many units.
    TwoBiases(Recurrence, usize),
    /// Keras's order of a GRU's gates.
    SwapGates(usize),
    /// That of its two biases, in one value.
    SwapBiases(usize),
}

impl Turn {
    /// What the library's values are here; there is one but for [`Turn::TwoBiases`].
    pub(super) fn inward(&self, given: &[Tensor]) -> Result<Tensor> {
        let x = match (self, given) {
            (Turn::TwoBiases(kind, units), [input, state]) => return one_bias(*kind, input, state, *units),
            (_, [x]) => x,
            _ => {
                let why = format!("{} values are no one value", given.len());
                return Err(Error::StateMismatch(why));
            }
        };
        match *self {
            Turn::Same | Turn::TwoBiases(..) => Ok(x.clone()),
            Turn::Dense => torch::dense(x),
            Turn::DenseAfter(image) => torch::dense_after_flatten(x, image),
            Turn::Conv2d => torch::conv2d(x),
            Turn::Conv1d => torch::conv1d(x),
            Turn::Features([height, width, channels]) => {
                let apart = x.reshape([channels, height, width])?.permute([1, 2, 0])?.contiguous()?;
                Ok(apart.reshape([x.len()])?)
            }
            Turn::SwapGates(units) if x.shape().last() == Some(&(3 * units)) => swap_gates(x, units),
            Turn::SwapBiases(units) if x.shape() == [2, 3 * units] => {
                let swapped = swap_gates(x, units)?;
                one_bias(Recurrence::Gru, &swapped.index(0, 0)?, &swapped.index(0, 1)?, units)
            }
            Turn::SwapGates(_) | Turn::SwapBiases(_) => {
                Err(Error::BadInput { input: x.dims().clone(), why: "three gates are needed".into() })
            }
        }
    }

    pub(super) fn outward(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![match *self {
            Turn::Same => x.clone(),
            Turn::Dense => torch::dense(x)?,
            Turn::DenseAfter(image) => torch::to_dense_after_flatten(x, image)?,
            Turn::Conv2d => torch::to_conv2d(x)?,
            Turn::Conv1d => torch::to_conv1d(x)?,
            Turn::Features(image) => {
                x.reshape(image)?.permute([2, 0, 1])?.contiguous()?.reshape([x.len()])?
            }
            Turn::TwoBiases(kind, units) => return Ok(two_biases(kind, x, units)?.into()),
            Turn::SwapGates(units) => swap_gates(x, units)?,
            Turn::SwapBiases(units) => {
                let [input, state] = two_biases(Recurrence::Gru, x, units)?;
                swap_gates(&Tensor::stack(&[&input, &state], 0)?, units)?
            }
        }])
    }
}
