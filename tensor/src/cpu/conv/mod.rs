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

use crate::Float;
use crate::window::Axis;

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

/// How many registers wide a kernel's tile is for so many columns, and how many tiles there are: all of one width, so
/// that little is left over.
fn widths<T: Float, S: crate::Isa>(columns: usize, most: usize) -> (usize, usize) {
    let registers = columns.div_ceil(<T::Vector<S> as crate::cpu::Vector<T>>::LANES);
    let tiles = registers.div_ceil(most).max(1);
    (registers.div_ceil(tiles).max(1), tiles)
}

/// `rows` rows of `width` elements with zeros after each up to `padded`; depthwise kernels and the filter's gradient
/// load whole registers of channels.
fn pad_rows<T: Float>(rows: &[T], width: usize, padded: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; rows.len() / width.max(1) * padded];
    for (to, from) in out.chunks_exact_mut(padded).zip(rows.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
    out
}
