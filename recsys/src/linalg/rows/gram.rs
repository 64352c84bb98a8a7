//! Gram matrices: the normal equations of a least-squares problem, near the peak of the multiply-add units.

use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch};

use super::{PAD, Register, chunk_rows};

/// Normal equations: adds `Zᵀ Z` to the upper triangle of `h` (row-major, size x size) and `Zᵀ t` to `b`, for `z` with rows
/// of `b.len()` floats, a multiple of [`PAD`]. Entries below the diagonal may be written too and mean nothing.
pub(crate) fn add_gram(z: &[f32], targets: &[f32], h: &mut [f32], b: &mut [f32]) {
    debug_assert!(b.len().is_multiple_of(PAD) && h.len() == b.len() * b.len());
    dispatch(Gram { z, targets, h, b });
}

struct Gram<'a> {
    z: &'a [f32],
    targets: &'a [f32],
    h: &'a mut [f32],
    b: &'a mut [f32],
}

impl Kernel for Gram<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let Self { z, targets, h, b } = self;
        let size = b.len();
        let rows = chunk_rows(size);
        for (z, targets) in z.chunks(rows * size).zip(targets.chunks(rows)) {
            let mut side = Some((targets, &mut *b));
            gram_chunk::<S>(z, size, 0, size, 1.0, h, size, &mut side);
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
pub(super) fn gram_chunk<S: Isa>(
    chunk: &[f32],
    width: usize,
    start: usize,
    size: usize,
    sign: f32,
    h: &mut [f32],
    stride: usize,
    side: &mut Side<'_>,
) {
    let lanes = Register::<S>::LANES;
    for band in (0..size).step_by(PAD) {
        let mut column = band;
        let mut tile = Tile { width, start, row: band, column, sign, stride };
        while column + 2 * lanes <= size {
            tile.column = column;
            tile.row = band;
            if band == 0 && side.is_some() {
                gram_tile::<S, 8, 2, true>(chunk, &tile, h, side);
            } else {
                gram_tile::<S, 8, 2, false>(chunk, &tile, h, side);
            }
            tile.row = band + 8;
            gram_tile::<S, 8, 2, false>(chunk, &tile, h, side);
            column += 2 * lanes;
        }
        tile.row = band;
        while column < size {
            tile.column = column;
            if band == 0 && side.is_some() {
                gram_tile::<S, PAD, 1, true>(chunk, &tile, h, side);
            } else {
                gram_tile::<S, PAD, 1, false>(chunk, &tile, h, side);
            }
            column += lanes;
        }
    }
}

/// Where a tile lies: rows of `width` floats in z, of `stride` in h.
struct Tile {
    width: usize,
    start: usize,
    row: usize,
    column: usize,
    sign: f32,
    stride: usize,
}

/// One tile of R rows x N vectors, kept in registers over the chunk; with SIDE also the right-hand side of its columns.
#[inline(always)]
fn gram_tile<S: Isa, const R: usize, const N: usize, const SIDE: bool>(
    chunk: &[f32],
    tile: &Tile,
    h: &mut [f32],
    side: &mut Side<'_>,
) {
    let &Tile { width, start, row, column, sign, stride } = tile;
    let lanes = Register::<S>::LANES;
    let zero = Register::<S>::splat(0.0);
    let (mut sum, mut side_sum) = ([[zero; N]; R], [zero; N]);
    let factors: &[f32] = match side {
        Some((factors, _)) if SIDE => &factors[..chunk.len() / width],
        _ => &[],
    };
    for (n, z) in chunk.chunks_exact(width).enumerate() {
        let left: &[f32; R] = z[start + row..start + row + R].try_into().expect("a tile's rows");
        let (columns, _) = Register::<S>::chunks(&z[start + column..start + column + N * lanes]);
        let mut right = [zero; N];
        for (right, column) in right.iter_mut().zip(columns) {
            *right = Register::<S>::load(column);
        }
        for i in 0..R {
            let factor = Register::<S>::splat(left[i]);
            for j in 0..N {
                sum[i][j] = factor.mul_add(right[j], sum[i][j]);
            }
        }
        if SIDE {
            let factor = Register::<S>::splat(factors[n]);
            for j in 0..N {
                side_sum[j] = factor.mul_add(right[j], side_sum[j]);
            }
        }
    }
    let sign = Register::<S>::splat(sign);
    for i in 0..R {
        let at = (row + i) * stride + column;
        let (out, _) = Register::<S>::chunks_mut(&mut h[at..at + N * lanes]);
        for j in 0..N {
            sign.mul_add(sum[i][j], Register::<S>::load(&out[j])).store(&mut out[j]);
        }
    }
    if let (true, Some((_, out))) = (SIDE, side) {
        let (out, _) = Register::<S>::chunks_mut(&mut out[column..column + N * lanes]);
        for j in 0..N {
            Register::<S>::load(&out[j]).add(side_sum[j]).store(&mut out[j]);
        }
    }
}
