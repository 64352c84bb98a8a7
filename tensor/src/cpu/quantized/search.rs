//! The scales of blocks of 256, searched for.
//!
//! A scale that fits the largest weight is seldom the one of the least error: the quants are rounded for a row of scales near it, for
//! each set of quants the best scale (and minimum) follows by weighted least squares, and the set with the least error is
//! kept. Then the scales of the sub-blocks are rounded to a few bits, and the weights once more for those. Orders of sums, weights
//! and rounding are those of ggml's reference (`make_qkx2_quants`, `make_qx_quants`), so that files come out equal.

use crate::BlockFormat;
use crate::cpu::halves;

use super::blocks::Super;

/// Weights below this everywhere are 0 in blocks of 6 bits.
const NOTHING: f32 = 1e-15;

/// The nearest integer, halves to even; for numbers well within 2^22.
fn nearest(x: f32) -> i32 {
    x.round_ties_even() as i32
}

/// The block of 256 weights.
pub(super) fn quantize(format: BlockFormat, x: &[f32]) -> Super {
    match format {
        BlockFormat::Q6K => six_bits(x),
        BlockFormat::Q5K => with_minima(x, Spread { most: 31, first: -0.5, steps: 15 }),
        _ => with_minima(x, Spread { most: 15, first: -1.0, steps: 20 }),
    }
}

/// The largest quant, and the tenths of a quant by which the scales that are tried differ.
#[derive(Clone, Copy)]
struct Spread {
    most: i32,
    first: f32,
    steps: i32,
}

/// 8 sub-blocks of 32 weights, each with a scale and a minimum of 6 bits.
fn with_minima(x: &[f32], spread: Spread) -> Super {
    let mut block = Super::EMPTY;
    let (mut scales, mut mins) = ([0.0f32; 8], [0.0f32; 8]);
    for (sub, (x, q)) in x.as_chunks::<32>().0.iter().zip(block.q.as_chunks_mut::<32>().0).enumerate() {
        // Large weights matter more.
        let level = (x.iter().fold(0.0, |sum, x| sum + x * x) / 32.0).sqrt();
        let weights = x.map(|x| level + x.abs());
        (scales[sub], mins[sub]) = fit_with_minimum(x, &weights, q, spread);
    }
    let largest = |values: &[f32; 8]| values.iter().fold(0.0f32, |most, &x| if x > most { x } else { most });
    let (scale, min) = (largest(&scales), largest(&mins));
    let step = |most: f32| if most > 0.0 { 63.0 / most } else { 0.0 };
    for sub in 0..8 {
        block.scales[sub] = nearest(step(scale) * scales[sub]).min(63) as u8;
        block.mins[sub] = nearest(step(min) * mins[sub]).min(63) as u8;
    }
    let (d, dmin) = (halves::to_f16(scale / 63.0), halves::to_f16(min / 63.0));
    (block.d, block.dmin) = (d.to_bits(), dmin.to_bits());
    for (sub, (x, q)) in x.as_chunks::<32>().0.iter().zip(block.q.as_chunks_mut::<32>().0).enumerate() {
        let d = halves::from_f16(d) * f32::from(block.scales[sub]);
        if d == 0.0 {
            continue;
        }
        let m = halves::from_f16(dmin) * f32::from(block.mins[sub]);
        q.iter_mut().zip(x).for_each(|(q, x)| *q = nearest((x + m) / d).clamp(0, spread.most) as u8);
    }
    block
}

/// Scale and minimum (as a number to be taken away, not below 0) of 32 weights; their quants are left in `best`.
fn fit_with_minimum(x: &[f32; 32], weights: &[f32; 32], best: &mut [u8; 32], spread: Spread) -> (f32, f32) {
    let most = spread.most as f32;
    let (mut low, mut high) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (weights[0], weights[0] * x[0]);
    for (&x, &w) in x.iter().zip(weights).skip(1) {
        if x < low {
            low = x;
        }
        if x > high {
            high = x;
        }
        sum_w += w;
        sum_x += w * x;
    }
    if low > 0.0 {
        low = 0.0;
    }
    if high == low {
        *best = [0; 32];
        return (0.0, -low);
    }
    let quants = |inverse: f32, low: f32| x.map(|x| nearest(inverse * (x - low)).clamp(0, spread.most) as u8);
    let error = |q: &[u8; 32], scale: f32, low: f32| {
        let each = q.iter().zip(x).zip(weights).map(|((&q, x), w)| {
            let difference = scale * f32::from(q) + low - x;
            w * (difference * difference)
        });
        each.fold(0.0f32, |sum, one| sum + one)
    };
    let inverse = most / (high - low);
    let (mut scale, mut min) = (1.0 / inverse, low);
    *best = quants(inverse, low);
    let mut least = error(best, scale, low);
    for step in 0..=spread.steps {
        // From the best minimum so far, as the reference has it.
        let tried = quants((spread.first + 0.1 * step as f32 + most) / (high - min), min);
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0f32, 0.0f32, 0.0f32);
        for ((&q, x), w) in tried.iter().zip(x).zip(weights) {
            let l = f32::from(q);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut this_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if this_min > 0.0 {
                this_min = 0.0;
                this_scale = sum_xl / sum_l2;
            }
            let this_error = error(&tried, this_scale, this_min);
            if this_error < least {
                (*best, least, scale, min) = (tried, this_error, this_scale, this_min);
            }
        }
    }
    (scale, -min)
}

/// 16 sub-blocks of 16 weights, each with a signed scale of 8 bits.
fn six_bits(x: &[f32]) -> Super {
    let mut block = Super::EMPTY;
    let (mut scales, mut largest) = ([0.0f32; 16], 0.0f32);
    for (sub, x) in x.as_chunks::<16>().0.iter().enumerate() {
        scales[sub] = fit_symmetric(x);
        if scales[sub].abs() > largest.abs() {
            largest = scales[sub];
        }
    }
    if largest.abs() < NOTHING {
        return block;
    }
    let inverse = -128.0 / largest;
    let d = halves::to_f16(1.0 / inverse);
    block.d = d.to_bits();
    // What rounds to 0 leaves quants of 0, which stand for -32 times 0.
    for (sub, (x, q)) in x.as_chunks::<16>().0.iter().zip(block.q.as_chunks_mut::<16>().0).enumerate() {
        let scale = nearest(inverse * scales[sub]).min(127) as i8;
        block.scales[sub] = scale as u8;
        let d = halves::from_f16(d) * f32::from(scale);
        if d == 0.0 {
            *q = symmetric_quants(x);
            continue;
        }
        q.iter_mut().zip(x).for_each(|(q, x)| *q = (nearest(x / d).clamp(-32, 31) + 32) as u8);
    }
    block
}

/// The weight of largest magnitude.
fn extreme(x: &[f32; 16]) -> f32 {
    x.iter().fold(0.0f32, |largest, &x| if x.abs() > largest.abs() { x } else { largest })
}

fn rounded(x: &[f32; 16], inverse: f32) -> [i32; 16] {
    x.map(|x| nearest(inverse * x).clamp(-32, 31))
}

/// The scale of 16 weights, and their quants.
fn search_symmetric(x: &[f32; 16]) -> (f32, [i32; 16]) {
    let largest = extreme(x);
    if largest.abs() < NOTHING {
        return (0.0, [-32; 16]);
    }
    // Each weight counts by its square.
    let sums = |q: &[i32; 16]| {
        q.iter().zip(x).fold((0.0f32, 0.0f32), |(xl, l2), (&q, &x)| {
            let (w, l) = (x * x, q as f32);
            (xl + w * x * l, l2 + w * l * l)
        })
    };
    let mut best = rounded(x, -32.0 / largest);
    let (xl, l2) = sums(&best);
    let mut scale = if l2 == 0.0 { 0.0 } else { xl / l2 };
    let mut gain = scale * xl;
    for step in (-9..=9).filter(|&step| step != 0) {
        let tried = rounded(x, -(32.0 + 0.1 * step as f32) / largest);
        let (xl, l2) = sums(&tried);
        if l2 > 0.0 && xl * xl > gain * l2 {
            scale = xl / l2;
            gain = scale * xl;
            best = tried;
        }
    }
    (scale, best)
}

fn fit_symmetric(x: &[f32; 16]) -> f32 {
    search_symmetric(x).0
}

fn symmetric_quants(x: &[f32; 16]) -> [u8; 16] {
    search_symmetric(x).1.map(|q| (q + 32) as u8)
}
