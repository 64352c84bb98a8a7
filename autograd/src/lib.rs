//! Reverse-mode differentiation over [`cairn_tensor`].
//!
//! A [`Var`] is a tensor that remembers how it was computed; [`Var::backward`] returns the [`Gradients`] of a loss. A
//! [`Parameter`] is a value that training changes, shared by everything that holds a clone of it. There is no global tape and no
//! hidden gradient field: what is not held is freed.
//!
//! ```
//! use cairn_autograd::{Parameter, Var};
//! use cairn_tensor::Tensor;
//!
//! // One step of gradient descent on (w · x - 3)².
//! let w = Parameter::new(Tensor::from_vec(vec![0.5f32, -0.5], [2])?);
//! let x = Var::constant(Tensor::from_vec(vec![1.0, 2.0], [2])?);
//! let loss = |w: &Parameter| (w.var().matmul(&x)? - 3.0).square();
//! let before = loss(&w)?;
//! let gradient = before.backward()?.of(&w)?;
//! w.update(|w| w.add_assign(&gradient.scale(-0.1)?))?;
//! assert!(loss(&w)?.item()? < before.item()?);
//! # Ok::<(), cairn_autograd::Error>(())
//! ```
//!
//! # What is where
//!
//! | to | use |
//! |---|---|
//! | compute | the methods of [`Var`], named as those of tensors; `+`, `-`, `*`, `/` panic with the same text |
//! | differentiate | [`Var::backward`], [`Var::backward_from`]; look up by parameter or leaf in [`Gradients`] |
//! | train | [`Parameter`]: [`var`](Parameter::var), [`update`](Parameter::update), [`set_trainable`](Parameter::set_trainable) |
//! | not differentiate | [`no_grad`], [`Var::detach`], [`Var::constant`] |
//! | keep a gradient small | [`Gradient::Rows`]: of a lookup in a large table, just the rows that were looked up |
//! | add an operation of your own | [`Var::from_op`], checked by [`gradcheck`] |
//! | see what was computed | [`trace`] and [`op`]: every operation with its attributes, evaluated again without variables, its FLOPs |
//!
//! # Reading the source
//!
//! An operation is said once: a variant of its stem in `ops/`, with its forward pass and its derivative side by side, and the
//! method that users call. [`op::Op`] is all of them.
//!
//! ```
//! use cairn_autograd::{Var, trace};
//! use cairn_tensor::Tensor;
//!
//! let (x, w) = (Var::from(Tensor::<f32>::ones([8, 4])?), Var::parameter(Tensor::ones([4, 2])?));
//! let y = trace(|| x.matmul(&w)?.tanh()).result?;
//! let calls: Vec<_> = y.graph().iter().filter_map(Var::recorded).map(|call| call.op.name()).collect();
//! assert_eq!(calls, ["matmul", "tanh"]);
//! # Ok::<(), cairn_autograd::Error>(())
//! ```
//!
//! Every operation of tensors that takes part in training is here, and every one has its derivative, checked against central
//! differences; a graph may be of any depth, and is freed as the backward pass goes.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// The samples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backward;
mod checkpoint;
mod compiled;
mod error;
mod flops;
mod gradcheck;
mod gradient;
mod logits;
pub mod op;
mod ops;
mod parameter;
mod trace;
mod var;

pub use error::{Error, Result};
pub use flops::{FlopCounts, Flops, Part, count_flops};
pub use gradcheck::gradcheck;
pub use gradient::{Gradient, Gradients, Leaf, RowGradient};
pub use ops::RecurrentVars;
pub use parameter::Parameter;
pub use trace::{Recorded, RecordedIds, Source, Traced, is_tracing, scope, trace};
pub use var::{Var, no_grad};
