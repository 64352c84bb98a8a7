//! Normalisation of channels, the last axis: over the batch (Ioffe and Szegedy 2015), over groups within an item (Wu and He 2018),
//! and of each row by itself (Ba, Kiros and Hinton 2016; Zhang and Sennrich 2019).
//!
//! Batch normalisation keeps running statistics, which training updates and inference reads. They are values of the model,
//! saved with it, but no parameters: buffers.

use cairn_autograd::{Parameter, Var};
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{LayerConfig, Plan};
use super::{Layer, Value};
use crate::weights::{Flow, Framework, Permutation, Rule, no_rule};
use crate::{Buffer, Context, Error, Module, Result, Visitor};

/// Batch normalisation, for inputs `[batch, …, channels]` of any rank.
///
/// In training each channel is brought to mean 0 and variance 1 over the batch, and running statistics move towards those
/// of the batch; at inference the running statistics take their place. Then comes a learned scale (from 1) and shift (from
/// 0).
///
/// Defaults as in Keras: `running = 0.99 running + 0.01 batch`, epsilon 1e-3. PyTorch's are
/// `BatchNorm::new(channels)?.momentum(0.9)?.epsilon(1e-5)?.unbiased()`, its `momentum` of 0.1 being one minus ours.
///
/// ```
/// use cairn_nn::{BatchNorm, Context};
/// use cairn_tensor::{Tensor, rng};
/// let norm = BatchNorm::new(3)?;
/// let x = Tensor::normal([64, 3], 5.0, 2.0, &mut rng(1))?;
/// let y = norm.forward(&x.into(), &mut Context::train(0))?;
/// assert!(y.value().mean(0)?.iter().all(|mean: f32| mean.abs() < 1e-5));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("BatchNorm1d", "BatchNorm2d", "BatchNormalization"))]
pub struct BatchNorm {
    /// The scale, `[channels]`.
    pub weight: Parameter,
    /// The shift, `[channels]`.
    pub bias: Parameter,
    /// The running mean, `[channels]`.
    pub running_mean: Buffer,
    /// The running variance, `[channels]`.
    pub running_var: Buffer,
    config: spec::BatchNorm,
}

impl BatchNorm {
    /// For so many channels, with Keras's defaults.
    ///
    /// # Errors
    /// When memory does not hold the values.
    pub fn new(channels: usize) -> Result<Self> {
        spec::BatchNorm::new().layer(channels)
    }

    /// With this share of the running statistics kept at each step.
    ///
    /// # Errors
    /// [`Error::BadSetting`] unless it is from 0 to 1.
    pub fn momentum(mut self, momentum: f32) -> Result<Self> {
        self.config = self.config.momentum(momentum);
        self.config.check()?;
        Ok(self)
    }

    /// With this added to the variance.
    ///
    /// # Errors
    /// [`Error::BadSetting`] unless it is positive and finite.
    pub fn epsilon(mut self, epsilon: f32) -> Result<Self> {
        self.config = self.config.epsilon(epsilon);
        self.config.check()?;
        Ok(self)
    }

    /// With the running variance divided by one less than the number of values, as PyTorch does. What training itself
    /// divides by is the variance of the batch, in both.
    #[must_use]
    pub fn unbiased(mut self) -> Self {
        self.config = self.config.unbiased();
        self
    }

    /// The output for `[batch, …, channels]`. In training the running statistics are updated.
    ///
    /// # Errors
    /// When the channels do not fit; in training when there are no values, or with [`unbiased`](Self::unbiased) only one.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let (weight, bias) = (self.weight.var(), self.bias.var());
        let epsilon = f64::from(self.config.epsilon);
        if !cx.is_training() {
            let (mean, variance) = (self.running_mean.value()?, self.running_var.value()?);
            return Ok(x.normalize(&mean, &variance, &weight, &bias, epsilon)?);
        }
        let (y, [mean, mut variance]) = x.batch_norm(&weight, &bias, epsilon)?;
        if self.config.unbiased {
            let count = x.value().len() / mean.len().max(1);
            if count < 2 {
                let why = "more than one value for each channel is needed in training".into();
                return Err(Error::BadInput { input: x.dims().clone(), why });
            }
            variance = variance.scale(count as f32 / (count - 1) as f32)?;
        }
        let momentum = self.config.momentum;
        for (running, batch) in [(&self.running_mean, mean), (&self.running_var, variance)] {
            let batch = batch.scale(1.0 - momentum)?;
            running.update(|running| running.scale(momentum)?.add(&batch))?;
        }
        Ok(y)
    }
}

impl Module for BatchNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
        visitor.field("running_mean", &self.running_mean);
        visitor.field("running_var", &self.running_var);
    }
}

impl Layer for BatchNorm {
    /// The statistics of training are those of all steps, padding too.
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        BatchNorm::forward(self, &input.floats()?, cx)
    }
}

/// Group normalisation, for inputs `[batch, …, channels]`: within each item, groups of channels are brought to mean 0 and
/// variance 1, then scaled and shifted by channel. The same in training and at inference. Epsilon 1e-3 as in Keras
/// (PyTorch: 1e-5). One group is layer normalisation over all of an item; as many as channels is instance normalisation.
#[derive(Debug, Clone)]
#[doc(alias("GroupNormalization", "InstanceNorm2d"))]
pub struct GroupNorm {
    /// The scale, `[channels]`.
    pub weight: Parameter,
    /// The shift, `[channels]`.
    pub bias: Parameter,
    config: spec::GroupNorm,
}

impl GroupNorm {
    /// So many groups of so many channels in all.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the groups do not divide the channels; when memory does not hold the values.
    pub fn new(groups: usize, channels: usize) -> Result<Self> {
        spec::GroupNorm::new(groups).layer(channels)
    }

    /// With this added to the variance.
    ///
    /// # Errors
    /// [`Error::BadSetting`] unless it is positive and finite.
    pub fn epsilon(mut self, epsilon: f32) -> Result<Self> {
        check_epsilon(epsilon)?;
        self.config = self.config.epsilon(epsilon);
        Ok(self)
    }

    /// The output for `[batch, …, channels]`.
    ///
    /// # Errors
    /// When the channels do not fit.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let spec::GroupNorm { groups, epsilon } = self.config;
        Ok(x.group_norm(groups, &self.weight.var(), &self.bias.var(), epsilon.into())?)
    }
}

impl Module for GroupNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
    }
}

impl Layer for GroupNorm {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        GroupNorm::forward(self, &input.floats()?)
    }
}

/// Layer normalisation of `[…, features]`: each row is brought to mean 0 and variance 1, then scaled and shifted by feature. The
/// same in training and at inference, for each row whatever the others. Epsilon 1e-5 as in PyTorch, for which nearly all trained
/// models are made (Keras: 1e-3).
///
/// ```
/// use cairn_nn::LayerNorm;
/// use cairn_tensor::{Tensor, rng};
/// let norm = LayerNorm::new(64)?;
/// let y = norm.forward(&Tensor::normal([8, 10, 64], 3.0, 2.0, &mut rng(0))?.into())?;
/// assert!(y.value().mean(-1)?.iter().all(|mean: f32| mean.abs() < 1e-5));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("LayerNormalization"))]
pub struct LayerNorm {
    /// The scale, `[features]`.
    pub weight: Parameter,
    /// The shift, `[features]`, if there is one.
    pub bias: Option<Parameter>,
    config: spec::LayerNorm,
}

impl LayerNorm {
    /// For so many features.
    ///
    /// # Errors
    /// When memory does not hold the values.
    pub fn new(features: usize) -> Result<Self> {
        spec::LayerNorm::new().layer(features)
    }

    /// With this added to the variance.
    ///
    /// # Errors
    /// [`Error::BadSetting`] unless it is positive and finite.
    pub fn epsilon(mut self, epsilon: f32) -> Result<Self> {
        check_epsilon(epsilon)?;
        self.config = self.config.epsilon(epsilon);
        Ok(self)
    }

    /// With a scale alone, as PyTorch's `bias=False`.
    #[must_use]
    pub fn without_bias(self) -> Self {
        LayerNorm { bias: None, ..self }
    }

    /// The output for `[…, features]`.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.layer_norm(&self.weight.var(), &self.shift()?, self.config.epsilon.into())?)
    }

    /// The sum of two inputs, and the output for the sum, computed in one pass: what comes after a part of a transformer's block.
    ///
    /// # Errors
    /// When the features do not fit, or the shapes differ.
    pub fn forward_sum(&self, x: &Var, y: &Var) -> Result<(Var, Var)> {
        Ok(x.add_layer_norm(y, &self.weight.var(), &self.shift()?, self.config.epsilon.into())?)
    }

    /// The shift; zeros where there is none.
    fn shift(&self) -> Result<Var> {
        match &self.bias {
            Some(bias) => Ok(bias.var()),
            None => Ok(Var::constant(Tensor::zeros([self.weight.len()])?)),
        }
    }
}

impl Module for LayerNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
        visitor.field("bias", &self.bias);
    }
}

impl Layer for LayerNorm {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        LayerNorm::forward(self, &input.floats()?)
    }
}

/// Root mean square normalisation of `[…, features]`: each row is divided by the root of the mean of its squares, then scaled by
/// feature. Epsilon 1e-6 as in Llama and Keras.
///
/// ```
/// use cairn_nn::RmsNorm;
/// use cairn_tensor::Tensor;
/// let y = RmsNorm::new(2)?.forward(&Tensor::from_vec(vec![1.0f32, 7.0], [1, 2])?.into())?;
/// assert!((y.value().get(&[0, 1])? - 1.4).abs() < 1e-6);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("RMSNorm", "RMSNormalization"))]
pub struct RmsNorm {
    /// The scale, `[features]`.
    pub weight: Parameter,
    config: spec::RmsNorm,
}

impl RmsNorm {
    /// For so many features.
    ///
    /// # Errors
    /// When memory does not hold the values.
    pub fn new(features: usize) -> Result<Self> {
        spec::RmsNorm::new().layer(features)
    }

    /// With this added to the mean of squares.
    ///
    /// # Errors
    /// [`Error::BadSetting`] unless it is positive and finite.
    pub fn epsilon(mut self, epsilon: f32) -> Result<Self> {
        check_epsilon(epsilon)?;
        self.config = self.config.epsilon(epsilon);
        Ok(self)
    }

    /// The output for `[…, features]`.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, x: &Var) -> Result<Var> {
        Ok(x.rms_norm(&self.weight.var(), self.config.epsilon.into())?)
    }

    /// The sum of two inputs, and the output for the sum, computed in one pass: what comes after a part of a transformer's block.
    ///
    /// # Errors
    /// When the features do not fit, or the shapes differ.
    pub fn forward_sum(&self, x: &Var, y: &Var) -> Result<(Var, Var)> {
        Ok(x.add_rms_norm(y, &self.weight.var(), self.config.epsilon.into())?)
    }
}

impl Module for RmsNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.field("weight", &self.weight);
    }
}

impl Layer for RmsNorm {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        RmsNorm::forward(self, &input.floats()?)
    }
}

pub(super) mod spec {
    use super::*;

    /// Description of [`BatchNorm`](crate::BatchNorm), with its defaults. PyTorch's are
    /// `BatchNorm::new().momentum(0.9).epsilon(1e-5).unbiased()`.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct BatchNorm {
        pub(in super::super) momentum: f32,
        pub(in super::super) epsilon: f32,
        pub(in super::super) unbiased: bool,
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
        #[doc(alias = "eps")]
        pub fn epsilon(self, epsilon: f32) -> Self {
            BatchNorm { epsilon, ..self }
        }

        /// With the running variance divided by one less than the number of values, as PyTorch does.
        #[must_use]
        pub fn unbiased(self) -> Self {
            BatchNorm { unbiased: true, ..self }
        }

        pub(super) fn check(&self) -> Result<()> {
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
        /// [`Error::BadSetting`] for a momentum or epsilon out of range; when memory does not hold the values.
        pub fn layer(&self, channels: usize) -> Result<super::BatchNorm> {
            self.check()?;
            Ok(super::BatchNorm {
                weight: Parameter::new(Tensor::ones([channels])?),
                bias: Parameter::new(Tensor::zeros([channels])?),
                running_mean: Buffer::new(Tensor::<f32>::zeros([channels])?),
                running_var: Buffer::new(Tensor::<f32>::ones([channels])?),
                config: self.clone(),
            })
        }
    }

    impl LayerConfig for BatchNorm {
        const KIND: &'static str = "batch_norm";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            self.check()?;
            Ok(Plan { output: input.clone(), values: channels(input)?.saturating_mul(4) })
        }

        fn build(&self, input: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(channels(input)?)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            flow.steps_first = false;
            let keras = ["/gamma", "/beta", "/moving_mean", "/moving_variance"];
            let own = ["weight", "bias", "running_mean", "running_var"];
            Ok(own
                .into_iter()
                .zip(keras)
                .map(|(own, keras)| match (framework, flow.flattened) {
                    (Framework::Keras, _) => Rule::new(own, keras, Permutation::Same),
                    (_, Some(image)) => Rule::new(own, format!(".{own}"), Permutation::Features(image)),
                    (_, None) => Rule::new(own, format!(".{own}"), Permutation::Same),
                })
                .collect())
        }
    }

    /// Description of [`GroupNorm`](crate::GroupNorm), with its defaults.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct GroupNorm {
        pub(in super::super) groups: usize,
        pub(in super::super) epsilon: f32,
    }

    impl GroupNorm {
        /// So many groups.
        pub fn new(groups: usize) -> Self {
            GroupNorm { groups, epsilon: 1e-3 }
        }

        /// With this added to the variance, which must be positive.
        #[must_use]
        #[doc(alias = "eps")]
        pub fn epsilon(self, epsilon: f32) -> Self {
            GroupNorm { epsilon, ..self }
        }

        fn check(&self, channels: usize) -> Result<()> {
            check_epsilon(self.epsilon)?;
            if self.groups == 0 || !channels.is_multiple_of(self.groups) {
                let (what, value) = ("the number of groups", self.groups as f64);
                return Err(Error::BadSetting { what, value, must: "a divisor of the channels" });
            }
            Ok(())
        }

        /// The layer for so many channels.
        ///
        /// # Errors
        /// [`Error::BadSetting`] when the groups do not divide the channels, or epsilon is out of range; when memory does not
        /// hold the values.
        pub fn layer(&self, channels: usize) -> Result<super::GroupNorm> {
            self.check(channels)?;
            Ok(super::GroupNorm {
                weight: Parameter::new(Tensor::ones([channels])?),
                bias: Parameter::new(Tensor::zeros([channels])?),
                config: self.clone(),
            })
        }
    }

    impl LayerConfig for GroupNorm {
        const KIND: &'static str = "group_norm";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let channels = channels(input)?;
            self.check(channels)?;
            Ok(Plan { output: input.clone(), values: channels.saturating_mul(2) })
        }

        fn build(&self, input: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(channels(input)?)?))
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            flow.steps_first = false;
            let [weight, bias] = match (framework, flow.flattened) {
                (Framework::Keras, _) => ["/gamma", "/beta"],
                // Its groups would be of other features.
                (_, Some([_, _, channels])) if channels > 1 => {
                    return Err(no_rule(self.name(), "", "PyTorch, behind a flattened image"));
                }
                _ => [".weight", ".bias"],
            };
            Ok(vec![
                Rule::new("weight", weight, Permutation::Same),
                Rule::new("bias", bias, Permutation::Same),
            ])
        }
    }

    /// Description of [`LayerNorm`](crate::LayerNorm), with its defaults.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct LayerNorm {
        pub(in super::super) epsilon: f32,
    }

    impl Default for LayerNorm {
        fn default() -> Self {
            LayerNorm { epsilon: 1e-5 }
        }
    }

    impl LayerNorm {
        /// With PyTorch's defaults.
        pub fn new() -> Self {
            LayerNorm::default()
        }

        /// With this added to the variance, which must be positive.
        #[must_use]
        #[doc(alias = "eps")]
        pub fn epsilon(self, epsilon: f32) -> Self {
            LayerNorm { epsilon }
        }

        /// The layer for so many features.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for an epsilon out of range; when memory does not hold the values.
        pub fn layer(&self, features: usize) -> Result<super::LayerNorm> {
            check_epsilon(self.epsilon)?;
            Ok(super::LayerNorm {
                weight: Parameter::new(Tensor::ones([features])?),
                bias: Some(Parameter::new(Tensor::zeros([features])?)),
                config: self.clone(),
            })
        }
    }

    impl LayerConfig for LayerNorm {
        const KIND: &'static str = "layer_norm";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            check_epsilon(self.epsilon)?;
            Ok(Plan { output: input.clone(), values: channels(input)?.saturating_mul(2) })
        }

        fn build(&self, input: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(channels(input)?)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            rows_rules(framework, flow, &[("weight", "/gamma"), ("bias", "/beta")])
        }
    }

    /// Description of [`RmsNorm`](crate::RmsNorm), with its defaults.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct RmsNorm {
        pub(in super::super) epsilon: f32,
    }

    impl Default for RmsNorm {
        fn default() -> Self {
            RmsNorm { epsilon: 1e-6 }
        }
    }

    impl RmsNorm {
        /// With Keras's defaults, which are Llama's.
        pub fn new() -> Self {
            RmsNorm::default()
        }

        /// With this added to the mean of squares, which must be positive.
        #[must_use]
        #[doc(alias = "eps")]
        pub fn epsilon(self, epsilon: f32) -> Self {
            RmsNorm { epsilon }
        }

        /// The layer for so many features.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for an epsilon out of range; when memory does not hold the values.
        pub fn layer(&self, features: usize) -> Result<super::RmsNorm> {
            check_epsilon(self.epsilon)?;
            Ok(super::RmsNorm { weight: Parameter::new(Tensor::ones([features])?), config: self.clone() })
        }
    }

    impl LayerConfig for RmsNorm {
        const KIND: &'static str = "rms_norm";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            check_epsilon(self.epsilon)?;
            Ok(Plan { output: input.clone(), values: channels(input)? })
        }

        fn build(&self, input: &Shape, _: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(channels(input)?)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            rows_rules(framework, flow, &[("weight", "/scale")])
        }
    }

    /// Names of a normalisation of rows: our own, and Keras's; PyTorch's are ours.
    fn rows_rules(framework: Framework, flow: &mut Flow, names: &[(&str, &str)]) -> Result<Vec<Rule>> {
        flow.steps_first = false;
        let rule = |&(own, keras): &(&str, &str)| match (framework, flow.flattened) {
            (Framework::Keras, _) => Rule::new(own, keras, Permutation::Same),
            (_, Some(image)) => Rule::new(own, format!(".{own}"), Permutation::Features(image)),
            (_, None) => Rule::new(own, format!(".{own}"), Permutation::Same),
        };
        Ok(names.iter().map(rule).collect())
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
