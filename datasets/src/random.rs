//! Drawing whole numbers and orders, fixed by definition here rather than by a library's version: the same seed gives the
//! same epoch order for as long as Cairn exists.

use cairn_tensor::Rng;
use rand::Rng as _;

/// A generator for the pair of a seed and a stream number, such as an epoch. The pair is mixed (SplitMix64's finaliser,
/// Steele, Lea and Flood 2014) so that neighbouring seeds and numbers have nothing in common.
pub(crate) fn stream(seed: u64, number: u64) -> Rng {
    cairn_tensor::rng(key(seed, number))
}

/// A seed for the pair of a seed and a number, from which further streams can be made.
pub(crate) fn key(seed: u64, number: u64) -> u64 {
    mix(mix(seed).wrapping_add(number))
}

fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A whole number below `n`, each equally likely (Lemire 2019, with rejection).
pub(crate) fn below(rng: &mut Rng, n: u64) -> u64 {
    debug_assert!(n > 0);
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        // The low half tells whether this draw falls into the part that would favour some numbers.
        if (product as u64) >= n || (product as u64) >= n.wrapping_neg() % n {
            return (product >> 64) as u64;
        }
    }
}

/// A number in [0, 1) with 53 random bits.
pub(crate) fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number between the two.
pub(crate) fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * unit(rng)
}

/// Puts a slice into random order (Fisher and Yates).
pub(crate) fn shuffle<T>(values: &mut [T], rng: &mut Rng) {
    for i in (1..values.len()).rev() {
        values.swap(i, below(rng, i as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_are_even() {
        let mut rng = stream(1, 2);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[below(&mut rng, 7) as usize] += 1;
        }
        // Standard deviation is 93; five of them.
        assert!(counts.iter().all(|&n| n.abs_diff(10_000) < 465), "{counts:?}");
    }

    #[test]
    fn shuffling_gives_every_order_equally_often() {
        let mut rng = stream(3, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut order = [0, 1, 2, 3];
            shuffle(&mut order, &mut rng);
            *counts.entry(order).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&n| n.abs_diff(1000) < 160), "{counts:?}");
    }
}
