//! Normalisation: parts of a tensor brought to mean 0 and variance 1, then scaled and shifted by channel, the last axis. Each has
//! its derivative, `…_backward`.
//!
//! | method of [`Tensor`] | mean and variance of |
//! |---|---|
//! | `batch_norm` | each channel over all other axes (Ioffe and Szegedy 2015) |
//! | `normalize` | each channel, given |
//! | `group_norm` | groups of neighbouring channels of each item of the batch (Wu and He 2018) |
//! | `layer_norm` | each row (Ba, Kiros and Hinton 2016) |
//! | `rms_norm` | each row, the mean taken as 0 (Zhang and Sennrich 2019) |
//! | `add_layer_norm`, `add_rms_norm` | each row of a sum, which is made in the same pass |

use crate::cpu::norm::{self, Groups};
use crate::shape::count;
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

/// What [`Tensor::group_norm`] returns.
#[derive(Debug, Clone)]
pub struct GroupNorm<T: Float> {
    /// Shaped like the input.
    pub output: Tensor<T>,
    /// The mean of each group of each item, `[batch, groups]`.
    pub mean: Tensor<T>,
    /// The biased variance of each group of each item, `[batch, groups]`.
    pub variance: Tensor<T>,
}

/// What [`Tensor::layer_norm`] returns.
#[derive(Debug, Clone)]
pub struct LayerNorm<T: Float> {
    /// Shaped like the input.
    pub output: Tensor<T>,
    /// The mean of each row, `[rows]`.
    pub mean: Tensor<T>,
    /// 1 / sqrt(variance + epsilon) of each row, `[rows]`.
    pub inverse: Tensor<T>,
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
    /// [`Error::EmptyReduction`] when there are no elements to take a mean of, [`Error::ShapeMismatch`] when `scale` or
    /// `shift` has not one value for each channel, [`Error::BadShape`] for a scalar.
    #[doc(alias = "batch_normalization")]
    pub fn batch_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<BatchNorm<T>> {
        let op = "batch_norm";
        let channels = self.channels(op, &[scale, shift])?;
        if self.is_empty() {
            return Err(Error::EmptyReduction { op, shape: self.dims().clone() });
        }
        let x = self.row_major()?;
        let [mean, variance] = norm::moments(&x, channels);
        let mean = Tensor::from_vec(mean, [channels])?;
        let variance = Tensor::from_vec(variance, [channels])?;
        let output = self.normalize(&mean, &variance, scale, shift, epsilon)?;
        Ok(BatchNorm { output, mean, variance })
    }

    /// As [`batch_norm`](Self::batch_norm) with a mean and variance from elsewhere: batch normalisation at inference, with
    /// running statistics.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when an operand has not one value for each channel, [`Error::BadShape`] for a scalar.
    pub fn normalize(
        &self,
        mean: &Self,
        variance: &Self,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<Self> {
        let channels = self.channels("normalize", &[mean, variance, scale, shift])?;
        let (x, mean, shift) = (self.row_major()?, mean.row_major()?, shift.row_major()?);
        let scale = factors(variance, scale, epsilon);
        Self::build(self.dims(), |out| {
            if channels > 0 {
                let columns = [&mean[..], &scale, &shift[..]];
                norm::normalize(&x, columns, out);
            }
        })
    }

    /// The gradients of [`batch_norm`](Self::batch_norm)'s input, scale and shift, from that of its output and what it
    /// returned as mean and variance.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when an operand has not one value for each channel, or `gradient` is not shaped like this.
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
        let (x, g, mean) = (self.row_major()?, gradient.row_major()?, mean.row_major()?);
        let (x, g, mean) = (&x[..], &g[..], &mean[..]);
        let [sum, product] = norm::column_gradient_sums(x, g, mean);
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

    /// Group normalisation of `[batch, …, channels]`: within each item, each of `groups` groups of neighbouring channels is
    /// brought to mean 0 and variance 1 over all its elements, then each channel multiplied by `scale` and moved by `shift`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [1, 4])?;
    /// let normal = x.group_norm(2, &Tensor::ones([4])?, &Tensor::zeros([4])?, 0.0)?;
    /// assert_eq!(normal.output.to_vec(), [-1.0, 1.0, -1.0, 1.0]);
    /// assert_eq!(normal.mean.to_vec(), [2.0, 20.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] unless there are two axes at least and the channels are divisible by `groups`;
    /// [`Error::ShapeMismatch`] when `scale` or `shift` has not one value for each channel.
    #[doc(alias = "group_normalization")]
    pub fn group_norm(
        &self,
        groups: usize,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<GroupNorm<T>> {
        let op = "group_norm";
        let sizes = self.groups(op, groups)?;
        self.channels(op, &[scale, shift])?;
        let (x, scale, shift) = (self.row_major()?, scale.row_major()?, shift.row_major()?);
        let statistics = [self.shape()[0], groups];
        let (mut mean, mut variance) = (Self::zeros(statistics)?, Self::zeros(statistics)?);
        let saved = [mean.as_mut_slice()?, variance.as_mut_slice()?];
        let output = Self::build(self.dims(), |out| {
            norm::group_normalize(&x, sizes, [&scale, &shift], epsilon, out, saved);
        })?;
        Ok(GroupNorm { output, mean, variance })
    }

    /// The gradients of [`group_norm`](Self::group_norm)'s input, scale and shift, from that of its output and what it
    /// returned as mean and variance.
    ///
    /// # Errors
    /// As [`group_norm`](Self::group_norm), and [`Error::ShapeMismatch`] when `gradient` is not shaped like this, or `mean`
    /// and `variance` are not `[batch, groups]`.
    pub fn group_norm_backward(
        &self,
        gradient: &Self,
        mean: &Self,
        variance: &Self,
        scale: &Self,
        epsilon: f64,
    ) -> Result<[Self; 3]> {
        let op = "group_norm_backward";
        let sizes = self.groups(op, mean.shape().last().copied().unwrap_or(0))?;
        let channels = self.channels(op, &[scale])?;
        for (tensor, shape) in
            [(gradient, self.shape()), (mean, &[self.shape()[0], sizes.groups]), (variance, mean.shape())]
        {
            if tensor.shape() != shape {
                let why = "the gradient must be shaped like the output, the statistics [batch, groups]";
                return Err(Error::mismatch(op, self.shape(), tensor.shape(), why));
            }
        }
        let (x, g, scale) = (self.row_major()?, gradient.row_major()?, scale.row_major()?);
        let (mean, variance) = (mean.row_major()?, variance.row_major()?);
        let mut sums = Default::default();
        let input = Self::build(self.dims(), |out| {
            sums = norm::group_gradient(&x, &g, sizes, [&mean, &variance, &scale], epsilon, out);
        })?;
        let [scale, shift] = sums;
        Ok([input, Tensor::from_vec(scale, [channels])?, Tensor::from_vec(shift, [channels])?])
    }

    /// Layer normalisation of `[…, features]`: each row, along the last axis, is brought to mean 0 and variance 1, then each
    /// feature multiplied by `scale` and moved by `shift`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 3.0, 10.0, 30.0], [2, 2])?;
    /// let normal = x.layer_norm(&Tensor::ones([2])?, &Tensor::zeros([2])?, 0.0)?;
    /// assert_eq!(normal.output.to_vec(), [-1.0, 1.0, -1.0, 1.0]);
    /// assert_eq!(normal.mean.to_vec(), [2.0, 20.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] for a scalar, [`Error::EmptyReduction`] for no features, [`Error::ShapeMismatch`] when `scale` or
    /// `shift` has not one value for each feature.
    pub fn layer_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<LayerNorm<T>> {
        let rows = self.rows("layer_norm", &[scale, shift])?;
        let (x, scale, shift) = (self.row_major()?, scale.row_major()?, shift.row_major()?);
        let (mut mean, mut inverse) = (Self::zeros([rows])?, Self::zeros([rows])?);
        let saved = [mean.as_mut_slice()?, inverse.as_mut_slice()?];
        let output = Self::build(self.dims(), |out| {
            norm::layer_normalize(&x, [&scale, &shift], epsilon, out, saved);
        })?;
        Ok(LayerNorm { output, mean, inverse })
    }

    /// The sum with another tensor of this shape, and [`layer_norm`](Self::layer_norm) of the sum, in one pass: what a transformer's block
    /// does between its parts. The bits are those of the two operations.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let (x, y) = (Tensor::<f32>::eye(2)?, Tensor::ones([2, 2])?);
    /// let (sum, normal) = x.add_layer_norm(&y, &Tensor::ones([2])?, &Tensor::zeros([2])?, 0.0)?;
    /// assert_eq!(sum.to_vec(), [2.0, 1.0, 1.0, 2.0]);
    /// assert_eq!(normal.output.to_vec(), [1.0, -1.0, -1.0, 1.0]);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm), and [`Error::ShapeMismatch`] when the shapes differ.
    pub fn add_layer_norm(
        &self,
        other: &Self,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<(Self, LayerNorm<T>)> {
        let op = "add_layer_norm";
        let rows = self.rows(op, &[scale, shift])?;
        self.check_sum(op, other)?;
        let (x, y, scale, shift) =
            (self.row_major()?, other.row_major()?, scale.row_major()?, shift.row_major()?);
        // Written by the kernel.
        let mut sum = Self::build(self.dims(), |_| ())?;
        let (mut mean, mut inverse) = (Self::zeros([rows])?, Self::zeros([rows])?);
        let (added, saved) = (sum.as_mut_slice()?, [mean.as_mut_slice()?, inverse.as_mut_slice()?]);
        let output = Self::build(self.dims(), |out| {
            norm::add_layer_normalize([&x, &y], [&scale, &shift], epsilon, [added, out], saved);
        })?;
        Ok((sum, LayerNorm { output, mean, inverse }))
    }

    /// The gradients of [`layer_norm`](Self::layer_norm)'s input, scale and shift, from that of its output and what it returned
    /// beside it.
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm), and [`Error::ShapeMismatch`] when `gradient` is not shaped like this, or `mean` and
    /// `inverse` are not `[rows]`.
    pub fn layer_norm_backward(
        &self,
        gradient: &Self,
        mean: &Self,
        inverse: &Self,
        scale: &Self,
    ) -> Result<[Self; 3]> {
        let op = "layer_norm_backward";
        let rows = self.rows(op, &[scale])?;
        self.check_gradient(op, &[(gradient, self.shape()), (mean, &[rows]), (inverse, &[rows])])?;
        let (x, g, features) = (self.row_major()?, gradient.row_major()?, scale.len());
        let (mean, inverse, scale) = (mean.row_major()?, inverse.row_major()?, scale.row_major()?);
        let mut sums = Default::default();
        let input = Self::build(self.dims(), |out| {
            sums = norm::layer_gradient(&x, &g, [&mean, &inverse, &scale], out);
        })?;
        let [scale, shift] = sums;
        Ok([input, Tensor::from_vec(scale, [features])?, Tensor::from_vec(shift, [features])?])
    }

    /// Root mean square normalisation of `[…, features]`: each row, along the last axis, divided by the root of the mean of its
    /// squares, then each feature multiplied by `scale`. Beside the output, 1 / sqrt(mean of squares + epsilon) of each row,
    /// `[rows]`.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let x = Tensor::from_vec(vec![1.0f32, 7.0, 20.0, -140.0], [2, 2])?;
    /// let (output, inverse) = x.rms_norm(&Tensor::ones([2])?, 0.0)?;
    /// assert!(output.iter().zip([0.2, 1.4, 0.2, -1.4]).all(|(y, expected): (f32, f32)| (y - expected).abs() < 1e-6));
    /// assert!((inverse.get(&[0])? - 0.2).abs() < 1e-6);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::BadShape`] for a scalar, [`Error::EmptyReduction`] for no features, [`Error::ShapeMismatch`] when `scale` has
    /// not one value for each feature.
    pub fn rms_norm(&self, scale: &Self, epsilon: f64) -> Result<(Self, Self)> {
        let rows = self.rows("rms_norm", &[scale])?;
        let (x, scale, mut inverse) = (self.row_major()?, scale.row_major()?, Self::zeros([rows])?);
        let saved = inverse.as_mut_slice()?;
        let output = Self::build(self.dims(), |out| norm::rms_normalize(&x, &scale, epsilon, out, saved))?;
        Ok((output, inverse))
    }

    /// The sum with another tensor of this shape, and what [`rms_norm`](Self::rms_norm) gives of the sum, in one pass. The bits are those
    /// of the two operations.
    ///
    /// # Errors
    /// As [`rms_norm`](Self::rms_norm), and [`Error::ShapeMismatch`] when the shapes differ.
    pub fn add_rms_norm(&self, other: &Self, scale: &Self, epsilon: f64) -> Result<[Self; 3]> {
        let op = "add_rms_norm";
        let rows = self.rows(op, &[scale])?;
        self.check_sum(op, other)?;
        let (x, y, scale) = (self.row_major()?, other.row_major()?, scale.row_major()?);
        // The first is written by the kernel.
        let (mut sum, mut inverse) = (Self::build(self.dims(), |_| ())?, Self::zeros([rows])?);
        let (added, saved) = (sum.as_mut_slice()?, inverse.as_mut_slice()?);
        let output = Self::build(self.dims(), |out| {
            norm::add_rms_normalize([&x, &y], &scale, epsilon, [added, out], saved);
        })?;
        Ok([sum, output, inverse])
    }

    /// The gradients of [`rms_norm`](Self::rms_norm)'s input and scale, from that of its output and what it returned beside it.
    ///
    /// # Errors
    /// As [`rms_norm`](Self::rms_norm), and [`Error::ShapeMismatch`] when `gradient` is not shaped like this, or `inverse` is not
    /// `[rows]`.
    pub fn rms_norm_backward(&self, gradient: &Self, inverse: &Self, scale: &Self) -> Result<[Self; 2]> {
        let op = "rms_norm_backward";
        let rows = self.rows(op, &[scale])?;
        self.check_gradient(op, &[(gradient, self.shape()), (inverse, &[rows])])?;
        let (x, g, features) = (self.row_major()?, gradient.row_major()?, scale.len());
        let (inverse, scale, mut sums) = (inverse.row_major()?, scale.row_major()?, Vec::new());
        let input = Self::build(self.dims(), |out| {
            sums = norm::rms_gradient(&x, &g, [&inverse, &scale], out);
        })?;
        Ok([input, Tensor::from_vec(sums, [features])?])
    }

    /// An error unless a tensor to be added has this one's shape.
    fn check_sum(&self, op: &'static str, other: &Self) -> Result<()> {
        if self.shape() == other.shape() {
            return Ok(());
        }
        Err(Error::mismatch(op, self.shape(), other.shape(), "both must have one shape"))
    }

    /// An error unless the operands of a derivative have these shapes.
    fn check_gradient(&self, op: &'static str, operands: &[(&Self, &[usize])]) -> Result<()> {
        match operands.iter().find(|(tensor, shape)| tensor.shape() != *shape) {
            Some((tensor, _)) => {
                let why = "the gradient must be shaped like the output, statistics one for each row";
                Err(Error::mismatch(op, self.shape(), tensor.shape(), why))
            }
            None => Ok(()),
        }
    }

    /// The number of rows along the last axis, which all of `columns` must have as their only one.
    fn rows(&self, op: &'static str, columns: &[&Self]) -> Result<usize> {
        match self.channels(op, columns)? {
            0 => Err(Error::EmptyReduction { op, shape: self.dims().clone() }),
            features => Ok(self.len() / features),
        }
    }

    /// This tensor's sizes as group normalisation sees them.
    fn groups(&self, op: &'static str, groups: usize) -> Result<Groups> {
        match *self.shape() {
            [_, ref item @ .., channels] if groups > 0 && channels % groups == 0 => {
                Ok(Groups { channels, groups, item: count(item).saturating_mul(channels) })
            }
            _ => {
                let why = "[batch, …, channels] is needed, with channels divisible by the number of groups";
                Err(Error::bad_shape(op, self.shape(), why))
            }
        }
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
