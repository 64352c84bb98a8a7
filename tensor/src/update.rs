//! Updating a parameter and its optimiser's state in one pass over memory.
//!
//! An optimiser is a formula for one element: given a parameter, its gradient and the running values kept for it, new
//! ones. [`Rule`] is that formula; the loops here compile it for the machine's instruction set and split it over threads,
//! so every optimiser is one pass over memory, whether the gradient is dense or for some rows only. An optimiser whose step
//! depends on a norm needs a pass before it, which a [`SummingRule`] makes of the one that updates the running values.

use std::sync::{Mutex, PoisonError};

use crate::cpu::{Kernel, dispatch, threads};
use crate::index::check_indices;
use crate::{Error, Float, Isa, Result, Tensor};

/// The update of one element, with `N` running values kept for it.
///
/// Mark the implementation `#[inline(always)]`: it is compiled anew for each instruction set.
pub trait Rule<T: Float, const N: usize>: Copy + Send + Sync {
    /// Changes the parameter and its running values, given its gradient.
    fn update<S: Isa>(self, parameter: &mut T, gradient: T, state: [&mut T; N]);
}

/// As [`Rule`], and gives `K` numbers of each element, whose sums are wanted.
///
/// Mark the implementation `#[inline(always)]`: it is compiled anew for each instruction set.
pub trait SummingRule<T: Float, const N: usize, const K: usize>: Copy + Send + Sync {
    /// Changes the parameter and its running values, given its gradient, and gives what is summed.
    fn update<S: Isa>(self, parameter: &mut T, gradient: T, state: [&mut T; N]) -> [T; K];
}

impl<T: Float> Tensor<T> {
    /// Applies a rule to every element. Parameter, gradient and states have one shape.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] when a shape differs from the parameter's.
    pub fn update<const N: usize>(
        &mut self,
        gradient: &Self,
        states: [&mut Self; N],
        rule: impl Rule<T, N>,
    ) -> Result<()> {
        let g = check_gradient("update", self, gradient, &states)?;
        let (g, states) = (g.as_slice().unwrap_or_default(), slices(states)?);
        step(self.as_mut_slice()?, g, states, |_, part| part.apply(rule));
        Ok(())
    }

    /// As [`update`](Self::update), and gives the sums of what the rule gives of each element. They have the same bits for
    /// any number of threads.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_summing<const N: usize, const K: usize>(
        &mut self,
        gradient: &Self,
        states: [&mut Self; N],
        rule: impl SummingRule<T, N, K>,
    ) -> Result<[f64; K]> {
        let g = check_gradient("update_summing", self, gradient, &states)?;
        let (g, states) = (g.as_slice().unwrap_or_default(), slices(states)?);
        let sums = Sums::new(self.len().div_ceil(PART));
        step(self.as_mut_slice()?, g, states, |i, part| sums.add(i, part.sum(rule)));
        Ok(sums.total())
    }

    /// Applies a rule to some rows (entries of axis 0): row `rows[i]` gets the gradient `gradient[i]`. Each row is named
    /// at most once; rows that are not named, and their states, stay as they are.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::IndexOutOfRange`], [`Error::BadArgument`] for rows that are not ascending.
    pub fn update_rows<const N: usize>(
        &mut self,
        rows: &[u32],
        gradient: &Self,
        states: [&mut Self; N],
        rule: impl Rule<T, N>,
    ) -> Result<()> {
        let g = check_rows("update_rows", self, rows, gradient, &states)?;
        let (g, states) = (g.as_slice().unwrap_or_default(), slices(states)?);
        step_rows(rows, row_len(self), self.as_mut_slice()?, g, states, |_, part| part.apply(rule));
        Ok(())
    }

    /// As [`update_rows`](Self::update_rows), and gives the sums of what the rule gives of each element of these rows.
    ///
    /// # Errors
    /// As [`update_rows`](Self::update_rows).
    pub fn update_rows_summing<const N: usize, const K: usize>(
        &mut self,
        rows: &[u32],
        gradient: &Self,
        states: [&mut Self; N],
        rule: impl SummingRule<T, N, K>,
    ) -> Result<[f64; K]> {
        let g = check_rows("update_rows_summing", self, rows, gradient, &states)?;
        let (g, states) = (g.as_slice().unwrap_or_default(), slices(states)?);
        let len = row_len(self);
        let sums = Sums::new(rows.len().div_ceil(rows_in_part(len)));
        step_rows(rows, len, self.as_mut_slice()?, g, states, |i, part| sums.add(i, part.sum(rule)));
        Ok(sums.total())
    }
}

/// An error unless everything has one shape; gives the gradient in row-major order.
fn check_gradient<T: Float, const N: usize>(
    op: &'static str,
    parameter: &Tensor<T>,
    gradient: &Tensor<T>,
    states: &[&mut Tensor<T>; N],
) -> Result<Tensor<T>> {
    check_states(op, parameter, states)?;
    if gradient.shape() != parameter.shape() {
        let why = "the gradient must be like the parameter";
        return Err(Error::mismatch(op, parameter.shape(), gradient.shape(), why));
    }
    gradient.contiguous()
}

/// An error unless there is one row of the gradient for each number; gives the gradient in row-major order.
fn check_rows<T: Float, const N: usize>(
    op: &'static str,
    parameter: &Tensor<T>,
    rows: &[u32],
    gradient: &Tensor<T>,
    states: &[&mut Tensor<T>; N],
) -> Result<Tensor<T>> {
    check_states(op, parameter, states)?;
    let Some(&size) = parameter.shape().first() else {
        return Err(Error::bad_shape(op, parameter.shape(), "a scalar has no rows"));
    };
    if gradient.len() != rows.len() * row_len(parameter) || gradient.shape().first() != Some(&rows.len()) {
        let why = "one gradient row for each index";
        return Err(Error::mismatch(op, parameter.shape(), gradient.shape(), why));
    }
    check_indices(op, rows, size)?;
    if let Some(i) = rows.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(Error::BadArgument {
            op,
            what: "a row",
            value: rows[i + 1].into(),
            must: "above the one before",
        });
    }
    gradient.contiguous()
}

/// Elements of an entry of axis 0.
fn row_len<T: Float>(parameter: &Tensor<T>) -> usize {
    parameter.shape().get(1..).map_or(1, crate::shape::count)
}

fn check_states<T: Float, const N: usize>(
    op: &'static str,
    parameter: &Tensor<T>,
    states: &[&mut Tensor<T>; N],
) -> Result<()> {
    match states.iter().find(|state| state.shape() != parameter.shape()) {
        Some(state) => Err(Error::mismatch(
            op,
            parameter.shape(),
            state.shape(),
            "optimiser state must be like the parameter",
        )),
        None => Ok(()),
    }
}

/// The states' elements for writing.
fn slices<T: Float, const N: usize>(states: [&mut Tensor<T>; N]) -> Result<[&mut [T]; N]> {
    let mut failed = None;
    let slices = states.map(|state| match state.as_mut_slice() {
        Ok(slice) => slice,
        Err(error) => {
            failed = Some(error);
            &mut []
        }
    });
    failed.map_or(Ok(slices), Err)
}

/// Elements that one thread updates in one go.
const PART: usize = threads::GRAIN / 4;

/// Calls `update` with every part of the tensors and its number.
fn step<T: Float, const N: usize>(
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
fn step_rows<T: Float, const N: usize>(
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
struct Sums<const K: usize>(Vec<Mutex<[f64; K]>>);

impl<const K: usize> Sums<K> {
    fn new(parts: usize) -> Self {
        Sums((0..parts).map(|_| Mutex::new([0.0; K])).collect())
    }

    fn add(&self, part: usize, more: [f64; K]) {
        // One thread works on a part.
        let mut sums = self.0[part].lock().unwrap_or_else(PoisonError::into_inner);
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn total(self) -> [f64; K] {
        let mut total = [0.0; K];
        for part in self.0 {
            let part = part.into_inner().unwrap_or_else(PoisonError::into_inner);
            total.iter_mut().zip(part).for_each(|(sum, more)| *sum += more);
        }
        total
    }
}

/// Elements to be updated, side by side.
struct Part<'a, T, const N: usize> {
    parameter: &'a mut [T],
    gradient: &'a [T],
    states: [&'a mut [T]; N],
}

impl<T: Float, const N: usize> Part<'_, T, N> {
    fn apply(self, rule: impl Rule<T, N>) {
        dispatch(Step { part: self, rule });
    }

    fn sum<const K: usize>(self, rule: impl SummingRule<T, N, K>) -> [f64; K] {
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
