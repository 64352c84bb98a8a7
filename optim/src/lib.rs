//! Optimisers, metrics and the training loop of Cairn.
//!
//! [`Trainer`] is the loop as people expect it: `fit`, `evaluate`, `predict`. The optimisers work without it too:
//!
//! ```
//! use cairn_nn::{Linear, cross_entropy};
//! use cairn_optim::{AdamW, Optimizer};
//! use cairn_tensor::{rng, Tensor};
//!
//! let mut model = Linear::new(4, 3, &mut rng(0))?;
//! let mut adam = AdamW::default();
//! let (x, labels) = (Tensor::ones([8, 4])?, Tensor::zeros([8])?);
//! let loss = cross_entropy(&model.forward(&x.into())?, &labels)?;
//! adam.step(&mut model, &loss.backward()?)?;
//! # Ok::<(), cairn_optim::Error>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// The samples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod accumulate;
mod clip;
mod ema;
mod error;
pub mod metrics;
mod optimizers;
pub mod schedules;
mod state_dict;
mod trainer;
mod weighted;
pub mod word2vec;

pub use accumulate::Accumulation;
pub use clip::{clip_by_global_norm, clip_by_norm, clip_by_value, global_norm};
pub use ema::Ema;
pub use error::{Error, Result};
pub use optimizers::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, AnyOptimizer, ClosureOptimizer, Group, Lamb, Lbfgs, Lion, NAdam,
    Objective, Optimizer, RAdam, RmsProp, Sgd,
};
pub use state_dict::StateDict;
pub use trainer::{
    Batch, Callback, Control, CrossValidation, CsvLog, EarlyStopping, Epoch, Evaluation, Fit, Goal, History,
    ModelCheckpoint, ReduceOnPlateau, TensorBoard, Trainer,
};
pub use weighted::WeightedSamples;
