//! Recurrences over whole sequences: RNN, LSTM and GRU, forward and backward through time.
//!
//! The sequences of a batch do not know of each other, so the batch is cut into chunks of some sequences, and a thread
//! takes a chunk through all steps: threads meet once a layer, not once a step, and states and weights stay in the core's
//! own cache. Within a chunk,
//!
//! - the input's part of all gates at all steps is one matrix product (as cuDNN does it: Appleyard et al. 2016);
//! - each step is a small product with the recurrent weights, packed once ([`product`]), and one pass over the gates
//!   ([`cells`]);
//! - the way back does the steps the other way round, and then the gradients of the weights and of the input as one
//!   product each over all steps.
//!
//! The chunks' gradients of the weights are added in their order. Chunks depend on the size of the batch alone, so the bits
//! do not depend on the number of threads.
//!
//! Arrays are batch-major, `[batch, time, …]`: a chunk is a run of memory, and the large products need no copies.
//!
//! Beyond its length a sequence keeps its state, its outputs are zero, and no gradient goes into or comes out of its
//! padding. Running in reverse starts at the last step within the length.

mod cells;
mod product;

use cells::{Backward, Cell, Forward, Gru, Lstm, Relu, Tanh};
use product::{Panels, padded};

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
    /// Factors of h in the recurrent product, `[batch, units]`.
    pub(crate) mask: Option<&'a [T]>,
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
    let panels = Panels::pack(op, (units, width), |k, j| operands.recurrent[k * width + j])?;
    let begin = operands.bias.map_or(Vec::new(), |bias| {
        let mut begin = vec![T::ZERO; padded(width)];
        begin[..width].copy_from_slice(&bias[..width]);
        if C::BIASES > C::GATES {
            // Of the last gate, the bias of the recurrent part.
            begin[width - units..width].copy_from_slice(&bias[width..]);
        }
        begin
    });
    let (rows, kept) = (g.rows(), if C::KEEPS { units } else { 0 });
    // h, c, h times its mask, and the recurrent product.
    let scratch_row = 3 * units + padded(width);
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
            panels: &panels,
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
    /// What the recurrent product begins with: the bias, in whole panels.
    begin: &'a [T],
    g: &'a Geometry,
    operands: &'a Operands<'a, T>,
    panels: &'a Panels<T>,
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
        let Ahead { cell: kind, begin, g, operands, panels, first, count, out, gates, kept, before, scratch } =
            self;
        let (units, steps, width) = (g.units, g.steps, C::GATES * g.units);
        let (hidden, rest) = scratch.split_at_mut(count * units);
        let (cell, rest) = rest.split_at_mut(count * units);
        let (masked, product) = rest.split_at_mut(count * units);
        start(operands.hidden, first, units, hidden);
        start(operands.cell, first, units, cell);
        let extra = match operands.bias {
            Some(bias) if C::BIASES > C::GATES => &bias[width - units..width],
            _ => &[],
        };
        let output = g.output();
        for i in 0..steps {
            let t = g.step(i);
            for r in 0..count {
                row_mut(before, r * steps + t, units).copy_from_slice(row(hidden, r, units));
            }
            if let Some(mask) = operands.mask {
                let mask = &mask[first * units..][..count * units];
                masked.iter_mut().zip(mask).zip(&*hidden).for_each(|((o, &m), &h)| *o = m * h);
                panels.product::<S>(masked, units, count, begin, product);
            } else {
                panels.product::<S>(hidden, units, count, begin, product);
            }
            for r in 0..count {
                let at = r * steps + t;
                let within = is_within(operands.lengths, first + r, t);
                if within {
                    kind.forward::<T, S>(Forward {
                        gates: row_mut(gates, at, width),
                        product: row(product, r, padded(width)),
                        bias: extra,
                        kept: if C::KEEPS { row_mut(kept, at, units) } else { &mut [] },
                        hidden: row_mut(hidden, r, units),
                        cell: row_mut(cell, r, units),
                    });
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

/// Whether a step is within the length of a sequence.
#[inline(always)]
fn is_within(lengths: Option<&[u32]>, sequence: usize, step: usize) -> bool {
    lengths.is_none_or(|lengths| step < lengths[sequence] as usize)
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
    let biases = C::BIASES * units;
    // The transpose of the recurrent weights.
    let panels = Panels::pack(op, (width, units), |k, j| operands.recurrent[j * width + k])?;
    let (rows, chunks) = (g.rows(), g.chunks());
    // Gradients of the gates, and of the recurrent product where it differs; of the states, the product; h times its mask.
    let apart = if C::APART { g.steps * width } else { 0 };
    let masked = if operands.mask.is_some() { g.steps * units } else { 0 };
    let scratch_row = g.steps * width + apart + masked + padded(units);
    let mut scratch = Buffer::dirty(op, chunks * rows * scratch_row)?;
    let mut states = Buffer::dirty(op, 2 * chunks * rows * units)?;
    let Gradients { x, weight, recurrent, bias, hidden, cell: cell_gradient } = wanted;
    // The chunks' gradients of the weights, side by side.
    let parts = [
        (weight.is_some(), g.inputs * width),
        (recurrent.is_some(), units * width),
        (bias.is_some(), biases),
    ]
    .map(|(wanted, len)| if wanted { len } else { 0 });
    let sum_len = parts.iter().sum::<usize>();
    let mut sums = Buffer::dirty(op, chunks * sum_len)?;
    let wants_x = x.is_some();
    let x = x.unwrap_or_default();
    let sizes = [if wants_x { rows * lines } else { 0 }, rows * scratch_row, 2 * rows * units, sum_len];
    threads::split_all([x, &mut scratch, &mut states, &mut sums], sizes, chunks, |i, pieces| {
        let [dx, scratch, states, sums] = pieces;
        let first = i * rows;
        let count = rows.min(g.batch - first);
        let (input, rest) = scratch.split_at_mut(count * g.steps * width);
        let (separate, rest) = rest.split_at_mut(count * apart);
        let (masked, product) = rest.split_at_mut(count * masked);
        let [gates, kept, before] = [(0, width), (1, if C::KEEPS { units } else { 0 }), (2, units)]
            .map(|(k, len)| &saved[k][first * g.steps * len..][..count * g.steps * len]);
        let (back, input, separate) = {
            let back = Back {
                cell,
                g,
                operands,
                panels: &panels,
                first,
                count,
                gradient,
                gates,
                kept,
                before,
                states,
                input: &mut *input,
                separate: &mut *separate,
                product,
            };
            dispatch(back);
            (before, &*input, &*separate)
        };
        let recurrent_gradient = if C::APART { separate } else { input };
        let h = match operands.mask {
            Some(mask) => {
                for (at, line) in masked.chunks_exact_mut(units).enumerate() {
                    let mask = row(mask, first + at / g.steps, units);
                    let h = row(back, at, units);
                    line.iter_mut().zip(mask).zip(h).for_each(|((o, &m), &h)| *o = m * h);
                }
                &*masked
            }
            None => back,
        };
        let lines_count = count * g.steps;
        if wants_x {
            gemm(
                (lines_count, width, g.inputs),
                matrix(input, width),
                transposed(operands.weight, width),
                dx,
                false,
            );
        }
        let (to_weight, rest) = sums.split_at_mut(parts[0]);
        let (to_recurrent, to_bias) = rest.split_at_mut(parts[1]);
        if parts[0] > 0 {
            let x = &operands.x[first * lines..][..count * lines];
            gemm(
                (g.inputs, lines_count, width),
                transposed(x, g.inputs),
                matrix(input, width),
                to_weight,
                false,
            );
        }
        if parts[1] > 0 {
            let d = matrix(recurrent_gradient, width);
            gemm((units, lines_count, width), transposed(h, units), d, to_recurrent, false);
        }
        if parts[2] > 0 {
            dispatch(ColumnSums { lines: input, width, out: &mut to_bias[..width] });
            if C::BIASES > C::GATES {
                // What is added to the recurrent product of the last gate.
                let mut all = vec![T::ZERO; width];
                dispatch(ColumnSums { lines: separate, width, out: &mut all });
                to_bias[width..].copy_from_slice(&all[width - units..]);
            }
        }
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
    panels: &'a Panels<T>,
    first: usize,
    count: usize,
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
        let Back { cell: kind, g, operands, panels, first, count, gradient, gates, kept, before, .. } = self;
        let Back { states, input, separate, product, .. } = self;
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
        for i in (0..steps).rev() {
            let t = g.step(i);
            for r in 0..count {
                let at = r * steps + t;
                if !is_within(operands.lengths, first + r, t) {
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
            let from = if C::APART { &*separate } else { &*input };
            if width > 0 {
                panels.product::<S>(&from[t * width..], steps * width, count, &[], product);
            }
            for r in 0..count {
                if !is_within(operands.lengths, first + r, t) {
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
