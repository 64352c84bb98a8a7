//! Panels: the blocks of 16 rows interleaved, so that a product's registers are filled by plain loads.
//!
//! A *unit* is what 16 rows have of one block. Of blocks of 32 weights it is the 16 scales, the 16 minima if there are some, 64 bytes
//! of fifth bits if there are some, then the quants in *quads*: 64 bytes with four weights of each row, whose products with
//! four activations end in one lane a row. Where a byte has two quants, its lower half is of quad `c` (weights 4c to 4c + 3) and
//! its upper half of quad `c + 4`, which is how files have it; quads are a transposition of words, and nothing is unpacked.
//! Byte `4 r + i` of the fifth bits has in bit `g` that of weight `4 g + i` of row `r`.
//!
//! Of blocks of 256 it is the 16 scales, the 16 minima of `Q4K` and `Q5K`, and 8 sub-units of 32 weights: scales (and minima) of a
//! byte a row (two runs of 16 scales in `Q6K`), upper bits (64 bytes of fifth bits; in `Q6K` 128 bytes, two bits of quads 0 to
//! 3 and then of 4 to 7), and quants of 4 bits as above. Their scales take a byte in place of 6 bits: 3 % more memory.
//!
//! Rows beyond the last are blocks of zeros.

use std::ops::Range;

use crate::BlockFormat;

use super::blocks::{Small, Super, word_at};
use super::product::{Format, with_format};

/// The rows of a panel.
pub(crate) const ROWS: usize = 16;
/// The bytes of a quad.
pub(super) const QUAD: usize = 4 * ROWS;

/// The bytes of a unit.
pub(crate) const fn unit_bytes(format: BlockFormat) -> usize {
    match Small::of(format) {
        Some(small) => small_quads(small) + small.quads * QUAD,
        None => super_head(format) + 8 * sub_bytes(format),
    }
}

/// Where the fifth bits of a unit of blocks of 32 begin.
pub(super) const fn small_fifths(small: Small) -> usize {
    2 * small.halves * ROWS
}

/// Where its quads begin.
pub(super) const fn small_quads(small: Small) -> usize {
    small_fifths(small) + if small.fifths { QUAD } else { 0 }
}

/// The bytes before the sub-units of a unit of blocks of 256.
pub(super) const fn super_head(format: BlockFormat) -> usize {
    if matches!(format, BlockFormat::Q6K) { 2 * ROWS } else { 4 * ROWS }
}

/// The bytes of upper bits in a sub-unit; they follow two runs of [`ROWS`] bytes, and four quads follow them.
pub(super) const fn upper_bytes(format: BlockFormat) -> usize {
    match format {
        BlockFormat::Q5K => QUAD,
        BlockFormat::Q6K => 2 * QUAD,
        _ => 0,
    }
}

/// The bytes of a sub-unit.
pub(super) const fn sub_bytes(format: BlockFormat) -> usize {
    2 * ROWS + upper_bytes(format) + 4 * QUAD
}

/// A row's block from its place in a unit.
pub(super) fn take(format: BlockFormat, row: usize, unit: &[u8], block: &mut [u8]) {
    match Small::of(format) {
        Some(small) => take_small(small, row, unit, block),
        None => take_super(format, row, unit).write(format, block),
    }
}

#[inline(always)]
fn put_small(small: Small, row: usize, block: &[u8], unit: &mut [u8]) {
    for h in 0..small.halves {
        unit[2 * (ROWS * h + row)..][..2].copy_from_slice(&block[2 * h..][..2]);
    }
    if small.fifths {
        let bits = word_at(block, 2 * small.halves);
        put_bits(row, &mut unit[small_fifths(small)..], |weight| (bits >> weight & 1) as u8);
    }
    let quants = &block[small.quants_at()..][..4 * small.quads];
    let quads = &mut unit[small_quads(small)..][..small.quads * QUAD];
    for (quad, four) in quads.chunks_exact_mut(QUAD).zip(quants.as_chunks::<4>().0) {
        quad[4 * row..][..4].copy_from_slice(four);
    }
}

fn take_small(small: Small, row: usize, unit: &[u8], block: &mut [u8]) {
    for h in 0..small.halves {
        block[2 * h..][..2].copy_from_slice(&unit[2 * (ROWS * h + row)..][..2]);
    }
    if small.fifths {
        let bytes = &unit[small_fifths(small)..];
        let bits = (0..32).fold(0u32, |bits, weight| bits | u32::from(bit(row, bytes, weight)) << weight);
        block[2 * small.halves..][..4].copy_from_slice(&bits.to_le_bytes());
    }
    let quads = &unit[small_quads(small)..][..small.quads * QUAD];
    let quants = &mut block[small.quants_at()..];
    for (quad, four) in quads.chunks_exact(QUAD).zip(quants.as_chunks_mut::<4>().0) {
        four.copy_from_slice(&quad[4 * row..][..4]);
    }
}

/// The upper bits of 32 weights, gathered by quads.
fn put_bits(row: usize, bytes: &mut [u8], of: impl Fn(usize) -> u8) {
    for i in 0..4 {
        bytes[4 * row + i] = (0..8).fold(0, |byte, quad| byte | of(4 * quad + i) << quad);
    }
}

fn bit(row: usize, bytes: &[u8], weight: usize) -> u8 {
    bytes[4 * row + weight % 4] >> (weight / 4) & 1
}

fn put_super(format: BlockFormat, row: usize, block: &Super, unit: &mut [u8]) {
    let six = format == BlockFormat::Q6K;
    unit[2 * row..][..2].copy_from_slice(&block.d.to_le_bytes());
    if !six {
        unit[2 * (ROWS + row)..][..2].copy_from_slice(&block.dmin.to_le_bytes());
    }
    let subs = unit[super_head(format)..].chunks_exact_mut(sub_bytes(format));
    for (s, (sub, q)) in subs.zip(block.q.as_chunks::<32>().0).enumerate() {
        let (first, second) = if six {
            (block.scales[2 * s], block.scales[2 * s + 1])
        } else {
            (block.scales[s], block.mins[s])
        };
        (sub[row], sub[ROWS + row]) = (first, second);
        let (upper, quads) = sub[2 * ROWS..].split_at_mut(upper_bytes(format));
        match format {
            BlockFormat::Q5K => put_bits(row, upper, |weight| q[weight] >> 4),
            BlockFormat::Q6K => {
                for (half, upper) in upper.chunks_exact_mut(QUAD).enumerate() {
                    for i in 0..4 {
                        let pair = |quad: usize| q[16 * half + 4 * quad + i] >> 4 << (2 * quad);
                        upper[4 * row + i] = (0..4).fold(0, |byte, quad| byte | pair(quad));
                    }
                }
            }
            _ => {}
        }
        for (c, quad) in quads.chunks_exact_mut(QUAD).enumerate() {
            for i in 0..4 {
                quad[4 * row + i] = q[4 * c + i] & 15 | (q[16 + 4 * c + i] & 15) << 4;
            }
        }
    }
}

fn take_super(format: BlockFormat, row: usize, unit: &[u8]) -> Super {
    let six = format == BlockFormat::Q6K;
    let half = |at: usize| u16::from_le_bytes([unit[2 * at], unit[2 * at + 1]]);
    let mut block = Super { d: half(row), dmin: if six { 0 } else { half(ROWS + row) }, ..Super::EMPTY };
    let subs = unit[super_head(format)..].chunks_exact(sub_bytes(format));
    for (s, (sub, q)) in subs.zip(block.q.as_chunks_mut::<32>().0).enumerate() {
        let (first, second) = (sub[row], sub[ROWS + row]);
        if six {
            (block.scales[2 * s], block.scales[2 * s + 1]) = (first, second);
        } else {
            (block.scales[s], block.mins[s]) = (first, second);
        }
        let (upper, quads) = sub[2 * ROWS..].split_at(upper_bytes(format));
        for (weight, q) in q.iter_mut().enumerate() {
            let (quad, i) = (weight / 4, weight % 4);
            let nibble = quads[QUAD * (quad % 4) + 4 * row + i] >> (4 * (quad / 4)) & 15;
            let high = match format {
                BlockFormat::Q5K => bit(row, upper, weight),
                BlockFormat::Q6K => upper[QUAD * (quad / 4) + 4 * row + i] >> (2 * (quad % 4)) & 3,
                _ => 0,
            };
            *q = nibble | high << 4;
        }
    }
    block
}

/// The panel of some rows of blocks, at most [`ROWS`], given one after the other, each of `blocks` blocks.
pub(super) fn pack(format: BlockFormat, blocks: usize, rows: &[u8], panel: &mut [u8]) {
    with_format!(format, F => pack_as::<F>(blocks, rows, panel));
}

/// With sizes that the compiler knows, so that words are moved without a check.
fn pack_as<F: Format>(blocks: usize, rows: &[u8], panel: &mut [u8]) {
    let size = const { F::FORMAT.bytes() };
    let count = (rows.len() / (blocks * size).max(1)).min(ROWS);
    if count < ROWS {
        panel.fill(0);
    }
    for (b, unit) in panel.chunks_exact_mut(F::UNIT).enumerate() {
        for row in 0..count {
            let block = &rows[(row * blocks + b) * size..][..size];
            match F::SMALL {
                Some(small) => put_small(small, row, block, unit),
                None => put_super(F::FORMAT, row, &Super::read(F::FORMAT, block), unit),
            }
        }
    }
}

/// Where a row's panel is among those of a matrix whose rows have so many blocks, and which row of it that is.
pub(super) fn place(format: BlockFormat, blocks: usize, row: usize) -> (Range<usize>, usize) {
    let size = blocks * unit_bytes(format);
    let start = row / ROWS * size;
    (start..start + size, row % ROWS)
}
