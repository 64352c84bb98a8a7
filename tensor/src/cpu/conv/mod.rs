//! Convolution without im2col: two kernels that read images where they lie.
//!
//! With the channels last, what one tap of one output pixel reads is a run of numbers, and several taps of a row of the
//! filter are one longer run. So a convolution is a matrix product whose left rows are scattered: instead of copying
//! them together (im2col writes and reads each pixel as often as the filter has taps), the kernels take a pointer to
//! each pixel of a register tile.
//!
//! - [`gathered`]: the convolution, and with the roles of images and windows exchanged the gradient of its input (and
//!   so the transposed convolution). Border pixels whose filters stick out of the image are grouped by the taps they
//!   have left: nothing is padded, no product with zero is computed, whatever stride and dilation.
//! - [`filters`]: the gradient of the filter, a sum over pixels kept in registers.
//!
//! Each has a second form in which channels do not mix (depthwise), the same loops with one operand loaded instead of
//! repeated. Sums run in the same order whatever the number of threads and the size of tiles: results are the same bits.
//!
//! Layouts: images `[batch, height, width, channels]`; filters `[height, width, channels / groups, outputs]`, where group
//! `g` makes outputs `g * outputs / groups` on from channels `g * channels / groups` on.

mod filters;
mod gathered;
mod tile;

use std::marker::PhantomData;

use crate::cpu::buffer::Buffer;
use crate::cpu::{Isa, Kernel, Vector, threads};
use crate::ops::conv::window::Axis;
use crate::{Float, Result};

pub(crate) use filters::filter_gradient;
pub(crate) use gathered::{convolve, input_gradient};

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) rows: Axis,
    pub(crate) columns: Axis,
    /// Channels of the image.
    pub(crate) channels: usize,
    /// Channels of the output.
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
}

impl Geometry {
    /// Whether every channel has an output of its own.
    fn depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.channels && self.groups == self.outputs
    }

    fn image_len(&self) -> usize {
        self.rows.input * self.columns.input * self.channels
    }

    fn output_len(&self) -> usize {
        self.rows.output * self.columns.output * self.outputs
    }

    fn taps(&self) -> usize {
        self.rows.kernel * self.columns.kernel
    }
}

/// How the columns of a product are cut into panels of whole registers on the machine at hand: all of one width, so that
/// little is filler.
#[derive(Debug, Clone, Copy)]
struct Panels {
    /// Registers in a panel's row.
    registers: usize,
    /// Elements in a panel's row.
    row: usize,
    /// Panels beside each other, for one group.
    count: usize,
    /// Registers that the processor has.
    all: usize,
}

/// Chooses panels for `columns` columns, at most `widest` registers wide with 32 registers and with 16.
struct Choose<T> {
    columns: usize,
    widest: [usize; 2],
    element: PhantomData<T>,
}

impl<T> Choose<T> {
    fn new(columns: usize, widest: [usize; 2]) -> Self {
        Choose { columns, widest, element: PhantomData }
    }
}

impl<T: Float> Kernel for Choose<T> {
    type Output = Panels;
    #[inline(always)]
    fn run<S: Isa>(self) -> Panels {
        let lanes = T::Vector::<S>::LANES;
        let widest = if S::REGISTERS >= 32 { self.widest[0] } else { self.widest[1] };
        let registers = self.columns.div_ceil(lanes);
        let count = registers.div_ceil(widest).max(1);
        let registers = registers.div_ceil(count).max(1);
        Panels { registers, row: registers * lanes, count, all: S::REGISTERS }
    }
}

/// `rows` with zeros after every `width` elements up to `padded`, if that is more: whole registers are loaded.
fn pad_rows<T: Float>(rows: &[T], width: usize, padded: usize) -> Result<Option<Buffer<T>>> {
    if width == padded || width == 0 {
        return Ok(None);
    }
    let mut out = Buffer::zeroed("conv2d", (rows.len() / width).saturating_mul(padded))?;
    threads::split_units(&mut out, padded, padded, |first, out| {
        let rows = rows[first * width..].chunks_exact(width);
        out.chunks_exact_mut(padded).zip(rows).for_each(|(to, from)| to[..width].copy_from_slice(from));
        false
    });
    Ok(Some(out))
}
