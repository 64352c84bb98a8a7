//! The register tile of [`gathered`](super::gathered): the sums of a few pixels times a few registers of outputs.
//!
//! For each number read, one load from every pixel is repeated across a register and multiplied with the filter's
//! registers. The tile's shape keeps all sums in registers and loads below the multiply-adds: 6 x 4, 8 x 3, 12 x 2 with 32
//! registers, 6 x 2 with 16. The order of summation is that of the runs, whatever the tile.

use crate::Float;
use crate::cpu::{Isa, Vector};

/// The widest panel in registers, with 32 registers and with 16.
pub(super) const WIDEST: [usize; 2] = [4, 2];

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
/// For every pixel and run, `source` holds the elements `from + shift .. from + shift + len` (depthwise: as many
/// registers as the panel is wide from `from + shift` on), and `out` holds `to .. to + columns`. The panel holds `row + len` rows for
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

/// Elements of the largest tile: 24 registers of 16.
const EDGE: usize = 24 * 16;

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
    // Missing pixels repeat the last one.
    let mut tile_pixels = [pixels[pixels.len() - 1]; P];
    tile_pixels[..pixels.len()].copy_from_slice(pixels);
    let mut starts = [source.as_ptr(); P];
    for p in 0..P {
        starts[p] = starts[p].wrapping_add(tile_pixels[p].from);
    }
    // Rows of the output; narrow ones go through `edge`, so that the loops over the tile stay short enough to be unrolled,
    // which is what keeps the tile in registers.
    let (width, whole) = (N * lanes, panel.columns == N * lanes);
    let mut edge = [T::ZERO; EDGE];
    let (out_start, edge_start) = (out.as_mut_ptr(), edge.as_mut_ptr());
    let mut rows = [edge_start; P];
    for p in 0..P {
        assert!(tile_pixels[p].to + panel.columns <= out.len(), "a convolution writes outside its output");
        rows[p] = if whole {
            out_start.wrapping_add(tile_pixels[p].to)
        } else {
            edge_start.wrapping_add(p * width)
        };
    }
    let copy = |p: usize, into: bool| {
        let (row, edge) = (out_start.wrapping_add(tile_pixels[p].to), edge_start.wrapping_add(p * width));
        let (from, to) = if into { (row, edge) } else { (edge, row) };
        // SAFETY: the output's row has been checked above, the tile's is within `edge`; they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to, panel.columns) };
    };
    let mut tile = [[T::Vector::<S>::splat(T::ZERO); N]; P];
    let Finish { accumulate, bias, relu } = panel.finish;
    if accumulate {
        if !whole {
            (0..P).for_each(|p| copy(p, true));
        }
        for p in 0..P {
            for j in 0..N {
                // SAFETY: `rows` point to N registers, in the output or in `edge`.
                tile[p][j] = unsafe { T::Vector::<S>::read(rows[p].add(j * lanes)) };
            }
        }
    } else if let Some(bias) = bias {
        let bias = &bias[..N * lanes];
        for j in 0..N {
            // SAFETY: the length has just been checked.
            let bias = unsafe { T::Vector::<S>::read(bias.as_ptr().add(j * lanes)) };
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
                    w[j] = T::Vector::<S>::read(weights.add(j * lanes));
                }
                for p in 0..P {
                    if DEPTHWISE {
                        for j in 0..N {
                            let x = T::Vector::<S>::read(from[p].add(k + j * lanes));
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
    for p in 0..P {
        for j in 0..N {
            let sum = if relu { tile[p][j].relu() } else { tile[p][j] };
            // SAFETY: `rows` point to N registers, in the output or in `edge`. A repeated pixel gets the same sums again.
            unsafe { sum.write(rows[p].add(j * lanes)) };
        }
    }
    if !whole {
        (0..pixels.len()).for_each(|p| copy(p, false));
    }
}
