//! A dense layer whose weights are stored in another type than it computes in.

use crate::cpu::linear_half::{self, Half};
use crate::{AnyTensor, DType, Float, Result, Tensor};

impl<T: Float> Tensor<T> {
    /// As [`linear`](Self::linear), with weights `[inputs, outputs]` in the type that they are stored in: the layer of a model that only
    /// answers, or of what is trained beside it.
    ///
    /// Quantised ones are computed with as [`linear_quantized`](Self::linear_quantized) says. `bf16` and `f16` are converted as they are
    /// read, where each output's weights lie side by side (the transpose of a file's `[outputs, inputs]`), and sums are of single
    /// precision: the bits of a row do not depend on the rows beside it. All others are [cast](AnyTensor::cast) before.
    ///
    /// ```
    /// use cairn_tensor::{AnyTensor, DType, Tensor, rng};
    /// let w = AnyTensor::from(Tensor::<f32>::normal([5, 40], 0.0, 1.0, &mut rng(0))?).cast(DType::BF16)?;
    /// let x = Tensor::<f32>::ones([2, 40])?;
    /// let y = x.linear_stored(&w.t()?, None, false)?;
    /// let exact = x.matmul(&w.cast(DType::F32)?.as_f32()?.t()?)?;
    /// assert!(y.sub(&exact)?.abs()?.max(..)?.item()? < 1e-4);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ShapeMismatch`](crate::Error::ShapeMismatch) when the sizes do not fit together; when memory does not hold converted weights.
    pub fn linear_stored(&self, weight: &AnyTensor, bias: Option<&Self>, relu: bool) -> Result<Self> {
        let converted = || weight.cast(T::DTYPE).and_then(Tensor::<T>::try_from);
        match weight {
            AnyTensor::Quantized(weight) => self.linear_quantized(weight, bias, relu),
            AnyTensor::BF16(half) if fits(self, half, bias) => with_half(self, half, bias, relu),
            AnyTensor::F16(half) if fits(self, half, bias) => with_half(self, half, bias, relu),
            _ => self.linear(&converted()?, bias, relu),
        }
    }
}

/// Whether the kernel takes these: single precision, each output's weights side by side, shapes that go together.
fn fits<T: Float, H: Half>(x: &Tensor<T>, weight: &Tensor<H>, bias: Option<&Tensor<T>>) -> bool {
    let (&[inputs, outputs], Some(&last)) = (weight.shape(), x.shape().last()) else { return false };
    T::DTYPE == DType::F32
        && last == inputs
        && inputs > 0
        && weight.strides() == [1, inputs as isize]
        && bias.is_none_or(|bias| bias.shape() == [outputs])
}

fn with_half<T: Float, H: Half>(
    x: &Tensor<T>,
    weight: &Tensor<H>,
    bias: Option<&Tensor<T>>,
    relu: bool,
) -> Result<Tensor<T>> {
    let (x_f32, bias) = (x.cast::<f32>()?, bias.map(Tensor::cast::<f32>).transpose()?);
    let (rows, bias) = (x_f32.row_major()?, bias.as_ref().map(Tensor::row_major).transpose()?);
    let weight = weight.t()?;
    let (outputs, inputs) = (weight.shape()[0], weight.shape()[1]);
    let mut shape = x.dims().clone();
    shape.set(shape.rank() - 1, outputs);
    let weight = weight.row_major()?;
    let y = Tensor::<f32>::build(shape, |out| {
        linear_half::product(&rows, &weight, inputs, bias.as_deref(), relu, out);
    })?;
    y.cast()
}
