//! Forward through time.

use super::cells::{Cell, Forward, Reset};
use super::product::padded;
use super::weights::Weights;
use super::{Geometry, Operands, Saved, matrix, row, row_mut};
use crate::cpu::buffer::Buffer;
use crate::cpu::matmul::gemm;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Float, Result};

/// Runs all sequences, chunk by chunk.
pub(super) fn forward_as<T: Float, C: Cell>(
    cell: C,
    g: &Geometry,
    operands: &Operands<'_, T>,
    saved: Saved<'_, T>,
    out: &mut [T],
) -> Result<()> {
    let op = "recurrent";
    let (units, width) = (g.units, C::GATES * g.units);
    let weights = Weights::<T, C>::forward(op, units, operands.recurrent)?;
    let begin = weights.begin(operands.bias);
    let (rows, kept) = (g.rows(), if C::SAVES_STATE { units } else { 0 });
    // h, c, h times its mask, and the recurrent products.
    let scratch_row = 3 * units + weights.row_of_hidden() + weights.row_of_reset();
    let mut scratch = Buffer::unspecified(op, g.chunks() * rows * scratch_row)?;
    let sizes = [g.output(), g.steps * width, g.steps * kept, g.steps * units, scratch_row].map(|n| n * rows);
    let Saved { gates, kept, before } = saved;
    threads::split_all([out, gates, kept, before, &mut scratch], sizes, g.chunks(), |i, parts| {
        let [out, gates, kept, before, scratch] = parts;
        let first = i * rows;
        let count = rows.min(g.batch - first);
        project(g, operands, first, count, width, gates);
        dispatch(ForwardPass {
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
struct ForwardPass<'a, T: Float, C> {
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

impl<T: Float, C: Cell> Kernel for ForwardPass<'_, T, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let ForwardPass {
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
                    if C::SAVES_STATE {
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
            let last_product = if C::RESET_BEFORE_PRODUCT {
                (&*of_reset, padded(units))
            } else {
                (&*product, row_of_product)
            };
            for r in 0..count {
                let at = r * steps + t;
                let within = operands.is_within(first + r, t);
                if within {
                    kind.forward::<T, S>(Forward {
                        gates: row_mut(gates, at, width),
                        product: row(last_product.0, r, last_product.1),
                        bias: extra,
                        kept: if C::SAVES_STATE { row_mut(kept, at, units) } else { &mut [] },
                        hidden: row_mut(hidden, r, units),
                        cell: row_mut(cell, r, units),
                    });
                } else if C::SAVES_STATE {
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
