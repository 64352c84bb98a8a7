//! Batch normalisation (Ioffe and Szegedy 2015): each channel, the last axis, brought to mean 0 and variance 1 over all
//! others, then scaled and shifted.

use crate::cpu::norm;
use crate::{Error, Float, Result, Tensor};

/// What [`Tensor::batch_norm`] returns.
#[derive(Debug, Clone)]
pub struct BatchNorm<T: Float> {
    /// Shaped like the input.
    pub output: Tensor<T>,
    /// The mean of each channel.
    pub mean: Tensor<T>,
    /// The biased variance of each channel: that of the batch, divided by the number of elements.
    pub variance: Tensor<T>,
}

impl<T: Float> Tensor<T> {
    /// `(x - mean) / sqrt(variance + epsilon) · scale + shift`, with mean and variance of this batch over all axes but the
    /// last; `scale` and `shift` have one value for each channel.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 10.0, 3.0, 30.0], [2, 2])?;
    /// let (one, zero) = (Tensor::ones([2])?, Tensor::zeros([2])?);
    /// let normal = x.batch_norm(&one, &zero, 0.0)?;
    /// assert_eq!(normal.output.to_vec(), [-1.0, -1.0, 1.0, 1.0]);
    /// assert_eq!(normal.mean.to_vec(), [2.0, 20.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there are no elements to take a mean of, or `scale` or `shift` do not fit the channels.
    pub fn batch_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<BatchNorm<T>> {
        let op = "batch_norm";
        let channels = self.channels(op, &[scale, shift])?;
        if self.is_empty() {
            return Err(Error::EmptyReduction { op, shape: self.dims().clone() });
        }
        let x = self.contiguous()?;
        let [mean, variance] = norm::moments(x.as_slice().unwrap_or_default(), channels);
        let mean = Tensor::from_vec(mean, [channels])?;
        let variance = Tensor::from_vec(variance, [channels])?;
        let output = self.normalize(&mean, &variance, scale, shift, epsilon)?;
        Ok(BatchNorm { output, mean, variance })
    }

    /// As [`batch_norm`](Self::batch_norm) with a mean and variance from elsewhere: batch normalisation in use, with running
    /// statistics.
    ///
    /// # Errors
    /// When an operand does not fit the channels.
    pub fn normalize(
        &self,
        mean: &Self,
        variance: &Self,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<Self> {
        let channels = self.channels("normalize", &[mean, variance, scale, shift])?;
        let (x, mean, shift) = (self.contiguous()?, mean.contiguous()?, shift.contiguous()?);
        let scale = factors(variance, scale, epsilon);
        Self::build(self.dims(), |out| {
            if channels > 0 {
                let columns =
                    [mean.as_slice().unwrap_or_default(), &scale, shift.as_slice().unwrap_or_default()];
                norm::normalize(x.as_slice().unwrap_or_default(), columns, out);
            }
        })
    }

    /// The gradients of [`batch_norm`](Self::batch_norm)'s input, scale and shift, from that of its output and what it
    /// returned as mean and variance.
    ///
    /// # Errors
    /// When an operand does not fit the channels, or `gradient` is not shaped like this.
    pub fn batch_norm_backward(
        &self,
        gradient: &Self,
        mean: &Self,
        variance: &Self,
        scale: &Self,
        epsilon: f64,
    ) -> Result<[Self; 3]> {
        let op = "batch_norm_backward";
        let channels = self.channels(op, &[mean, variance, scale])?;
        if gradient.shape() != self.shape() {
            let why = "the gradient must be shaped like the output";
            return Err(Error::mismatch(op, self.shape(), gradient.shape(), why));
        }
        let rows = (self.len() / channels.max(1)).max(1) as f64;
        let (x, g, mean) = (self.contiguous()?, gradient.contiguous()?, mean.contiguous()?);
        let (x, g, mean) = [&x, &g, &mean].map(|t| t.as_slice().unwrap_or_default()).into();
        let [sum, product] = norm::gradient_sums(x, g, mean);
        let inverse: Vec<f64> = variance.iter().map(|v| 1.0 / (v.to_f64() + epsilon).sqrt()).collect();
        let narrow = |values: Vec<f64>| values.into_iter().map(T::from_f64).collect::<Vec<T>>();
        // dL/dx = scale / s · (g - mean(g) - (x - m) / s² · mean(g (x - m))), s² = variance + epsilon
        let a = narrow(sum.iter().map(|sum| sum / rows).collect());
        let b = narrow(product.iter().zip(&inverse).map(|(p, i)| p * i * i / rows).collect());
        let factor = factors(variance, scale, epsilon);
        let input = Self::build(self.dims(), |out| {
            if channels > 0 {
                norm::normalize_gradient(x, g, [mean, &a, &b, &factor], out);
            }
        })?;
        let scale = narrow(product.iter().zip(&inverse).map(|(p, i)| p * i).collect());
        Ok([input, Tensor::from_vec(scale, [channels])?, Tensor::from_vec(narrow(sum), [channels])?])
    }

    /// The size of the last axis, which all of `columns` must have as their only one.
    fn channels(&self, op: &'static str, columns: &[&Self]) -> Result<usize> {
        let Some(&channels) = self.shape().last() else {
            return Err(Error::bad_shape(op, self.shape(), "an axis of channels is needed"));
        };
        match columns.iter().find(|column| column.shape() != [channels]) {
            Some(column) => {
                let why = "there must be one value for each channel, the last axis";
                Err(Error::mismatch(op, self.shape(), column.shape(), why))
            }
            None => Ok(channels),
        }
    }
}

/// scale / sqrt(variance + epsilon)
fn factors<T: Float>(variance: &Tensor<T>, scale: &Tensor<T>, epsilon: f64) -> Vec<T> {
    let factor = |(v, s): (T, T)| T::from_f64(s.to_f64() / (v.to_f64() + epsilon).sqrt());
    variance.iter().zip(scale.iter()).map(factor).collect()
}
