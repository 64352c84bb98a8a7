//! The operations, a file for each stem: what they are (an enum, part of [`Op`](crate::op::Op)), their forward pass with the
//! derivative beside it (`run`), and the methods of [`Var`](crate::Var) that users call.
//!
//! The arithmetic is `cairn-tensor`'s, forward and backward; an entry here names which derivative belongs to which
//! operation and what must be saved for it. In the comments `g` is the gradient of the output.

mod arithmetic;
mod attention;
mod conv;
mod einsum;
mod elementwise;
mod gated;
mod index;
mod join;
#[cfg_attr(not(feature = "linalg"), path = "no_linalg.rs")]
mod linalg;
mod linear;
mod linear_cross_entropy;
mod matmul;
mod norm;
mod pool;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod scan;
mod slice;
mod softmax;
mod sort;
mod spans;
mod view;

use cairn_tensor::{Float, Tensor};

pub use arithmetic::Arithmetic;
pub use attention::{Attend, Attention};
pub use conv::Conv;
pub use elementwise::Elementwise;
pub use gated::Gated;
pub use index::Index;
pub use join::Join;
#[cfg(feature = "linalg")]
pub use linalg::Factor;
pub use linalg::Linalg;
pub use linear::Linear;
pub use linear_cross_entropy::Weighted;
pub use matmul::Matmul;
pub use norm::Norm;
pub use pool::Pooling;
pub use recurrent::{Present, Recurrent, RecurrentVars};
pub use reduce::{Reduce, Reduced, Reduction};
pub use resize::Resizing;
pub use rotary::Rotary;
pub use scan::Scan;
pub use slice::Slicing;
pub use softmax::Softmax;
pub use sort::Sort;
pub use spans::{IdsOp, Spans};
pub use view::View;

use crate::{Gradient, Result};

/// `Some` dense gradient if it is wanted.
fn when<T: Float>(
    wanted: bool,
    gradient: impl FnOnce() -> cairn_tensor::Result<Tensor<T>>,
) -> Result<Option<Gradient<T>>> {
    if wanted { Ok(Some(Gradient::Dense(gradient()?))) } else { Ok(None) }
}

/// What a derivative keeps for a gradient, if that is wanted.
fn keep<T: Float>(wanted: bool, value: &Tensor<T>) -> Option<Tensor<T>> {
    wanted.then(|| value.clone())
}

/// The gradient that was wanted if something was kept for it, which is freed with it.
fn by<T: Float>(
    kept: Option<Tensor<T>>,
    gradient: impl FnOnce(Tensor<T>) -> cairn_tensor::Result<Tensor<T>>,
) -> Result<Option<Gradient<T>>> {
    kept.map(|kept| Ok(Gradient::Dense(gradient(kept)?))).transpose()
}

/// An axis counted from the front.
fn from_front(axis: isize, rank: usize) -> usize {
    if axis < 0 { (axis + rank as isize) as usize } else { axis as usize }
}

/// The sum over all axes but the last.
fn sum_to_channels<T: Float>(g: &Tensor<T>) -> cairn_tensor::Result<Tensor<T>> {
    let (&channels, rest) = g.shape().split_last().unwrap_or((&1, &[]));
    g.reshape([rest.iter().product(), channels])?.sum(0)
}

/// Twice the product of all factors, that is the FLOPs of so many multiply-adds; the largest number where it overflows.
fn multiply_adds<'a>(factors: impl IntoIterator<Item = &'a usize>) -> u64 {
    factors.into_iter().fold(2, |all: u64, &n| all.saturating_mul(n as u64))
}
