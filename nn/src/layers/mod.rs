//! Layers, each in a file with its two faces: the description that goes into a [`Sequential`](crate::Sequential), with
//! sizes yet unknown, and the module with parameters that it becomes.
//!
//! To add one: a file here with both, and a line in [`Spec`] (what can be described and saved) below.

mod dense;
mod dropout;
mod flatten;

use std::fmt::Debug;

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape, Tensor};
use serde::{Deserialize, Serialize};

pub use dense::{Dense, Linear};
pub use dropout::Dropout;
pub use flatten::Flatten;

use crate::{Activation, Context, Error, Module, Result, Visitor, VisitorMut};

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
}

/// The description of a layer: what a [`Sequential`](crate::Sequential) is written with, and what is saved of its
/// architecture.
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
        }
    }

    /// What the layer will be for inputs of this shape (without the batch axis), or why it cannot be.
    pub(crate) fn plan(&self, input: &Shape) -> Result<Plan> {
        match self {
            Spec::Dense(dense) => dense.plan(input),
            Spec::Activation(_) => Ok(Plan { output: input.clone(), values: 0 }),
            Spec::Dropout(dropout) => dropout.plan(input),
            Spec::Flatten(_) => Ok(Plan { output: [input.count()].into(), values: 0 }),
        }
    }

    /// The layer for an input shape that [`plan`](Self::plan) has accepted.
    pub(crate) fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(match self {
            Spec::Dense(dense) => Box::new(dense.build(input, rng)?),
            Spec::Activation(activation) => Box::new(*activation),
            Spec::Dropout(dropout) => Box::new(dropout.clone()),
            Spec::Flatten(flatten) => Box::new(*flatten),
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
spec_from!(Dense, Activation, Dropout, Flatten);

impl Layer for Activation {
    fn forward(&self, input: Value, _: &mut Context) -> Result<Var> {
        self.apply(&input.floats()?)
    }
}

/// A layer without parameters.
macro_rules! no_parameters {
    ($($t:ty),*) => {$(
        impl Module for $t {
            fn visit(&self, _: &mut Visitor<'_>) {}
            fn visit_mut(&mut self, _: &mut VisitorMut<'_>) {}
        }
    )*};
}
no_parameters!(Dropout, Flatten);
