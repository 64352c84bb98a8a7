//! Reverse-mode differentiation over [`cairn_tensor`].
//!
//! A [`Var`] is a tensor that remembers how it was computed; [`Var::backward`] returns the [`Gradients`] of a loss, which
//! are looked up by what they are the gradients of: a [`Parameter`], the cell that holds what training changes, or a leaf.
//! There is no global tape and no hidden gradient field: what is not held is freed.
//!
//! ```
//! use cairn_autograd::{Parameter, Var};
//! use cairn_tensor::Tensor;
//!
//! // One step of gradient descent on (w · x - y)².
//! let w = Parameter::new(Tensor::from_vec(vec![0.5f32, -0.5], [2])?);
//! let x = Var::constant(Tensor::from_vec(vec![1.0, 2.0], [2])?);
//! let loss = (w.var().matmul(&x)? - 3.0).square()?;
//! let gradient = loss.backward()?.of(&w)?;
//! w.update(|w| w.add_assign(&gradient.scale(-0.1)?))?;
//! let after = (w.var().matmul(&x)? - 3.0).square()?;
//! assert!(after.item()? < loss.item()?);
//! # Ok::<(), cairn_autograd::Error>(())
//! ```
//!
//! Operations have the names they have on tensors; every one has its derivative, and [`gradcheck`] checks one of your own
//! ([`Var::from_op`]). The derivatives are read best in the source: `ops/functions.rs` is a table of names, the formulas
//! stand in one table in `cairn-tensor`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// The samples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod backward;
mod error;
mod gradcheck;
mod gradient;
mod ops;
mod parameter;
mod trace;
mod var;

pub use error::{Error, Result};
pub use gradcheck::gradcheck;
pub use gradient::{Gradient, Gradients, Leaf, RowGradient};
pub use ops::RecurrentVars;
pub use parameter::Parameter;
pub use trace::{Entries, Recorded, Settings, trace};
pub use var::{Var, no_grad};
