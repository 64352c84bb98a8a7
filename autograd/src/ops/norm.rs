//! Normalisation: by the statistics of a batch, by given ones, and within each item.

use cairn_tensor::norm::{BatchNorm, LayerNorm};
use cairn_tensor::{Float, Tensor};

use super::arithmetic::{Arithmetic, sum};
use super::{by, keep, sum_to_channels, when};
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Normalisation of `[batch, …, channels]`.
    Norm {
        /// By the mean and variance of this batch, in training; the operands are x, scale and shift.
        Batch {
            /// What is added to the variances.
            epsilon: f64,
        } = "batch_norm",
        /// By given means and variances; the operands are x, mean, variance, scale and shift.
        Given {
            /// What is added to the variances.
            epsilon: f64,
        } = "normalize",
        /// Within groups of channels of an item; the operands are x, scale and shift.
        Group {
            /// The number of groups.
            groups: usize,
            /// What is added to the variances.
            epsilon: f64,
        } = "group_norm",
        /// Of each row; the operands are x, scale and shift.
        Layer {
            /// What is added to the variances.
            epsilon: f64,
        } = "layer_norm",
        /// Of each row, by the root of the mean of its squares; the operands are x and scale.
        Rms {
            /// What is added to the mean of squares.
            epsilon: f64,
        } = "rms_norm",
    }
}

impl Rule for Norm {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        match *self {
            Norm::Batch { epsilon } => {
                let (x, scale, shift) = (x.float(0)?, x.float(1)?, x.float(2)?);
                let normal = x.batch_norm(scale, shift, epsilon)?;
                batch_norm(x, scale, &normal, epsilon, wanted)
            }
            Norm::Given { epsilon } => {
                let (mean, variance) = (x.float(1)?, x.float(2)?);
                given(x.float(0)?, [mean, variance], [x.float(3)?, x.float(4)?], epsilon, wanted)
            }
            Norm::Group { groups, epsilon } => {
                group_norm(x.float(0)?, groups, [x.float(1)?, x.float(2)?], epsilon, wanted)
            }
            Norm::Layer { epsilon } => layer_norm(x.float(0)?, [x.float(1)?, x.float(2)?], epsilon, wanted),
            Norm::Rms { epsilon } => rms_norm(x.float(0)?, x.float(1)?, epsilon, wanted),
        }
    }
}

fn batch_norm<T: Float>(
    x: &Tensor<T>,
    scale: &Tensor<T>,
    normal: &BatchNorm<T>,
    epsilon: f64,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    wanted.ran(normal.output.clone(), |_, wanted: [bool; 3]| {
        let (x, gamma) = (x.clone(), scale.clone());
        let (mean, variance) = (normal.mean.clone(), normal.variance.clone());
        move |g| Ok(chosen(x.batch_norm_backward(g, &mean, &variance, &gamma, epsilon)?, wanted))
    })
}

/// Mean and variance are constants: no gradient flows to them.
fn given<T: Float>(
    x: &Tensor<T>,
    [mean, variance]: [&Tensor<T>; 2],
    [scale, shift]: [&Tensor<T>; 2],
    epsilon: f64,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let value = x.normalize(mean, variance, scale, shift, epsilon)?;
    let inverse = match wanted.any() {
        true => variance.add(&Tensor::scalar(T::from_f64(epsilon)))?.rsqrt()?,
        false => return Ok(Ran { value, backward: None }),
    };
    wanted.ran(value, |_, [of_x, _, _, of_scale, of_shift]| {
        let (x, gamma, mean) = (keep(of_scale, x), scale.clone(), mean.clone());
        move |g| {
            Ok([
                when(of_x, || g.mul(&gamma.mul(&inverse)?))?,
                None,
                None,
                by(x, |x| sum_to_channels(&g.mul(&x.sub(&mean)?)?)?.mul(&inverse))?,
                when(of_shift, || sum_to_channels(g))?,
            ])
        }
    })
}

fn group_norm<T: Float>(
    x: &Tensor<T>,
    groups: usize,
    [scale, shift]: [&Tensor<T>; 2],
    epsilon: f64,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let normal = x.group_norm(groups, scale, shift, epsilon)?;
    wanted.ran(normal.output.clone(), |_, wanted: [bool; 3]| {
        let (x, gamma) = (x.clone(), scale.clone());
        move |g| {
            let gradients = x.group_norm_backward(g, &normal.mean, &normal.variance, &gamma, epsilon)?;
            Ok(chosen(gradients, wanted))
        }
    })
}

fn layer_norm<T: Float>(
    x: &Tensor<T>,
    [scale, shift]: [&Tensor<T>; 2],
    epsilon: f64,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    of_layer(x, scale, x.layer_norm(scale, shift, epsilon)?, wanted)
}

/// Layer normalisation that has been computed.
fn of_layer<T: Float>(
    x: &Tensor<T>,
    scale: &Tensor<T>,
    normal: LayerNorm<T>,
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    let LayerNorm { output, mean, inverse } = normal;
    wanted.ran(output, |_, wanted: [bool; 3]| {
        let (x, gamma) = (x.clone(), scale.clone());
        move |g| Ok(chosen(x.layer_norm_backward(g, &mean, &inverse, &gamma)?, wanted))
    })
}

fn rms_norm<T: Float>(x: &Tensor<T>, scale: &Tensor<T>, epsilon: f64, wanted: Wanted<'_>) -> Result<Ran<T>> {
    of_rms(x, scale, x.rms_norm(scale, epsilon)?, wanted)
}

/// Root mean square normalisation that has been computed.
fn of_rms<T: Float>(
    x: &Tensor<T>,
    scale: &Tensor<T>,
    (output, inverse): (Tensor<T>, Tensor<T>),
    wanted: Wanted<'_>,
) -> Result<Ran<T>> {
    wanted.ran(output, |_, wanted: [bool; 2]| {
        let (x, gamma) = (x.clone(), scale.clone());
        move |g| Ok(chosen(x.rms_norm_backward(g, &inverse, &gamma)?, wanted))
    })
}

/// Those of the gradients that are wanted.
fn chosen<T: Float, const N: usize>(
    gradients: [Tensor<T>; N],
    wanted: [bool; N],
) -> [Option<Gradient<T>>; N] {
    let mut wanted = wanted.into_iter();
    gradients.map(|gradient| wanted.next().unwrap_or(false).then_some(Gradient::Dense(gradient)))
}

impl<T: Float> Var<T> {
    /// Batch normalisation in training: by the statistics of this batch, which are returned with the result (mean and
    /// biased variance of each channel): see [`Tensor::batch_norm`].
    ///
    /// # Errors
    /// Unless this is `[batch, …, channels]` and scale and shift `[channels]`.
    pub fn batch_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<(Self, [Tensor<T>; 2])> {
        let normal = self.value().batch_norm(scale.value(), shift.value(), epsilon)?;
        let var =
            Var::apply_as(Norm::Batch { epsilon }, &[self.into(), scale.into(), shift.into()], |wanted| {
                batch_norm(self.value(), scale.value(), &normal, epsilon, wanted)
            })?;
        Ok((var, [normal.mean, normal.variance]))
    }

    /// Batch normalisation at inference: by a given mean and variance of each channel, which are constants.
    ///
    /// # Errors
    /// Unless this is `[batch, …, channels]` and the others `[channels]`.
    pub fn normalize(
        &self,
        mean: &Tensor<T>,
        variance: &Tensor<T>,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<Self> {
        let (mean, variance) = (Var::constant(mean.clone()), Var::constant(variance.clone()));
        let operands = [self.into(), (&mean).into(), (&variance).into(), scale.into(), shift.into()];
        Var::apply(Norm::Given { epsilon }, &operands)
    }

    /// Group normalisation (Wu and He 2018): within each item of the batch, each of `groups` groups of channels (the last
    /// axis) is brought to mean 0 and variance 1, then each channel scaled and shifted.
    ///
    /// # Errors
    /// Unless this is `[batch, …, channels]` with channels divisible by `groups`, and scale and shift `[channels]`.
    pub fn group_norm(&self, groups: usize, scale: &Self, shift: &Self, epsilon: f64) -> Result<Self> {
        Var::apply(Norm::Group { groups, epsilon }, &[self.into(), scale.into(), shift.into()])
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016): each row of `[…, features]` is brought to mean 0 and variance 1, then each
    /// feature scaled and shifted. See [`Tensor::layer_norm`].
    ///
    /// # Errors
    /// Unless scale and shift are `[features]`; for no features.
    pub fn layer_norm(&self, scale: &Self, shift: &Self, epsilon: f64) -> Result<Self> {
        Var::apply(Norm::Layer { epsilon }, &[self.into(), scale.into(), shift.into()])
    }

    /// The sum with another variable of this shape, and [`layer_norm`](Self::layer_norm) of the sum: the two operations, of which one pass
    /// over memory computes both values. See [`Tensor::add_layer_norm`].
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_tensor::Tensor;
    /// let (x, y) = (Var::parameter(Tensor::<f32>::eye(2)?), Var::from(Tensor::ones([2, 2])?));
    /// let (scale, shift) = (Var::from(Tensor::ones([2])?), Var::from(Tensor::zeros([2])?));
    /// let (sum, normal) = x.add_layer_norm(&y, &scale, &shift, 1e-5)?;
    /// assert_eq!(normal.value(), x.add(&y)?.layer_norm(&scale, &shift, 1e-5)?.value());
    /// assert_eq!(sum.add(&normal)?.sum(..)?.backward()?.of(&x)?.shape(), [2, 2]);
    /// # Ok::<(), cairn_autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`layer_norm`](Self::layer_norm), and when the shapes differ.
    pub fn add_layer_norm(
        &self,
        other: &Self,
        scale: &Self,
        shift: &Self,
        epsilon: f64,
    ) -> Result<(Self, Self)> {
        let (x, y) = (self.value(), other.value());
        let (total, normal) = x.add_layer_norm(y, scale.value(), shift.value(), epsilon)?;
        let total = Var::apply_as(Arithmetic::Add, &[self.into(), other.into()], |wanted| {
            sum([x, y], total, wanted)
        })?;
        let operands = [(&total).into(), scale.into(), shift.into()];
        let normal = Var::apply_as(Norm::Layer { epsilon }, &operands, |wanted| {
            of_layer(total.value(), scale.value(), normal, wanted)
        })?;
        Ok((total, normal))
    }

    /// As [`add_layer_norm`](Self::add_layer_norm), by [`rms_norm`](Self::rms_norm).
    ///
    /// # Errors
    /// As [`rms_norm`](Self::rms_norm), and when the shapes differ.
    pub fn add_rms_norm(&self, other: &Self, scale: &Self, epsilon: f64) -> Result<(Self, Self)> {
        let (x, y) = (self.value(), other.value());
        let [total, output, inverse] = x.add_rms_norm(y, scale.value(), epsilon)?;
        let total = Var::apply_as(Arithmetic::Add, &[self.into(), other.into()], |wanted| {
            sum([x, y], total, wanted)
        })?;
        let normal = Var::apply_as(Norm::Rms { epsilon }, &[(&total).into(), scale.into()], |wanted| {
            of_rms(total.value(), scale.value(), (output, inverse), wanted)
        })?;
        Ok((total, normal))
    }

    /// Root mean square normalisation (Zhang and Sennrich 2019): each row of `[…, features]` divided by the root of the mean of its
    /// squares, then each feature scaled. See [`Tensor::rms_norm`].
    ///
    /// # Errors
    /// Unless scale is `[features]`; for no features.
    pub fn rms_norm(&self, scale: &Self, epsilon: f64) -> Result<Self> {
        Var::apply(Norm::Rms { epsilon }, &[self.into(), scale.into()])
    }
}
