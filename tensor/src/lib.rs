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
//! | making | `from_vec` `from_slice` `build` `try_build` `zeros` `ones` `full` `scalar` `arange` `linspace` `eye` |
//! | random | `random` (any `rand_distr` distribution) `normal` `uniform` `bernoulli` `permutation` `multinomial`, with an explicit generator: [`rng`] |
//! | reading | `shape` `dims` `rank` `size` `len` `is_empty` `strides` `item` `get` `iter` `as_slice` `row_major` `into_row_major` `to_vec` `into_vec` `cast` |
//! | memory | `is_contiguous` `contiguous` `as_mut_slice` (copied on write) `shares_storage` |
//! | views | `reshape` `flatten` `permute` `transpose` `t` `squeeze` `unsqueeze` `broadcast_to` `narrow` `index` `slice` ([`s!`]) `slice_assign` `narrow_add` `flip` `split` `chunk` `diagonal` `diagonal_assign` |
//! | joining, repeating | `cat` `stack` `tile` `repeat` `pad` |
//! | indexing | `index_select` `index_add` `sum_rows` `gather` `scatter_add` `one_hot` `nonzero` `masked_select` `masked_fill` `masked_scale` |
//! | arithmetic | `add` `sub` `mul` `div` `pow` `powf` `maximum` `minimum` `scale` `add_assign` `scale_assign`, operators |
//! | comparison | `eq` `ne` `lt` `le` `gt` `ge`; of truth values `and` `or` `xor` `not` `select` |
//! | functions | `neg` `abs` `sign` `square` `exp` `expm1` `log` `log1p` `sqrt` `rsqrt` `recip` `sin` `cos` `tanh` `erf` `floor` `round` `clamp` `map` |
//! | activations | `relu` `leaky_relu` `elu` `selu` `sigmoid` `softplus` `silu` `gelu` `gelu_tanh`; `gated` `gated_halves` ([`Gate`]: SwiGLU, GeGLU) |
//! | derivatives | `…_backward` of the functions and activations |
//! | reductions | `sum` `prod` `mean` `var` `std` `norm` `max` `min` `any` `all` `argmax` `argmin` `logsumexp` (all with `_keepdim`) `count_true` `all_finite` `sum_to` |
//! | along an axis | `cumsum` `cumprod` `sort` `argsort` `topk` `unique` `searchsorted` |
//! | over rows | `softmax` `log_softmax` `cross_entropy` `cross_entropy_ignoring`, with their gradients |
//! | matrices | `matmul` `add_matmul` `linear` `linear_gradients` `linear_quantized` `linear_stored` `linear_row` `linear_cross_entropy` `dot` `outer` `einsum` `tril` `triu` |
//! | with feature `linalg` | `solve` `inverse` `det` `cholesky` `qr` `svd` `eigh` |
//! | images | `conv2d` `conv1d` `conv_transpose2d` ([`Window`]) `conv2d_max_pool2d` `max_pool2d` `avg_pool2d` ([`Pool`]) `resize2d` ([`Resize`]), with their gradients |
//! | normalisation | those of [`norm`], with their gradients |
//! | sequences | `recurrent` ([`Recurrence`]: RNN, LSTM, GRU), `attention` ([`AttentionOptions`]), `rotary` `rotary_at` `rotary_back` `rotary_at_back` ([`Rotary`]), with their gradients |
//! | training | `update` `update_rows` by a [`Rule`], `update_summing` `update_rows_summing` by a [`SummingRule`] |
//! | files | `read_npy` `write_npy`, by rows [`NpyFile`] [`NpyWriter`], serde; with feature `npz` `NpzReader` and `NpzWriter` |
//! | other crates | with feature `ndarray` `from_ndarray` `view_ndarray` `into_ndarray`; with feature `faer` `view_faer` `from_faer` |
//!
//! [`AnyTensor`] is a tensor whose element type is known at run time, for state and files; [`QuantizedTensor`] are weights of a few
//! bits, in the blocks of llama.cpp ([`BlockFormat`]).
//!
//! Loops of your own, compiled for every instruction set and split over threads like those here, are written with
//! [`kernel`].
//!
//! # Threads
//! Large operations are shared by the caller and helper threads, as many in all as rayon's pool has: set
//! `RAYON_NUM_THREADS`, build rayon's global pool, or call from inside a pool of your own. Results do not depend on the
//! number.
//!
//! They do depend on the machine, in the last digits: the instruction set ([`instruction_set`]) decides whether a
//! multiply-add is rounded once or twice, the sizes of the caches how a large matrix product is cut into blocks. The same
//! seed gives the same bits on one machine; between machines, compare with a tolerance.
//!
//! # Memory
//! Freed blocks are kept for reuse; [`memory`] shows the counters and [`trim_memory`] gives them back to the system.

#![warn(unsafe_code, clippy::missing_errors_doc)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

/// The README's examples, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod any;
mod block_format;
#[allow(unsafe_code)]
mod cpu;
mod display;
mod dtype;
mod element;
mod error;
#[cfg(any(feature = "ndarray", feature = "faer"))]
mod interchange;
pub mod kernel;
mod layout;
mod npy;
mod ops;
mod quantized;
mod row_major;
mod serial;
mod setting;
mod shape;
mod tensor;

pub use any::AnyTensor;
pub use block_format::BlockFormat;
pub use cpu::buffer::{Memory, memory, trim_memory};
pub use cpu::shared_bytes::SharedBytes;
pub use cpu::threads::num_threads;
pub use cpu::{Isa, Vector, instruction_set};
pub use dtype::{DType, UnknownDType};
pub use element::{Element, Float, Number};
pub use error::{Error, Result};
pub use half::{bf16, f16};
pub use npy::{NpyFile, NpyWriter};
#[cfg(feature = "npz")]
pub use npy::{NpzReader, NpzWriter};
pub use ops::attention::{AttentionOptions, AttentionRules, Causal};
pub use ops::conv::pooled::{ConvGradients, Pooled};
pub use ops::conv::window::Window;
pub use ops::create::{Rng, rng};
pub use ops::gated::Gate;
#[cfg(feature = "linalg")]
pub use ops::linalg::Field;
pub use ops::linear_cross_entropy::{LinearCrossEntropy, LinearCrossEntropyOptions};
pub use ops::norm::{self, *};
pub use ops::pool::Pool;
pub use ops::recurrent::{
    Recurrence, RecurrentGradients, RecurrentOperands, RecurrentOptions, RecurrentSaved, Returns,
};
pub use ops::resize::Resize;
pub use ops::rotary::{Pairs, Rotary, RotaryScaling, RotaryTables};
pub use ops::slice::Slice;
pub use ops::update::{Rule, SummingRule};
pub use quantized::QuantizedTensor;
pub use row_major::RowMajor;
pub use setting::Setting;
pub use shape::{Axes, Axis, Shape, broadcast_shapes};
pub use tensor::Tensor;
