//! One pass over a parameter, its gradient and its optimiser's state, with the formula of one element given.
//!
//! Dense, the tensors are cut into parts of one size; for some rows, into runs of rows. Sums over the elements are taken by
//! part and added in the order of the parts, so the threads do not matter.

use std::sync::{Mutex, PoisonError};

use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Float, Rule, SummingRule};

/// Elements that one thread updates in one go.
const PART: usize = threads::GRAIN / 4;

/// How many parts [`step`] makes of `len` elements.
pub(crate) fn parts_of(len: usize) -> usize {
    len.div_ceil(PART)
}

/// How many parts [`step_rows`] makes of `rows` rows of `len` elements.
pub(crate) fn row_parts_of(rows: usize, len: usize) -> usize {
    rows.div_ceil(rows_in_part(len))
}

/// Calls `update` with every part of the tensors and its number.
pub(crate) fn step<T: Float, const N: usize>(
    parameter: &mut [T],
    gradient: &[T],
    states: [&mut [T]; N],
    update: impl Fn(usize, Part<'_, T, N>) + Sync,
) {
    // The parts are disjoint, so any split gives the same bits.
    threads::split_together(parameter, states, (PART, PART), |i, parameter, states| {
        let gradient = &gradient[i * PART..][..parameter.len()];
        update(i, Part { parameter, gradient, states });
    });
}

/// Rows of `len` elements that one thread updates in one go.
fn rows_in_part(len: usize) -> usize {
    (PART / len.max(1)).max(1)
}

/// As [`step`], for ascending rows of `len` elements. They are cut into runs, which lie in parts of the parameter that do
/// not overlap; `update` is called with each row and the number of its run.
pub(crate) fn step_rows<T: Float, const N: usize>(
    rows: &[u32],
    len: usize,
    mut parameter: &mut [T],
    gradient: &[T],
    mut states: [&mut [T]; N],
    update: impl Fn(usize, Part<'_, T, N>) + Sync,
) {
    let run = rows_in_part(len);
    let mut parts = Vec::with_capacity(rows.len().div_ceil(run));
    let mut start = 0;
    for (i, rows) in rows.chunks(run).enumerate() {
        let end = rows.last().map_or(start, |&last| last as usize + 1);
        let take = (end - start) * len;
        let part = parameter.split_off_mut(..take).unwrap_or_default();
        let state_parts = states.each_mut().map(|state| state.split_off_mut(..take).unwrap_or_default());
        parts.push(Mutex::new((
            start,
            rows,
            part,
            &gradient[i * run * len..][..rows.len() * len],
            state_parts,
        )));
        start = end;
    }
    threads::each(parts.len(), |run| {
        // Each part is taken once: the lock is never waited for, nor held by a thread that panicked before.
        let mut part = parts[run].lock().unwrap_or_else(PoisonError::into_inner);
        let (start, rows, parameter, gradient, states) = &mut *part;
        for (i, &index) in rows.iter().enumerate() {
            let at = (index as usize - *start) * len..(index as usize - *start + 1) * len;
            let states = states.each_mut().map(|state| &mut state[at.clone()]);
            let (parameter, gradient) = (&mut parameter[at], &gradient[i * len..][..len]);
            update(run, Part { parameter, gradient, states });
        }
    });
}

/// Sums by part, which are added up in the order of the parts.
pub(crate) struct Sums<const K: usize>(Vec<Mutex<[f64; K]>>);

impl<const K: usize> Sums<K> {
    pub(crate) fn new(parts: usize) -> Self {
        Sums((0..parts).map(|_| Mutex::new([0.0; K])).collect())
    }

    pub(crate) fn add(&self, part: usize, more: [f64; K]) {
        // One thread works on a part.
        let mut sums = self.0[part].lock().unwrap_or_else(PoisonError::into_inner);
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    pub(crate) fn total(self) -> [f64; K] {
        let mut total = [0.0; K];
        for part in self.0 {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            total.iter_mut().zip(part).for_each(|(sum, more)| *sum += more);
        }
        total
    }
}

/// Elements to be updated, side by side.
pub(crate) struct Part<'a, T, const N: usize> {
    parameter: &'a mut [T],
    gradient: &'a [T],
    states: [&'a mut [T]; N],
}

impl<T: Float, const N: usize> Part<'_, T, N> {
    pub(crate) fn apply(self, rule: impl Rule<T, N>) {
        dispatch(Step { part: self, rule });
    }

    pub(crate) fn sum<const K: usize>(self, rule: impl SummingRule<T, N, K>) -> [f64; K] {
        dispatch(Summing { part: self, rule })
    }
}

struct Step<'a, T, R, const N: usize> {
    part: Part<'a, T, N>,
    rule: R,
}

impl<T: Float, R: Rule<T, N>, const N: usize> Kernel for Step<'_, T, R, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Step { part: Part { parameter, gradient, states }, rule } = self;
        let len = parameter.len();
        let gradient = &gradient[..len];
        let states = states.map(|state| &mut state[..len]);
        let mut states = states;
        for i in 0..len {
            rule.update::<S>(&mut parameter[i], gradient[i], states.each_mut().map(|state| &mut state[i]));
        }
    }
}

/// Sums side by side, as many as a register holds at most.
const LANES: usize = 16;
/// Additions to each before they go into a sum of twice the precision.
const CHAIN: usize = 64;

struct Summing<'a, T, R, const N: usize, const K: usize> {
    part: Part<'a, T, N>,
    rule: R,
}

impl<T: Float, R: SummingRule<T, N, K>, const N: usize, const K: usize> Kernel for Summing<'_, T, R, N, K> {
    type Output = [f64; K];
    #[inline(always)]
    fn run<S: Isa>(self) -> [f64; K] {
        let Summing { part: Part { parameter, gradient, mut states }, rule } = self;
        let mut total = [0.0; K];
        for from in (0..parameter.len()).step_by(LANES * CHAIN) {
            let to = (from + LANES * CHAIN).min(parameter.len());
            let (p, g) = (&mut parameter[from..to], &gradient[from..to]);
            let mut s = states.each_mut().map(|state| &mut state[from..to]);
            let mut sums = [[T::ZERO; LANES]; K];
            let whole = p.len() / LANES * LANES;
            for at in (0..whole).step_by(LANES) {
                let (p, g) = (&mut p[at..at + LANES], &g[at..at + LANES]);
                let mut s = s.each_mut().map(|state| &mut state[at..at + LANES]);
                for lane in 0..LANES {
                    let states = s.each_mut().map(|state| &mut state[lane]);
                    let more = rule.update::<S>(&mut p[lane], g[lane], states);
                    for k in 0..K {
                        sums[k][lane] += more[k];
                    }
                }
            }
            for i in whole..p.len() {
                let more = rule.update::<S>(&mut p[i], g[i], s.each_mut().map(|state| &mut state[i]));
                for k in 0..K {
                    sums[k][i - whole] += more[k];
                }
            }
            for k in 0..K {
                total[k] += sums[k].iter().map(|&sum| sum.to_f64()).sum::<f64>();
            }
        }
        total
    }
}
