//! Normalisation of channels, the last axis: over the batch (Ioffe and Szegedy 2015) and over groups within an item (Wu and
//! He 2018).
//!
//! Batch normalisation keeps running statistics, which training updates and use reads. They are values of the model,
//! saved with it, but no parameters: buffers.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::{Layer, Plan, Spans, Value};
use crate::{Buffer, Context, Error, Init, Module, Result, Visitor};

/// Description of batch normalisation, for inputs `[batch, …, channels]` of any rank.
///
/// In training each channel is brought to mean 0 and variance 1 over the batch, and running statistics move towards those
/// of the batch; in use the running statistics take their place. Then comes a learned scale (from 1) and shift (from 0).
///
/// Defaults as in Keras: `running = 0.99 running + 0.01 batch`, epsilon 1e-3. PyTorch's are
/// `BatchNorm::new().momentum(0.9).epsilon(1e-5).unbiased()`, its `momentum` of 0.1 being one minus ours.
///
/// ```
/// use cairn_nn::{BatchNorm, Context};
/// use cairn_tensor::{Tensor, rng};
/// let norm = BatchNorm::new().layer(3, &mut rng(0))?;
/// let x = Tensor::normal([64, 3], 5.0, 2.0, &mut rng(1))?;
/// let y = norm.forward(&x.into(), &mut Context::train(0))?;
/// assert!(y.value().mean(0)?.iter().all(|mean: f32| mean.abs() < 1e-5));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    momentum: f32,
    pub(super) epsilon: f32,
    unbiased: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        BatchNorm { momentum: 0.99, epsilon: 1e-3, unbiased: false }
    }
}

impl BatchNorm {
    /// With Keras's defaults.
    pub fn new() -> Self {
        BatchNorm::default()
    }

    /// With this share of the running statistics kept at each step, from 0 to 1.
    #[must_use]
    pub fn momentum(self, momentum: f32) -> Self {
        BatchNorm { momentum, ..self }
    }

    /// With this added to the variance, which must be positive.
    #[must_use]
    pub fn epsilon(self, epsilon: f32) -> Self {
        BatchNorm { epsilon, ..self }
    }

    /// With the running variance divided by one less than the number of values, as PyTorch does. What training itself
    /// divides by is the variance of the batch, in both.
    #[must_use]
    pub fn unbiased(self) -> Self {
        BatchNorm { unbiased: true, ..self }
    }

    fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::BadSetting {
                what: "the momentum",
                value: self.momentum.into(),
                must: "from 0 to 1",
            });
        }
        check_epsilon(self.epsilon)
    }

    /// The layer for so many channels.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for a momentum or epsilon out of range.
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<BatchNormLayer> {
        self.check()?;
        Ok(BatchNormLayer {
            weight: Parameter::new(Init::Ones.tensor([channels], rng)?),
            bias: Parameter::new(Init::Zeros.tensor([channels], rng)?),
            running_mean: Buffer::new(Tensor::zeros([channels])?),
            running_var: Buffer::new(Tensor::ones([channels])?),
            settings: self.clone(),
        })
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        self.check()?;
        Ok(Plan { output: input.clone(), values: channels(input)?.saturating_mul(4) })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<BatchNormLayer> {
        self.layer(channels(input)?, rng)
    }
}

/// Batch normalisation, made by [`BatchNorm::layer`].
#[derive(Debug, Clone)]
pub struct BatchNormLayer {
    /// The scale, `[channels]`.
    pub weight: Parameter,
    /// The shift, `[channels]`.
    pub bias: Parameter,
    /// The running mean, `[channels]`.
    pub running_mean: Buffer,
    /// The running variance, `[channels]`.
    pub running_var: Buffer,
    settings: BatchNorm,
}

impl BatchNormLayer {
    /// The output for `[batch, …, channels]`. In training the running statistics are updated.
    ///
    /// # Errors
    /// When the channels do not fit; in training when there are no values, or with `unbiased` only one.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let epsilon = f64::from(self.settings.epsilon);
        if !cx.is_training() {
            let (mean, variance) = (self.running_mean.value(), self.running_var.value());
            return Ok(x.normalize(&mean, &variance, &self.weight.var(), &self.bias.var(), epsilon)?);
        }
        let (y, [mean, mut variance]) = x.batch_norm(&self.weight.var(), &self.bias.var(), epsilon)?;
        if self.settings.unbiased {
            let count = x.value().len() / mean.len().max(1);
            if count < 2 {
                let why = "more than one value for each channel is needed in training".into();
                return Err(Error::BadInput { input: x.dims().clone(), why });
            }
            variance = variance.scale(count as f32 / (count - 1) as f32)?;
        }
        let momentum = self.settings.momentum;
        for (running, batch) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            let batch = batch.scale(1.0 - momentum)?;
            running.update(|running| running.scale(momentum)?.add(&batch))?;
        }
        Ok(y)
    }
}

impl Module for BatchNormLayer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
        visitor.field("running_mean", &self.running_mean);
        visitor.field("running_var", &self.running_var);
    }
}

impl Layer for BatchNormLayer {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        BatchNormLayer::forward(self, &input.floats()?, cx)
    }

    /// Handed on; the statistics of training are those of all steps.
    fn spans(&self, _: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        Ok(spans)
    }
}

/// Description of group normalisation, for inputs `[batch, …, channels]`: within each item, groups of channels are brought
/// to mean 0 and variance 1, then scaled and shifted by channel. The same in training and in use. Epsilon 1e-3 as in
/// Keras (PyTorch: 1e-5). One group is layer normalisation over all of an item; as many as channels is instance
/// normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupNorm {
    pub(super) groups: usize,
    pub(super) epsilon: f32,
}

impl GroupNorm {
    /// So many groups.
    pub fn new(groups: usize) -> Self {
        GroupNorm { groups, epsilon: 1e-3 }
    }

    /// With this added to the variance, which must be positive.
    #[must_use]
    pub fn epsilon(self, epsilon: f32) -> Self {
        GroupNorm { epsilon, ..self }
    }

    /// The layer for so many channels.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the groups do not divide the channels, or epsilon is out of range.
    pub fn layer(&self, channels: usize, rng: &mut Rng) -> Result<GroupNormLayer> {
        check_epsilon(self.epsilon)?;
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let (what, value) = ("the number of groups", self.groups as f64);
            return Err(Error::BadSetting { what, value, must: "a divisor of the channels" });
        }
        Ok(GroupNormLayer {
            weight: Parameter::new(Init::Ones.tensor([channels], rng)?),
            bias: Parameter::new(Init::Zeros.tensor([channels], rng)?),
            settings: self.clone(),
        })
    }

    pub(super) fn plan(&self, input: &Shape) -> Result<Plan> {
        let channels = channels(input)?;
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let (what, value) = ("the number of groups", self.groups as f64);
            return Err(Error::BadSetting { what, value, must: "a divisor of the channels" });
        }
        Ok(Plan { output: input.clone(), values: channels.saturating_mul(2) })
    }

    pub(super) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<GroupNormLayer> {
        self.layer(channels(input)?, rng)
    }
}

/// Group normalisation, made by [`GroupNorm::layer`].
#[derive(Debug, Clone)]
pub struct GroupNormLayer {
    /// The scale, `[channels]`.
    pub weight: Parameter,
    /// The shift, `[channels]`.
    pub bias: Parameter,
    settings: GroupNorm,
}

impl GroupNormLayer {
    /// The output for `[batch, …, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let GroupNorm { groups, epsilon } = self.settings;
        Ok(x.group_norm(groups, &self.weight.var(), &self.bias.var(), epsilon.into())?)
    }
}

impl Module for GroupNormLayer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
    }
}

impl Layer for GroupNormLayer {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        GroupNormLayer::forward(self, &input.floats()?)
    }
}

fn channels(input: &Shape) -> Result<usize> {
    input
        .last()
        .copied()
        .ok_or_else(|| Error::BadInput { input: input.clone(), why: "an axis of channels is needed".into() })
}

fn check_epsilon(epsilon: f32) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        Ok(())
    } else {
        Err(Error::BadSetting { what: "epsilon", value: epsilon.into(), must: "positive and finite" })
    }
}
