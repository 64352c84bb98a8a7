//! Kernels that are compiled with this crate, once for each element type.
//!
//! A generic function is compiled in every crate that uses it. For the largest kernels, written out for each instruction set,
//! register tile and kind of cell, that is most of what there is to compile, again and again, and with the options of those
//! crates. A table of pointers in a `static` belongs to this crate, and so does what it points to.

use super::attention::{self, Job};
use super::conv::{self, Geometry};
use super::matmul::{self, Mat};
use super::pool::{self, Reduce, Spread, Windows};
use super::recurrent::{self, Gradients, Operands, Saved};
use crate::{Float, Recurrence, Result};

/// The kernels of one element type: functions of [`conv`], [`pool`], [`recurrent`], [`attention`] and [`gemm`], as `new` says.
#[doc(hidden)]
#[derive(Debug)]
#[expect(clippy::type_complexity)] // the functions' own signatures, which a name for each would only hide
pub struct Kernels<T: 'static> {
    pub(crate) convolve: fn(&Geometry, &[T], &[T], Option<&[T]>, bool, &mut [T]) -> Result<()>,
    pub(crate) input_gradient: fn(&Geometry, &[T], &[T], &mut [T]) -> Result<()>,
    pub(crate) filter_gradient: fn(&Geometry, &[T], &[T], &mut [T]) -> Result<()>,
    pub(crate) pool: fn(&Windows, Reduce<'_, T>, &[T], &mut [T]),
    pub(crate) pool_gradient: fn(&Windows, Spread<'_, T>, &[T], &mut [T]),
    pub(crate) recur:
        fn(Recurrence, &recurrent::Geometry, &Operands<'_, T>, Saved<'_, T>, &mut [T]) -> Result<()>,
    pub(crate) recur_backward: Back<T>,
    pub(crate) attend: fn(&Job<'_, T>, &mut [T], &mut [T]) -> Result<()>,
    pub(crate) attend_backward:
        fn(&Job<'_, T>, attention::Returned<'_, T>, attention::Gradients<'_, T>) -> Result<()>,
    pub(crate) attend_bias: fn(&Job<'_, T>, attention::Returned<'_, T>, [usize; 4], &mut [T]) -> Result<()>,
    pub(crate) gemm: fn((usize, usize, usize), Mat<'_, T>, Mat<'_, T>, &mut [T], bool),
    pub(crate) linear: fn((usize, usize, usize), Mat<'_, T>, Mat<'_, T>, (Option<&[T]>, bool), &mut [T]),
    pub(crate) with_column_sums:
        fn((usize, usize, usize), Mat<'_, T>, Mat<'_, T>, &mut [T], &mut [T]) -> bool,
    pub(crate) quick_row: fn(&[T], Mat<'_, T>, &mut [T], bool),
}

type Back<T> =
    fn(Recurrence, &recurrent::Geometry, &Operands<'_, T>, &[&[T]; 3], &[T], Gradients<'_, T>) -> Result<()>;

impl<T: Float> Kernels<T> {
    const fn new() -> Self {
        Kernels {
            convolve: conv::convolve,
            input_gradient: conv::input_gradient,
            filter_gradient: conv::filter_gradient,
            pool: pool::pool,
            pool_gradient: pool::pool_gradient,
            recur: recurrent::forward,
            recur_backward: recurrent::backward,
            attend: attention::forward,
            attend_backward: attention::backward,
            attend_bias: attention::bias_gradient,
            gemm: matmul::gemm,
            linear: matmul::linear,
            with_column_sums: matmul::with_column_sums,
            quick_row: matmul::quick_row,
        }
    }
}

pub(crate) static F32: Kernels<f32> = Kernels::new();
pub(crate) static F64: Kernels<f64> = Kernels::new();
