//! Folding over axes: sums, products, extrema.
//!
//! Two loop shapes cover everything. Where the folded axes end the storage order, each output folds a contiguous run
//! ([`runs`]); where they come before, whole rows are folded into an output row ([`columns`]). Any other view is first
//! gathered so that the folded axes come last.
//!
//! Sums are accurate and reproducible: a run is cut into blocks of [`BLOCK`], a block is folded in [`LANES`] interleaved
//! accumulators (which is also what vectorises), and blocks are combined as a balanced tree. The error grows with the
//! logarithm of the length, not the length, and no step depends on the number of threads.

use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Element, Number};

/// Interleaved accumulators: four AVX-512 registers of f32.
const LANES: usize = 64;
/// Elements folded in one go before results are combined as a tree.
const BLOCK: usize = 1 << 13;

/// Values added one after the other into one accumulator.
const CHAIN: usize = 16;

/// An associative operation with a neutral element.
pub(crate) trait Fold<T>: Copy + Send + Sync {
    fn neutral(self) -> T;
    fn join<S: Isa>(self, a: T, b: T, fault: &mut bool) -> T;
}

#[derive(Clone, Copy)]
pub(crate) struct Add;
impl<T: Number> Fold<T> for Add {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, fault: &mut bool) -> T {
        a.add(b, fault)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Mul;
impl<T: Number> Fold<T> for Mul {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ONE
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, fault: &mut bool) -> T {
        a.mul(b, fault)
    }
}

/// The larger; NaN if either is.
#[derive(Clone, Copy)]
pub(crate) struct Max;
impl<T: Number> Fold<T> for Max {
    #[inline(always)]
    fn neutral(self) -> T {
        T::LOWEST
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
        if a > b || a.is_nan() { a } else { b }
    }
}

/// The smaller; NaN if either is.
#[derive(Clone, Copy)]
pub(crate) struct Min;
impl<T: Number> Fold<T> for Min {
    #[inline(always)]
    fn neutral(self) -> T {
        T::HIGHEST
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
        if a < b || a.is_nan() { a } else { b }
    }
}

/// `out[i]` = fold of `x[i * len ..][.. len]`, all runs of one length.
pub(crate) fn runs<T: Element, F: Fold<T>>(x: &[T], len: usize, out: &mut [T], fold: F) -> bool {
    if out.len() == 1 && len > 2 * BLOCK {
        let mut partial = vec![fold.neutral(); len.div_ceil(BLOCK)];
        let mut fault = threads::split_units(&mut partial, 1, BLOCK, |first, partial| {
            let mut fault = false;
            for (i, p) in partial.iter_mut().enumerate() {
                let start = (first + i) * BLOCK;
                *p = block(&x[start..(start + BLOCK).min(len)], fold, &mut fault);
            }
            fault
        });
        out[0] = tree(&partial, fold, &mut fault);
        return fault;
    }
    threads::split_units(out, 1, len.max(1), |first, out| {
        let mut fault = false;
        for (i, o) in out.iter_mut().enumerate() {
            let run = &x[(first + i) * len..][..len];
            *o = run_of(run, fold, &mut fault);
        }
        fault
    })
}

fn run_of<T: Element, F: Fold<T>>(run: &[T], fold: F, fault: &mut bool) -> T {
    if run.len() <= BLOCK {
        return block(run, fold, fault);
    }
    let partial: Vec<T> = run.chunks(BLOCK).map(|x| block(x, fold, fault)).collect();
    tree(&partial, fold, fault)
}

/// Folds a balanced tree over the values.
fn tree<T: Element, F: Fold<T>>(values: &[T], fold: F, fault: &mut bool) -> T {
    match values {
        [] => fold.neutral(),
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
            let (left, right) = (tree(left, fold, fault), tree(right, fold, fault));
            fold.join::<super::isa::Baseline>(left, right, fault)
        }
    }
}

fn block<T: Element, F: Fold<T>>(x: &[T], fold: F, fault: &mut bool) -> T {
    let (value, bad) = dispatch(Block { x, fold });
    *fault |= bad;
    value
}

struct Block<'a, T, F> {
    x: &'a [T],
    fold: F,
}

impl<T: Element, F: Fold<T>> Kernel for Block<'_, T, F> {
    type Output = (T, bool);
    #[inline(always)]
    fn run<S: Isa>(self) -> (T, bool) {
        let Block { x, fold } = self;
        let mut fault = false;
        let mut total = fold.neutral();
        let (chunks, rest) = x.as_chunks::<LANES>();
        if !chunks.is_empty() {
            let mut lanes = [fold.neutral(); LANES];
            // In two levels, so that no accumulator takes part in a long chain of additions.
            for group in chunks.chunks(CHAIN) {
                let mut part = group[0];
                for chunk in &group[1..] {
                    for (lane, &x) in part.iter_mut().zip(chunk) {
                        *lane = fold.join::<S>(*lane, x, &mut fault);
                    }
                }
                for (lane, &x) in lanes.iter_mut().zip(&part) {
                    *lane = fold.join::<S>(*lane, x, &mut fault);
                }
            }
            let mut width = LANES;
            while width > 1 {
                width /= 2;
                let (low, high) = lanes.split_at_mut(width);
                for (a, &b) in low.iter_mut().zip(&*high) {
                    *a = fold.join::<S>(*a, b, &mut fault);
                }
            }
            total = lanes[0];
        }
        for &x in rest {
            total = fold.join::<S>(total, x, &mut fault);
        }
        (total, fault)
    }
}

/// Columns folded together, so that accumulators stay in the first-level cache.
const STRIPE: usize = 1 << 10;
/// Rows folded one after the other before results are combined.
const ROWS: usize = 16;

/// For each matrix `[rows, columns]` of `x`: `out[j]` = fold over `i` of `x[i, j]`.
pub(crate) fn columns<T: Element, F: Fold<T>>(
    x: &[T],
    rows: usize,
    columns: usize,
    out: &mut [T],
    fold: F,
) -> bool {
    if out.is_empty() {
        return false;
    }
    let stripe = |matrix: usize, column: usize, out: &mut [T]| {
        let x = &x[matrix * rows * columns..][..rows * columns];
        let mut fault = false;
        for (i, out) in out.chunks_mut(STRIPE).enumerate() {
            stripe_of(x, columns, column + i * STRIPE, out, fold, &mut fault);
        }
        fault
    };
    if columns >= out.len() {
        // One matrix: split its columns, at stripes.
        let units = columns.div_ceil(STRIPE);
        if units > 1 {
            return threads::split_units(out, STRIPE, rows.saturating_mul(STRIPE), |first, out| {
                stripe(0, first * STRIPE, out)
            });
        }
        return stripe(0, 0, out);
    }
    threads::split_units(out, columns, columns.saturating_mul(rows), |first, out| {
        let mut fault = false;
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            fault |= stripe(first + i, 0, out);
        }
        fault
    })
}

/// Folds columns `first..first + out.len()` of a matrix: blocks of rows, combined as a tree by halving.
fn stripe_of<T: Element, F: Fold<T>>(
    x: &[T],
    columns: usize,
    first: usize,
    out: &mut [T],
    fold: F,
    fault: &mut bool,
) {
    let rows = x.len() / columns;
    out.fill(fold.neutral());
    if rows <= ROWS {
        *fault |= dispatch(Stripe { x, columns, first, out, fold });
        return;
    }
    let half = (rows.next_power_of_two() / 2).max(ROWS);
    let (top, bottom) = x.split_at(half * columns);
    stripe_of(top, columns, first, out, fold, fault);
    let mut other = vec![fold.neutral(); out.len()];
    stripe_of(bottom, columns, first, &mut other, fold, fault);
    *fault |= dispatch(Stripe { x: &other, columns: out.len(), first: 0, out, fold });
}

struct Stripe<'a, T, F> {
    x: &'a [T],
    columns: usize,
    first: usize,
    out: &'a mut [T],
    fold: F,
}

impl<T: Element, F: Fold<T>> Kernel for Stripe<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Stripe { x, columns, first, out, fold } = self;
        let mut fault = false;
        for row in x.chunks_exact(columns) {
            for (o, &x) in out.iter_mut().zip(&row[first..]) {
                *o = fold.join::<S>(*o, x, &mut fault);
            }
        }
        fault
    }
}

/// Where the first value stands in each run that `better` prefers to all others; NaN is preferred to numbers.
pub(crate) fn arg_best<T: Number>(
    x: &[T],
    len: usize,
    out: &mut [u32],
    better: impl Fn(T, T) -> bool + Sync,
) {
    threads::split_units(out, 1, len.saturating_mul(2), |first, out| {
        for (i, o) in out.iter_mut().enumerate() {
            let run = &x[(first + i) * len..][..len];
            let mut best = 0;
            for (j, &x) in run.iter().enumerate() {
                if run[best].is_nan() {
                    break;
                }
                if better(x, run[best]) || x.is_nan() {
                    best = j;
                }
            }
            *o = best as u32;
        }
        false
    });
}
