//! The operations compiled with this crate, once for each element type.
//!
//! A generic function is compiled in every crate that uses it, and all operations with their derivatives, and the kernels below
//! them, hang on one: each program that calls a single method of [`Var`](crate::Var) would compile them all again. A pointer in a
//! `static` belongs to this crate, and so does what it points to.

use std::any::Any;

use cairn_tensor::Float;

use crate::Result;
use crate::op::{Op, Operand, Ran, Wanted};

/// See [`Op::run`].
type Run<T> = fn(&Op, &[Operand<'_, T>], Wanted<'_>) -> Result<Ran<T>>;

/// Named by its element type, so that it can be asked for by that.
struct Compiled<T: Float>(Run<T>);

static F32: Compiled<f32> = Compiled(Op::run_as);
static F64: Compiled<f64> = Compiled(Op::run_as);

/// What runs operations on tensors of `T`.
pub(crate) fn run<T: Float>() -> Run<T> {
    let all: [&dyn Any; 2] = [&F32, &F64];
    let found = all.into_iter().find_map(<dyn Any>::downcast_ref::<Compiled<T>>);
    found.expect("Float is a sealed trait of two types").0
}
