//! The backward pass. With w the weights of a row, o its output, g the output's gradient and s = scale · q · k:
//!
//! - dv = Σ w g, over the rows that attend to the key,
//! - dw = g · v, ds = w (dw - Σ w dw), and Σ w dw = g · o, which needs no weights,
//! - dq = scale Σ ds k over keys, dk = scale Σ ds q over rows.

use std::ops::Range;

use super::forward::products;
use super::pack::{self, Place, Queries, carve, padded};
use super::scores::{Block, Derive, Row, derive};
use super::seen::{blocks, hull, is_even, spans};
use super::tile::{Left, Right, Sums, height, product};
use super::{Job, KEYS, PAD, QUERIES};
use crate::cpu::buffer::Buffer;
use crate::cpu::threads::{self, Failure, Pieces};
use crate::cpu::transpose::TILE;
use crate::cpu::{Isa, Kernel, Vector, dispatch};
use crate::{Float, Result};

/// The gradients to be computed, each where it is wanted, in row-major order and shaped like what they are of.
pub(crate) struct Gradients<'a, T> {
    pub(crate) q: Option<&'a mut [T]>,
    pub(crate) k: Option<&'a mut [T]>,
    pub(crate) v: Option<&'a mut [T]>,
}

/// What the forward pass returned, and the gradient of its output, all in row-major order.
#[derive(Clone, Copy)]
pub(crate) struct Returned<'a, T> {
    pub(crate) output: &'a [T],
    pub(crate) log_sums: &'a [T],
    pub(crate) gradient: &'a [T],
}

/// Computes the gradients of queries, keys and values.
pub(crate) fn backward<T: Float>(
    job: &Job<'_, T>,
    returned: Returned<'_, T>,
    wanted: Gradients<'_, T>,
) -> Result<()> {
    let sizes = job.sizes;
    let all = [wanted.q, wanted.k, wanted.v].map(|slice| slice.map(|slice| Pieces::new(slice, 1)));
    let failure = Failure::default();
    threads::each(sizes.batch * sizes.key_heads, |unit| {
        let unit = Unit { job, returned, sequence: unit / sizes.key_heads, key_head: unit % sizes.key_heads };
        failure.note(unit.run(&all));
    });
    failure.into_result()
}

/// A sequence and a head of keys, with the query heads that share it.
pub(super) struct Unit<'a, T> {
    pub(super) job: &'a Job<'a, T>,
    pub(super) returned: Returned<'a, T>,
    pub(super) sequence: usize,
    pub(super) key_head: usize,
}

impl<T: Float> Unit<'_, T> {
    /// The rows without padding, head by head.
    fn rows(&self) -> Vec<Row> {
        let (job, group) = (self.job, self.job.sizes.group());
        let queries = job.query_length(self.sequence);
        let heads = self.key_head * group..(self.key_head + 1) * group;
        heads
            .flat_map(|head| (0..queries).map(move |query| (head, query)))
            .map(|(head, query)| Row { head, query, seen: job.keys_seen(self.sequence, query) })
            .collect()
    }

    fn run(&self, wanted: &[Option<Pieces<'_, T>>; 3]) -> Result<()> {
        let (job, sizes) = (self.job, self.job.sizes);
        let rows = self.rows();
        let (d, e) = (padded(sizes.size), padded(sizes.value_size));
        let lengths = [rows.len() * d, rows.len() * e, rows.len() * d, rows.len(), rows.len()];
        let of_keys = [TILE * d.max(e), KEYS * d, KEYS * d, KEYS * d, KEYS * e, KEYS * e];
        let caps = if job.rules.soft_cap.is_some() { QUERIES * KEYS } else { 0 };
        let of_scores = [QUERIES * KEYS, QUERIES * KEYS, caps];
        let total = lengths.iter().chain(&of_keys).chain(&of_scores).map(|len| len + PAD).sum();
        let mut buffer = Buffer::unspecified("attention_backward", total)?;
        let rest = &mut &mut buffer[..];
        let [q, g, dq, log_sums, shares] = lengths.map(|len| carve(rest, len));
        let [tile, keys, keys_across, dk, values_across, dv] = of_keys.map(|len| carve(rest, len));
        let [weights, gradients, caps] = of_scores.map(|len| carve(rest, len));
        self.pack_rows(&rows, [&mut *q, &mut *g, &mut *log_sums, &mut *shares]);
        dq.fill(T::ZERO);
        let some_blocks = blocks(&rows);
        for block in some_blocks.clone() {
            let spans = spans(&rows, block);
            let place = Place { sequence: self.sequence, head: self.key_head, block };
            let count = place.count(job);
            pack::block(job, &job.k, sizes.size, &place, keys);
            pack::across(job, &job.k, sizes.size, &place, tile, keys_across);
            pack::across(job, &job.v, sizes.value_size, &place, tile, values_across);
            dk[..count * d].fill(T::ZERO);
            dv[..count * e].fill(T::ZERO);
            for first in (0..rows.len()).step_by(QUERIES) {
                let some = first..(first + QUERIES).min(rows.len());
                let spans = &spans[some.clone()];
                if spans.iter().all(Range::is_empty) {
                    continue;
                }
                let (q, g) = (&q[first * d..some.end * d], &g[first * e..some.end * e]);
                products(spans, sizes.size, q, d, keys_across, weights);
                products(spans, sizes.value_size, g, e, values_across, gradients);
                derive(Derive {
                    block: Block {
                        job,
                        sequence: self.sequence,
                        rows: &rows[some.clone()],
                        block,
                        spans,
                        scores: &mut *weights,
                    },
                    gradients: &mut *gradients,
                    log_sums: &log_sums[some.clone()],
                    shares: &shares[some.clone()],
                    caps: &mut *caps,
                    of_products: true,
                });
                if wanted[2].is_some() {
                    over_rows(spans, count, weights, g, e, dv);
                }
                if wanted[1].is_some() {
                    over_rows(spans, count, gradients, q, d, dk);
                }
                if wanted[0].is_some() {
                    over_keys(spans, gradients, keys, d, &mut dq[first * d..some.end * d]);
                }
            }
            for (out, size, from, row) in
                [(&wanted[1], sizes.size, &*dk, d), (&wanted[2], sizes.value_size, &*dv, e)]
            {
                let Some(out) = out else { continue };
                for (i, from) in from.chunks_exact(row).take(count).enumerate() {
                    self.key_row(out, place.first() + i, size).copy_from_slice(&from[..size]);
                }
            }
        }
        self.write_rows(&rows, dq, wanted);
        // Keys that no query attends to.
        for (out, size) in [(&wanted[1], sizes.size), (&wanted[2], sizes.value_size)] {
            let Some(out) = out else { continue };
            let end = (some_blocks.end * KEYS).min(job.key_length(self.sequence));
            for key in (0..some_blocks.start * KEYS).chain(end..sizes.keys) {
                self.key_row(out, key, size).fill(T::ZERO);
            }
        }
        Ok(())
    }

    /// Gathers scaled queries, gradients of the output, log-sum-exps, and for each row its output times its gradient.
    pub(super) fn pack_rows(&self, rows: &[Row], [q, g, log_sums, shares]: [&mut [T]; 4]) {
        dispatch(Queries { job: self.job, sequence: self.sequence, rows, out: q });
        dispatch(Outputs { unit: self, rows, g, log_sums, shares });
    }

    /// The row of a gradient that is like the keys or values.
    fn key_row<'a>(&self, out: &Pieces<'a, T>, key: usize, size: usize) -> &'a mut [T] {
        let sizes = self.job.sizes;
        let at = (self.sequence * sizes.keys + key) * sizes.key_heads + self.key_head;
        // SAFETY: a sequence's rows of one head belong to one unit, which writes each once, before it asks for the next.
        unsafe { out.part(at * size, size) }
    }

    /// Writes the gradients of the queries, and zeros for those beyond the sequence's length.
    fn write_rows(&self, rows: &[Row], dq: &[T], wanted: &[Option<Pieces<'_, T>>; 3]) {
        let (job, sizes) = (self.job, self.job.sizes);
        let Some(out) = &wanted[0] else { return };
        let row_of = |head: usize, query: usize| {
            let at = (self.sequence * sizes.queries + query) * sizes.heads + head;
            // SAFETY: a sequence's queries of these heads belong to one unit, which writes each once.
            unsafe { out.part(at * sizes.size, sizes.size) }
        };
        dispatch(Scaled { rows, from: dq, size: sizes.size, scale: job.rules.scale, row_of });
        for head in self.key_head * sizes.group()..(self.key_head + 1) * sizes.group() {
            for query in job.query_length(self.sequence)..sizes.queries {
                row_of(head, query).fill(T::ZERO);
            }
        }
    }
}

/// Writes rows times the scale, each where `row_of` its head and query says.
struct Scaled<'a, T, F> {
    rows: &'a [Row],
    from: &'a [T],
    size: usize,
    scale: f64,
    row_of: F,
}

impl<'o, T: Float, F: Fn(usize, usize) -> &'o mut [T]> Kernel for Scaled<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let scale = T::from_f64(self.scale);
        for (row, from) in self.rows.iter().zip(self.from.chunks_exact(padded(self.size))) {
            pack::scaled::<S, T>(&from[..self.size], scale, (self.row_of)(row.head, row.query));
        }
    }
}

/// What rows of the output and its gradient give: the gradients, padded, the log-sum-exps, and output times gradient.
struct Outputs<'a, T> {
    unit: &'a Unit<'a, T>,
    rows: &'a [Row],
    g: &'a mut [T],
    log_sums: &'a mut [T],
    shares: &'a mut [T],
}

impl<T: Float> Kernel for Outputs<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (sizes, sequence, returned) = (self.unit.job.sizes, self.unit.sequence, self.unit.returned);
        let size = sizes.value_size;
        let results = self.log_sums.iter_mut().zip(self.shares);
        let rows = self.rows.iter().zip(self.g.chunks_exact_mut(padded(size)));
        for ((row, g), (log_sum, share)) in rows.zip(results) {
            let at = (sequence * sizes.queries + row.query) * sizes.heads + row.head;
            let (real, rest) = g.split_at_mut(size);
            pack::scaled::<S, T>(&returned.gradient[at * size..][..size], T::ONE, real);
            rest.fill(T::ZERO);
            *share = dot::<S, T>(real, &returned.output[at * size..][..size]);
            let at = (sequence * sizes.heads + row.head) * sizes.queries + row.query;
            *log_sum = returned.log_sums[at];
        }
    }
}

/// The sum of products of two rows, lane by lane, and then the lanes.
#[inline(always)]
fn dot<S: Isa, T: Float>(a: &[T], b: &[T]) -> T {
    let mut sum = T::Vector::<S>::splat(T::ZERO);
    let ((a, a_rest), (b, b_rest)) = (T::Vector::<S>::chunks(a), T::Vector::<S>::chunks(b));
    for (a, b) in a.iter().zip(b) {
        sum = T::Vector::<S>::load(a).mul_add(T::Vector::<S>::load(b), sum);
    }
    a_rest.iter().zip(b_rest).fold(sum.sum(), |sum, (&a, &b)| sum + a * b)
}

/// `out[key] += Σ scores[row][key] from[row]` over the rows that look into a tile of keys, in their order.
fn over_rows<T: Float>(
    spans: &[Range<usize>],
    keys: usize,
    scores: &[T],
    from: &[T],
    width: usize,
    out: &mut [T],
) {
    let (keys, tall) = if is_even(spans) { (hull(spans), KEYS) } else { (0..keys, height::<T>(width)) };
    for first in keys.clone().step_by(tall) {
        let end = (first + tall).min(keys.end);
        let looks = |span: &Range<usize>| span.start < end && span.end > first && !span.is_empty();
        let (Some(start), Some(last)) = (spans.iter().position(looks), spans.iter().rposition(looks)) else {
            continue;
        };
        let left = Left { data: &scores[start * KEYS + first..], row: 1, step: KEYS };
        let right = Right { data: &from[start * width..], row: width };
        let sums = Sums { data: &mut out[first * width..], row: width, accumulate: true };
        product([end - first, width, last + 1 - start], left, right, sums);
    }
}

/// `out[row] += Σ scores[row][key] from[key]` over the keys that a tile of rows looks at, in their order.
fn over_keys<T: Float>(spans: &[Range<usize>], scores: &[T], from: &[T], width: usize, out: &mut [T]) {
    let tall = if is_even(spans) { QUERIES } else { height::<T>(width) };
    for first in (0..spans.len()).step_by(tall) {
        let end = (first + tall).min(spans.len());
        let keys = hull(&spans[first..end]);
        if !keys.is_empty() {
            let left = Left { data: &scores[first * KEYS + keys.start..], row: KEYS, step: 1 };
            let right = Right { data: &from[keys.start * width..], row: width };
            let sums = Sums { data: &mut out[first * width..], row: width, accumulate: true };
            product([end - first, width, keys.len()], left, right, sums);
        }
    }
}
