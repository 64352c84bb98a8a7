//! Layers, losses, initialisers and models of Cairn.
//!
//! Two ways to write a model, the first built from the second: a [`Sequential`] of layer descriptions with inferred
//! sizes, and a struct of layers with a derived [`Module`] and a forward pass of your own.
//!
//! ```
//! use cairn_nn::{Activation::Relu, Dense, Dropout, Sequential};
//! use cairn_tensor::rng;
//!
//! let model = Sequential::new([784])
//!     .add(Dense::new(64).activation(Relu))
//!     .add(Dropout::new(0.2))
//!     .add(Dense::new(10))
//!     .build(&mut rng(42))?;
//! println!("{}", model.summary());
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! ```
//! use cairn_autograd::Var;
//! use cairn_nn::{Activation::Tanh, Linear, Module, cross_entropy};
//! use cairn_tensor::{rng, Tensor};
//!
//! #[derive(Module)]
//! struct Classifier {
//!     hidden: Linear,
//!     head: Linear,
//! }
//!
//! impl Classifier {
//!     fn forward(&self, x: &Var) -> cairn_nn::Result<Var> {
//!         self.head.forward(&self.hidden.forward_with(x, Tanh)?)
//!     }
//! }
//!
//! let mut rng = rng(0);
//! let model = Classifier { hidden: Linear::new(4, 16, &mut rng)?, head: Linear::new(16, 3, &mut rng)? };
//! let x = Tensor::normal([8, 4], 0.0, 1.0, &mut rng)?;
//! let labels = Tensor::zeros([8])?;
//! let gradients = cross_entropy(&model.forward(&x.into())?, &labels)?.backward()?;
//! assert_eq!(gradients.len(), 4);
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! Shapes are `[batch, features]`, `[batch, time, features]`, and `[batch, height, width, channels]`. Whether a pass is
//! training is said by its [`Context`]. Models are `f32`; the derivatives underneath are checked in `f64`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

// The derive macro speaks of `::cairn_nn`, also inside this crate.
extern crate self as cairn_nn;

/// The samples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod activation;
#[doc(hidden)]
pub mod codec;
mod context;
mod error;
pub mod exchange;
pub mod explain;
mod file;
pub mod generate;
pub mod graph;
mod init;
mod layers;
pub mod layouts;
mod loss;
mod model;
mod module;
pub mod onnx;
mod sequential;
mod summary;

pub use activation::Activation;
pub use cairn_autograd::Parameter;
pub use cairn_nn_derive::Module;
pub use context::Context;
pub use error::{Error, Result};
pub use file::{load_weights, save_weights};
pub use graph::{Frozen, Scratch};
pub use init::Init;
pub use layers::{
    AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, BatchNorm, BatchNormLayer, Conv1d, Conv1dLayer, Conv2d,
    Conv2dLayer, ConvTranspose2d, ConvTranspose2dLayer, Dense, Direction, Dropout, Dropout2d, Embedding,
    EmbeddingLayer, Flatten, GlobalAvgPool, GlobalMaxPool, GroupNorm, GroupNormLayer, Gru, Layer, Linear,
    Lstm, MaxPool1d, MaxPool2d, Padding, Recurrent, RecurrentLayer, Rnn, Sequences, Size2, Spans, Spec,
    State, Upsample, Value, ZeroPad2d,
};
pub use loss::{
    BinaryCrossentropy, CategoricalCrossentropy, CrossEntropy, Huber, Loss, MeanAbsoluteError,
    MeanSquaredError, SparseCategoricalCrossentropy, Weighted, binary_cross_entropy, cross_entropy, huber,
    mae, mse, soft_cross_entropy,
};
pub use model::Model;
pub use module::{Buffer, Module, Part, Visitor};
pub use sequential::{Sequential, SequentialBuilder};
pub use summary::{LayerSummary, Summary};
