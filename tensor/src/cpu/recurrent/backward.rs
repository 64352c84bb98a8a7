//! Backward through time, and from there to the weights and the input.

use super::cells::{Backward, Cell, ResetBackward};
use super::product::padded;
use super::weights::Weights;
use super::{Geometry, Gradients, Operands, matrix, row, row_mut, transposed};
use crate::cpu::buffer::Buffer;
use crate::cpu::matmul::gemm;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Float, Result};

/// The backward pass over all sequences, chunk by chunk, which adds the chunks' gradients of the weights in their order.
pub(super) fn backward_as<T: Float, C: Cell>(
    cell: C,
    g: &Geometry,
    operands: &Operands<'_, T>,
    saved: &[&[T]; 3],
    gradient: &[T],
    wanted: Gradients<'_, T>,
) -> Result<()> {
    let op = "recurrent_backward";
    let (units, width, lines) = (g.units, C::GATES * g.units, g.steps * g.inputs);
    let weights = Weights::<T, C>::backward(op, units, operands.recurrent)?;
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
    let mut sums = Buffer::unspecified(op, chunks * sum_len)?;
    // Gradients of the gates, and of the recurrent product where it differs; h times its mask; x without what stands in
    // the padding; the product.
    let apart = if C::SPLIT_RECURRENT_GRADIENT { g.steps * width } else { 0 };
    let masked = if operands.mask.is_some() { g.steps * units } else { 0 };
    let cleaned = if operands.is_padded() && parts[0] > 0 { lines } else { 0 };
    let scratch_row = g.steps * width + apart + masked + cleaned + padded(units);
    let mut scratch = Buffer::unspecified(op, chunks * rows * scratch_row)?;
    let mut states = Buffer::unspecified(op, 2 * chunks * rows * units)?;
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
        let [gates, kept, before] = [(0, width), (1, if C::SAVES_STATE { units } else { 0 }), (2, units)]
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
            let gradient = if C::SPLIT_RECURRENT_GRADIENT { self.separate } else { self.gates };
            let sizes = (units, lines, width);
            gemm(sizes, transposed(self.h, units), matrix(gradient, width), to_recurrent, false);
        }
        if parts[1] > 0 && C::RESET_BEFORE_PRODUCT {
            // The last gate's product was of r ∘ h.
            let mut last = vec![T::ZERO; units * units];
            let gradient = matrix(self.gates, width).beginning_at(C::UNRESET_GATES * units);
            gemm((units, lines, units), transposed(self.kept, units), gradient, &mut last, false);
            for (to, from) in to_recurrent.chunks_exact_mut(width).zip(last.chunks_exact(units)) {
                to[C::UNRESET_GATES * units..].copy_from_slice(from);
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
                    if C::SPLIT_RECURRENT_GRADIENT {
                        row_mut(separate, r * steps + t, width).fill(T::ZERO);
                    }
                }
                continue;
            }
            for r in 0..count {
                let at = r * steps + t;
                if !operands.is_within(first + r, t) {
                    row_mut(input, at, width).fill(T::ZERO);
                    if C::SPLIT_RECURRENT_GRADIENT {
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
                    kept: if C::SAVES_STATE { row(kept, at, units) } else { &[] },
                    before: row(before, at, units),
                    hidden,
                    cell: row_mut(cell, r, units),
                    input: row_mut(input, at, width),
                    recurrent: if C::SPLIT_RECURRENT_GRADIENT {
                        row_mut(separate, at, width)
                    } else {
                        &mut []
                    },
                });
            }
            if let Some(weights) = weights.of_reset.as_ref().filter(|_| width > 0) {
                let last = &input[t * width + C::UNRESET_GATES * units..];
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
            let from = if C::SPLIT_RECURRENT_GRADIENT { &*separate } else { &*input };
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
