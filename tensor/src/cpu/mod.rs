//! The CPU kernels: everything that touches raw memory, vector instructions or threads.
//!
//! The rest of the workspace speaks of tensors; this module speaks of slices. It is the only place with `unsafe`:
//! [`isa`] calls functions compiled for instructions found at run time, [`buffer`] owns raw memory, [`gemm`] hands
//! pointers to the matrix engine. Kernels themselves are ordinary loops over slices, written once and compiled for each
//! instruction set (see [`isa`]); they are fast because the compiler vectorises them there, which the benches watch.
//!
//! | file | what |
//! |---|---|
//! | [`isa`] | choice of the instruction set, [`Kernel`] and [`dispatch`] |
//! | [`simd`] | one register, for kernels built of register tiles |
//! | [`buffer`] | aligned, recycled memory and its counters |
//! | [`bytes`] | elements as bytes |
//! | [`threads`] | when and how work is split; fixed chunks |
//! | [`pool`] | the helper threads |
//! | [`compiled`] | kernels compiled with this crate, once for each type |
//! | [`lanes`] | folding a run in interleaved accumulators |
//! | [`nest`] | loops over strided and broadcast operands |
//! | [`math`], [`math64`] | exp, log, tanh … as polynomials, in single and double precision |
//! | [`elementwise`] | one, two and three operand maps, in-place updates |
//! | [`reduce`] | sums, extrema over axes |
//! | [`copy`] | gathering strided views into order |
//! | [`transpose`] | one tile of a transposed copy |
//! | [`indexed`] | elements and rows from and to places that indices name |
//! | [`mask`] | elements and places that a mask names |
//! | [`join`] | joining along an axis, surrounding with a margin |
//! | [`rows`] | kernels over the last axis: softmax and cross-entropy |
//! | [`scan`] | running sums and products |
//! | [`sort`], [`radix`] | ranking by integer keys |
//! | [`conv`] | convolutions and their gradients |
//! | `factor`, `faer_view` | factorisations of one matrix, matrices as faer's (features `linalg`, `faer`) |
//! | [`pooling`] | maximum and mean over windows |
//! | [`recurrent`] | recurrences over whole sequences, and back |
//! | [`normalize`] | statistics of columns and maps with them |
//! | [`word2vec`] | word vectors by negative sampling |
//! | [`gemm`] | the one entry for matrix products |
//! | [`gemv`] | products of one row, for [`gemm`] |
//! | [`dots`] | products of one column, for [`gemm`] |

pub(crate) mod buffer;
pub(crate) mod bytes;
pub(crate) mod compiled;
pub(crate) mod conv;
pub(crate) mod copy;
mod dots;
pub(crate) mod elementwise;
#[cfg(feature = "linalg")]
pub(crate) mod factor;
#[cfg(feature = "faer")]
pub(crate) mod faer_view;
pub(crate) mod gemm;
mod gemv;
pub(crate) mod indexed;
mod isa;
pub(crate) mod join;
pub(crate) mod lanes;
pub(crate) mod mask;
pub(crate) mod math;
pub(crate) mod math64;
pub(crate) mod nest;
pub(crate) mod normalize;
mod pool;
pub(crate) mod pooling;
mod radix;
pub(crate) mod recurrent;
pub(crate) mod reduce;
pub(crate) mod rows;
pub(crate) mod scan;
mod simd;
pub(crate) mod sort;
pub(crate) mod threads;
mod transpose;
pub(crate) mod word2vec;

pub use isa::{Isa, instruction_set};
pub(crate) use isa::{Kernel, dispatch};
pub use simd::Vector;
