//! Optimisers, schedules, metrics and the training loop of Cairn.
//!
//! [`Trainer`] is the loop as people expect it: `fit`, `evaluate`, `predict`, with callbacks, checkpoints and
//! cross-validation. Everything that it is made of works without it too.
//!
//! ```
//! use cairn_datasets::synthetic;
//! use cairn_nn::{Activation::Relu, Sequential, SparseCategoricalCrossentropy, spec::Dense};
//! use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
//!
//! let (train, test) = synthetic::digits(400, 1)?.flatten().split(0.8, 0)?;
//! let model = Sequential::new([784])
//!     .add(Dense::new(32).activation(Relu))
//!     .add(Dense::new(10))
//!     .build(&mut cairn_tensor::rng(0))?;
//! let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
//! let history = trainer.fit(&model, &train, Fit::epochs(2).validate(&test).quiet())?;
//! println!("{history}");
//! # use cairn_datasets::Dataset;
//! # Ok::<(), cairn_optim::Error>(())
//! ```
//!
//! A loop of your own, as around PyTorch. Gradients are a value, looked up by parameter, so there is nothing to set to zero:
//!
//! ```
//! use cairn_nn::{Linear, cross_entropy};
//! use cairn_optim::schedules::{Cosine, Schedule};
//! use cairn_optim::{AdamW, Optimizer, clip_by_global_norm};
//! use cairn_tensor::{Tensor, rng};
//!
//! let model = Linear::new(4, 3, &mut rng(0))?;
//! let (mut adam, schedule) = (AdamW::default(), Cosine::new(10));
//! let (x, labels) = (Tensor::ones([8, 4])?, Tensor::zeros([8])?);
//! for step in 0..10 {
//!     let loss = cross_entropy(&model.forward(&x.clone().into())?, &labels)?;
//!     let mut gradients = loss.backward()?;
//!     clip_by_global_norm(&model, &mut gradients, 1.0)?;
//!     adam.set_learning_rate(1e-3 * schedule.factor(step));
//!     adam.step(&model, &gradients)?;
//! }
//! # Ok::<(), cairn_optim::Error>(())
//! ```
//!
//! # What is here
//!
//! | kind | names |
//! |---|---|
//! | optimisers, by gradients ([`Optimizer`]) | [`Sgd`] [`Adam`] [`AdamW`] [`NAdam`] [`RAdam`] [`Adamax`] [`RmsProp`] [`Adagrad`] [`Adadelta`] [`Lion`] [`Lamb`] |
//! | that ask for the loss again ([`ClosureOptimizer`]) | [`Lbfgs`] |
//! | around a step | [`Group`] (parameters by pattern) [`clip_by_global_norm`] [`clip_by_norm`] [`clip_by_value`] [`Accumulation`] [`Ema`] [`CheckpointAverage`] |
//! | learning rates | [`schedules`], each a factor of the base learning rate; [`ReduceOnPlateau`] |
//! | metrics | [`metrics`], exact over a pass over data |
//! | the loop | [`Trainer`] with its options [`Fit`]; [`History`] [`Evaluation`] [`CrossValidation`] |
//! | callbacks ([`Callback`]) | [`EarlyStopping`] [`ModelCheckpoint`] [`ReduceOnPlateau`] [`CsvLog`] [`TensorBoard`] [`Ema`] [`CheckpointAverage`] |
//! | samples with weights | [`WeightedSamples`] |
//! | many processes | [`processes`], [`Fit::processes`] |
//! | what it has cost: time, FLOPs, memory, energy | [`Fit::report`], [`Trainer::evaluate_with_report`], [`report`](mod@report) |
//! | linear regression in closed form, to compare with | `Ridge` (feature `linalg`) |
//! | word vectors | [`word2vec`] |
//!
//! Losses are in `cairn_nn`. The names of losses and metrics that are alike (`MeanSquaredError`) stay in their modules.
//!
//! # Reproducibility
//! The same seed gives the same bits, for any number of threads and [processes], and also for a run that was interrupted and goes on from
//! its [checkpoint](Fit::checkpoint). What is random in a model is a function of the seed, the step and the place in the
//! model, not of what was drawn before.
//!
//! # Shared parameters
//! A parameter that several layers hold is one parameter: its gradient is the sum of theirs, and it is stepped, clipped,
//! accumulated and averaged once.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// The samples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod accumulate;
mod average;
mod clip;
mod ema;
mod error;
pub mod metrics;
mod optimizers;
pub mod processes;
pub mod report;
#[cfg(feature = "linalg")]
mod ridge;
pub mod schedules;
mod state_dict;
mod trainer;
mod tree;
mod weighted;
pub mod word2vec;

pub use accumulate::Accumulation;
pub use average::CheckpointAverage;
pub use clip::{clip_by_global_norm, clip_by_norm, clip_by_value, global_norm};
pub use ema::Ema;
pub use error::{Error, Result};
pub use optimizers::{
    Adadelta, Adagrad, Adam, AdamW, Adamax, AnyOptimizer, ClosureOptimizer, Group, Lamb, Lbfgs, Lion, NAdam,
    Objective, Optimizer, RAdam, RmsProp, Sgd,
};
#[cfg(feature = "linalg")]
pub use ridge::Ridge;
pub use state_dict::StateDict;
pub use trainer::{
    Batch, Callback, Computed, Control, CrossValidation, CsvLog, EarlyStopping, Epoch, Evaluation, Fit, Goal,
    History, ModelCheckpoint, ReduceOnPlateau, TensorBoard, Trainer,
};
pub use weighted::WeightedSamples;
