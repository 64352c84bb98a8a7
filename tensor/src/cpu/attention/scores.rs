//! What happens to a block of scores between the products: scale, soft cap, biases, masks, exponentials and their sums; and
//! on the way back the derivative of all of it. A row at a time, in loops that the compiler vectorises.
//!
//! Weights below 2e-38 are 0: processors take a hundred times as long for a result that is denormal, as that of many a masked score
//! would be, and no sum of weights is changed by such.

use std::ops::Range;

use super::seen::{hull, registers};
use super::{Dropout, Job, KEYS, PAD, QUERIES};
use crate::Float;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, dispatch};

/// A row of queries.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) head: usize,
    pub(super) query: usize,
    /// The keys that it attends to.
    pub(super) seen: Range<usize>,
}

/// Some rows against one block of keys. `scores` are rows of [`KEYS`], of which those registers are computed that a row looks into.
pub(super) struct Block<'a, T> {
    pub(super) job: &'a Job<'a, T>,
    pub(super) sequence: usize,
    pub(super) rows: &'a [Row],
    pub(super) block: usize,
    /// What each row attends to of the block, counted from its start.
    pub(super) spans: &'a [Range<usize>],
    pub(super) scores: &'a mut [T],
}

impl<T: Float> Block<'_, T> {
    /// Row `r` of scores, as far as it is computed.
    #[inline(always)]
    fn row(&mut self, r: usize, reach: &Range<usize>) -> &mut [T] {
        &mut self.scores[r * KEYS..][reach.clone()]
    }

    /// Turns products into scores: the soft cap, whose slopes go to `caps` if that is asked for, the biases, and -∞ for keys that
    /// are not attended to.
    #[inline(always)]
    fn finish<S: Isa>(
        &mut self,
        r: usize,
        seen: &Range<usize>,
        reach: &Range<usize>,
        caps: Option<&mut [T]>,
    ) {
        let job = self.job;
        if job.rules.soft_cap.is_some() || job.bias.is_some() || job.slopes.is_some() || job.visible.is_some()
        {
            self.adjust::<S>(r, seen, reach, caps);
        }
        if seen != reach {
            let scores = self.row(r, reach);
            scores[..seen.start - reach.start].fill(T::NEG_INFINITY);
            scores[seen.end - reach.start..].fill(T::NEG_INFINITY);
        }
    }

    /// The soft cap and the biases, of which most calls have none.
    #[inline(always)]
    fn adjust<S: Isa>(
        &mut self,
        r: usize,
        seen: &Range<usize>,
        reach: &Range<usize>,
        caps: Option<&mut [T]>,
    ) {
        let (job, row) = (self.job, &self.rows[r]);
        let first = self.block * KEYS;
        let scores = &mut self.scores[r * KEYS..][reach.clone()];
        if let Some(cap) = job.rules.soft_cap {
            let (cap, inverse) = (T::from_f64(cap), T::from_f64(1.0 / cap));
            scores.iter_mut().for_each(|s| *s = (*s * inverse).tanh::<S>());
            if let Some(caps) = caps {
                let caps = &mut caps[r * KEYS..][reach.clone()];
                caps.iter_mut().zip(&*scores).for_each(|(c, &t)| *c = T::ONE - t * t);
            }
            scores.iter_mut().for_each(|s| *s *= cap);
        }
        let index = [self.sequence, row.head, row.query, first + seen.start];
        let seen = seen.start - reach.start..seen.end - reach.start;
        if let Some(bias) = &job.bias {
            let (start, step) = (bias.at(index), bias.strides[3]);
            let scores = &mut scores[seen.clone()];
            if step == 1 {
                let bias = &bias.data[start..][..scores.len()];
                scores.iter_mut().zip(bias).for_each(|(s, &b)| *s += b);
            } else {
                for (i, s) in scores.iter_mut().enumerate() {
                    *s += bias.data[start.wrapping_add_signed(i as isize * step)];
                }
            }
        }
        if let Some(slopes) = job.slopes {
            let (slope, at) = (slopes[row.head], job.position(self.sequence, row.query));
            let away = T::from_f64((first + reach.start) as f64 - at as f64);
            for (i, s) in scores.iter_mut().enumerate() {
                *s += -(slope * (away + T::from_f64(i as f64)).magnitude());
            }
        }
        if let Some(visible) = &job.visible {
            let (start, step) = (visible.at(index), visible.strides[3]);
            for (i, s) in scores[seen.clone()].iter_mut().enumerate() {
                let seen = visible.data[start.wrapping_add_signed(i as isize * step)];
                *s = if seen { *s } else { T::NEG_INFINITY };
            }
        }
    }

    /// 1 / (1 - rate) for the weights that are kept, 0 for those dropped.
    #[inline(always)]
    fn draw(&self, r: usize, reach: &Range<usize>, dropout: Dropout, factors: &mut [T; KEYS]) {
        let row = &self.rows[r];
        let words = [self.sequence as u64, row.head as u64, row.query as u64];
        let key = words.into_iter().fold(dropout.seed, |hash, word| mix(hash ^ word));
        let (low, high) = (key as u32, (key >> 32) as u32);
        let (limit, keep) = ((dropout.rate * 2f64.powi(32)) as u32, T::from_f64(1.0 / (1.0 - dropout.rate)));
        let first = (self.block * KEYS + reach.start) as u32;
        for (i, factor) in factors[reach.clone()].iter_mut().enumerate() {
            let word = scramble(scramble(low ^ first.wrapping_add(i as u32)) ^ high);
            *factor = if word < limit { T::ZERO } else { keep };
        }
    }
}

/// Zeros from the first register that any row looks into to the last, but for those of row `r`: what is summed over tiles of rows or
/// of keys reads them.
#[inline(always)]
fn zero_beside<T: Float>(reach: &Range<usize>, all: &Range<usize>, row: &mut [T]) {
    if reach != all {
        row[all.start..reach.start.max(all.start)].fill(T::ZERO);
        row[reach.end.max(all.start)..all.end].fill(T::ZERO);
    }
}

/// The step and finaliser of splitmix64 (Steele et al. 2014).
fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The finaliser of MurmurHash3 for 32 bits (Appleby 2008), which vectorises: every bit of the word has a part in every bit of the result.
#[inline(always)]
fn scramble(word: u32) -> u32 {
    let z = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    let z = (z ^ (z >> 13)).wrapping_mul(0xc2b2_ae35);
    z ^ (z >> 16)
}

/// x = 0 where it is -∞: what is subtracted before exponentiating, which must not make ∞ - ∞ of rows of nothing.
#[inline(always)]
fn shift<T: Float>(x: T) -> T {
    if x == T::NEG_INFINITY { T::ZERO } else { x }
}

/// What is folded lane by lane is of so many lanes, whatever the registers.
const LANES: usize = TILE;

/// Registers of a row that do not wait for each other.
const SIDE: usize = 4;

/// The largest score of each lane. What is not a number is passed over, and comes up again in the exponentials.
#[inline(always)]
fn largest<T: Float>(row: &[T]) -> [T; LANES] {
    let mut most = [[T::NEG_INFINITY; LANES]; SIDE];
    let (whole, rest) = row.as_chunks::<LANES>().0.as_chunks::<SIDE>();
    for some in whole {
        for (most, x) in most.iter_mut().zip(some) {
            raise(most, x);
        }
    }
    for (most, x) in most.iter_mut().zip(rest) {
        raise(most, x);
    }
    let [mut first, second, mut third, fourth] = most;
    raise(&mut first, &second);
    raise(&mut third, &fourth);
    raise(&mut first, &third);
    first
}

/// The larger of two, lane by lane.
#[inline(always)]
fn raise<T: Float>(most: &mut [T; LANES], x: &[T; LANES]) {
    for i in 0..LANES {
        most[i] = if x[i] > most[i] { x[i] } else { most[i] };
    }
}

/// Turns scores into exponentials of what they are above `shift`; the sums of the lanes.
#[inline(always)]
fn exponentials<S: Isa, T: Float>(row: &mut [T], shift: T) -> [T; LANES] {
    let mut sums = [T::ZERO; LANES];
    let mut add = |weights: &[T]| {
        for weights in weights.as_chunks::<LANES>().0 {
            for i in 0..LANES {
                sums[i] += weights[i];
            }
        }
    };
    let (whole, rest) = row.as_chunks_mut::<{ SIDE * LANES }>();
    for scores in whole {
        for s in scores.iter_mut() {
            *s = (*s - shift).exp_or_zero::<S>();
        }
        add(scores);
    }
    for scores in rest.as_chunks_mut::<LANES>().0 {
        for s in scores.iter_mut() {
            *s = (*s - shift).exp_or_zero::<S>();
        }
        add(scores);
    }
    sums
}

/// The lanes of each row folded into one: of sixteen rows at a time, side by side, where a single row would wait for each step.
#[inline(always)]
fn across<S: Isa, T: Float>(
    parts: &[[T; LANES]; QUERIES],
    rows: usize,
    join: impl Fn(T, T) -> T,
) -> [T; QUERIES] {
    let (mut out, mut turned) = ([T::ZERO; QUERIES], [T::ZERO; LANES * LANES]);
    for first in (0..rows).step_by(LANES) {
        transpose::tile::<S, T>(parts.as_flattened(), first * LANES, LANES as isize, &mut turned, LANES);
        let mut total = [T::ZERO; LANES];
        total.copy_from_slice(&turned[..LANES]);
        for lane in turned[LANES..].as_chunks::<LANES>().0 {
            for r in 0..LANES {
                total[r] = join(total[r], lane[r]);
            }
        }
        out[first..first + LANES].copy_from_slice(&total);
    }
    out
}

/// Turns the products of a block into weights, relative to the largest score of each row, in place. Where a row looks into the block, its
/// largest score and its sum of weights are kept.
pub(super) struct Weigh<'a, T> {
    pub(super) block: Block<'a, T>,
    pub(super) greatest: &'a mut [T],
    pub(super) sums: &'a mut [T],
}

pub(super) fn weigh<T: Float>(weigh: Weigh<'_, T>) {
    dispatch(weigh);
}

impl<T: Float> Kernel for Weigh<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Weigh { mut block, greatest, sums } = self;
        let count = block.rows.len();
        let mut parts = [[T::NEG_INFINITY; LANES]; QUERIES];
        for r in 0..count {
            let (seen, reach) = (&block.spans[r], registers(&block.spans[r]));
            if !seen.is_empty() {
                block.finish::<S>(r, seen, &reach, None);
                parts[r] = largest(block.row(r, &reach));
            }
        }
        let most = across::<S, T>(&parts, count, |a, b| if b > a { b } else { a });
        let all = registers(&hull(block.spans));
        for r in 0..count {
            let (seen, reach) = (&block.spans[r], registers(&block.spans[r]));
            zero_beside(&reach, &all, &mut block.scores[r * KEYS..][..KEYS]);
            if seen.is_empty() {
                continue;
            }
            greatest[r] = most[r];
            let shift = shift(most[r]);
            parts[r] = exponentials::<S, T>(block.row(r, &reach), shift);
            if let Some(dropout) = block.job.rules.dropout {
                let mut drawn = [T::ZERO; KEYS];
                block.draw(r, &reach, dropout, &mut drawn);
                let drawn = &drawn[reach.clone()];
                block.row(r, &reach).iter_mut().zip(drawn).for_each(|(s, &factor)| *s *= factor);
            }
        }
        let new = across::<S, T>(&parts, count, |a, b| a + b);
        for r in 0..count {
            if !block.spans[r].is_empty() {
                sums[r] = new[r];
            }
        }
    }
}

/// Turns the products of a block into weights, given the log-sum-exp of each row, and the gradients of the weights into those of the
/// scores, both in place.
pub(super) struct Derive<'a, T> {
    pub(super) block: Block<'a, T>,
    /// Gradients of the weights, and then of the scores: rows of [`KEYS`].
    pub(super) gradients: &'a mut [T],
    pub(super) log_sums: &'a [T],
    /// Of each row, the sum of its output times its gradient, which is that of all weights times theirs.
    pub(super) shares: &'a [T],
    /// For the slopes of the soft cap.
    pub(super) caps: &'a mut [T],
    /// Whether gradients are wanted of the products, before the cap, or of the scores.
    pub(super) of_products: bool,
}

pub(super) fn derive<T: Float>(derive: Derive<'_, T>) {
    dispatch(derive);
}

impl<T: Float> Kernel for Derive<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Derive { mut block, gradients, log_sums, shares, caps, of_products } = self;
        let capped = block.job.rules.soft_cap.is_some();
        let mut factors = [T::ONE; KEYS];
        // Tiles of keys begin anywhere.
        let all = registers(&hull(block.spans));
        let all = all.start.saturating_sub(PAD)..(all.end + PAD).min(KEYS);
        for r in 0..block.rows.len() {
            let (seen, reach) = (&block.spans[r], registers(&block.spans[r]));
            for rows in [&mut *block.scores, &mut *gradients] {
                zero_beside(&reach, &all, &mut rows[r * KEYS..][..KEYS]);
            }
            if seen.is_empty() {
                continue;
            }
            block.finish::<S>(r, seen, &reach, Some(&mut *caps));
            let dropout = block.job.rules.dropout;
            if let Some(dropout) = dropout {
                block.draw(r, &reach, dropout, &mut factors);
            }
            let (shift, share) = (shift(log_sums[r]), shares[r]);
            let (weights, gradients) = (block.row(r, &reach), &mut gradients[r * KEYS..][reach.clone()]);
            weights.iter_mut().for_each(|w| *w = (*w - shift).exp_or_zero::<S>());
            // A weight of 0 has no gradient, whatever the product that it is not part of.
            if dropout.is_some() {
                let factors = &factors[reach.clone()];
                for (g, (w, &factor)) in gradients.iter_mut().zip(weights.iter_mut().zip(factors)) {
                    *g = if *w == T::ZERO { T::ZERO } else { *w * (*g * factor - share) };
                    *w *= factor;
                }
            } else {
                for (g, &w) in gradients.iter_mut().zip(&*weights) {
                    *g = if w == T::ZERO { T::ZERO } else { w * (*g - share) };
                }
            }
            if capped && of_products {
                let caps = &caps[r * KEYS..][reach.clone()];
                gradients.iter_mut().zip(caps).for_each(|(g, &c)| *g *= c);
            }
        }
    }
}
