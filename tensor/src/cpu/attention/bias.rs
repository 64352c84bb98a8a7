//! The gradient of the bias: that of the scores, summed over the axes along which the bias was broadcast.
//!
//! It is a pass of its own, over columns of the bias, each of which one unit sums in the order of sequences and heads. So no
//! two threads add to one element, at the price of two of the backward pass's five products.

use std::ops::Range;

use super::backward::{Returned, Unit};
use super::forward::products;
use super::pack::{self, Place, carve, padded};
use super::scores::{Block, Derive, Row, derive};
use super::seen::spans;
use super::{Job, KEYS, PAD, QUERIES};
use crate::cpu::buffer::Buffer;
use crate::cpu::threads::{self, Failure};
use crate::cpu::transpose::TILE;
use crate::{Float, Result};

/// The gradient of a bias of this shape, each size that of the scores `[batch, heads, queries, keys]` or 1.
pub(crate) fn bias_gradient<T: Float>(
    job: &Job<'_, T>,
    returned: Returned<'_, T>,
    shape: [usize; 4],
    out: &mut [T],
) -> Result<()> {
    out.fill(T::ZERO);
    if out.is_empty() || job.sizes.keys == 0 {
        return Ok(());
    }
    let [batch, heads, queries, keys] = shape;
    let blocks = job.sizes.keys.div_ceil(KEYS);
    let mut strips: Vec<Result<Vec<T>>> = Vec::new();
    strips.resize_with(batch * heads * blocks, || Ok(Vec::new()));
    threads::split_together(&mut strips, [], (1, 0), |unit, strip, []| {
        let (place, block) = (unit / blocks, unit % blocks);
        let strip_of = Strip { job, returned, shape, at: [place / heads, place % heads], block };
        strip[0] = strip_of.sum();
    });
    let failure = Failure::default();
    for (unit, strip) in strips.into_iter().enumerate() {
        let strip = match strip {
            Ok(strip) => strip,
            Err(error) => {
                failure.note(Err(error));
                continue;
            }
        };
        let (place, block) = (unit / blocks, unit % blocks);
        let first = if keys == 1 { 0 } else { block * KEYS };
        for (query, strip) in strip.chunks_exact(strip.len() / queries.max(1)).enumerate() {
            let out = &mut out[(place * queries + query) * keys + first..][..strip.len()];
            out.iter_mut().zip(strip).for_each(|(out, &x)| *out += x);
        }
    }
    failure.into_result()
}

/// A block of columns of one sequence and head of the bias.
struct Strip<'a, T> {
    job: &'a Job<'a, T>,
    returned: Returned<'a, T>,
    shape: [usize; 4],
    at: [usize; 2],
    block: usize,
}

/// All of an axis that is broadcast, else the one.
fn members(size: usize, at: usize, all: usize) -> Range<usize> {
    if size == 1 { 0..all } else { at..at + 1 }
}

impl<T: Float> Strip<'_, T> {
    fn sum(&self) -> Result<Vec<T>> {
        let (sizes, [batch, heads, queries, keys]) = (self.job.sizes, self.shape);
        let width = if keys == 1 { 1 } else { (sizes.keys - self.block * KEYS).min(KEYS) };
        let mut strip = vec![T::ZERO; queries * width];
        for sequence in members(batch, self.at[0], sizes.batch) {
            for head in members(heads, self.at[1], sizes.heads) {
                self.add(sequence, head, width, &mut strip)?;
            }
        }
        Ok(strip)
    }

    fn add(&self, sequence: usize, head: usize, strip_width: usize, strip: &mut [T]) -> Result<()> {
        let (job, sizes) = (self.job, self.job.sizes);
        let unit = Unit { job, returned: self.returned, sequence, key_head: head / sizes.group() };
        let row = |query| Row { head, query, seen: job.keys_seen(sequence, query) };
        let rows: Vec<Row> = (0..job.query_length(sequence)).map(row).collect();
        let place = Place { sequence, head: unit.key_head, block: self.block };
        let (d, e) = (padded(sizes.size), padded(sizes.value_size));
        let caps = if job.rules.soft_cap.is_some() { QUERIES * KEYS } else { 0 };
        let lengths = [
            [QUERIES * d, QUERIES * e, QUERIES, QUERIES],
            [TILE * d.max(e), KEYS * d, KEYS * e, 0],
            [QUERIES * KEYS, QUERIES * KEYS, caps, 0],
        ];
        let total = lengths.iter().flatten().map(|len| len + PAD).sum();
        let mut buffer = Buffer::unspecified("attention_backward", total)?;
        let rest = &mut &mut buffer[..];
        let [q, g, log_sums, shares] = lengths[0].map(|len| carve(rest, len));
        let [tile, keys, values, _] = lengths[1].map(|len| carve(rest, len));
        let [scores, gradients, caps, _] = lengths[2].map(|len| carve(rest, len));
        pack::across(job, &job.k, sizes.size, &place, tile, keys);
        pack::across(job, &job.v, sizes.value_size, &place, tile, values);
        for rows in rows.chunks(QUERIES) {
            let spans = spans(rows, self.block);
            if spans.iter().all(Range::is_empty) {
                continue;
            }
            unit.pack_rows(rows, [&mut *q, &mut *g, &mut *log_sums, &mut *shares]);
            products(&spans, sizes.size, q, d, keys, scores);
            products(&spans, sizes.value_size, g, e, values, gradients);
            let scores = &mut *scores;
            derive(Derive {
                block: Block { job, sequence, rows, block: self.block, spans: &spans, scores },
                gradients: &mut *gradients,
                log_sums: &log_sums[..rows.len()],
                shares: &shares[..rows.len()],
                caps: &mut *caps,
                of_products: false,
            });
            for ((row, span), gradients) in rows.iter().zip(spans).zip(gradients.chunks_exact(KEYS)) {
                let at = if self.shape[2] == 1 { 0 } else { row.query * strip_width };
                if self.shape[3] == 1 {
                    gradients[span].iter().for_each(|&g| strip[at] += g);
                } else {
                    let strip = &mut strip[at..][span.clone()];
                    strip.iter_mut().zip(&gradients[span]).for_each(|(s, &g)| *s += g);
                }
            }
        }
        Ok(())
    }
}
