//! Every instruction set against a naive product, bit for bit.

use super::*;
use crate::rng;
use rand::RngExt;

/// One result from its definition: block by block, each sum exact, each multiply-add rounded once.
fn naive(format: BlockFormat, row: &[u8], x: &[f32]) -> f32 {
    let mut sum = 0.0f32;
    for (block, x) in row.chunks_exact(format.bytes()).zip(x.chunks_exact(format.weights())) {
        for (p, x) in x.chunks_exact(32).enumerate() {
            let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            let five = matches!(format, BlockFormat::Q5_0 | BlockFormat::Q5_1 | BlockFormat::Q5K);
            let d = largest / (127 << if five { 2 } else { 3 }) as f32;
            let q: Vec<i32> = x
                .iter()
                .map(|x| if d == 0.0 { 0 } else { (x * (1.0 / d)).round_ties_even() as i32 })
                .collect();
            let (weights, scales) = parts(format, block, p);
            let dot = |range: std::ops::Range<usize>| range.map(|i| weights[i] * q[i]).sum::<i32>() as f32;
            sum = match scales {
                Scales::One(scale) => dot(0..32).mul_add(scale * d, sum),
                Scales::WithMinimum(scale, min) => {
                    let total = d * q.iter().sum::<i32>() as f32;
                    min.mul_add(total, dot(0..32).mul_add(scale * d, sum))
                }
                Scales::Halves(first, second) => {
                    dot(16..32).mul_add(second, dot(0..16) * first).mul_add(d, sum)
                }
            };
        }
    }
    sum
}

enum Scales {
    One(f32),
    WithMinimum(f32, f32),
    Halves(f32, f32),
}

/// 32 weights as whole numbers, and their scales.
fn parts(format: BlockFormat, block: &[u8], p: usize) -> (Vec<i32>, Scales) {
    let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    if format.weights() == 256 {
        let parts = blocks::Super::read(format, block);
        let q = parts.q[32 * p..][..32].iter().map(|&q| i32::from(q));
        let d = half::f16::from_bits(parts.d).to_f32();
        let dmin = half::f16::from_bits(parts.dmin).to_f32();
        if format == BlockFormat::Q6K {
            let scale = |i: usize| d * f32::from(parts.scales[2 * p + i] as i8);
            return (q.map(|q| q - 32).collect(), Scales::Halves(scale(0), scale(1)));
        }
        let scale = d * f32::from(parts.scales[p]);
        return (q.collect(), Scales::WithMinimum(scale, -dmin * f32::from(parts.mins[p])));
    }
    // With a scale of 1 and no minimum, the weights are the whole numbers.
    let mut plain = block.to_vec();
    plain[..2].copy_from_slice(&half::f16::ONE.to_le_bytes());
    let with_minimum = matches!(format, BlockFormat::Q4_1 | BlockFormat::Q5_1);
    if with_minimum {
        plain[2..4].fill(0);
    }
    let mut weights = [0.0; 32];
    blocks::dequantize(format, &plain, &mut weights);
    let scales = if with_minimum { Scales::WithMinimum(half(0), half(2)) } else { Scales::One(half(0)) };
    (weights.iter().map(|&w| w as i32).collect(), scales)
}

/// Blocks of any bits, with scales that are numbers of usual size.
fn random_blocks(format: BlockFormat, count: usize, seed: u64) -> Vec<u8> {
    let mut rng = rng(seed);
    let mut bytes: Vec<u8> = (0..count * format.bytes()).map(|_| rng.random()).collect();
    for block in bytes.chunks_exact_mut(format.bytes()) {
        let places: &[usize] = match format {
            BlockFormat::Q6K => &[208],
            BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
            _ => &[0, 2],
        };
        for &at in places {
            let scale = half::f16::from_f32(rng.random::<f32>() * 0.2 - 0.1);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn every_instruction_set_gives_the_bits_of_the_naive_product() {
    let mut seed = 0;
    for format in BlockFormat::ALL {
        // Tiles of every size, panels that are not full, one block and several.
        for (rows, batch, blocks) in [(1, 1, 1), (16, 4, 1), (17, 23, 2), (40, 5, 3), (3, 16, 1), (5, 150, 1)]
        {
            seed += 1;
            let columns = blocks * format.weights();
            let bytes = random_blocks(format, rows * blocks, seed);
            let mut draw = rng(seed + 1000);
            let x: Vec<f32> = (0..batch * columns).map(|_| draw.random::<f32>() * 4.0 - 2.0).collect();
            let matrix = Matrix { format, rows, blocks, packed: false, bytes: &bytes };
            let mut panels = vec![0xff; matrix.packed_bytes()];
            matrix.pack(&mut panels);
            let packed = Matrix { packed: true, bytes: &panels, ..matrix };
            let expected: Vec<u32> = x
                .chunks_exact(columns)
                .flat_map(|x| {
                    bytes.chunks_exact(blocks * format.bytes()).map(|row| naive(format, row, x).to_bits())
                })
                .collect();
            for engine in Engine::all() {
                for matrix in [matrix, packed] {
                    let mut out = vec![f32::NAN; batch * rows];
                    matrix.product_by(engine, &x, None, false, &mut out).unwrap();
                    let out: Vec<u32> = out.iter().map(|y| y.to_bits()).collect();
                    assert!(
                        out == expected,
                        "{format} by {engine:?}, {rows} rows of {columns}, batch {batch}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_greatest_sums_do_not_overflow() {
    // Weights and activations at the ends of their ranges, where saturating instructions would show.
    for format in BlockFormat::ALL {
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = vec![byte; 2 * format.bytes()];
            for block in bytes.chunks_exact_mut(format.bytes()) {
                let at = if format == BlockFormat::Q6K { 208 } else { 0 };
                block[at..at + 2].copy_from_slice(&half::f16::ONE.to_le_bytes());
                if !matches!(
                    format,
                    BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 | BlockFormat::Q6K
                ) {
                    block[2..4].copy_from_slice(&half::f16::ONE.to_le_bytes());
                }
            }
            let columns = 2 * format.weights();
            for sign in [1.0, -1.0] {
                let x = vec![sign; columns];
                let matrix = Matrix { format, rows: 1, blocks: 2, packed: false, bytes: &bytes };
                let expected = naive(format, &bytes, &x);
                for engine in Engine::all() {
                    let mut out = [0.0];
                    matrix.product_by(engine, &x, None, false, &mut out).unwrap();
                    assert_eq!(out[0], expected, "{format} of {byte:x} by {engine:?}");
                }
            }
        }
    }
}

#[test]
fn blocks_come_back_from_panels() {
    for format in BlockFormat::ALL {
        for (rows, blocks) in [(1, 1), (16, 2), (37, 3)] {
            let bytes = random_blocks(format, rows * blocks, 7);
            let matrix = Matrix { format, rows, blocks, packed: false, bytes: &bytes };
            let mut panels = vec![0xff; matrix.packed_bytes()];
            matrix.pack(&mut panels);
            let mut back = vec![0; bytes.len()];
            Matrix { packed: true, bytes: &panels, ..matrix }.unpack(&mut back);
            assert!(back == bytes, "{format}, {rows} rows of {blocks} blocks");
        }
    }
}
