//! Weights to blocks, bit for bit as ggml's reference quantisers (`quantize_row_…_ref`) round them.
//!
//! Symmetric formats divide by the weight of largest magnitude, which then is -8 or -16 exactly; those with a minimum spread
//! the quants from the least weight to the greatest. Blocks of 256 are searched for: see [`search`](super::search).

use crate::BlockFormat;
use crate::cpu::halves;

use super::blocks::Small;
use super::search;

/// The block of some weights, as many as the format has in one.
pub(super) fn quantize(format: BlockFormat, x: &[f32], block: &mut [u8]) {
    match Small::of(format) {
        Some(small) if small.quads == 8 => eight_bits(x, block),
        Some(small) => few_bits(small, x, block),
        None => search::quantize(format, x).write(format, block),
    }
}

fn put_half(block: &mut [u8], at: usize, x: f32) {
    block[at..at + 2].copy_from_slice(&halves::to_f16(x).to_le_bytes());
}

/// 1 / d, and 0 for a scale of 0.
fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn eight_bits(x: &[f32], block: &mut [u8]) {
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let d = largest / 127.0;
    let id = inverse(d);
    put_half(block, 0, d);
    // Halves are rounded away from zero.
    block[2..].iter_mut().zip(x).for_each(|(out, &x)| *out = (x * id).round() as i8 as u8);
}

/// Quants of 4 or 5 bits.
fn few_bits(small: Small, x: &[f32], block: &mut [u8]) {
    let steps = if small.fifths { 31 } else { 15 };
    let (d, start, shift) = if small.halves == 2 {
        // Of 0 and -0 the first one stays, which `min` does not promise.
        let (least, most) = x.iter().fold((f32::MAX, f32::MIN), |(least, most), &x| {
            (if x < least { x } else { least }, if x > most { x } else { most })
        });
        put_half(block, 2, least);
        ((most - least) / steps as f32, least, 0.5)
    } else {
        let largest = x.iter().fold(0.0f32, |largest, &x| if largest.abs() < x.abs() { x } else { largest });
        let offset = small.offset as f32;
        (largest / -offset, 0.0, offset + 0.5)
    };
    put_half(block, 0, d);
    let id = inverse(d);
    let quant = |x: f32| (((x - start) * id + shift) as u8).min(steps);
    let mut fifths = 0u32;
    let quants = small.quants_at();
    for j in 0..16 {
        let (low, high) = (quant(x[j]), quant(x[j + 16]));
        block[quants + j] = low & 15 | high << 4;
        fifths |= u32::from(low >> 4) << j | u32::from(high >> 4) << (j + 16);
    }
    if small.fifths {
        block[2 * small.halves..quants].copy_from_slice(&fifths.to_le_bytes());
    }
}
