//! Recurrences over whole sequences: RNN, LSTM and GRU, forward and backward through time.
//!
//! The sequences of a batch do not know of each other, so the batch is cut into chunks of some sequences, and a thread
//! takes a chunk through all steps: threads meet once a layer, not once a step, and states and weights stay in the core's
//! own cache. Within a chunk,
//!
//! - the input's part of all gates at all steps is one matrix product (as cuDNN does it: Appleyard et al. 2016);
//! - each step is a small product with the recurrent weights, packed once ([`product`]), and one pass over the gates
//!   ([`cells`]); a GRU that resets before the product has two of each;
//! - the way back does the steps the other way round, and then the gradients of the weights and of the input as one
//!   product each over all steps.
//!
//! The chunks' gradients of the weights are added in their order. Chunks depend on the size of the batch alone, so the bits
//! do not depend on the number of threads.
//!
//! Arrays are batch-major, `[batch, time, …]`: a chunk is a run of memory, and the large products need no copies.
//!
//! Beyond its length, and before its start, a sequence keeps its state, its outputs are zero, and no gradient goes into or
//! comes out of its padding, whatever stands there. Running in reverse starts at the last step within the length. A chunk's
//! steps are those of its longest sequence.

mod cells;
mod product;
mod weights;

use std::ops::Range;

use cells::{Backward, Cell, Forward, Gru, GruResetBefore, Lstm, Relu, Reset, ResetBackward, Tanh};
use product::padded;
use weights::Weights;

use crate::cpu::buffer::Buffer;
use crate::cpu::gemm::{Mat, gemm};
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Float, Recurrence, Result};

/// Most chunks of a batch.
const CHUNKS: usize = 8;
/// Sequences of a chunk are a multiple of this, so that register tiles are full.
const ROWS: usize = 16;

/// Sizes and direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) reverse: bool,
    /// Whether the output holds h of every step …
    pub(crate) every_step: bool,
    /// … and how many of the final states (h, then c) follow.
    pub(crate) states: usize,
}

impl Geometry {
    /// Sequences in a chunk.
    fn rows(&self) -> usize {
        self.batch.div_ceil(CHUNKS).max(1).next_multiple_of(ROWS)
    }

    fn chunks(&self) -> usize {
        self.batch.div_ceil(self.rows())
    }

    /// Numbers of the output for one sequence.
    pub(crate) fn output(&self) -> usize {
        (if self.every_step { self.steps } else { 0 } + self.states) * self.units
    }

    /// Where h of a step stands in a sequence's output.
    fn at(&self, step: usize) -> usize {
        step * self.units
    }

    /// Where a final state stands in a sequence's output.
    fn state_at(&self, state: usize) -> usize {
        (if self.every_step { self.steps } else { 0 } + state) * self.units
    }

    /// The step done as the `i`-th.
    #[inline(always)]
    fn step(&self, i: usize) -> usize {
        if self.reverse { self.steps - 1 - i } else { i }
    }
}

/// What a recurrence is computed from. All contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, T> {
    /// `[batch, steps, inputs]`
    pub(crate) x: &'a [T],
    /// `[inputs, gates units]`
    pub(crate) weight: &'a [T],
    /// `[units, gates units]`
    pub(crate) recurrent: &'a [T],
    /// `[biases units]`
    pub(crate) bias: Option<&'a [T]>,
    /// States before the first step, `[batch, units]`; zeros where there are none.
    pub(crate) hidden: Option<&'a [T]>,
    pub(crate) cell: Option<&'a [T]>,
    /// Steps of each sequence; all where there are none.
    pub(crate) lengths: Option<&'a [u32]>,
    /// First step of each sequence; 0 where there are none.
    pub(crate) starts: Option<&'a [u32]>,
    /// Factors of h in the recurrent product, `[batch, units]`.
    pub(crate) mask: Option<&'a [T]>,
}

impl<T> Operands<'_, T> {
    /// Whether there is padding.
    fn is_padded(&self) -> bool {
        self.lengths.is_some() || self.starts.is_some()
    }

    /// The steps of a sequence, of `steps` with its padding.
    #[inline(always)]
    fn range(&self, sequence: usize, steps: usize) -> Range<usize> {
        let at = |list: Option<&[u32]>, or| list.map_or(or, |list| list[sequence] as usize);
        at(self.starts, 0)..at(self.lengths, steps)
    }

    /// Whether a step is one of a sequence's, not padding.
    #[inline(always)]
    fn is_within(&self, sequence: usize, step: usize) -> bool {
        self.range(sequence, usize::MAX).contains(&step)
    }

    /// Steps of the longest of a chunk's sequences.
    fn longest(&self, first: usize, count: usize, steps: usize) -> usize {
        let longest = self.lengths.and_then(|lengths| lengths[first..][..count].iter().max());
        longest.map_or(steps, |&longest| longest as usize)
    }
}

/// What the forward pass leaves for the way back.
pub(crate) struct Saved<'a, T> {
    /// Gates after their activations, `[batch, steps, gates units]`.
    pub(crate) gates: &'a mut [T],
    /// `[batch, steps, units]`, or empty.
    pub(crate) kept: &'a mut [T],
    /// h before each step, `[batch, steps, units]`.
    pub(crate) before: &'a mut [T],
}

/// Gradients to be computed, each where it is wanted.
pub(crate) struct Gradients<'a, T> {
    pub(crate) x: Option<&'a mut [T]>,
    pub(crate) weight: Option<&'a mut [T]>,
    pub(crate) recurrent: Option<&'a mut [T]>,
    pub(crate) bias: Option<&'a mut [T]>,
    pub(crate) hidden: Option<&'a mut [T]>,
    pub(crate) cell: Option<&'a mut [T]>,
}

/// Calls a function of a cell for a kind.
macro_rules! with_cell {
    ($kind:expr, $function:ident($($argument:expr),*)) => {
        match $kind {
            Recurrence::Tanh => $function(Tanh, $($argument),*),
            Recurrence::Relu => $function(Relu, $($argument),*),
            Recurrence::Lstm => $function(Lstm, $($argument),*),
            Recurrence::Gru => $function(Gru, $($argument),*),
            Recurrence::GruResetBefore => $function(GruResetBefore, $($argument),*),
        }
    };
}

/// Whether the kind keeps a value for each unit and step beside its gates.
pub(crate) fn keeps(kind: Recurrence) -> bool {
    fn of<C: Cell>(_: C) -> bool {
        C::KEEPS
    }
    with_cell!(kind, of())
}

/// Runs all sequences; `out` is `[batch, …]` as the geometry says.
pub(crate) fn forward<T: Float>(
    kind: Recurrence,
    geometry: &Geometry,
    operands: &Operands<'_, T>,
    saved: Saved<'_, T>,
    out: &mut [T],
) -> Result<()> {
    with_cell!(kind, forward_as(geometry, operands, saved, out))
}

/// Goes back over all sequences, given the gradient of the output.
pub(crate) fn backward<T: Float>(
    kind: Recurrence,
    geometry: &Geometry,
    operands: &Operands<'_, T>,
    saved: &[&[T]; 3],
    gradient: &[T],
    wanted: Gradients<'_, T>,
) -> Result<()> {
    with_cell!(kind, backward_as(geometry, operands, saved, gradient, wanted))
}

/// A row-major matrix that is all of a slice.
fn matrix<T>(data: &[T], columns: usize) -> Mat<'_, T> {
    Mat { data, offset: 0, row_step: columns as isize, column_step: 1 }
}

/// Its transpose.
fn transposed<T>(data: &[T], columns: usize) -> Mat<'_, T> {
    Mat { data, offset: 0, row_step: 1, column_step: columns as isize }
}

/// Row `i` of rows of `len`.
#[inline(always)]
fn row<T>(data: &[T], i: usize, len: usize) -> &[T] {
    &data[i * len..][..len]
}

#[inline(always)]
fn row_mut<T>(data: &mut [T], i: usize, len: usize) -> &mut [T] {
    &mut data[i * len..][..len]
}

fn forward_as<T: Float, C: Cell>(
    cell: C,
    g: &Geometry,
    operands: &Operands<'_, T>,
    saved: Saved<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let op = "recurrent";
    let (units, width) = (g.units, C::GATES * g.units);
    let weights = Weights::<T, C>::ahead(op, units, operands.recurrent)?;
    let begin = weights.begin(operands.bias);
    let (rows, kept) = (g.rows(), if C::KEEPS { units } else { 0 });
    // h, c, h times its mask, and the recurrent products.
    let scratch_row = 3 * units + weights.row_of_hidden() + weights.row_of_reset();
    let mut scratch = Buffer::dirty(op, g.chunks() * rows * scratch_row)?;
    let sizes = [g.output(), g.steps * width, g.steps * kept, g.steps * units, scratch_row].map(|n| n * rows);
    let Saved { gates, kept, before } = saved;
    threads::split_all([out, gates, kept, before, &mut scratch], sizes, g.chunks(), |i, parts| {
        let [out, gates, kept, before, scratch] = parts;
        let first = i * rows;
        let count = rows.min(g.batch - first);
        project(g, operands, first, count, width, gates);
        dispatch(Ahead {
            cell,
            begin: &begin,
            g,
            operands,
            weights: &weights,
            first,
            count,
            out,
            gates,
            kept,
            before,
            scratch,
        });
    });
    Ok(())
}

/// The input's part of the gates of `count` sequences at all steps: x W.
fn project<T: Float>(
    g: &Geometry,
    operands: &Operands<'_, T>,
    first: usize,
    count: usize,
    width: usize,
    gates: &mut [T],
) {
    let lines = g.steps * g.inputs;
    let x = &operands.x[first * lines..][..count * lines];
    let (x, weight) = (matrix(x, g.inputs), matrix(operands.weight, width));
    gemm((count * g.steps, g.inputs, width), x, weight, gates, false);
}

/// The steps of a chunk.
struct Ahead<'a, T: Float, C> {
    cell: C,
    /// What the recurrent products begin with: the bias, in whole panels.
    begin: &'a [Vec<T>; 2],
    g: &'a Geometry,
    operands: &'a Operands<'a, T>,
    weights: &'a Weights<T, C>,
    /// Its sequences.
    first: usize,
    count: usize,
    out: &'a mut [T],
    gates: &'a mut [T],
    kept: &'a mut [T],
    before: &'a mut [T],
    scratch: &'a mut [T],
}

impl<T: Float, C: Cell> Kernel for Ahead<'_, T, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Ahead {
            cell: kind,
            begin,
            g,
            operands,
            weights,
            first,
            count,
            out,
            gates,
            kept,
            before,
            scratch,
        } = self;
        let (units, steps, width) = (g.units, g.steps, C::GATES * g.units);
        let (hidden, rest) = scratch.split_at_mut(count * units);
        let (cell, rest) = rest.split_at_mut(count * units);
        let (masked, product) = rest.split_at_mut(count * units);
        let row_of_product = weights.row_of_hidden();
        let (product, of_reset) = product.split_at_mut(count * row_of_product);
        start(operands.hidden, first, units, hidden);
        start(operands.cell, first, units, cell);
        let extra = match operands.bias {
            Some(bias) if C::BIASES > C::GATES => &bias[width - units..width],
            _ => &[],
        };
        let output = g.output();
        let longest = operands.longest(first, count, steps);
        for i in 0..steps {
            let t = g.step(i);
            if t >= longest {
                for r in 0..count {
                    row_mut(before, r * steps + t, units).fill(T::ZERO);
                    if C::KEEPS {
                        row_mut(kept, r * steps + t, units).fill(T::ZERO);
                    }
                    if g.every_step {
                        out[r * output + g.at(t)..][..units].fill(T::ZERO);
                    }
                }
                continue;
            }
            for r in 0..count {
                row_mut(before, r * steps + t, units).copy_from_slice(row(hidden, r, units));
            }
            let seen = match operands.mask {
                Some(mask) => {
                    let mask = &mask[first * units..][..count * units];
                    masked.iter_mut().zip(mask).zip(&*hidden).for_each(|((o, &m), &h)| *o = m * h);
                    &*masked
                }
                None => &*hidden,
            };
            if i == 0 && operands.hidden.is_none() {
                for line in product.chunks_exact_mut(row_of_product.max(1)) {
                    if begin[0].is_empty() { line.fill(T::ZERO) } else { line.copy_from_slice(&begin[0]) }
                }
            } else {
                weights.of_hidden.product::<S>(seen, units, count, &begin[0], product);
            }
            if let Some(weights) = &weights.of_reset {
                for r in 0..count {
                    let at = r * steps + t;
                    kind.reset::<T, S>(Reset {
                        gates: row_mut(gates, at, width),
                        product: row(product, r, row_of_product),
                        hidden: row(seen, r, units),
                        kept: row_mut(kept, at, units),
                    });
                }
                weights.product::<S>(&kept[t * units..], steps * units, count, &begin[1], of_reset);
            }
            let last_product =
                if C::RESETS { (&*of_reset, padded(units)) } else { (&*product, row_of_product) };
            for r in 0..count {
                let at = r * steps + t;
                let within = operands.is_within(first + r, t);
                if within {
                    kind.forward::<T, S>(Forward {
                        gates: row_mut(gates, at, width),
                        product: row(last_product.0, r, last_product.1),
                        bias: extra,
                        kept: if C::KEEPS { row_mut(kept, at, units) } else { &mut [] },
                        hidden: row_mut(hidden, r, units),
                        cell: row_mut(cell, r, units),
                    });
                } else if C::KEEPS {
                    row_mut(kept, at, units).fill(T::ZERO);
                }
                if g.every_step {
                    let to = &mut out[r * output + g.at(t)..][..units];
                    if within {
                        to.copy_from_slice(row(hidden, r, units));
                    } else {
                        to.fill(T::ZERO);
                    }
                }
            }
        }
        for r in 0..count {
            for (state, values) in [&*hidden, &*cell].into_iter().enumerate().take(g.states) {
                out[r * output + g.state_at(state)..][..units].copy_from_slice(row(values, r, units));
            }
        }
    }
}

/// The states of a chunk before the first step.
#[inline(always)]
fn start<T: Float>(given: Option<&[T]>, first: usize, units: usize, state: &mut [T]) {
    match given {
        Some(given) => state.copy_from_slice(&given[first * units..][..state.len()]),
        None => state.fill(T::ZERO),
    }
}

fn backward_as<T: Float, C: Cell>(
    cell: C,
    g: &Geometry,
    operands: &Operands<'_, T>,
    saved: &[&[T]; 3],
    gradient: &[T],
    wanted: Gradients<'_, T>,
) -> Result<()> {
    let op = "recurrent_backward";
    let (units, width, lines) = (g.units, C::GATES * g.units, g.steps * g.inputs);
    let weights = Weights::<T, C>::back(op, units, operands.recurrent)?;
    let (rows, chunks) = (g.rows(), g.chunks());
    let Gradients { x, weight, recurrent, bias, hidden, cell: cell_gradient } = wanted;
    // The chunks' gradients of the weights, side by side.
    let parts = [
        (weight.is_some(), g.inputs * width),
        (recurrent.is_some(), units * width),
        (bias.is_some(), C::BIASES * units),
    ]
    .map(|(wanted, len)| if wanted { len } else { 0 });
    let sum_len = parts.iter().sum::<usize>();
    let mut sums = Buffer::dirty(op, chunks * sum_len)?;
    // Gradients of the gates, and of the recurrent product where it differs; h times its mask; x without what stands in
    // the padding; the product.
    let apart = if C::APART { g.steps * width } else { 0 };
    let masked = if operands.mask.is_some() { g.steps * units } else { 0 };
    let cleaned = if operands.is_padded() && parts[0] > 0 { lines } else { 0 };
    let scratch_row = g.steps * width + apart + masked + cleaned + padded(units);
    let mut scratch = Buffer::dirty(op, chunks * rows * scratch_row)?;
    let mut states = Buffer::dirty(op, 2 * chunks * rows * units)?;
    let (wants_x, wants_hidden) = (x.is_some(), hidden.is_some());
    let x = x.unwrap_or_default();
    let sizes = [if wants_x { rows * lines } else { 0 }, rows * scratch_row, 2 * rows * units, sum_len];
    threads::split_all([x, &mut scratch, &mut states, &mut sums], sizes, chunks, |i, pieces| {
        let [dx, scratch, states, sums] = pieces;
        let first = i * rows;
        let count = rows.min(g.batch - first);
        let (input, rest) = scratch.split_at_mut(count * g.steps * width);
        let (separate, rest) = rest.split_at_mut(count * apart);
        let (masked, rest) = rest.split_at_mut(count * masked);
        let (cleaned, product) = rest.split_at_mut(count * cleaned);
        let [gates, kept, before] = [(0, width), (1, if C::KEEPS { units } else { 0 }), (2, units)]
            .map(|(k, len)| &saved[k][first * g.steps * len..][..count * g.steps * len]);
        let range = (first, count);
        dispatch(Back {
            cell,
            g,
            operands,
            weights: &weights,
            range,
            wants_hidden,
            gradient,
            gates,
            kept,
            before,
            states,
            input,
            separate,
            product,
        });
        let gates = &*input;
        if wants_x {
            let (rows, weight) = (count * g.steps, transposed(operands.weight, width));
            gemm((rows, width, g.inputs), matrix(gates, width), weight, dx, false);
        }
        let chunk = Chunk {
            x: padding_cleared(g, operands, range, cleaned),
            h: hidden_masked(g, operands, range, before, masked),
            kept,
            gates,
            separate,
        };
        chunk.weight_gradients::<C>(g, parts, sums);
    });
    let mut at = 0;
    for (out, len) in [weight, recurrent, bias].into_iter().zip(parts) {
        if let Some(out) = out {
            add_chunks(&sums, sum_len, at, out);
        }
        at += len;
    }
    // A chunk's states: gradients of h of all its sequences, then of c.
    for (k, out) in [hidden, cell_gradient].into_iter().enumerate() {
        let Some(out) = out else { continue };
        if units == 0 {
            continue;
        }
        for (i, out) in out.chunks_mut(rows * units).enumerate() {
            out.copy_from_slice(&states[i * 2 * rows * units + k * out.len()..][..out.len()]);
        }
    }
    Ok(())
}

/// `out` = the sum of the chunks' parts that begin at `at`, in the order of the chunks.
fn add_chunks<T: Float>(sums: &[T], stride: usize, at: usize, out: &mut [T]) {
    out.fill(T::ZERO);
    let chunks = sums.len().checked_div(stride).unwrap_or(0);
    threads::split_units(out, 1, chunks, |first, out| {
        for i in 0..chunks {
            let part = &sums[i * stride + at + first..][..out.len()];
            out.iter_mut().zip(part).for_each(|(o, &x)| *o += x);
        }
        false
    });
}

/// x of the sequences `first ..` of a chunk; where there is padding, a copy with zeros in the padding, since zero times
/// what stands there could be NaN.
fn padding_cleared<'a, T: Float>(
    g: &Geometry,
    operands: &Operands<'a, T>,
    (first, count): (usize, usize),
    copy: &'a mut [T],
) -> &'a [T] {
    let line = g.steps * g.inputs;
    let x = &operands.x[first * line..][..count * line];
    if copy.is_empty() {
        return x;
    }
    copy.fill(T::ZERO);
    for (r, (to, from)) in copy.chunks_exact_mut(line).zip(x.chunks_exact(line)).enumerate() {
        let steps = operands.range(first + r, g.steps);
        let numbers = steps.start * g.inputs..steps.end * g.inputs;
        to[numbers.clone()].copy_from_slice(&from[numbers]);
    }
    copy
}

/// h before each step of a chunk, times its mask if there is one.
fn hidden_masked<'a, T: Float>(
    g: &Geometry,
    operands: &Operands<'_, T>,
    (first, _): (usize, usize),
    before: &'a [T],
    masked: &'a mut [T],
) -> &'a [T] {
    let Some(mask) = operands.mask else { return before };
    for (at, line) in masked.chunks_exact_mut(g.units.max(1)).enumerate() {
        let mask = row(mask, first + at / g.steps, g.units);
        let h = row(before, at, g.units);
        line.iter_mut().zip(mask).zip(h).for_each(|((o, &m), &h)| *o = m * h);
    }
    masked
}

/// What the gradients of the weights are computed from: a chunk's lines, one for each sequence and step.
struct Chunk<'a, T> {
    x: &'a [T],
    /// h before the step, as the recurrent product saw it.
    h: &'a [T],
    kept: &'a [T],
    /// Gradients of x W + b …
    gates: &'a [T],
    /// … and of h U, where they differ.
    separate: &'a [T],
}

impl<T: Float> Chunk<'_, T> {
    /// Gradients of the weight, the recurrent weight and the bias side by side, those whose `parts` have a length.
    fn weight_gradients<C: Cell>(&self, g: &Geometry, parts: [usize; 3], sums: &mut [T]) {
        let (units, width) = (g.units, C::GATES * g.units);
        let lines = self.gates.len().checked_div(width).unwrap_or(0);
        let (to_weight, rest) = sums.split_at_mut(parts[0]);
        let (to_recurrent, to_bias) = rest.split_at_mut(parts[1]);
        if parts[0] > 0 {
            let sizes = (g.inputs, lines, width);
            gemm(sizes, transposed(self.x, g.inputs), matrix(self.gates, width), to_weight, false);
        }
        if parts[1] > 0 {
            let gradient = if C::APART { self.separate } else { self.gates };
            let sizes = (units, lines, width);
            gemm(sizes, transposed(self.h, units), matrix(gradient, width), to_recurrent, false);
        }
        if parts[1] > 0 && C::RESETS {
            // The last gate's product was of r ∘ h.
            let mut last = vec![T::ZERO; units * units];
            let gradient = matrix(self.gates, width).beginning_at(C::DIRECT * units);
            gemm((units, lines, units), transposed(self.kept, units), gradient, &mut last, false);
            for (to, from) in to_recurrent.chunks_exact_mut(width).zip(last.chunks_exact(units)) {
                to[C::DIRECT * units..].copy_from_slice(from);
            }
        }
        if parts[2] > 0 {
            dispatch(ColumnSums { lines: self.gates, width, out: &mut to_bias[..width] });
            if C::BIASES > C::GATES {
                // What is added to the recurrent product of the last gate.
                let mut all = vec![T::ZERO; width];
                dispatch(ColumnSums { lines: self.separate, width, out: &mut all });
                to_bias[width..].copy_from_slice(&all[width - units..]);
            }
        }
    }
}

/// Sums of columns, a line after the other.
struct ColumnSums<'a, T> {
    lines: &'a [T],
    width: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for ColumnSums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        self.out.fill(T::ZERO);
        for line in self.lines.chunks_exact(self.width.max(1)) {
            self.out.iter_mut().zip(line).for_each(|(o, &x)| *o += x);
        }
    }
}

/// The steps of a chunk, backwards.
struct Back<'a, T: Float, C> {
    cell: C,
    g: &'a Geometry,
    operands: &'a Operands<'a, T>,
    weights: &'a Weights<T, C>,
    /// Its first sequence, and their number.
    range: (usize, usize),
    /// Whether the gradient of the first states h is needed.
    wants_hidden: bool,
    /// Of the whole output.
    gradient: &'a [T],
    gates: &'a [T],
    kept: &'a [T],
    before: &'a [T],
    /// Out: gradients of the first states, h of all sequences and then c.
    states: &'a mut [T],
    /// Out: gradients of x W + b at all steps.
    input: &'a mut [T],
    /// Out: gradients of h U, where they differ.
    separate: &'a mut [T],
    product: &'a mut [T],
}

impl<T: Float, C: Cell> Kernel for Back<'_, T, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Back { cell: kind, g, operands, weights, range, gradient, gates, kept, before, .. } = self;
        let Back { states, input, separate, product, wants_hidden, .. } = self;
        let (first, count) = range;
        let (units, steps, width, output) = (g.units, g.steps, C::GATES * g.units, g.output());
        let (hidden, rest) = states.split_at_mut(count * units);
        let cell = &mut rest[..count * units];
        for r in 0..count {
            for (state, values) in [&mut *hidden, &mut *cell].into_iter().enumerate() {
                let values = row_mut(values, r, units);
                if state < g.states {
                    let at = (first + r) * output + g.state_at(state);
                    values.copy_from_slice(&gradient[at..][..units]);
                } else {
                    values.fill(T::ZERO);
                }
            }
        }
        let longest = operands.longest(first, count, steps);
        for i in (0..steps).rev() {
            let t = g.step(i);
            if t >= longest {
                for r in 0..count {
                    row_mut(input, r * steps + t, width).fill(T::ZERO);
                    if C::APART {
                        row_mut(separate, r * steps + t, width).fill(T::ZERO);
                    }
                }
                continue;
            }
            for r in 0..count {
                let at = r * steps + t;
                if !operands.is_within(first + r, t) {
                    row_mut(input, at, width).fill(T::ZERO);
                    if C::APART {
                        row_mut(separate, at, width).fill(T::ZERO);
                    }
                    continue;
                }
                let hidden = row_mut(hidden, r, units);
                if g.every_step {
                    let of_output = &gradient[(first + r) * output + g.at(t)..][..units];
                    hidden.iter_mut().zip(of_output).for_each(|(o, &x)| *o += x);
                }
                kind.backward::<T, S>(Backward {
                    gates: row(gates, at, width),
                    kept: if C::KEEPS { row(kept, at, units) } else { &[] },
                    before: row(before, at, units),
                    hidden,
                    cell: row_mut(cell, r, units),
                    input: row_mut(input, at, width),
                    recurrent: if C::APART { row_mut(separate, at, width) } else { &mut [] },
                });
            }
            if let Some(weights) = weights.of_reset.as_ref().filter(|_| width > 0) {
                let last = &input[t * width + C::DIRECT * units..];
                weights.product::<S>(last, steps * width, count, &[], product);
                for r in (0..count).filter(|r| operands.is_within(first + r, t)) {
                    let at = r * steps + t;
                    kind.reset_backward::<T, S>(ResetBackward {
                        gates: row(gates, at, width),
                        reset: &product[r * padded(units)..][..units],
                        before: row(before, at, units),
                        mask: operands.mask.map_or(&[], |mask| row(mask, first + r, units)),
                        hidden: row_mut(hidden, r, units),
                        input: row_mut(input, at, width),
                    });
                }
            }
            if width == 0 || (i == 0 && !wants_hidden) {
                continue;
            }
            let from = if C::APART { &*separate } else { &*input };
            weights.of_hidden.product::<S>(&from[t * width..], steps * width, count, &[], product);
            for r in 0..count {
                if !operands.is_within(first + r, t) {
                    continue;
                }
                let hidden = row_mut(hidden, r, units);
                let through = &product[r * padded(units)..][..units];
                match operands.mask {
                    Some(mask) => {
                        let mask = row(mask, first + r, units);
                        for ((o, &x), &m) in hidden.iter_mut().zip(through).zip(mask) {
                            *o += x * m;
                        }
                    }
                    None => hidden.iter_mut().zip(through).for_each(|(o, &x)| *o += x),
                }
            }
        }
    }
}
