//! The CPU kernels: everything that touches raw memory, vector instructions or threads.
//!
//! The rest of the workspace speaks of tensors; this module speaks of slices. It is the only place with `unsafe`:
//! [`isa`] calls functions compiled for instructions found at run time, [`buffer`] owns raw memory, [`matmul`] hands
//! pointers to the matrix engine. Kernels themselves are ordinary loops over slices, written once and compiled for each
//! instruction set (see [`isa`]); they are fast because the compiler vectorises them there, which the benches watch.
//!
//! | file | what |
//! |---|---|
//! | [`isa`] | choice of the instruction set, [`Kernel`] and [`dispatch`] |
//! | [`simd`] | one register, for kernels built of register tiles |
//! | [`buffer`] | aligned, recycled memory and its counters |
//! | [`bytes`], [`shared_bytes`] | elements as bytes; bytes that tensors share, of a file or memory |
//! | [`threads`] | when and how work is split; fixed chunks |
//! | [`workers`] | the helper threads |
//! | [`compiled`] | kernels compiled with this crate, once for each type |
//! | [`lanes`] | folding a run in interleaved accumulators |
//! | [`nest`] | loops over strided and broadcast operands |
//! | [`math`], [`math64`], [`halves`] | exp, log, tanh … as polynomials, in single and double precision; 16-bit floats |
//! | [`copy`] | gathering strided views into order |
//! | [`transpose`] | one tile of a transposed copy |
//!
//! The others are the kernels of the operations in `ops/`, under the same names:
//!
//! | file | what |
//! |---|---|
//! | [`elementwise`] | one, two and three operand maps, in-place updates |
//! | [`reduce`] | sums, extrema over axes |
//! | [`index`] | elements and rows by indices, elements by a mask |
//! | [`join`] | joining along an axis, surrounding with a margin |
//! | [`softmax`] | kernels over the last axis: softmax and cross-entropy |
//! | [`slice`] | triangles of matrices |
//! | [`scan`] | running sums and products |
//! | [`sort`] | ranking by integer keys |
//! | [`matmul`] | the one entry for matrix products, and products of one row and of one column |
//! | [`linear`], [`linear_cross_entropy`] | what a linear layer does besides its product; its loss |
//! | [`linear_half`] | products with weights in 16-bit floats |
//! | `linalg`, `faer_view` | factorisations of one matrix, matrices as faer's (features `linalg`, `faer`) |
//! | [`conv`] | convolutions and their gradients |
//! | [`pool`] | maximum and mean over windows |
//! | [`resize`] | interpolation between pixels |
//! | [`norm`] | normalisation of channels and of groups of them |
//! | [`recurrent`] | recurrences over whole sequences, and back |
//! | [`attention`] | attention by blocks, and back |
//! | [`quantized`] | quantised weights and products with them |
//! | [`rotary`], [`gated`] | rotary positions; gated activations |
//! | [`update`] | an optimiser's formula over parameter, gradient and state |
//! | [`negative_sampling`] | word vectors by negative sampling |

pub(crate) mod attention;
pub(crate) mod buffer;
pub(crate) mod bytes;
pub(crate) mod compiled;
pub(crate) mod conv;
pub(crate) mod copy;
pub(crate) mod elementwise;
#[cfg(feature = "faer")]
pub(crate) mod faer_view;
pub(crate) mod fetch;
pub(crate) mod gated;
pub(crate) mod halves;
pub(crate) mod index;
mod isa;
pub(crate) mod join;
pub(crate) mod lanes;
#[cfg(feature = "linalg")]
pub(crate) mod linalg;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub(crate) mod linear_half;
pub(crate) mod math;
pub(crate) mod math64;
pub(crate) mod matmul;
pub(crate) mod negative_sampling;
pub(crate) mod nest;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod quantized;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod resize;
pub(crate) mod rotary;
pub(crate) mod scan;
pub(crate) mod shared_bytes;
mod simd;
pub(crate) mod slice;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod threads;
mod transpose;
pub(crate) mod update;
mod workers;

pub use isa::{Isa, Kernel, dispatch, instruction_set};
pub use simd::Vector;
