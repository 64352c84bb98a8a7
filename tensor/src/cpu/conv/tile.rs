//! The register tile of [`gathered`](super::gathered): the sums of a few pixels times a few registers of outputs.
//!
//! For each number read, one load from every pixel is repeated across a register and multiplied with the filter's
//! registers. The tile's shape keeps all sums in registers and loads below the multiply-adds: 6 x 4, 8 x 3, 12 x 2 with 32
//! registers, 6 x 2 with 16. The order of summation is that of the runs, whatever the tile.

use crate::Float;
use crate::cpu::{Isa, Vector};

/// Consecutive elements that every pixel of a class reads: from `shift` elements after the pixel's start; the filter's
/// rows for them start at `row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) shift: isize,
    pub(super) len: usize,
    pub(super) row: usize,
}

/// Where a pixel is read and where it is written, in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixel {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// What happens to sums before they are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish<'a, T> {
    /// Sums start from what is there, else from `bias`.
    pub(super) accumulate: bool,
    /// One value for each column of the panel, or nothing for zeros.
    pub(super) bias: Option<&'a [T]>,
    pub(super) relu: bool,
}

/// A strip of columns of the filter with what its sums go through.
pub(super) struct Panel<'a, T> {
    /// `[rows][N registers]`
    pub(super) weights: &'a [T],
    pub(super) runs: &'a [Run],
    pub(super) finish: Finish<'a, T>,
    /// Columns to be written; the panel's others are filler.
    pub(super) columns: usize,
}

/// Sums for all `pixels`. With `DEPTHWISE`, column `c` of the panel meets only element `c` after the pixel's start.
///
/// # Safety
/// For every pixel and run, `source` holds the elements `from + shift .. from + shift + len` (depthwise: so many registers
/// as the panel is wide from `from + shift` on), and `out` holds `to .. to + columns`. The panel holds `row + len` rows for
/// each run.
#[inline(always)]
pub(super) unsafe fn sums<T: Float, S: Isa, const N: usize, const DEPTHWISE: bool>(
    source: &[T],
    panel: &Panel<'_, T>,
    pixels: &[Pixel],
    out: &mut [T],
) {
    macro_rules! tiles {
        ($large:literal, $middle:literal, $small:literal) => {{
            let mut rest = pixels;
            while rest.len() > $middle {
                let (tile, after) = rest.split_at(rest.len().min($large));
                // SAFETY: as the caller promises.
                unsafe { tile_sums::<T, S, $large, N, DEPTHWISE>(source, panel, tile, out) };
                rest = after;
            }
            while rest.len() > $small {
                let (tile, after) = rest.split_at(rest.len().min($middle));
                // SAFETY: as the caller promises.
                unsafe { tile_sums::<T, S, $middle, N, DEPTHWISE>(source, panel, tile, out) };
                rest = after;
            }
            if !rest.is_empty() {
                // SAFETY: as the caller promises.
                unsafe { tile_sums::<T, S, $small, N, DEPTHWISE>(source, panel, rest, out) };
            }
        }};
    }
    match (S::REGISTERS >= 32, N) {
        (true, 4) => tiles!(6, 4, 2),
        (true, 3) => tiles!(8, 4, 2),
        (true, 2) => tiles!(12, 6, 3),
        (false, 2) => tiles!(6, 4, 2),
        _ => tiles!(12, 6, 2),
    }
}

/// The widest panel, in registers.
pub(super) fn widest<S: Isa>() -> usize {
    if S::REGISTERS >= 32 { 4 } else { 2 }
}

/// Sums of at most `P` pixels.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
unsafe fn tile_sums<T: Float, S: Isa, const P: usize, const N: usize, const DEPTHWISE: bool>(
    source: &[T],
    panel: &Panel<'_, T>,
    pixels: &[Pixel],
    out: &mut [T],
) {
    let lanes = T::Vector::<S>::LANES;
    // Missing pixels repeat the last one; their sums are not written.
    let mut tile_pixels = [pixels[pixels.len() - 1]; P];
    tile_pixels[..pixels.len()].copy_from_slice(pixels);
    let mut starts = [source.as_ptr(); P];
    for p in 0..P {
        starts[p] = starts[p].wrapping_add(tile_pixels[p].from);
    }
    let mut tile = [[T::Vector::<S>::splat(T::ZERO); N]; P];
    let Finish { accumulate, bias, relu } = panel.finish;
    if accumulate {
        for p in 0..P {
            let row = &out[tile_pixels[p].to..][..panel.columns];
            for j in 0..N {
                tile[p][j] = read_part::<T, S>(&row[(j * lanes).min(row.len())..]);
            }
        }
    } else if let Some(bias) = bias {
        for j in 0..N {
            let bias = &bias[j * lanes..(j + 1) * lanes];
            // SAFETY: a whole register of them.
            let bias = unsafe { T::Vector::<S>::load(bias.as_ptr()) };
            for p in 0..P {
                tile[p][j] = bias;
            }
        }
    }
    for run in panel.runs {
        let mut weights = panel.weights.as_ptr().wrapping_add(run.row * N * lanes);
        let mut from = starts;
        for p in 0..P {
            from[p] = from[p].wrapping_offset(run.shift);
        }
        for k in 0..run.len {
            // SAFETY: the caller promises `row + len` rows of N registers, and `len` elements for each pixel (whole
            // registers of channels in the depthwise form).
            unsafe {
                let mut w = [T::Vector::<S>::splat(T::ZERO); N];
                for j in 0..N {
                    w[j] = T::Vector::<S>::load(weights.add(j * lanes));
                }
                for p in 0..P {
                    if DEPTHWISE {
                        for j in 0..N {
                            let x = T::Vector::<S>::load(from[p].add(k + j * lanes));
                            tile[p][j] = x.mul_add(w[j], tile[p][j]);
                        }
                    } else {
                        let x = T::Vector::<S>::splat(*from[p].add(k));
                        for j in 0..N {
                            tile[p][j] = x.mul_add(w[j], tile[p][j]);
                        }
                    }
                }
            }
            weights = weights.wrapping_add(N * lanes);
        }
    }
    for (row, pixel) in tile.iter().zip(pixels) {
        let out = &mut out[pixel.to..pixel.to + panel.columns];
        for j in 0..N {
            let sum = if relu { row[j].relu() } else { row[j] };
            let start = (j * lanes).min(out.len());
            write_part::<T, S>(sum, &mut out[start..]);
        }
    }
}

/// A register from the start of a slice, with zeros beyond its end.
#[inline(always)]
fn read_part<T: Float, S: Isa>(from: &[T]) -> T::Vector<S> {
    let lanes = T::Vector::<S>::LANES;
    if from.len() >= lanes {
        // SAFETY: a whole register lies within the slice.
        unsafe { T::Vector::<S>::load(from.as_ptr()) }
    } else {
        let mut part = [T::ZERO; 16];
        part[..from.len()].copy_from_slice(from);
        // SAFETY: no register has more than 16 lanes.
        unsafe { T::Vector::<S>::load(part.as_ptr()) }
    }
}

/// Writes a register to the start of a slice, as far as it goes.
#[inline(always)]
fn write_part<T: Float, S: Isa>(sum: T::Vector<S>, to: &mut [T]) {
    let lanes = T::Vector::<S>::LANES;
    if to.len() >= lanes {
        // SAFETY: a whole register lies within the slice.
        unsafe { sum.store(to.as_mut_ptr()) };
    } else {
        let mut part = [T::ZERO; 16];
        // SAFETY: no register has more than 16 lanes.
        unsafe { sum.store(part.as_mut_ptr()) };
        to.copy_from_slice(&part[..to.len()]);
    }
}
