//! The operations on variables, each with its derivative.
//!
//! The arithmetic is `cairn-tensor`'s, forward and backward; an entry here names which derivative belongs to which
//! operation and what must be kept for it. In the comments `g` is the gradient of the output.

mod arithmetic;
mod einsum;
mod functions;
mod images;
mod indexing;
mod join;
mod layers;
#[cfg(feature = "linalg")]
mod linalg;
mod lookup;
mod parts;
mod products;
mod recurrent;
mod reductions;
mod rows;
mod statistics;
mod views;

use cairn_tensor::{Float, Tensor};

pub use recurrent::RecurrentVars;

use crate::{Gradient, Result};

/// `Some` dense gradient if it is wanted.
fn when<T: Float>(
    wanted: bool,
    gradient: impl FnOnce() -> cairn_tensor::Result<Tensor<T>>,
) -> Result<Option<Gradient<T>>> {
    if wanted { Ok(Some(Gradient::Dense(gradient()?))) } else { Ok(None) }
}
