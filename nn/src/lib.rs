//! Layers, losses, initialisers and models of Cairn.
//!
//! Two ways to write a model, the first built from the second. A [`Sequential`] of [descriptions](spec), whose input sizes
//! are inferred, as in Keras:
//!
//! ```
//! use cairn_nn::spec::{Dense, Dropout};
//! use cairn_nn::{Activation::Relu, Model, Sequential};
//! use cairn_tensor::{Tensor, rng};
//!
//! let model = Sequential::new([784])
//!     .add(Dense::new(64).activation(Relu))
//!     .add(Dropout::new(0.2))
//!     .add(Dense::new(10))
//!     .build(&mut rng(42))?; // shapes are checked here, layer by layer
//! println!("{}", model.summary());
//! let scores = model.predict_batch(&Tensor::<f32>::zeros([32, 784])?)?;
//! assert_eq!(scores.shape(), [32, 10]);
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! Or a struct of layers with a derived [`Module`] and a forward pass of your own, as in PyTorch. The plain name is the layer:
//! `new` with its sizes, options, and one verb, `forward`. Where the result depends on the circumstances, it takes a
//! [`Context`]: training or not, the seed of what is random, the lengths of sequences.
//!
//! ```
//! use cairn_autograd::Var;
//! use cairn_nn::{Context, Embedding, Linear, Lstm, Module, Result, cross_entropy};
//! use cairn_tensor::{Tensor, rng};
//!
//! #[derive(Module)]
//! struct Tagger { embed: Embedding, lstm: Lstm, head: Linear }
//!
//! impl Tagger {
//!     fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
//!         self.head.forward(&self.lstm.forward(&self.embed.forward(tokens)?, cx)?)
//!     }
//! }
//!
//! let mut rng = rng(0);
//! let model = Tagger {
//!     embed: Embedding::new(1000, 16, &mut rng)?,
//!     lstm: Lstm::new(16, 32, &mut rng)?,
//!     head: Linear::new(32, 5, &mut rng)?,
//! };
//! let (tokens, tags) = (Tensor::zeros([8, 20])?, Tensor::zeros([8, 20])?);
//! let logits = model.forward(&tokens, &mut Context::train(0))?;
//! assert_eq!(logits.shape(), [8, 20, 5]);
//! let gradients = cross_entropy(&logits, &tags)?.backward()?;
//! model.for_each_parameter(&mut |path, parameter| {
//!     assert!(gradients.get(parameter).is_some(), "{path} trains");
//! });
//! # Ok::<(), cairn_nn::Error>(())
//! ```
//!
//! | where | what |
//! |---|---|
//! | the root | layers, [`Sequential`], [`Module`], [`Model`], [`Context`], losses |
//! | [`spec`] | descriptions of layers for [`Sequential`] |
//! | [`weights`] | files of weights, and other libraries' names and layouts |
//! | [`onnx`] | models as ONNX |
//! | [`explain`] | what a model looked at |
//! | [`loss`] | losses, by name and as functions |
//! | [`adapters`] | training a few values beside a frozen model: LoRA |
//! | [`models`] | open language models and encoders, by architecture |
//! | `language`, `tokenizer` | open models from text to text, with feature `language` |
//! | [`generate`] | sampling from a language model, and beam search |
//!
//! **Shapes** are `[batch, features]`, `[batch, time, features]`, and `[batch, height, width, channels]`.
//!
//! **Parameters are shared cells.** A clone of a [`Parameter`] is the same parameter: weights are tied by cloning, and are
//! counted, saved and stepped once. Everything is changed through `&self`, so a model can be shared by threads.
//!
//! **State is of any element type.** A model is trained in `f32`; for inference its parameters may be bf16, f16 or integers
//! ([`Module::adopt_state`]), and files keep every value in its type, bit for bit.
//!
//! **Randomness is counted**: what a layer draws is a function of seed, step, micro-batch and place, see [`Context`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

// The derive macro speaks of `::cairn_nn`, also inside this crate.
extern crate self as cairn_nn;

/// The samples in the README compile and run.
#[cfg(all(doctest, feature = "language"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod adapters;
#[doc(hidden)]
pub mod codec;
mod context;
mod error;
pub mod explain;
mod file;
pub mod generate;
pub mod graph;
mod init;
#[cfg(feature = "language")]
pub mod language;
mod layers;
pub mod loss;
mod model;
pub mod models;
mod module;
pub mod onnx;
mod sequential;
mod summary;
#[cfg(feature = "language")]
pub mod tokenizer;
pub mod weights;

pub use cairn_autograd::Parameter;
pub use cairn_nn_derive::Module;
pub use context::Context;
pub use error::{Error, Result};
pub use file::{load_weights, save_weights};
pub use graph::{Frozen, Scratch};
pub use init::Init;
pub use layers::*;
pub use loss::{
    BinaryCrossentropy, CategoricalCrossentropy, CrossEntropy, Distillation, Huber, Loss, MeanAbsoluteError,
    MeanSquaredError, SparseCategoricalCrossentropy, Weighted, binary_cross_entropy, cross_entropy, huber,
    mae, mse, soft_cross_entropy,
};
pub use model::Model;
pub use module::{Buffer, Module, Part, Visitor};
pub use sequential::{Sequential, SequentialBuilder};
pub use summary::{LayerSummary, Summary};
