//! The forward pass: weighted values with a running softmax, a block of keys at a time.

use std::ops::Range;

use super::few;
use super::merge::{Merge, Running};
use super::pack::{self, Place, Queries, carve, padded};
use super::scores::{Block, Row, Weigh, weigh};
use super::seen::{blocks, common, hull, is_even, registers, spans};
use super::tile::{Left, Right, Sums, height, product};
use super::{Job, KEYS, PAD, QUERIES};
use crate::cpu::buffer::Buffer;
use crate::cpu::threads::{self, Failure, Pieces};
use crate::cpu::transpose::TILE;
use crate::cpu::{Isa, Kernel, dispatch};
use crate::{Float, Result};

/// Queries of a head that are one unit of work: enough that packing the keys for them does not count.
const MOST_QUERIES: usize = 16 * QUERIES;
/// Units for each thread that even out what causal masks make uneven.
const UNITS: usize = 8;

/// Attention's result `[batch, queries, heads, value size]`, and the logarithm of each row's sum of exponentials, `[batch, heads,
/// queries]`, -∞ for a row that attends to nothing.
pub(crate) fn forward<T: Float>(job: &Job<'_, T>, out: &mut [T], log_sums: &mut [T]) -> Result<()> {
    let sizes = job.sizes;
    let heads = sizes.batch * sizes.key_heads;
    if out.is_empty() || heads == 0 {
        return Ok(());
    }
    if few::is_better(job, heads) {
        return few::forward(job, out, log_sums);
    }
    // A row's result does not depend on the rows beside it, so the number of threads may decide how many there are.
    let even = (heads * sizes.queries).div_ceil(UNITS * threads::num_threads());
    let queries = even.next_multiple_of(QUERIES).min(MOST_QUERIES);
    let parts = sizes.queries.div_ceil(queries);
    let (out, log_sums) = (Pieces::new(out, 1), Pieces::new(log_sums, 1));
    let failure = Failure::default();
    threads::each(heads * parts, |unit| {
        let (head, part) = (unit / parts, unit % parts);
        let first = part * queries;
        let unit = Unit {
            job,
            sequence: head / sizes.key_heads,
            key_head: head % sizes.key_heads,
            queries: first..(first + queries).min(sizes.queries),
        };
        failure.note(unit.run(&out, &log_sums));
    });
    failure.into_result()
}

/// Some queries of the heads that share a head of keys.
pub(super) struct Unit<'a, T> {
    pub(super) job: &'a Job<'a, T>,
    pub(super) sequence: usize,
    pub(super) key_head: usize,
    pub(super) queries: Range<usize>,
}

impl<T: Float> Job<'_, T> {
    /// Whether values are read from where they lie, which must be in whole registers: for so few rows that they are read once.
    pub(super) fn values_in_place(&self, rows: usize) -> bool {
        let (size, strides) = (self.sizes.value_size, self.v.strides);
        let whole = strides[3] == 1 && strides[1] > 0 && size.is_multiple_of(PAD);
        whole && rows <= height::<T>(size)
    }
}

impl<T: Float> Unit<'_, T> {
    /// The rows that there is something to compute for: head by head, without padding.
    pub(super) fn rows(&self) -> Vec<Row> {
        let (job, group) = (self.job, self.job.sizes.group());
        let end = self.queries.end.min(job.query_length(self.sequence));
        let heads = self.key_head * group..(self.key_head + 1) * group;
        heads
            .flat_map(|head| (self.queries.start..end).map(move |query| (head, query)))
            .map(|(head, query)| Row { head, query, seen: job.keys_seen(self.sequence, query) })
            .collect()
    }

    fn run(&self, out: &Pieces<'_, T>, log_sums: &Pieces<'_, T>) -> Result<()> {
        let (job, sizes) = (self.job, self.job.sizes);
        let rows = self.rows();
        let (d, e) = (padded(sizes.size), padded(sizes.value_size));
        let in_place = job.values_in_place(rows.len());
        let lengths = [rows.len() * d, rows.len() * e, rows.len(), rows.len()];
        let of_keys = [TILE * d, KEYS * d, if in_place { 0 } else { KEYS * e }];
        let of_block = [QUERIES * KEYS, QUERIES * e, QUERIES, QUERIES];
        let total = lengths.iter().chain(&of_keys).chain(&of_block).map(|len| len + PAD).sum();
        let mut buffer = Buffer::unspecified("attention", total)?;
        let rest = &mut &mut buffer[..];
        let [q, sums, greatest, totals] = lengths.map(|len| carve(rest, len));
        let [tile, keys, packed] = of_keys.map(|len| carve(rest, len));
        let [scores, new, new_greatest, new_totals] = of_block.map(|len| carve(rest, len));
        dispatch(Queries { job, sequence: self.sequence, rows: &rows, out: &mut *q });
        let mut all = Running { out: sums, greatest, sums: totals };
        all.begin();
        for block in blocks(&rows) {
            let spans = spans(&rows, block);
            let place = Place { sequence: self.sequence, head: self.key_head, block };
            pack::across(job, &job.k, sizes.size, &place, tile, keys);
            let (values, finite) = if in_place {
                (self.values(&place), false)
            } else {
                pack::block(job, &job.v, sizes.value_size, &place, packed);
                let finite = !is_even(&spans) && pack::is_finite(&packed[..place.count(job) * e]);
                (Right { data: &*packed, row: e }, finite)
            };
            for first in (0..rows.len()).step_by(QUERIES) {
                let some = first..(first + QUERIES).min(rows.len());
                let spans = &spans[some.clone()];
                if spans.iter().all(Range::is_empty) {
                    continue;
                }
                products(spans, sizes.size, &q[first * d..], d, keys, scores);
                let into = Running {
                    out: &mut all.out[first * e..some.end * e],
                    greatest: &mut all.greatest[some.clone()],
                    sums: &mut all.sums[some.clone()],
                };
                let weigh_into = |into: &mut Running<'_, T>| {
                    let rows = &rows[some];
                    let sequence = self.sequence;
                    weigh(Weigh {
                        block: Block { job, sequence, rows, block, spans, scores: &mut *scores },
                        greatest: &mut *into.greatest,
                        sums: &mut *into.sums,
                    });
                    weighted_values(spans, scores, (values, finite), e, into.out);
                };
                add(into, weigh_into, [&mut *new, &mut *new_greatest, &mut *new_totals], e);
            }
        }
        dispatch(Write { unit: self, rows: &rows, sums: all, out, log_sums });
        self.pad(out, log_sums);
        Ok(())
    }

    /// A block's values where they lie.
    pub(super) fn values(&self, place: &Place) -> Right<'_, T> {
        let v = &self.job.v;
        let start = v.at([self.sequence, place.first(), self.key_head, 0]);
        Right { data: &v.data[start..], row: v.strides[1] as usize }
    }

    /// Zeros for the queries beyond the sequence's length.
    pub(super) fn pad(&self, out: &Pieces<'_, T>, log_sums: &Pieces<'_, T>) {
        let sizes = self.job.sizes;
        let first = self.job.query_length(self.sequence).clamp(self.queries.start, self.queries.end);
        let width = sizes.group() * sizes.value_size;
        for query in first..self.queries.end {
            let at = (self.sequence * sizes.queries + query) * sizes.heads * sizes.value_size;
            // SAFETY: the heads of a group stand side by side, and these rows are asked for nowhere else.
            unsafe { out.part(at + self.key_head * width, width) }.fill(T::ZERO);
            for head in self.key_head * sizes.group()..(self.key_head + 1) * sizes.group() {
                let at = (self.sequence * sizes.heads + head) * sizes.queries + query;
                // SAFETY: as above.
                unsafe { log_sums.part(at, 1) }.fill(T::NEG_INFINITY);
            }
        }
    }
}

/// Adds what `compute` makes of a block: in place where there is nothing yet, and else by way of `scratch`.
fn add<T: Float>(
    mut into: Running<'_, T>,
    compute: impl FnOnce(&mut Running<'_, T>),
    [out, greatest, sums]: [&mut [T]; 3],
    row: usize,
) {
    if into.is_empty() {
        return compute(&mut into);
    }
    let rows = into.greatest.len();
    let mut block =
        Running { out: &mut out[..rows * row], greatest: &mut greatest[..rows], sums: &mut sums[..rows] };
    block.begin();
    compute(&mut block);
    dispatch(Merge { block, into, row });
}

/// Divides the weighted values of rows by their sums of weights, and writes both.
pub(super) struct Write<'a, 'o, T> {
    pub(super) unit: &'a Unit<'a, T>,
    pub(super) rows: &'a [Row],
    pub(super) sums: Running<'a, T>,
    pub(super) out: &'a Pieces<'o, T>,
    pub(super) log_sums: &'a Pieces<'o, T>,
}

impl<T: Float> Kernel for Write<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (sizes, sequence) = (self.unit.job.sizes, self.unit.sequence);
        let Running { out: sums, greatest, sums: totals } = self.sums;
        for (most, &total) in greatest.iter_mut().zip(&*totals) {
            *most += total.ln::<S>();
        }
        let sums = sums.chunks_exact(padded(sizes.value_size));
        for ((row, sums), (&log, &total)) in self.rows.iter().zip(sums).zip(greatest.iter().zip(&*totals)) {
            let at = (sequence * sizes.queries + row.query) * sizes.heads + row.head;
            // SAFETY: a row of queries and its heads belong to one unit, and each is asked for once.
            let out = unsafe { self.out.part(at * sizes.value_size, sizes.value_size) };
            if total == T::ZERO {
                out.fill(T::ZERO);
            } else {
                pack::scaled::<S, T>(&sums[..sizes.value_size], T::ONE / total, out);
            }
            let at = (sequence * sizes.heads + row.head) * sizes.queries + row.query;
            // SAFETY: as above.
            let log_sum = unsafe { self.log_sums.part(at, 1) };
            log_sum[0] = log;
        }
    }
}

/// The products of rows of queries, `step` elements apart, with a block of keys, `[size, KEYS]`: for each few rows of those registers
/// that any of them looks into. With gradients of the output and values they are the gradients of the weights.
pub(super) fn products<T: Float>(
    spans: &[Range<usize>],
    size: usize,
    rows: &[T],
    step: usize,
    across: &[T],
    out: &mut [T],
) {
    // Whole tiles of all heights.
    const ROWS: usize = 12;
    let tall = if is_even(spans) { spans.len() } else { ROWS };
    for first in (0..spans.len()).step_by(tall) {
        let spans = &spans[first..(first + tall).min(spans.len())];
        let keys = registers(&hull(spans));
        if !keys.is_empty() {
            let left = Left { data: &rows[first * step..], row: step, step: 1 };
            let right = Right { data: &across[keys.start..], row: KEYS };
            let sums = Sums { data: &mut out[first * KEYS + keys.start..], row: KEYS, accumulate: false };
            product([spans.len(), keys.len(), size], left, right, sums);
        }
    }
}

/// Adds to each row of `out` the values that it attends to, times their weights, in the order of the keys. What a row does not
/// attend to has a weight of 0, which changes no sum where values are known to be `finite`; else it is not touched. Rows that all attend
/// to the same are one product.
pub(super) fn weighted_values<T: Float>(
    spans: &[Range<usize>],
    weights: &[T],
    (values, finite): (Right<'_, T>, bool),
    width: usize,
    out: &mut [T],
) {
    let mut add = |rows: Range<usize>, keys: Range<usize>| {
        if !keys.is_empty() {
            let left = Left { data: &weights[rows.start * KEYS + keys.start..], row: KEYS, step: 1 };
            let right = Right { data: &values.data[keys.start * values.row..], row: values.row };
            let sums = Sums { data: &mut out[rows.start * width..], row: width, accumulate: true };
            product([rows.len(), width, keys.len()], left, right, sums);
        }
    };
    if is_even(spans) {
        return add(0..spans.len(), hull(spans));
    }
    let tall = height::<T>(width);
    for first in (0..spans.len()).step_by(tall) {
        let rows = first..(first + tall).min(spans.len());
        if finite {
            add(rows.clone(), hull(&spans[rows]));
            continue;
        }
        let all = common(&spans[rows.clone()]);
        if all.is_empty() {
            rows.for_each(|r| add(r..r + 1, spans[r].clone()));
            continue;
        }
        rows.clone().for_each(|r| add(r..r + 1, spans[r].start..all.start));
        add(rows.clone(), all.clone());
        rows.for_each(|r| add(r..r + 1, all.end..spans[r].end));
    }
}
