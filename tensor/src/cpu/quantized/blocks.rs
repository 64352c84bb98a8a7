//! The bytes of a block, taken apart and put together, and the weights that it stands for.
//!
//! Layouts are those of ggml (`ggml-common.h`), little-endian, `d` and `m` 16-bit floats. A block of 32 is `d`, perhaps `m`,
//! perhaps 32 fifth bits, then the quants: byte `j` has weight `j` in its lower half and weight `j + 16` in its upper one, or
//! is weight `j`. A block of 256 is taken apart into a [`Super`] first.

use half::f16;

use crate::BlockFormat;
use crate::cpu::halves;

/// The parts of a block of 32 weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Small {
    /// 16-bit floats in front: the scale, and the minimum if there is one.
    pub(super) halves: usize,
    /// Whether fifth bits follow.
    pub(super) fifths: bool,
    /// Quants, in fours of bytes: 4 where a byte has two, else 8.
    pub(super) quads: usize,
    /// What is taken from a quant, which is unsigned but in `Q8_0`.
    pub(super) offset: i32,
}

impl Small {
    /// Those of a format; `None` for blocks of 256.
    pub(super) const fn of(format: BlockFormat) -> Option<Self> {
        let (halves, fifths, quads, offset) = match format {
            BlockFormat::Q4_0 => (1, false, 4, 8),
            BlockFormat::Q4_1 => (2, false, 4, 0),
            BlockFormat::Q5_0 => (1, true, 4, 16),
            BlockFormat::Q5_1 => (2, true, 4, 0),
            BlockFormat::Q8_0 => (1, false, 8, 0),
            BlockFormat::Q4K | BlockFormat::Q5K | BlockFormat::Q6K => return None,
        };
        Some(Small { halves, fifths, quads, offset })
    }

    /// Where the quants begin.
    pub(super) const fn quants_at(self) -> usize {
        2 * self.halves + if self.fifths { 4 } else { 0 }
    }

    fn dequantize(self, block: &[u8], out: &mut [f32]) {
        let d = half_at(block, 0);
        let m = if self.halves == 2 { half_at(block, 2) } else { 0.0 };
        let fifths = if self.fifths { word_at(block, 2 * self.halves) } else { 0 };
        let quants = &block[self.quants_at()..];
        for (j, out) in out.iter_mut().enumerate() {
            let q = if self.quads == 8 {
                i32::from(quants[j] as i8)
            } else {
                let q = if j < 16 { quants[j] & 15 } else { quants[j - 16] >> 4 };
                i32::from(q) | ((fifths >> j & 1) << 4) as i32
            };
            let scaled = (q - self.offset) as f32 * d;
            *out = if self.halves == 2 { scaled + m } else { scaled };
        }
    }
}

/// A block of 256 weights, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Super {
    /// The scale of the scales, as bits of an `f16`.
    pub(super) d: u16,
    /// The scale of the minima.
    pub(super) dmin: u16,
    /// Scales: of 8 sub-blocks of 32, or of 16 of 16 weights, where they are signed.
    pub(super) scales: [u8; 16],
    /// Minima of 8 sub-blocks.
    pub(super) mins: [u8; 8],
    /// The quants, one a byte.
    pub(super) q: [u8; 256],
}

impl Super {
    pub(super) const EMPTY: Super = Super { d: 0, dmin: 0, scales: [0; 16], mins: [0; 8], q: [0; 256] };

    /// The parts of a block.
    pub(super) fn read(format: BlockFormat, block: &[u8]) -> Self {
        let mut parts = Super::EMPTY;
        if format == BlockFormat::Q6K {
            parts.read_q6(block);
            return parts;
        }
        parts.d = u16::from_le_bytes([block[0], block[1]]);
        parts.dmin = u16::from_le_bytes([block[2], block[3]]);
        let packed = &block[4..16];
        for j in 0..4 {
            parts.scales[j] = packed[j] & 63;
            parts.mins[j] = packed[j + 4] & 63;
            parts.scales[j + 4] = packed[j + 8] & 15 | packed[j] >> 6 << 4;
            parts.mins[j + 4] = packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4;
        }
        let fifth = format == BlockFormat::Q5K;
        let (high, low) = if fifth { block[16..].split_at(32) } else { (&[][..], &block[16..]) };
        for (sub, q) in parts.q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let bytes = &low[sub / 2 * 32..][..32];
            for l in 0..32 {
                let bit = if fifth { high[l] >> sub & 1 } else { 0 };
                q[l] = bytes[l] >> (4 * (sub % 2)) & 15 | bit << 4;
            }
        }
        parts
    }

    fn read_q6(&mut self, block: &[u8]) {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        self.scales.copy_from_slice(&rest[..16]);
        self.d = u16::from_le_bytes([rest[16], rest[17]]);
        for (i, q) in self.q.iter_mut().enumerate() {
            let (half, part, l) = (i / 128, i / 32 % 4, i % 32);
            let nibble = low[64 * half + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
            *q = nibble | (high[32 * half + l] >> (2 * part) & 3) << 4;
        }
    }

    /// The block's bytes.
    pub(super) fn write(&self, format: BlockFormat, block: &mut [u8]) {
        block.fill(0);
        if format == BlockFormat::Q6K {
            return self.write_q6(block);
        }
        block[..2].copy_from_slice(&self.d.to_le_bytes());
        block[2..4].copy_from_slice(&self.dmin.to_le_bytes());
        for j in 0..4 {
            block[4 + j] = self.scales[j] | self.scales[j + 4] >> 4 << 6;
            block[8 + j] = self.mins[j] | self.mins[j + 4] >> 4 << 6;
            block[12 + j] = self.scales[j + 4] & 15 | self.mins[j + 4] << 4;
        }
        let fifth = format == BlockFormat::Q5K;
        let (high, low) = block[16..].split_at_mut(if fifth { 32 } else { 0 });
        for (sub, q) in self.q.as_chunks::<32>().0.iter().enumerate() {
            for l in 0..32 {
                low[sub / 2 * 32 + l] |= (q[l] & 15) << (4 * (sub % 2));
                if fifth {
                    high[l] |= q[l] >> 4 << sub;
                }
            }
        }
    }

    fn write_q6(&self, block: &mut [u8]) {
        for (i, &q) in self.q.iter().enumerate() {
            let (half, part, l) = (i / 128, i / 32 % 4, i % 32);
            block[64 * half + 32 * (part % 2) + l] |= (q & 15) << (4 * (part / 2));
            block[128 + 32 * half + l] |= q >> 4 << (2 * part);
        }
        block[192..208].copy_from_slice(&self.scales);
        block[208..].copy_from_slice(&self.d.to_le_bytes());
    }

    fn dequantize(&self, format: BlockFormat, out: &mut [f32]) {
        let d = halves::from_f16(f16::from_bits(self.d));
        if format == BlockFormat::Q6K {
            for (i, (out, &q)) in out.iter_mut().zip(&self.q).enumerate() {
                *out = d * f32::from(self.scales[i / 16] as i8) * (f32::from(q) - 32.0);
            }
            return;
        }
        let dmin = halves::from_f16(f16::from_bits(self.dmin));
        for (sub, (out, q)) in out.chunks_exact_mut(32).zip(self.q.as_chunks::<32>().0).enumerate() {
            let (d, m) = (d * f32::from(self.scales[sub]), dmin * f32::from(self.mins[sub]));
            out.iter_mut().zip(q).for_each(|(out, &q)| *out = d * f32::from(q) - m);
        }
    }
}

/// The weights of one block.
pub(super) fn dequantize(format: BlockFormat, block: &[u8], out: &mut [f32]) {
    match Small::of(format) {
        Some(small) => small.dequantize(block, out),
        None => Super::read(format, block).dequantize(format, out),
    }
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    halves::from_f16(f16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

pub(super) fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
