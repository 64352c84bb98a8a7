//! Products of activations with panels of quantised weights: one source for every format and instruction set.
//!
//! A tile is some rows of activations times the 16 rows of weights of a panel. Of each block the quants are taken apart once, into 8
//! registers, and multiplied with the activations of each row of the tile: an exact integer sum for each of the 16 × rows
//! results, coarse and fine bytes put together, to which the scales are applied in single precision, block after block in order. So the bits of a result depend
//! on its own row and weights alone: not on the rows beside it, the threads, or the instruction set.

use crate::BlockFormat;

use super::activations::{Block, Form, Rows, SCALE, START, SUM, tiles};
use super::blocks::Small;
use super::lanes::Lanes;
use super::panels::{self, QUAD, ROWS};

/// The quants of 32 weights of each row, and what they are multiplied by.
pub(super) struct Part<L: Lanes> {
    pub(super) quads: [L::Quads; 8],
    pub(super) scale: L::Floats,
    /// The minima, or the scales of the second half of the weights.
    pub(super) second: L::Floats,
}

/// How a format's units are read.
pub(super) trait Format {
    const FORMAT: BlockFormat;
    const SMALL: Option<Small> = Small::of(Self::FORMAT);
    const UNIT: usize = panels::unit_bytes(Self::FORMAT);
    /// Parts of 32 weights in a unit.
    const PARTS: usize = Self::FORMAT.weights() / 32;
    /// Whether a minimum is added.
    const MINIMA: bool = !Self::HALVES && !matches!(Self::SMALL, Some(Small { halves: 1, .. }));
    /// Whether either half of 32 weights has a scale.
    const HALVES: bool = matches!(Self::FORMAT, BlockFormat::Q6K);
    const SIGNED: bool = matches!(Self::FORMAT, BlockFormat::Q8_0);
    /// The greatest weight, as bytes are multiplied.
    const GREATEST: usize = match Self::FORMAT {
        BlockFormat::Q8_0 => 128,
        BlockFormat::Q6K => 63,
        BlockFormat::Q5_0 | BlockFormat::Q5_1 | BlockFormat::Q5K => 31,
        BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q4K => 15,
    };
    /// Bits of the fine bytes of activations; weights of four or five bits times their number of steps are bytes still.
    const SHIFT: u32 =
        if matches!(Self::FORMAT, BlockFormat::Q5_0 | BlockFormat::Q5_1 | BlockFormat::Q5K) { 2 } else { 3 };
}

macro_rules! formats {
    ($($format:ident),*) => {
        $(
            pub(super) struct $format;
            impl Format for $format {
                const FORMAT: BlockFormat = BlockFormat::$format;
            }
        )*

        /// A call with the type that stands for a format.
        macro_rules! with_format {
            ($of:expr, $F:ident => $value:expr) => {
                match $of {
                    $(BlockFormat::$format => {
                        type $F = super::product::$format;
                        $value
                    })*
                }
            };
        }
        pub(super) use with_format;
    };
}
formats!(Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K, Q6K);

/// The activations of a format's products.
pub(super) fn form<L: Lanes, F: Format>() -> Form {
    let offset = match F::SMALL {
        Some(_) if F::SIGNED => L::SIGNED_OFFSET,
        Some(small) => small.offset,
        None if F::HALVES => 32,
        None => 0,
    };
    Form { offset, halves: F::HALVES, shift: F::SHIFT }
}

/// `N` bytes of a slice that has them.
#[inline(always)]
fn bytes<const N: usize>(from: &[u8], at: usize) -> &[u8; N] {
    from[at..].first_chunk().expect("a part of a unit")
}

/// Four quads of two weights a byte, as eight of one.
#[inline(always)]
fn nibbles<L: Lanes>(from: &[u8], at: usize) -> [L::Quads; 8] {
    let packed: [L::Quads; 4] = [
        L::load(bytes(from, at)),
        L::load(bytes(from, at + QUAD)),
        L::load(bytes(from, at + 2 * QUAD)),
        L::load(bytes(from, at + 3 * QUAD)),
    ];
    let [a, b, c, d] = packed;
    [
        L::bits(a, 0, 0, 15),
        L::bits(b, 0, 0, 15),
        L::bits(c, 0, 0, 15),
        L::bits(d, 0, 0, 15),
        L::bits(a, 0, 4, 15),
        L::bits(b, 0, 4, 15),
        L::bits(c, 0, 4, 15),
        L::bits(d, 0, 4, 15),
    ]
}

/// Quads with their fifth bits.
#[inline(always)]
fn with_fifths<L: Lanes>(mut quads: [L::Quads; 8], from: &[u8], at: usize) -> [L::Quads; 8] {
    let fifths = L::load(bytes(from, at));
    for quad in 0..8u32 {
        let (left, right) = (4u32.saturating_sub(quad), quad.saturating_sub(4));
        quads[quad as usize] = L::or(quads[quad as usize], L::bits(fifths, left, right, 16));
    }
    quads
}

/// Quads with their fifth and sixth bits.
#[inline(always)]
fn with_sixths<L: Lanes>(mut quads: [L::Quads; 8], from: &[u8], at: usize) -> [L::Quads; 8] {
    for half in 0..2 {
        let upper = L::load(bytes(from, at + half * QUAD));
        for pair in 0..4u32 {
            let (left, right) = (4u32.saturating_sub(2 * pair), (2 * pair).saturating_sub(4));
            let quad = 4 * half + pair as usize;
            quads[quad] = L::or(quads[quad], L::bits(upper, left, right, 48));
        }
    }
    quads
}

/// Part `p` of a unit.
#[inline(always)]
pub(super) fn part<L: Lanes, F: Format>(unit: &[u8], p: usize) -> Part<L> {
    let Some(small) = F::SMALL else { return super_part::<L, F>(unit, p) };
    let at = panels::small_quads(small);
    let quads = if F::SIGNED {
        [
            L::signed(L::load(bytes(unit, at))),
            L::signed(L::load(bytes(unit, at + QUAD))),
            L::signed(L::load(bytes(unit, at + 2 * QUAD))),
            L::signed(L::load(bytes(unit, at + 3 * QUAD))),
            L::signed(L::load(bytes(unit, at + 4 * QUAD))),
            L::signed(L::load(bytes(unit, at + 5 * QUAD))),
            L::signed(L::load(bytes(unit, at + 6 * QUAD))),
            L::signed(L::load(bytes(unit, at + 7 * QUAD))),
        ]
    } else {
        let quads = nibbles::<L>(unit, at);
        if small.fifths { with_fifths::<L>(quads, unit, panels::small_fifths(small)) } else { quads }
    };
    let scale = L::halves(bytes(unit, 0));
    let second = if F::MINIMA { L::halves(bytes(unit, 2 * ROWS)) } else { scale };
    Part { quads, scale, second }
}

#[inline(always)]
fn super_part<L: Lanes, F: Format>(unit: &[u8], p: usize) -> Part<L> {
    let at = panels::super_head(F::FORMAT) + p * panels::sub_bytes(F::FORMAT);
    let sub = &unit[at..][..panels::sub_bytes(F::FORMAT)];
    let quads = nibbles::<L>(sub, 2 * ROWS + panels::upper_bytes(F::FORMAT));
    let d = L::halves(bytes(unit, 0));
    if F::HALVES {
        let quads = with_sixths::<L>(quads, sub, 2 * ROWS);
        let scale = L::mul(d, L::signed_bytes(bytes(sub, 0)));
        return Part { quads, scale, second: L::mul(d, L::signed_bytes(bytes(sub, ROWS))) };
    }
    let quads =
        if panels::upper_bytes(F::FORMAT) > 0 { with_fifths::<L>(quads, sub, 2 * ROWS) } else { quads };
    let dmin = L::mul(L::halves(bytes(unit, 2 * ROWS)), L::splat(-1.0));
    let scale = L::mul(d, L::unsigned_bytes(bytes(sub, 0)));
    Part { quads, scale, second: L::mul(dmin, L::unsigned_bytes(bytes(sub, ROWS))) }
}

/// A sum with the products of a part and a block of activations added.
#[inline(always)]
fn add<L: Lanes, F: Format>(sum: L::Floats, part: &Part<L>, x: &Block) -> L::Floats {
    let d = L::splat(f32::from_bits(x[SCALE]));
    if F::HALVES {
        let first = L::floats(L::dots::<F, 0, 4>(&part.quads, x, START));
        let second = L::floats(L::dots::<F, 4, 8>(&part.quads, x, START + 1));
        let both = L::mul(first, part.scale);
        return L::mul_add(L::mul_add(second, part.second, both), d, sum);
    }
    let products = L::floats(L::dots::<F, 0, 8>(&part.quads, x, START));
    let sum = L::mul_add(products, L::mul(part.scale, d), sum);
    if F::MINIMA { L::mul_add(part.second, L::splat(f32::from_bits(x[SUM])), sum) } else { sum }
}

/// How far ahead memory is asked for, in bytes.
const AHEAD: usize = 4096;

/// A panel times a tile of `M` rows, block by block as they are laid down.
#[inline(always)]
pub(super) fn tile<L: Lanes, F: Format, const M: usize>(panel: &[u8], x: &[Block], out: &mut [[f32; ROWS]]) {
    let mut sums = [L::splat(0.0); M];
    let mut blocks = x.as_chunks::<M>().0.iter();
    for unit in panel.chunks_exact(F::UNIT) {
        if M < 16 {
            // Few rows wait for memory, and the processor's own looking ahead ends with each page.
            for line in (0..F::UNIT).step_by(64) {
                L::prefetch(unit.as_ptr().wrapping_add(AHEAD + line));
            }
        }
        for p in 0..F::PARTS {
            let Some(x) = blocks.next() else { return };
            let part = part::<L, F>(unit, p);
            for row in 0..M {
                sums[row] = add::<L, F>(sums[row], &part, &x[row]);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        L::store(sums, out);
    }
}

/// Panels times all rows: of each panel, the 16 results of each row.
#[inline(always)]
pub(super) fn run<L: Lanes, F: Format>(panels: &[u8], x: Rows<'_>, out: &mut [[f32; ROWS]]) {
    let all = x.blocks;
    let blocks = all.len() / x.count.max(1);
    let size = blocks / F::PARTS * F::UNIT;
    for (panel, out) in panels.chunks_exact(size).zip(out.chunks_exact_mut(x.count)) {
        for (first, rows) in tiles(x.count) {
            let x = &all[first * blocks..][..rows * blocks];
            let out = &mut out[first..][..rows];
            match rows {
                16 => tile::<L, F, 16>(panel, x, out),
                4 => tile::<L, F, 4>(panel, x, out),
                _ => tile::<L, F, 1>(panel, x, out),
            }
        }
    }
}
