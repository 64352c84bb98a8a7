//! The forward pass of few rows, as in a step of writing: keys and values are read once, and that is all there is to do. So a unit of work
//! is a block of keys of a head, and not a head: three heads would keep two threads busy for as long as four, and a long
//! text would be read by no more threads than there are heads.
//!
//! What the blocks give is joined in their order, by the steps that [`forward`](super::forward) takes, and has the same bits.

use std::ops::Range;

use super::forward::{Unit, Write, products, weighted_values};
use super::merge::{Merge, Running};
use super::pack::{self, Place, Queries, carve, padded};
use super::scores::{Block, Weigh, weigh};
use super::seen::spans;
use super::{Job, KEYS, PAD};
use crate::cpu::buffer::Buffer;
use crate::cpu::dispatch;
use crate::cpu::threads::{self, Failure, Pieces};
use crate::cpu::transpose::TILE;
use crate::{Float, Result};

/// Units for each thread of which it does not matter that they are no more: one in so many is left over at most.
const UNITS: usize = 4;

/// Whether this pass is the better one: for few rows, values that can be read from where they lie, more than one block of keys,
/// and too few heads to keep all threads busy alike.
pub(super) fn is_better<T: Float>(job: &Job<'_, T>, heads: usize) -> bool {
    let (sizes, threads) = (job.sizes, threads::num_threads());
    let rows = sizes.group() * sizes.queries;
    threads > 1 && heads < UNITS * threads && sizes.keys > KEYS && job.values_in_place(rows)
}

/// As [`forward`](super::forward::forward).
pub(super) fn forward<T: Float>(job: &Job<'_, T>, out: &mut [T], log_sums: &mut [T]) -> Result<()> {
    let sizes = job.sizes;
    let (heads, blocks) = (sizes.batch * sizes.key_heads, sizes.keys.div_ceil(KEYS));
    let (rows, e) = (sizes.group() * sizes.queries, padded(sizes.value_size));
    // Of each block: weighted values, the largest score and the sum of weights.
    let size = padded(rows * e + 2 * rows);
    let mut results = Buffer::unspecified("attention", heads * (blocks + 1) * size)?;
    let (of_blocks, running) = results.split_at_mut(heads * blocks * size);
    let unit = |head: usize| Unit {
        job,
        sequence: head / sizes.key_heads,
        key_head: head % sizes.key_heads,
        queries: 0..sizes.queries,
    };
    let (failure, pieces) = (Failure::default(), Pieces::new(&mut *of_blocks, 1));
    threads::each(heads * blocks, |i| {
        // SAFETY: each block of each head is asked for once.
        let result = unsafe { pieces.part(i * size, size) };
        failure.note(unit(i / blocks).block(i % blocks, parts(result, rows, e)));
    });
    failure.into_result()?;
    let (out, log_sums) = (Pieces::new(out, 1), Pieces::new(log_sums, 1));
    let of_heads = of_blocks.chunks_exact_mut(blocks * size).zip(running.chunks_exact_mut(size));
    for (head, (of_blocks, running)) in of_heads.enumerate() {
        let unit = unit(head);
        let mut running = parts(running, rows, e);
        running.begin();
        for result in of_blocks.chunks_exact_mut(size) {
            dispatch(Merge { block: parts(result, rows, e), into: running.reborrow(), row: e });
        }
        dispatch(Write { unit: &unit, rows: &unit.rows(), sums: running, out: &out, log_sums: &log_sums });
        unit.pad(&out, &log_sums);
    }
    Ok(())
}

/// A result's parts, of so many rows of `e` elements.
fn parts<T>(result: &mut [T], rows: usize, e: usize) -> Running<'_, T> {
    let (out, rest) = result.split_at_mut(rows * e);
    let (greatest, rest) = rest.split_at_mut(rows);
    Running { out, greatest, sums: &mut rest[..rows] }
}

impl<T: Float> Unit<'_, T> {
    /// What all rows get from a block of keys.
    fn block(&self, block: usize, mut result: Running<'_, T>) -> Result<()> {
        let (job, sizes) = (self.job, self.job.sizes);
        let rows = self.rows();
        let spans = spans(&rows, block);
        result.begin();
        if spans.iter().all(Range::is_empty) {
            return Ok(());
        }
        let d = padded(sizes.size);
        let lengths = [rows.len() * d, TILE * d, KEYS * d, rows.len() * KEYS];
        let mut buffer = Buffer::unspecified("attention", lengths.iter().map(|len| len + PAD).sum())?;
        let rest = &mut &mut buffer[..];
        let [q, tile, keys, scores] = lengths.map(|len| carve(rest, len));
        dispatch(Queries { job, sequence: self.sequence, rows: &rows, out: &mut *q });
        let place = Place { sequence: self.sequence, head: self.key_head, block };
        pack::across(job, &job.k, sizes.size, &place, tile, keys);
        products(&spans, sizes.size, q, d, keys, scores);
        weigh(Weigh {
            block: Block { job, sequence: self.sequence, rows: &rows, block, spans: &spans, scores },
            greatest: &mut *result.greatest,
            sums: &mut *result.sums,
        });
        weighted_values(&spans, scores, (self.values(&place), false), sizes.value_size, result.out);
        Ok(())
    }
}
