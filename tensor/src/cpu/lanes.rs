//! Folding a run of elements in interleaved accumulators, which is what vectorises: a sum in one accumulator is a chain
//! in which every addition waits for the one before.
//!
//! Accumulators are arrays of [`LANES`] elements that the compiler keeps in one vector register each. Two things make it
//! do so, and were found by looking at the code it makes: arrays are passed and returned by value, and the last steps,
//! in which lanes are folded into each other, stand in a function that is not inlined ([`across`]); inlined, their shape
//! decides the width of the whole loop.
//!
//! The order of operations is a function of the length alone. Values pass through short chains (eight steps, then one per
//! eight), so a sum of n terms is off by about log n roundings, not n.

/// Elements in one accumulator: an AVX-512 register of f32.
pub(crate) const LANES: usize = 16;
/// Accumulators, so that four independent operations are under way.
const WIDE: usize = 4 * LANES;
/// Steps into one accumulator before it is folded into a second level.
const CHAIN: usize = 8;
/// Runs shorter than this are folded one element after the other.
const SHORT: usize = 24;

/// `join(…join(neutral, load(x[0])), load(x[1])…)` in a fixed order of its own; `join` is associative but for rounding.
#[inline(always)]
pub(crate) fn fold<A: Copy, T: Copy>(
    x: &[A],
    neutral: T,
    load: impl Fn(A) -> T,
    mut join: impl FnMut(T, T) -> T,
) -> T {
    let mut total = neutral;
    if x.len() < SHORT {
        for &x in x {
            total = join(total, load(x));
        }
        return total;
    }
    let join = &mut join;
    let (chunks, rest) = x.as_chunks::<WIDE>();
    let mut lanes = [neutral; LANES];
    if !chunks.is_empty() {
        let mut sums = [[neutral; LANES]; 4];
        for group in chunks.chunks(CHAIN) {
            let mut parts = [[neutral; LANES]; 4];
            for x in group {
                let [a, b, c, d] = parts;
                parts = [
                    pairwise(a, loaded(x, 0, &load), join),
                    pairwise(b, loaded(x, 1, &load), join),
                    pairwise(c, loaded(x, 2, &load), join),
                    pairwise(d, loaded(x, 3, &load), join),
                ];
            }
            let ([a, b, c, d], [p, q, r, s]) = (sums, parts);
            sums = [pairwise(a, p, join), pairwise(b, q, join), pairwise(c, r, join), pairwise(d, s, join)];
        }
        let [a, b, c, d] = sums;
        let (a, c) = (pairwise(a, b, join), pairwise(c, d, join));
        lanes = pairwise(a, c, join);
    }
    let (chunks, rest) = rest.as_chunks::<LANES>();
    for x in chunks {
        let mut new = lanes;
        for i in 0..LANES {
            new[i] = join(lanes[i], load(x[i]));
        }
        lanes = new;
    }
    for &x in rest {
        total = join(total, load(x));
    }
    let lanes = across(&lanes, join);
    join(lanes, total)
}

#[inline(always)]
fn pairwise<T: Copy>(a: [T; LANES], b: [T; LANES], join: &mut impl FnMut(T, T) -> T) -> [T; LANES] {
    let mut out = a;
    for i in 0..LANES {
        out[i] = join(a[i], b[i]);
    }
    out
}

#[inline(always)]
fn loaded<A: Copy, T: Copy>(x: &[A; WIDE], part: usize, load: &impl Fn(A) -> T) -> [T; LANES] {
    let mut out = [load(x[part * LANES]); LANES];
    for i in 0..LANES {
        out[i] = load(x[part * LANES + i]);
    }
    out
}

/// The lanes folded into each other by halves.
#[inline(never)]
fn across<T: Copy>(lanes: &[T; LANES], join: &mut impl FnMut(T, T) -> T) -> T {
    let mut lanes = *lanes;
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = join(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_counts_once_at_every_length() {
        for len in (0..300).chain([511, 512, 513, 1000, 4096, 5000]) {
            let x: Vec<u64> = (0..len as u64).map(|i| i * i + 1).collect();
            assert_eq!(fold(&x, 0, |x| x, |a, b| a + b), x.iter().sum::<u64>(), "{len}");
            assert_eq!(fold(&x, 0, |x| x, u64::max), x.iter().copied().max().unwrap_or(0), "{len}");
        }
    }
}
