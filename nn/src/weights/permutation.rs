//! The layouts of other libraries, as what is done to a value when it is imported and when it is exported.

use cairn_tensor::{AnyTensor, DType, Recurrence, Tensor};

use super::recurrent::{one_bias, swap_gates, two_biases};
use super::torch;
use crate::{Error, Result};

/// How a value is laid out elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permutation {
    /// As here.
    Same,
    /// A matrix transposed.
    Transposed,
    /// A dense weight transposed, its inputs in the order of an image's axes: height, width and channels here.
    DenseAfter([usize; 3]),
    /// Filters of images with channels first.
    Conv2d,
    /// Filters of sequences with channels first.
    Conv1d,
    /// One value for each feature of a flattened image, channels first.
    Features([usize; 3]),
    /// The two biases of PyTorch, of so many units.
    TwoBiases(Recurrence, usize),
    /// Keras's order of a GRU's gates, of so many units.
    SwapGates(usize),
    /// That of its two biases, in one value.
    SwapBiases(usize),
    /// Keras's queries, keys and values of attention, three values `[…, heads, size]` that lie side by side here: the heads and their size,
    /// of each.
    Heads([[usize; 2]; 3]),
    /// Keras's weight that joins heads, `[heads, size, features]`.
    JoinedHeads(usize, usize),
}

impl Permutation {
    /// What the library's values are here; there is one but for [`Permutation::TwoBiases`]. Floats become f32.
    pub(super) fn import(&self, given: &[AnyTensor]) -> Result<AnyTensor> {
        let given: Vec<AnyTensor> = given.iter().map(as_f32).collect::<Result<_>>()?;
        match (self, &given[..]) {
            (Permutation::TwoBiases(kind, units), [input, state]) => {
                Ok(one_bias(*kind, input.as_f32()?, state.as_f32()?, *units)?.into())
            }
            (Permutation::Heads(heads), parts) if parts.len() == heads.len() => {
                let flat = parts
                    .iter()
                    .zip(heads)
                    .map(|(part, &[heads, size])| flat_heads(part.as_f32()?, heads, size));
                let flat = flat.collect::<Result<Vec<_>>>()?;
                Ok(Tensor::cat(&flat.iter().collect::<Vec<_>>(), -1)?.into())
            }
            (Permutation::Same, [x]) => Ok(x.clone()),
            (_, [x]) => Ok(self.import_one(x.as_f32()?)?.into()),
            _ => Err(Error::StateMismatch(format!("{} values are no one value", given.len()))),
        }
    }

    fn import_one(&self, x: &Tensor) -> Result<Tensor> {
        match *self {
            Permutation::Same | Permutation::TwoBiases(..) => Ok(x.clone()),
            Permutation::Transposed => torch::dense(x),
            Permutation::DenseAfter(image) => torch::dense_after_flatten(x, image),
            Permutation::Conv2d => torch::conv2d(x),
            Permutation::Conv1d => torch::conv1d(x),
            Permutation::Features([height, width, channels]) => {
                let apart = x.reshape([channels, height, width])?.permute([1, 2, 0])?.contiguous()?;
                Ok(apart.reshape([x.len()])?)
            }
            Permutation::SwapGates(units) if x.shape().last() == Some(&(3 * units)) => swap_gates(x, units),
            Permutation::SwapBiases(units) if x.shape() == [2, 3 * units] => {
                let swapped = swap_gates(x, units)?;
                one_bias(Recurrence::Gru, &swapped.index(0, 0)?, &swapped.index(0, 1)?, units)
            }
            Permutation::JoinedHeads(heads, size) => match *x.shape() {
                [h, s, features] if [h, s] == [heads, size] => Ok(x.reshape([heads * size, features])?),
                _ => Err(Error::BadInput {
                    input: x.dims().clone(),
                    why: format!("{heads} heads of {size} are needed"),
                }),
            },
            Permutation::Heads(..) | Permutation::SwapGates(_) | Permutation::SwapBiases(_) => {
                Err(Error::BadInput { input: x.dims().clone(), why: "three parts are needed".into() })
            }
        }
    }

    /// What a value here is in the library, in the element type that it has here.
    pub(super) fn export(&self, x: &AnyTensor) -> Result<Vec<AnyTensor>> {
        if *self == Permutation::Same {
            return Ok(vec![x.clone()]);
        }
        let dtype = x.dtype();
        // Exact for the 16-bit floats and for integers of 8 bits, since nothing is computed but a zero.
        let wide = x.cast(DType::F32)?;
        let values = self.export_floats(wide.as_f32()?)?;
        values.into_iter().map(|value| Ok(AnyTensor::from(value).cast(dtype)?)).collect()
    }

    fn export_floats(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        Ok(vec![match *self {
            Permutation::Same => x.clone(),
            Permutation::Transposed => torch::dense(x)?,
            Permutation::DenseAfter(image) => torch::to_dense_after_flatten(x, image)?,
            Permutation::Conv2d => torch::to_conv2d(x)?,
            Permutation::Conv1d => torch::to_conv1d(x)?,
            Permutation::Features(image) => {
                x.reshape(image)?.permute([2, 0, 1])?.contiguous()?.reshape([x.len()])?
            }
            Permutation::TwoBiases(kind, units) => return Ok(two_biases(kind, x, units)?.into()),
            Permutation::Heads(heads) => {
                let mut first = 0;
                let parts = heads.map(|[heads, size]| {
                    let part = x.narrow(-1, first, heads * size)?;
                    first += heads * size;
                    let leading = &x.shape()[..x.rank() - 1];
                    Ok(part.contiguous()?.reshape([leading, &[heads, size]].concat())?)
                });
                return parts.into_iter().collect();
            }
            Permutation::JoinedHeads(heads, size) => x.reshape([heads, size, x.len() / (heads * size)])?,
            Permutation::SwapGates(units) => swap_gates(x, units)?,
            Permutation::SwapBiases(units) => {
                let [input, state] = two_biases(Recurrence::Gru, x, units)?;
                swap_gates(&Tensor::stack(&[&input, &state], 0)?, units)?
            }
        }])
    }
}

/// `[…, heads, size]` as `[…, heads · size]`.
fn flat_heads(x: &Tensor, heads: usize, size: usize) -> Result<Tensor> {
    match x.shape() {
        [leading @ .., h, s] if [*h, *s] == [heads, size] => {
            Ok(x.reshape([leading, &[heads * size]].concat())?)
        }
        _ => Err(Error::BadInput {
            input: x.dims().clone(),
            why: format!("{heads} heads of {size} are needed"),
        }),
    }
}

/// Floats as f32; others as they are.
fn as_f32(x: &AnyTensor) -> Result<AnyTensor> {
    Ok(if x.dtype().is_float() { x.cast(DType::F32)? } else { x.clone() })
}
