//! The operations: methods of [`Tensor`](crate::Tensor), their shapes and errors. One file or folder for each kind; the
//! kernels of the same name are in `cpu/`, the laws in `tests/laws/`.
//!
//! | file | what |
//! |---|---|
//! | `create` | from data, constant, counted, drawn at random |
//! | `view`, `slice` | the same storage under another shape; parts of it |
//! | `join` | concatenation, repetition, margins |
//! | `index` | lists of indices, and masks |
//! | `elementwise/` | arithmetic, comparison, functions with their derivatives |
//! | `reduce/` | sums, extrema, statistics over axes |
//! | `scan`, `sort` | running sums; ranking and searching |
//! | `softmax` | softmax and cross-entropy |
//! | `matmul`, `linear`, `einsum` | products |
//! | `quantized`, `linear_stored` | quantised weights; layers with weights in any type |
//! | `linear_cross_entropy` | a linear layer over a vocabulary with its loss |
//! | `linalg` | factorisations of matrices (feature `linalg`) |
//! | `conv/`, `pool`, `resize`, `norm` | images |
//! | `recurrent`, `attention/`, `rotary` | sequences |
//! | `gated` | gated activations |
//! | `update` | the step of an optimiser |

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod create;
mod einsum;
pub(crate) mod elementwise;
pub(crate) mod gated;
pub(crate) mod index;
mod join;
#[cfg(feature = "linalg")]
pub(crate) mod linalg;
mod linear;
pub(crate) mod linear_cross_entropy;
mod linear_stored;
mod matmul;
pub mod norm;
pub(crate) mod pool;
mod quantized;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod rotary;
mod scan;
pub(crate) mod slice;
mod softmax;
mod sort;
pub(crate) mod update;
mod view;
