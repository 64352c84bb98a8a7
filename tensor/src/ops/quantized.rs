//! Making quantised weights, taking them back, and a dense layer with them.

use crate::cpu::quantized;
use crate::cpu::shared_bytes::SharedBytes;
use crate::quantized::check_shape;
use crate::{BlockFormat, DType, Error, Float, QuantizedTensor, Result, Tensor};

impl QuantizedTensor {
    /// Weights rounded to a format, bit for bit as ggml's reference quantisers round them. Blocks run along the last axis.
    ///
    /// # Errors
    /// [`Error::BadShape`] for a shape whose last axis is not one or more whole blocks; [`Error::OutOfMemory`].
    pub fn quantize(x: &Tensor<f32>, format: BlockFormat) -> Result<Self> {
        check_shape("quantize", format, x.shape())?;
        let x_rows = x.row_major()?;
        let (op, dtype) = ("quantize", format.into());
        let missing = || Error::OutOfMemory { op, elements: x.len(), dtype };
        let mut memory = quantized::memory(format.bytes_of(x.len()).ok_or_else(missing)?)?;
        quantized::quantize(format, &x_rows, &mut memory);
        Self::from_bytes(format, x.dims().clone(), SharedBytes::from_buffer(memory))
    }

    /// The weights as floats.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn dequantize(&self) -> Result<Tensor<f32>> {
        if self.is_transposed() {
            return self.t()?.dequantize()?.t();
        }
        Tensor::build(self.dims(), |out| self.matrix().weights(|row| row, out))
    }

    /// The weights of some rows of a matrix, `[ids, columns]`: an embedding.
    ///
    /// # Errors
    /// [`Error::BadShape`] for anything but a matrix that is not transposed; [`Error::IndexOutOfRange`] for a row that it has not.
    #[doc(alias("index_select", "get_rows", "embedding"))]
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor<f32>> {
        let op = "rows";
        let &[size, columns] = self.shape() else {
            return Err(Error::bad_shape(op, self.shape(), "a matrix is needed"));
        };
        if self.is_transposed() {
            return Err(Error::bad_shape(op, self.shape(), "rows of blocks are needed: transpose it back"));
        }
        if let Some(position) = ids.iter().position(|&id| id as usize >= size) {
            return Err(Error::IndexOutOfRange { op, index: ids[position] as usize, position, size });
        }
        Tensor::build([ids.len(), columns], |out| self.matrix().weights(|i| ids[i] as usize, out))
    }
}

impl<T: Float> Tensor<T> {
    /// As [`linear`](Self::linear), with quantised weights: `x w + b` for `x` of shape `[…, inputs]`, `weight` `[inputs, outputs]`
    /// with its blocks along the inputs, and, if given, `bias` `[outputs]`, followed by max(·, 0) when `relu` is set.
    ///
    /// Each row of `x` is rounded to 11 bits (10 for weights of 5), in blocks of 32 with a scale each; sums of products within a block are exact, and
    /// are scaled and added in single precision in the order of the blocks. The bits of a row of the result depend on that row
    /// and the weights alone: not on the rows beside it, the number of threads or the processor. In double precision nothing
    /// is rounded: it is the product with the [dequantised](QuantizedTensor::dequantize) weights.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when the sizes do not fit together, or the blocks run along the outputs.
    pub fn linear_quantized(
        &self,
        weight: &QuantizedTensor,
        bias: Option<&Self>,
        relu: bool,
    ) -> Result<Self> {
        let op = "linear_quantized";
        let mismatch = |why| Error::mismatch(op, self.shape(), weight.shape(), why);
        let (Some((&inputs, _)), &[fan_in, outputs]) = (self.shape().split_last(), weight.shape()) else {
            return Err(mismatch("input […, n] and weight [n, m] are needed"));
        };
        if inputs != fan_in {
            return Err(mismatch("the input's last axis must be as long as the weight's first"));
        }
        if !weight.is_transposed() {
            return Err(mismatch(
                "blocks must run along the inputs: take the transpose of [outputs, inputs]",
            ));
        }
        if let Some(bias) = bias.filter(|bias| bias.shape() != [outputs]) {
            let why = "the bias must have one value per output";
            return Err(Error::mismatch(op, weight.shape(), bias.shape(), why));
        }
        if T::DTYPE == DType::F64 {
            return self.linear(&weight.dequantize()?.cast::<T>()?, bias, relu);
        }
        let (x, bias) = (self.cast::<f32>()?, bias.map(Self::cast::<f32>).transpose()?);
        let (x, bias) = (x.row_major()?, bias.as_ref().map(Tensor::row_major).transpose()?);
        let mut shape = self.dims().clone();
        shape.set(shape.rank() - 1, outputs);
        let y = Tensor::try_build(shape, |out| weight.matrix().product(&x, bias.as_deref(), relu, out))?;
        y.cast()
    }
}
