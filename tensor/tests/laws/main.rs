//! Every operation against a naive reference over random shapes, strides and broadcasts, and the laws between them.
//!
//! [`naive`] holds the reference: an array that is a shape and a function of the multi-index, too simple to be wrong.
//!
//! What depends on the state of the whole process, its helper threads and the counters of its memory, has a program of its own
//! each.

mod any_type;
mod attention;
mod conv;
mod create;
mod display;
mod einsum;
mod elementwise;
mod errors;
mod files;
mod front_page;
mod gated;
mod index;
#[cfg(all(feature = "ndarray", feature = "faer"))]
mod interchange;
#[cfg(target_arch = "x86_64")]
mod isa;
mod join;
mod kernel;
mod large;
mod layout;
#[cfg(feature = "linalg")]
mod linalg;
mod linear;
mod linear_cross_entropy;
mod matmul;
mod naive;
mod negative_sampling;
mod norm;
mod pool;
mod quantized;
mod reduce;
mod resize;
mod rotary;
mod rounding;
mod scan;
mod slice;
mod softmax;
mod sort;
mod update;
