//! Gram matrices: the normal equations of a least-squares problem, near the peak of the multiply-add units.

use pulp::{Arch, Simd, WithSimd};

use super::{PAD, chunk_rows};

/// Normal equations: adds `Zᵀ Z` to the upper triangle of `h` (row-major, size x size) and `Zᵀ t` to `b`, for `z` with rows
/// of `b.len()` floats, a multiple of [`PAD`]. Entries below the diagonal may be written too and mean nothing.
pub(crate) fn add_gram(z: &[f32], targets: &[f32], h: &mut [f32], b: &mut [f32]) {
    debug_assert!(b.len().is_multiple_of(PAD) && h.len() == b.len() * b.len());
    Arch::new().dispatch(Gram { z, targets, h, b });
}

struct Gram<'a> {
    z: &'a [f32],
    targets: &'a [f32],
    h: &'a mut [f32],
    b: &'a mut [f32],
}

impl WithSimd for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { z, targets, h, b } = self;
        let size = b.len();
        let rows = chunk_rows(size);
        for (z, targets) in z.chunks(rows * size).zip(targets.chunks(rows)) {
            let mut side = Some((targets, &mut *b));
            gram_chunk(simd, z, size, 0, size, 1.0, h, size, &mut side);
        }
    }
}

/// The right-hand side that goes along with a Gram matrix: a factor for each row, and the sum.
type Side<'a> = Option<(&'a [f32], &'a mut [f32])>;

/// `h += sign ZᵀZ` over columns `start..start + size` of a chunk; `h` has rows of `stride` floats. `side` gets its sum once.
///
/// In bands of [`PAD`] rows. What is right of the band's first vector goes in pairs of vectors; a last one by itself takes
/// the whole band at once, which has as many sums under way.
#[inline(always)]
pub(super) fn gram_chunk<S: Simd>(
    simd: S,
    chunk: &[f32],
    width: usize,
    start: usize,
    size: usize,
    sign: f32,
    h: &mut [f32],
    stride: usize,
    side: &mut Side<'_>,
) {
    let lanes = S::F32_LANES;
    for band in (0..size).step_by(PAD) {
        let mut column = band;
        let mut place = Place { width, start, row: band, column, sign, stride };
        while column + 2 * lanes <= size {
            place.column = column;
            place.row = band;
            if band == 0 && side.is_some() {
                gram_tile::<S, 8, 2, true>(simd, chunk, &place, h, side);
            } else {
                gram_tile::<S, 8, 2, false>(simd, chunk, &place, h, side);
            }
            place.row = band + 8;
            gram_tile::<S, 8, 2, false>(simd, chunk, &place, h, side);
            column += 2 * lanes;
        }
        place.row = band;
        while column < size {
            place.column = column;
            if band == 0 && side.is_some() {
                gram_tile::<S, PAD, 1, true>(simd, chunk, &place, h, side);
            } else {
                gram_tile::<S, PAD, 1, false>(simd, chunk, &place, h, side);
            }
            column += lanes;
        }
    }
}

/// Where a tile lies: rows of `width` floats in z, of `stride` in h.
struct Place {
    width: usize,
    start: usize,
    row: usize,
    column: usize,
    sign: f32,
    stride: usize,
}

/// One tile of R rows x N vectors, kept in registers over the chunk; with SIDE also the right-hand side of its columns.
#[inline(always)]
fn gram_tile<S: Simd, const R: usize, const N: usize, const SIDE: bool>(
    simd: S,
    chunk: &[f32],
    place: &Place,
    h: &mut [f32],
    side: &mut Side<'_>,
) {
    let &Place { width, start, row, column, sign, stride } = place;
    let lanes = S::F32_LANES;
    let zero = simd.splat_f32s(0.0);
    let (mut sum, mut side_sum) = ([[zero; N]; R], [zero; N]);
    let factors: &[f32] = match side {
        Some((factors, _)) if SIDE => &factors[..chunk.len() / width],
        _ => &[],
    };
    for (n, z) in chunk.chunks_exact(width).enumerate() {
        let left: &[f32; R] = z[start + row..start + row + R].try_into().expect("a tile's rows");
        let (right, _) = S::as_simd_f32s(&z[start + column..start + column + N * lanes]);
        let right: &[S::f32s; N] = right.try_into().expect("a tile's columns");
        for i in 0..R {
            let factor = simd.splat_f32s(left[i]);
            for j in 0..N {
                sum[i][j] = simd.mul_add_f32s(factor, right[j], sum[i][j]);
            }
        }
        if SIDE {
            let factor = simd.splat_f32s(factors[n]);
            for j in 0..N {
                side_sum[j] = simd.mul_add_f32s(factor, right[j], side_sum[j]);
            }
        }
    }
    let sign = simd.splat_f32s(sign);
    for i in 0..R {
        let at = (row + i) * stride + column;
        let (out, _) = S::as_mut_simd_f32s(&mut h[at..at + N * lanes]);
        for j in 0..N {
            out[j] = simd.mul_add_f32s(sign, sum[i][j], out[j]);
        }
    }
    if let (true, Some((_, out))) = (SIDE, side) {
        let (out, _) = S::as_mut_simd_f32s(&mut out[column..column + N * lanes]);
        for j in 0..N {
            out[j] = simd.add_f32s(out[j], side_sum[j]);
        }
    }
}
