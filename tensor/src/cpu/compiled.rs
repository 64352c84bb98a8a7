//! Kernels that are compiled with this crate, once for each element type.
//!
//! A generic function is compiled in every crate that uses it. For the largest kernels, written out for each instruction set,
//! register tile and kind of cell, that is most of what there is to compile, again and again, and with the options of those
//! crates. A table of pointers in a `static` belongs to this crate, and so does what it points to.

use super::conv::{self, Geometry};
use super::gemm::{self, Mat};
use super::pooling::{self, Reduce, Spread, Windows};
use super::recurrent::{self, Gradients, Operands, Saved};
use crate::{Float, Recurrence, Result};

/// The kernels of one element type; each field is the function of that name in its module.
#[doc(hidden)]
#[derive(Debug)]
#[expect(clippy::type_complexity)] // the functions' own signatures, which a name for each would only hide
pub struct Kernels<T: 'static> {
    convolve: fn(&Geometry, &[T], &[T], Option<&[T]>, bool, &mut [T]) -> Result<()>,
    input_gradient: fn(&Geometry, &[T], &[T], &mut [T]) -> Result<()>,
    filter_gradient: fn(&Geometry, &[T], &[T], &mut [T]) -> Result<()>,
    pool: fn(&Windows, Reduce<'_, T>, &[T], &mut [T]),
    pool_gradient: fn(&Windows, Spread<'_, T>, &[T], &mut [T]),
    recur: fn(Recurrence, &recurrent::Geometry, &Operands<'_, T>, Saved<'_, T>, &mut [T]) -> Result<()>,
    recur_back: Back<T>,
    gemm: fn((usize, usize, usize), Mat<'_, T>, Mat<'_, T>, &mut [T], bool),
}

type Back<T> =
    fn(Recurrence, &recurrent::Geometry, &Operands<'_, T>, &[&[T]; 3], &[T], Gradients<'_, T>) -> Result<()>;

impl<T: Float> Kernels<T> {
    const fn new() -> Self {
        Kernels {
            convolve: conv::convolve,
            input_gradient: conv::input_gradient,
            filter_gradient: conv::filter_gradient,
            pool: pooling::pool,
            pool_gradient: pooling::pool_gradient,
            recur: recurrent::forward,
            recur_back: recurrent::backward,
            gemm: gemm::gemm,
        }
    }
}

pub(crate) static F32: Kernels<f32> = Kernels::new();
pub(crate) static F64: Kernels<f64> = Kernels::new();

/// See [`conv::convolve`].
pub(crate) fn convolve<T: Float>(
    geometry: &Geometry,
    source: &[T],
    filter: &[T],
    bias: Option<&[T]>,
    relu: bool,
    out: &mut [T],
) -> Result<()> {
    (T::kernels().convolve)(geometry, source, filter, bias, relu, out)
}

/// See [`conv::input_gradient`].
pub(crate) fn input_gradient<T: Float>(
    g: &Geometry,
    gradient: &[T],
    filter: &[T],
    out: &mut [T],
) -> Result<()> {
    (T::kernels().input_gradient)(g, gradient, filter, out)
}

/// See [`conv::filter_gradient`].
pub(crate) fn filter_gradient<T: Float>(
    g: &Geometry,
    image: &[T],
    gradient: &[T],
    out: &mut [T],
) -> Result<()> {
    (T::kernels().filter_gradient)(g, image, gradient, out)
}

/// See [`pooling::pool`].
pub(crate) fn pool<T: Float>(windows: &Windows, reduce: Reduce<'_, T>, x: &[T], out: &mut [T]) {
    (T::kernels().pool)(windows, reduce, x, out);
}

/// See [`pooling::pool_gradient`].
pub(crate) fn pool_gradient<T: Float>(
    windows: &Windows,
    spread: Spread<'_, T>,
    gradient: &[T],
    out: &mut [T],
) {
    (T::kernels().pool_gradient)(windows, spread, gradient, out);
}

/// See [`recurrent::forward`].
pub(crate) fn recur<T: Float>(
    kind: Recurrence,
    geometry: &recurrent::Geometry,
    operands: &Operands<'_, T>,
    saved: Saved<'_, T>,
    out: &mut [T],
) -> Result<()> {
    (T::kernels().recur)(kind, geometry, operands, saved, out)
}

/// See [`recurrent::backward`].
pub(crate) fn recur_back<T: Float>(
    kind: Recurrence,
    geometry: &recurrent::Geometry,
    operands: &Operands<'_, T>,
    saved: &[&[T]; 3],
    gradient: &[T],
    wanted: Gradients<'_, T>,
) -> Result<()> {
    (T::kernels().recur_back)(kind, geometry, operands, saved, gradient, wanted)
}

/// See [`gemm::gemm`].
pub(crate) fn gemm<T: Float>(
    sizes: (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) {
    (T::kernels().gemm)(sizes, a, b, out, accumulate);
}
