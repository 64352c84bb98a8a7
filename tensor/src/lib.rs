//! n-dimensional arrays and the CPU kernels of Cairn.
//!
//! [`Tensor<T>`] is a strided view of shared storage, copied on write. Operations are methods that return [`Result`];
//! `+`, `-`, `*`, `/` panic with the same text. The kernels choose their instruction set at run time, and give the same
//! bits for any number of threads.
//!
//! ```
//! use cairn_tensor::{rng, Tensor};
//!
//! let x = Tensor::<f32>::normal([128, 64], 0.0, 1.0, &mut rng(1))?;
//! let y = x.matmul(&x.t()?)?.softmax(-1)?;
//! assert_eq!(y.shape(), [128, 128]);
//! # Ok::<(), cairn_tensor::Error>(())
//! ```
//!
//! # Operations by kind
//!
//! | kind | methods of [`Tensor`] |
//! |---|---|
//! | making | `from_vec` `from_slice` `build` `zeros` `ones` `full` `scalar` `arange` `linspace` `eye` |
//! | random | `random` (any `rand_distr` distribution) `normal` `uniform`, with an explicit generator: [`rng`] |
//! | reading | `shape` `len` `item` `get` `iter` `as_slice` `to_vec` `into_vec` |
//! | views | `reshape` `flatten` `permute` `transpose` `t` `squeeze` `unsqueeze` `broadcast_to` `narrow` `index` |
//! | joining | `cat` `stack` |
//! | indexing | `index_select` `index_add` |
//! | arithmetic | `add` `sub` `mul` `div` `pow` `maximum` `minimum` `scale` `add_assign`, operators |
//! | comparison | `eq` `ne` `lt` `le` `gt` `ge`, `not` and `select` of truth values |
//! | functions | `exp` `log` `sqrt` `tanh` `sigmoid` `relu` `gelu` … |
//! | derivatives | `exp_backward` … : gradients through each function |
//! | reductions | `sum` `prod` `mean` `max` `min` (each with `_keepdim`) `argmax` `argmin` `sum_to` |
//! | over rows | `softmax` `log_softmax` `logsumexp` `cross_entropy` |
//! | products | `matmul` `add_matmul` `linear` |
//! | training | `update` `update_rows` by a [`Rule`] |
//!
//! # Threads
//! Large operations run on rayon's global pool: set `RAYON_NUM_THREADS`, or build the pool yourself. Results do not depend
//! on the number.
//!
//! # Memory
//! Freed blocks are kept for reuse; [`memory`] shows the counters and [`trim_memory`] gives them back to the system.

#![warn(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod arithmetic;
#[allow(unsafe_code)]
mod cpu;
mod create;
mod derivatives;
mod display;
mod einsum;
mod element;
mod error;
mod index;
mod join;
mod layout;
mod linear;
mod matmul;
mod reduce;
mod scan;
mod serial;
mod shape;
mod slicing;
mod softmax;
mod sort;
mod statistics;
mod tensor;
mod unary;
mod update;
mod views;

pub use cpu::buffer::{Memory, memory, trim_memory};
pub use cpu::threads::num_threads;
pub use cpu::{Isa, instruction_set};
pub use create::{Rng, rng};
pub use element::{DType, Element, Float, Number};
pub use error::{Error, Result};
pub use shape::{Axes, Axis, Shape, broadcast_shapes};
pub use slicing::Slice;
pub use tensor::Tensor;
pub use update::Rule;
