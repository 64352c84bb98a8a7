//! Layers, each in a file with its two faces: the description that goes into a [`Sequential`](crate::Sequential), with
//! sizes yet unknown, and the module with parameters that it becomes.
//!
//! To add one: a file here with both, a line in [`Spec`] (what can be described and saved) below, and one in [`operation`]
//! (what it computes in use: for freezing, export and the counting of operations).

mod conv;
mod dense;
mod dropout;
mod embedding;
mod flatten;
mod norm;
mod operation;
mod pool;
mod recurrent;
mod size;
mod spans;
mod spatial;

use std::fmt::Debug;

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

pub use conv::{Conv1d, Conv1dLayer, Conv2d, Conv2dLayer, ConvTranspose2d, ConvTranspose2dLayer};
pub use dense::{Dense, Linear};
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingLayer};
pub use flatten::Flatten;
pub use norm::{BatchNorm, BatchNormLayer, GroupNorm, GroupNormLayer};
pub(crate) use operation::{Operation, Run, Step, layer_steps};
pub use pool::{AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool, GlobalMaxPool, MaxPool1d, MaxPool2d};
pub use recurrent::{Direction, Gru, Lstm, Recurrent, RecurrentLayer, Rnn, Sequences, State};
pub use size::{Padding, Size2};
pub use spans::Spans;
pub use spatial::{Dropout2d, Upsample, ZeroPad2d};

use crate::{Activation, Context, Error, Module, Result, Visitor};

/// What goes into a layer or model: numbers, or ids to be looked up.
#[derive(Debug, Clone)]
pub enum Value {
    /// Numbers, `[batch, …]`.
    Floats(Var),
    /// Ids, `[batch, …]`: tokens, users, categories.
    Ids(Tensor<u32>),
}

impl Value {
    /// The shape, batch axis included.
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Floats(var) => var.shape(),
            Value::Ids(ids) => ids.shape(),
        }
    }

    /// The numbers.
    ///
    /// # Errors
    /// [`Error::BadInput`] for ids, which only an embedding understands.
    pub fn floats(self) -> Result<Var> {
        match self {
            Value::Floats(var) => Ok(var),
            Value::Ids(ids) => Err(Error::BadInput {
                input: ids.dims().clone(),
                why: "these are ids; numbers are needed, or an Embedding before".into(),
            }),
        }
    }
}

impl From<Var> for Value {
    fn from(var: Var) -> Self {
        Value::Floats(var)
    }
}
impl From<&Var> for Value {
    fn from(var: &Var) -> Self {
        Value::Floats(var.clone())
    }
}
impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Floats(Var::constant(tensor))
    }
}
impl From<&Tensor> for Value {
    fn from(tensor: &Tensor) -> Self {
        Value::Floats(Var::constant(tensor.clone()))
    }
}
impl From<Tensor<u32>> for Value {
    fn from(ids: Tensor<u32>) -> Self {
        Value::Ids(ids)
    }
}
impl From<&Tensor<u32>> for Value {
    fn from(ids: &Tensor<u32>) -> Self {
        Value::Ids(ids.clone())
    }
}

/// A layer ready to run.
pub trait Layer: Module + Debug + Send + Sync {
    /// The layer's output for a batch.
    ///
    /// # Errors
    /// When the input does not fit.
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var>;

    /// The output where the sequences of the batch have these spans; the same for layers that need not know.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and when the spans do not fit.
    fn forward_spans(&self, input: Value, spans: &Spans, cx: &mut Context) -> Result<Var> {
        let _ = spans;
        self.forward(input, cx)
    }

    /// The spans of the sequences in the output, given the input and its spans: none from layers that end or do not have
    /// sequences, which is the default.
    ///
    /// # Errors
    /// When there is a sequence of nothing but padding.
    fn spans(&self, input: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        let _ = (input, spans);
        Ok(None)
    }

    /// The output after pooling, from a layer that computes both faster at once.
    #[doc(hidden)]
    fn pooled(&self, _input: &Var, _pool: &MaxPool2d) -> Option<Result<Var>> {
        None
    }

    /// This layer, if it is maximum pooling.
    #[doc(hidden)]
    fn max_pool(&self) -> Option<&MaxPool2d> {
        None
    }
}

/// The description of a layer: what a [`Sequential`](crate::Sequential) is written with, and what is saved of its
/// architecture. Files number the variants: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Spec {
    /// See [`Dense`].
    Dense(Dense),
    /// See [`Activation`].
    Activation(Activation),
    /// See [`Dropout`].
    Dropout(Dropout),
    /// See [`Flatten`].
    Flatten(Flatten),
    /// See [`Conv2d`].
    Conv2d(Conv2d),
    /// See [`Conv1d`].
    Conv1d(Conv1d),
    /// See [`ConvTranspose2d`].
    ConvTranspose2d(ConvTranspose2d),
    /// See [`MaxPool2d`].
    MaxPool2d(MaxPool2d),
    /// See [`AvgPool2d`].
    AvgPool2d(AvgPool2d),
    /// See [`MaxPool1d`].
    MaxPool1d(MaxPool1d),
    /// See [`AvgPool1d`].
    AvgPool1d(AvgPool1d),
    /// See [`AdaptiveAvgPool2d`].
    AdaptiveAvgPool2d(AdaptiveAvgPool2d),
    /// See [`GlobalAvgPool`].
    GlobalAvgPool(GlobalAvgPool),
    /// See [`GlobalMaxPool`].
    GlobalMaxPool(GlobalMaxPool),
    /// See [`BatchNorm`].
    BatchNorm(BatchNorm),
    /// See [`GroupNorm`].
    GroupNorm(GroupNorm),
    /// See [`ZeroPad2d`].
    ZeroPad2d(ZeroPad2d),
    /// See [`Upsample`].
    Upsample(Upsample),
    /// See [`Dropout2d`].
    Dropout2d(Dropout2d),
    /// See [`Embedding`].
    Embedding(Embedding),
    /// See [`Recurrent`].
    Recurrent(Recurrent),
}

/// What a layer will be for an input shape, known before any memory is taken.
pub(crate) struct Plan {
    /// The shape of its output, without the batch axis.
    pub(crate) output: Shape,
    /// Values of its parameters and buffers, saturating.
    pub(crate) values: usize,
}

impl Spec {
    /// The layer's kind in lower case; layers of a model are named after it.
    pub fn kind(&self) -> &'static str {
        match self {
            Spec::Dense(_) => "dense",
            Spec::Activation(activation) => activation.name(),
            Spec::Dropout(_) => "dropout",
            Spec::Flatten(_) => "flatten",
            Spec::Conv2d(_) => "conv2d",
            Spec::Conv1d(_) => "conv1d",
            Spec::ConvTranspose2d(_) => "conv_transpose2d",
            Spec::MaxPool2d(_) => "max_pool2d",
            Spec::AvgPool2d(_) => "avg_pool2d",
            Spec::MaxPool1d(_) => "max_pool1d",
            Spec::AvgPool1d(_) => "avg_pool1d",
            Spec::AdaptiveAvgPool2d(_) => "adaptive_avg_pool2d",
            Spec::GlobalAvgPool(_) => "global_avg_pool",
            Spec::GlobalMaxPool(_) => "global_max_pool",
            Spec::BatchNorm(_) => "batch_norm",
            Spec::GroupNorm(_) => "group_norm",
            Spec::ZeroPad2d(_) => "zero_pad2d",
            Spec::Upsample(_) => "upsample",
            Spec::Dropout2d(_) => "dropout2d",
            Spec::Embedding(_) => "embedding",
            Spec::Recurrent(layer) => layer.kind(),
        }
    }

    /// What the layer will be for inputs of this shape (without the batch axis), or why it cannot be.
    pub(crate) fn plan(&self, input: &Shape) -> Result<Plan> {
        match self {
            Spec::Dense(layer) => layer.plan(input),
            Spec::Activation(_) => Ok(Plan { output: input.clone(), values: 0 }),
            Spec::Dropout(layer) => layer.plan(input),
            Spec::Flatten(_) => Ok(Plan { output: [input.count()].into(), values: 0 }),
            Spec::Conv2d(layer) => layer.plan(input),
            Spec::Conv1d(layer) => layer.plan(input),
            Spec::ConvTranspose2d(layer) => layer.plan(input),
            Spec::MaxPool2d(layer) => layer.plan(input),
            Spec::AvgPool2d(layer) => layer.plan(input),
            Spec::MaxPool1d(layer) => layer.plan(input),
            Spec::AvgPool1d(layer) => layer.plan(input),
            Spec::AdaptiveAvgPool2d(layer) => layer.plan(input),
            Spec::GlobalAvgPool(layer) => layer.plan(input),
            Spec::GlobalMaxPool(layer) => layer.plan(input),
            Spec::BatchNorm(layer) => layer.plan(input),
            Spec::GroupNorm(layer) => layer.plan(input),
            Spec::ZeroPad2d(layer) => layer.plan(input),
            Spec::Upsample(layer) => layer.plan(input),
            Spec::Dropout2d(layer) => layer.plan(input),
            Spec::Embedding(layer) => layer.plan(input),
            Spec::Recurrent(layer) => layer.plan(input),
        }
    }

    /// The layer for an input shape that [`plan`](Self::plan) has accepted.
    pub(crate) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(match self {
            Spec::Dense(layer) => Box::new(layer.build(input, rng)?),
            Spec::Activation(layer) => Box::new(*layer),
            Spec::Dropout(layer) => Box::new(layer.clone()),
            Spec::Flatten(layer) => Box::new(*layer),
            Spec::Conv2d(layer) => Box::new(layer.build(input, rng)?),
            Spec::Conv1d(layer) => Box::new(layer.build(input, rng)?),
            Spec::ConvTranspose2d(layer) => Box::new(layer.build(input, rng)?),
            Spec::MaxPool2d(layer) => Box::new(*layer),
            Spec::AvgPool2d(layer) => Box::new(*layer),
            Spec::MaxPool1d(layer) => Box::new(*layer),
            Spec::AvgPool1d(layer) => Box::new(*layer),
            Spec::AdaptiveAvgPool2d(layer) => Box::new(*layer),
            Spec::GlobalAvgPool(layer) => Box::new(*layer),
            Spec::GlobalMaxPool(layer) => Box::new(*layer),
            Spec::BatchNorm(layer) => Box::new(layer.build(input, rng)?),
            Spec::GroupNorm(layer) => Box::new(layer.build(input, rng)?),
            Spec::ZeroPad2d(layer) => Box::new(*layer),
            Spec::Upsample(layer) => Box::new(*layer),
            Spec::Dropout2d(layer) => Box::new(layer.clone()),
            Spec::Embedding(layer) => Box::new(layer.layer(rng)?),
            Spec::Recurrent(layer) => Box::new(layer.layer(input.last().copied().unwrap_or(0), rng)?),
        })
    }
}

macro_rules! spec_from {
    ($($t:ident),*) => {$(
        impl From<$t> for Spec {
            fn from(layer: $t) -> Self {
                Spec::$t(layer)
            }
        }
    )*};
}
spec_from!(
    Dense,
    Activation,
    Dropout,
    Flatten,
    Conv2d,
    Conv1d,
    ConvTranspose2d,
    MaxPool2d,
    AvgPool2d,
    MaxPool1d,
    AvgPool1d,
    AdaptiveAvgPool2d,
    GlobalAvgPool,
    GlobalMaxPool,
    BatchNorm,
    GroupNorm,
    ZeroPad2d,
    Upsample,
    Dropout2d,
    Embedding,
    Recurrent
);

impl Layer for Activation {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?)
    }

    fn spans(&self, _: &Value, spans: Option<Spans>) -> Result<Option<Spans>> {
        Ok(spans)
    }
}

/// A layer without parameters.
macro_rules! no_parameters {
    ($($t:ty),*) => {$(
        impl Module for $t {
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}
no_parameters!(
    Dropout,
    Flatten,
    MaxPool2d,
    AvgPool2d,
    MaxPool1d,
    AvgPool1d,
    AdaptiveAvgPool2d,
    GlobalAvgPool,
    GlobalMaxPool,
    ZeroPad2d,
    Upsample,
    Dropout2d
);
