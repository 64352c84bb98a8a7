//! Updating a parameter and its optimiser's state in one pass over memory.
//!
//! An optimiser is a formula for one element: given a parameter, its gradient and the running values kept for it, new
//! ones. [`Rule`] is that formula; the loops here compile it for the machine's instruction set and split it over threads,
//! so every optimiser is one pass over memory, whether the gradient is dense or for some rows only.

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
        let op = "update";
        check_states(op, self, &states)?;
        if gradient.shape() != self.shape() {
            return Err(Error::mismatch(
                op,
                self.shape(),
                gradient.shape(),
                "the gradient must be like the parameter",
            ));
        }
        let gradient = gradient.contiguous()?;
        let g = gradient.as_slice().unwrap_or_default();
        let states = slices(states)?;
        step(self.as_mut_slice()?, g, states, rule);
        Ok(())
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
        let op = "update_rows";
        check_states(op, self, &states)?;
        let Some((&size, row)) = self.shape().split_first() else {
            return Err(Error::bad_shape(op, self.shape(), "a scalar has no rows"));
        };
        let row = crate::shape::count(row);
        if gradient.len() != rows.len() * row || gradient.shape().first() != Some(&rows.len()) {
            return Err(Error::mismatch(
                op,
                self.shape(),
                gradient.shape(),
                "one gradient row for each index",
            ));
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
        let gradient = gradient.contiguous()?;
        let g = gradient.as_slice().unwrap_or_default();
        let states = slices(states)?;
        step_rows(rows, row, self.as_mut_slice()?, g, states, rule);
        Ok(())
    }
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

fn step<T: Float, const N: usize>(
    parameter: &mut [T],
    gradient: &[T],
    states: [&mut [T]; N],
    rule: impl Rule<T, N>,
) {
    // The pieces are disjoint, so any split gives the same bits.
    let size = threads::GRAIN / 4;
    threads::split_together(parameter, states, (size, size), |i, parameter, states| {
        let gradient = &gradient[i * size..][..parameter.len()];
        dispatch(Step { parameter, gradient, states, rule });
    });
}

/// As [`step`], for ascending rows of `len` elements. They are cut into runs, which lie in parts of the parameter that do
/// not overlap.
fn step_rows<T: Float, const N: usize>(
    rows: &[u32],
    len: usize,
    mut parameter: &mut [T],
    gradient: &[T],
    mut states: [&mut [T]; N],
    rule: impl Rule<T, N>,
) {
    let run = (threads::GRAIN / 4 / len.max(1)).max(1);
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
    threads::each(parts.len(), |i| {
        // Each part is taken once: the lock is never waited for, nor held by a thread that panicked before.
        let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
        let (start, rows, parameter, gradient, states) = &mut *part;
        for (i, &index) in rows.iter().enumerate() {
            let at = (index as usize - *start) * len..(index as usize - *start + 1) * len;
            let states = states.each_mut().map(|state| &mut state[at.clone()]);
            dispatch(Step {
                parameter: &mut parameter[at],
                gradient: &gradient[i * len..][..len],
                states,
                rule,
            });
        }
    });
}

struct Step<'a, T, R, const N: usize> {
    parameter: &'a mut [T],
    gradient: &'a [T],
    states: [&'a mut [T]; N],
    rule: R,
}

impl<T: Float, R: Rule<T, N>, const N: usize> Kernel for Step<'_, T, R, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Step { parameter, gradient, states, rule } = self;
        let len = parameter.len();
        let gradient = &gradient[..len];
        let states = states.map(|state| &mut state[..len]);
        let mut states = states;
        for i in 0..len {
            rule.update::<S>(&mut parameter[i], gradient[i], states.each_mut().map(|state| &mut state[i]));
        }
    }
}
