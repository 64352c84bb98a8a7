//! Compressing a checkpoint: matrices in fewer bits.

use std::collections::BTreeMap;

use cairn_tensor::{AnyTensor, BlockFormat, DType};

use super::Weights;
use crate::Result;

impl Weights {
    /// With all matrices of floats in a format of a few bits; what is no matrix, as biases and norms, stays as it is. Blocks run
    /// along the last axis, so matrices should be `[outputs, inputs]`, as in PyTorch's and GGUF files.
    ///
    /// Where rows are no whole blocks of the format, another takes its place ([`BlockFormat::fitting`]), and rows that are no
    /// multiple of 32 stay floats.
    ///
    /// ```
    /// use cairn_nn::weights::Weights;
    /// use cairn_tensor::{BlockFormat, DType, Tensor, rng};
    /// let mut weights = Weights::default();
    /// weights.tensors.insert("up.weight".into(), Tensor::<f32>::normal([8, 512], 0.0, 1.0, &mut rng(0))?.into());
    /// weights.tensors.insert("up.bias".into(), Tensor::<f32>::zeros([8])?.into());
    /// let small = weights.quantize(BlockFormat::Q4K)?;
    /// assert_eq!(small.tensors["up.weight"].dtype(), BlockFormat::Q4K.into());
    /// assert_eq!(small.tensors["up.bias"].dtype(), DType::F32);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// When memory does not hold them.
    pub fn quantize(self, format: BlockFormat) -> Result<Self> {
        self.quantize_by(|_, _| Some(format))
    }

    /// As [`quantize`](Self::quantize), in the format that `choose` says for a matrix, by its name and shape; with `None` it stays as it
    /// is.
    ///
    /// # Errors
    /// When memory does not hold them.
    pub fn quantize_by(mut self, choose: impl Fn(&str, &[usize]) -> Option<BlockFormat>) -> Result<Self> {
        let tensors = std::mem::take(&mut self.tensors).into_iter().map(|(name, tensor)| {
            let format = match (tensor.shape(), tensor.dtype()) {
                (&[_, columns], dtype) if dtype.is_float() || matches!(dtype, DType::Quantized(_)) => {
                    choose(&name, tensor.shape()).and_then(|format| format.fitting(columns))
                }
                _ => None,
            };
            let tensor = match format {
                Some(format) => quantized(&tensor, format)?,
                None => tensor,
            };
            Ok((name, tensor))
        });
        let tensors = tensors.collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Weights { tensors, ..self })
    }
}

/// Quantised along the last axis, whatever it was before.
fn quantized(tensor: &AnyTensor, format: BlockFormat) -> Result<AnyTensor> {
    let turned = tensor.as_quantized().is_some_and(cairn_tensor::QuantizedTensor::is_transposed);
    if tensor.dtype() == DType::Quantized(format) && !turned {
        return Ok(tensor.clone());
    }
    Ok(tensor.cast(DType::F32)?.cast(format.into())?)
}
