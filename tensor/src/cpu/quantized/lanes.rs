//! A register of whole numbers and one of floats for each of the 16 rows of a panel, whatever registers the processor has.
//!
//! The product is written once, over [`Lanes`]. What it computes is the same for all of them to the bit: sums of integers are
//! exact, and each multiply-add of floats is rounded once, by a function where the processor has no instruction for it.

use half::f16;

use crate::cpu::halves;

use super::activations::{Block, FINE};
use super::panels::{QUAD, ROWS};
use super::product::Format;

/// The registers of an instruction set.
///
/// Values are made only inside functions that are compiled for the instruction set, and called where the processor has it.
pub(super) trait Lanes: Copy + 'static {
    /// A quad: four bytes of each row.
    type Quads: Copy;
    /// A sum of each row.
    type Sums: Copy;
    /// A float of each row.
    type Floats: Copy;
    /// What [`dot`](Self::dot) adds to each of the signed bytes that [`signed`](Self::signed) has made ready.
    const SIGNED_OFFSET: i32;

    fn load(bytes: &[u8; QUAD]) -> Self::Quads;
    /// `bytes << left >> right`, of which the bits of `mask` are kept; what crosses from one byte to the next is not among them.
    fn bits(bytes: Self::Quads, left: u32, right: u32, mask: u8) -> Self::Quads;
    fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads;
    /// Bytes of signed numbers, made ready for [`dot`](Self::dot).
    fn signed(bytes: Self::Quads) -> Self::Quads;
    fn start(all: i32) -> Self::Sums;
    /// Adds the products of four weights of each row with the four bytes of `x`, which are signed. `SIGNED` weights are such as
    /// [`signed`](Self::signed) made; others are from 0 to 63.
    fn dot<const SIGNED: bool>(sums: Self::Sums, weights: Self::Quads, x: u32) -> Self::Sums;
    /// `coarse << shift + fine`.
    fn twofold(coarse: Self::Sums, fine: Self::Sums, shift: u32) -> Self::Sums;
    /// The exact sum of the products of quads `FROM` to `TO` with coarse and fine bytes, put together, from word `start` of the block on.
    #[inline(always)]
    fn dots<F: Format, const FROM: usize, const TO: usize>(
        quads: &[Self::Quads; 8],
        x: &Block,
        start: usize,
    ) -> Self::Sums {
        quad_by_quad::<Self, F, FROM, TO>(quads, x, start)
    }
    fn floats(sums: Self::Sums) -> Self::Floats;

    fn splat(x: f32) -> Self::Floats;
    fn halves(bits: &[u8; 2 * ROWS]) -> Self::Floats;
    fn unsigned_bytes(bytes: &[u8; ROWS]) -> Self::Floats;
    fn signed_bytes(bytes: &[u8; ROWS]) -> Self::Floats;
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a b + c`, rounded once.
    fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    fn store(x: Self::Floats, out: &mut [f32; ROWS]);
    /// Asks for memory that will be read soon; it need not be ours.
    #[inline(always)]
    fn prefetch(_address: *const u8) {}
}

/// [`Lanes::dots`] of [`Lanes::dot`]s, each in 32 bits.
#[inline(always)]
pub(super) fn quad_by_quad<L: Lanes, F: Format, const FROM: usize, const TO: usize>(
    quads: &[L::Quads; 8],
    x: &Block,
    start: usize,
) -> L::Sums {
    let (mut coarse, mut fine) = (L::start(0), L::start(x[start] as i32));
    for quad in FROM..TO {
        coarse = dot::<L, F>(coarse, quads[quad], x[quad]);
        fine = dot::<L, F>(fine, quads[quad], x[FINE + quad]);
    }
    L::twofold(coarse, fine, F::SHIFT)
}

#[inline(always)]
fn dot<L: Lanes, F: Format>(sums: L::Sums, weights: L::Quads, x: u32) -> L::Sums {
    if F::SIGNED { L::dot::<true>(sums, weights, x) } else { L::dot::<false>(sums, weights, x) }
}

/// Arrays, for processors of no other kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Lanes for Portable {
    type Quads = [u8; QUAD];
    type Sums = [i32; ROWS];
    type Floats = [f32; ROWS];
    const SIGNED_OFFSET: i32 = 0;

    #[inline(always)]
    fn load(bytes: &[u8; QUAD]) -> Self::Quads {
        *bytes
    }
    #[inline(always)]
    fn bits(bytes: Self::Quads, left: u32, right: u32, mask: u8) -> Self::Quads {
        bytes.map(|byte| byte << left >> right & mask)
    }
    #[inline(always)]
    fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn signed(bytes: Self::Quads) -> Self::Quads {
        bytes
    }
    #[inline(always)]
    fn start(all: i32) -> Self::Sums {
        [all; ROWS]
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(sums: Self::Sums, weights: Self::Quads, x: u32) -> Self::Sums {
        let x = x.to_le_bytes().map(|x| i32::from(x as i8));
        // Weights of either kind are numbers that a signed byte holds.
        let weight = |row: usize, i: usize| i32::from(weights[4 * row + i] as i8);
        std::array::from_fn(|row| {
            sums[row]
                + weight(row, 0) * x[0]
                + weight(row, 1) * x[1]
                + weight(row, 2) * x[2]
                + weight(row, 3) * x[3]
        })
    }
    #[inline(always)]
    fn twofold(coarse: Self::Sums, fine: Self::Sums, shift: u32) -> Self::Sums {
        std::array::from_fn(|row| (coarse[row] << shift) + fine[row])
    }
    #[inline(always)]
    fn floats(sums: Self::Sums) -> Self::Floats {
        sums.map(|sum| sum as f32)
    }
    #[inline(always)]
    fn splat(x: f32) -> Self::Floats {
        [x; ROWS]
    }
    #[inline(always)]
    fn halves(bits: &[u8; 2 * ROWS]) -> Self::Floats {
        std::array::from_fn(|row| halves::from_f16(f16::from_le_bytes([bits[2 * row], bits[2 * row + 1]])))
    }
    #[inline(always)]
    fn unsigned_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        bytes.map(f32::from)
    }
    #[inline(always)]
    fn signed_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        bytes.map(|byte| f32::from(byte as i8))
    }
    #[inline(always)]
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        std::array::from_fn(|row| a[row] * b[row])
    }
    #[inline(always)]
    fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        std::array::from_fn(|row| a[row].mul_add(b[row], c[row]))
    }
    #[inline(always)]
    fn store(x: Self::Floats, out: &mut [f32; ROWS]) {
        *out = x;
    }
}
