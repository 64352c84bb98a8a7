//! Kernels over the last axis: softmax, its logarithm, and softmax with cross-entropy, forward and backward side by side.
//!
//! All subtract the row's maximum before they exponentiate, so no finite input overflows. Sums run in interleaved
//! accumulators, in a fixed order (see [`lanes`]).

use crate::Float;
use crate::cpu::reduce::{Fold, Max};
use crate::cpu::{Isa, Kernel, dispatch, lanes, threads};

/// Simple operations an exponential is worth.
const EXP_COST: usize = 8;

/// Largest value of a row; NaN if one is.
#[inline(always)]
fn max_of<S: Isa, T: Float>(row: &[T]) -> T {
    Fold::run::<S>(Max, row, &mut false)
}

/// Sum of a row in a fixed order.
#[inline(always)]
fn sum_of<T: Float>(row: &[T]) -> T {
    lanes::fold(row, T::ZERO, |x| x, |a, b| a + b)
}

/// Σ exp(x - shift): a piece at a time is exponentiated into a small array, which vectorises on its own, and summed.
#[inline(always)]
fn sum_exp<S: Isa, T: Float>(row: &[T], shift: T) -> T {
    const PIECE: usize = 256;
    let mut piece = [T::ZERO; PIECE];
    let mut sum = T::ZERO;
    for row in row.chunks(PIECE) {
        let piece = &mut piece[..row.len()];
        for (e, &x) in piece.iter_mut().zip(row) {
            *e = (x - shift).exp_nonpositive::<S>();
        }
        sum += sum_of(piece);
    }
    sum
}

/// The value to subtract before exponentiating: the maximum, but 0 for a row of -∞, whose softmax is then NaN from 0/0.
#[inline(always)]
fn shift_of<S: Isa, T: Float>(row: &[T]) -> T {
    let max = max_of::<S, T>(row);
    if max == T::NEG_INFINITY { T::ZERO } else { max }
}

/// What a row kernel does; one type each, so that the loops below are written once.
pub(crate) trait RowMap<T>: Copy + Send + Sync {
    fn row<S: Isa>(self, x: &[T], out: &mut [T]);
}

/// out = exp(x) / Σ exp(x).
#[derive(Clone, Copy)]
pub(crate) struct Softmax;
impl<T: Float> RowMap<T> for Softmax {
    #[inline(always)]
    fn row<S: Isa>(self, x: &[T], out: &mut [T]) {
        let shift = shift_of::<S, T>(x);
        for (o, &x) in out.iter_mut().zip(x) {
            *o = (x - shift).exp_nonpositive::<S>();
        }
        let scale = T::ONE / sum_of(out);
        for o in out {
            *o *= scale;
        }
    }
}

/// out = x - ln Σ exp(x), as (x - max) - ln Σ exp(x - max): what all logits have in common is gone before anything is rounded.
#[derive(Clone, Copy)]
pub(crate) struct LogSoftmax;
impl<T: Float> RowMap<T> for LogSoftmax {
    #[inline(always)]
    fn row<S: Isa>(self, x: &[T], out: &mut [T]) {
        let shift = shift_of::<S, T>(x);
        let log_sum = sum_exp::<S, T>(x, shift).ln::<S>();
        for (o, &x) in out.iter_mut().zip(x) {
            *o = (x - shift) - log_sum;
        }
    }
}

/// Applies `f` to each row of `len` elements.
pub(crate) fn map_rows<T: Float, F: RowMap<T>>(x: &[T], len: usize, out: &mut [T], f: F) {
    threads::split_units(out, len, len.saturating_mul(EXP_COST), |first, out| {
        dispatch(MapRows { x: &x[first * len..][..out.len()], len, out, f });
        false
    });
}

struct MapRows<'a, T, F> {
    x: &'a [T],
    len: usize,
    out: &'a mut [T],
    f: F,
}

impl<T: Float, F: RowMap<T>> Kernel for MapRows<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        for (x, out) in self.x.chunks_exact(self.len).zip(self.out.chunks_exact_mut(self.len)) {
            self.f.row::<S>(x, out);
        }
    }
}

/// ln Σ exp(x) of each row.
pub(crate) fn log_sum_exp<T: Float>(x: &[T], len: usize, out: &mut [T]) {
    struct Rows<'a, T> {
        x: &'a [T],
        len: usize,
        out: &'a mut [T],
    }
    impl<T: Float> Kernel for Rows<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            for (x, o) in self.x.chunks_exact(self.len).zip(self.out) {
                let shift = shift_of::<S, T>(x);
                // An infinite maximum is the answer; ∞ - ∞ would make it NaN.
                *o = if shift == T::INFINITY { shift } else { sum_exp::<S, T>(x, shift).ln::<S>() + shift };
            }
        }
    }
    threads::split_units(out, 1, len.saturating_mul(EXP_COST), |first, out| {
        dispatch(Rows { x: &x[first * len..][..out.len() * len], len, out });
        false
    });
}

/// `out` = gradient of softmax: y (g - Σ g y), given its output `y`.
pub(crate) fn softmax_backward<T: Float>(y: &[T], g: &[T], len: usize, out: &mut [T]) {
    threads::split_units(out, len, len.saturating_mul(4), |first, out| {
        let at = first * len;
        dispatch(SoftmaxBackward { y: &y[at..][..out.len()], g: &g[at..][..out.len()], len, out });
        false
    });
}

struct SoftmaxBackward<'a, T> {
    y: &'a [T],
    g: &'a [T],
    len: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for SoftmaxBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let rows = self.y.chunks_exact(self.len).zip(self.g.chunks_exact(self.len));
        for ((y, g), out) in rows.zip(self.out.chunks_exact_mut(self.len)) {
            for ((o, &y), &g) in out.iter_mut().zip(y).zip(g) {
                *o = y * g;
            }
            let dot = sum_of(out);
            for ((o, &y), &g) in out.iter_mut().zip(y).zip(g) {
                *o = y * (g - dot);
            }
        }
    }
}

/// For each row of `classes` logits and its label: the loss `-ln softmax(x)[label]`, and the softmax itself for the
/// backward pass. Labels are known to be in range, or the `ignored` one, whose rows have a loss of 0 and no probabilities.
pub(crate) fn cross_entropy<T: Float>(
    logits: &[T],
    classes: usize,
    labels: &[u32],
    ignored: Option<u32>,
    probabilities: &mut [T],
    losses: &mut [T],
) {
    struct Rows<'a, T> {
        logits: &'a [T],
        classes: usize,
        labels: &'a [u32],
        ignored: Option<u32>,
        probabilities: &'a mut [T],
        losses: &'a mut [T],
    }
    impl<T: Float> Kernel for Rows<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            let rows =
                self.logits.chunks_exact(self.classes).zip(self.probabilities.chunks_exact_mut(self.classes));
            for (((x, p), &label), loss) in rows.zip(self.labels).zip(self.losses) {
                if Some(label) == self.ignored {
                    p.fill(T::ZERO);
                    *loss = T::ZERO;
                    continue;
                }
                let shift = shift_of::<S, T>(x);
                for (p, &x) in p.iter_mut().zip(x) {
                    *p = (x - shift).exp_nonpositive::<S>();
                }
                let sum = sum_of(p);
                *loss = sum.ln::<S>() - (x[label as usize] - shift);
                let scale = T::ONE / sum;
                for p in p {
                    *p *= scale;
                }
            }
        }
    }
    // The outputs have different lengths; pieces of both are handed out together.
    let rows = (threads::GRAIN / (classes * EXP_COST).max(1)).max(1);
    threads::split_together(losses, [probabilities], (rows, rows * classes), |i, losses, [probabilities]| {
        let first = i * rows;
        let logits = &logits[first * classes..][..probabilities.len()];
        let labels = &labels[first..][..losses.len()];
        dispatch(Rows { logits, classes, labels, ignored, probabilities, losses });
    });
}

/// Turns probabilities into the gradient of the losses: (softmax(x) - onehot(label)) · g, with one factor `g` for each row; 0 for the
/// `ignored` label.
pub(crate) fn cross_entropy_backward<T: Float>(
    probabilities: &mut [T],
    classes: usize,
    labels: &[u32],
    ignored: Option<u32>,
    g: &[T],
) {
    threads::split_units(probabilities, classes, classes, |first, rows| {
        for ((p, &label), &g) in rows.chunks_exact_mut(classes).zip(&labels[first..]).zip(&g[first..]) {
            if Some(label) == ignored {
                p.fill(T::ZERO);
                continue;
            }
            p[label as usize] = p[label as usize] - T::ONE;
            for p in p {
                *p *= g;
            }
        }
        false
    });
}
