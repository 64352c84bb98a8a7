//! Layers, each in a file with its two faces: the module with parameters, under the plain name, and in `spec` the description
//! that goes into a [`Sequential`](crate::Sequential), with sizes yet unknown, and builds the first.
//!
//! To add one: a file here with both (a folder where it is long), and its lines in this one. The file says all that is known about
//! the layer: settings, sizes, its forward pass, and how PyTorch and Keras name and lay out its values. What it computes, for
//! freezing, export and the counting of FLOPs, is found by running its forward pass: see [`graph`](crate::graph).

mod activation;
mod attention;
mod config;
mod conv;
mod dropout;
mod embedding;
mod flatten;
mod linear;
mod mask;
mod norm;
mod pool;
mod recurrent;
mod size;
mod spatial;
mod transformer;

use std::fmt::Debug;

use cairn_autograd::{Parameter, Var};
use cairn_tensor::Tensor;

pub use activation::Activation;
pub use attention::{AttentionMask, KeyValueCache, MultiHeadAttention, RelativePositions, RotaryPositions};
pub use conv::{Conv1d, Conv2d, ConvTranspose2d};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use linear::Linear;
pub use mask::SequenceMask;
pub use norm::{BatchNorm, GroupNorm, LayerNorm, RmsNorm};
pub use pool::{AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool, GlobalMaxPool, MaxPool1d, MaxPool2d};
pub use recurrent::{Direction, Gru, Lstm, Recurrent, Rnn, State};
pub use size::{Padding, Size2};
pub use spatial::{Dropout2d, Upsample, ZeroPad2d};
pub(crate) use transformer::recomputed;
pub use transformer::{
    FeedForward, Memory, PatchEmbedding, PositionEmbedding, Transformer, TransformerDecoder,
    TransformerDecoderLayer, TransformerEncoder, TransformerEncoderLayer, sinusoids,
};

use crate::{Context, Error, Module, Result};

config::layers! {
    activation: Activation;
    attention: MultiHeadAttention;
    conv: Conv1d, Conv2d, ConvTranspose2d;
    dropout: Dropout;
    embedding: Embedding;
    flatten: Flatten;
    linear: Dense;
    norm: BatchNorm, GroupNorm, LayerNorm, RmsNorm;
    pool: AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool, GlobalMaxPool, MaxPool1d, MaxPool2d;
    recurrent: Recurrent;
    spatial: Dropout2d, Upsample, ZeroPad2d;
    transformer: PatchEmbedding, PositionEmbedding, TransformerEncoderLayer;
    => MultiHeadAttention, TransformerEncoderLayer;
}

/// What goes into a layer or model: floats, or ids to be looked up.
#[derive(Debug, Clone)]
pub enum Value {
    /// Floats, `[batch, …]`.
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

    /// The floats.
    ///
    /// # Errors
    /// [`Error::BadInput`] for ids, which only an embedding understands.
    pub fn floats(self) -> Result<Var> {
        match self {
            Value::Floats(var) => Ok(var),
            Value::Ids(ids) => Err(Error::BadInput {
                input: ids.dims().clone(),
                why: "these are ids; floats are needed, or an Embedding before".into(),
            }),
        }
    }

    /// The ids.
    ///
    /// # Errors
    /// [`Error::BadInput`] for floats.
    pub fn ids(self) -> Result<Tensor<u32>> {
        match self {
            Value::Ids(ids) => Ok(ids),
            Value::Floats(var) => Err(Error::BadInput {
                input: var.dims().clone(),
                why: "these are floats; ids are needed".into(),
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

/// A layer of a [`Sequential`](crate::Sequential), ready to run.
///
/// What a `Sequential` is made of is the closed list of [`spec`], since its file says by name what to build. A layer of your own
/// goes into a struct with `#[derive(Module)]` and a [`Model`](crate::Model), which trains, saves and freezes just as well and may
/// hold a `Sequential` for the rest.
pub trait Layer: Module + Debug + Send + Sync {
    /// The layer's output for a batch.
    ///
    /// # Errors
    /// When the input does not fit.
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var>;
}

/// A layer's optional parameter in a computation.
fn optional_var(parameter: Option<&Parameter>) -> Option<Var> {
    parameter.map(Parameter::var)
}

/// A layer without parameters and buffers.
macro_rules! without_parameters {
    ($($t:ty),*) => {$(
        impl Module for $t {
            fn visit(&self, _: &mut crate::Visitor<'_>) {}
        }
    )*};
}
without_parameters!(
    AdaptiveAvgPool2d,
    AvgPool1d,
    AvgPool2d,
    Dropout,
    Dropout2d,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool1d,
    MaxPool2d,
    Upsample,
    ZeroPad2d
);
