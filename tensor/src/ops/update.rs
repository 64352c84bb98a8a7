//! Updating a parameter and its optimiser's state in one pass over memory.
//!
//! An optimiser is a formula for one element: given a parameter, its gradient and the running values kept for it, new
//! ones. [`Rule`] is that formula; the loops of `cpu/update.rs` compile it for the machine's instruction set and split it over threads,
//! so every optimiser is one pass over memory, whether the gradient is dense or for some rows only. An optimiser whose step
//! depends on a norm needs a pass before it, which a [`SummingRule`] makes of the one that updates the running values.

use crate::cpu::update::{Sums, parts_of, row_parts_of, step, step_rows};
use crate::ops::index::check_indices;
use crate::{Error, Float, Isa, Result, RowMajor, Tensor};

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
        let states = slices(states)?;
        step(self.as_mut_slice()?, &g, states, |_, part| part.apply(rule));
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
        let states = slices(states)?;
        let sums = Sums::new(parts_of(self.len()));
        step(self.as_mut_slice()?, &g, states, |i, part| sums.add(i, part.sum(rule)));
        Ok(sums.total())
    }

    /// Applies a rule to some rows (entries of axis 0): row `rows[i]` gets the gradient `gradient[i]`. Each row is named
    /// at most once; rows that are not named, and their states, stay as they are.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::IndexOutOfRange`], [`Error::BadSetting`] for rows that are not ascending.
    pub fn update_rows<const N: usize>(
        &mut self,
        rows: &[u32],
        gradient: &Self,
        states: [&mut Self; N],
        rule: impl Rule<T, N>,
    ) -> Result<()> {
        let g = check_rows("update_rows", self, rows, gradient, &states)?;
        let states = slices(states)?;
        step_rows(rows, row_len(self), self.as_mut_slice()?, &g, states, |_, part| part.apply(rule));
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
        let states = slices(states)?;
        let len = row_len(self);
        let sums = Sums::new(row_parts_of(rows.len(), len));
        step_rows(rows, len, self.as_mut_slice()?, &g, states, |i, part| sums.add(i, part.sum(rule)));
        Ok(sums.total())
    }
}

/// An error unless everything has one shape; gives the gradient in row-major order.
fn check_gradient<'a, T: Float, const N: usize>(
    op: &'static str,
    parameter: &Tensor<T>,
    gradient: &'a Tensor<T>,
    states: &[&mut Tensor<T>; N],
) -> Result<RowMajor<'a, T>> {
    check_states(op, parameter, states)?;
    if gradient.shape() != parameter.shape() {
        let why = "the gradient must be like the parameter";
        return Err(Error::mismatch(op, parameter.shape(), gradient.shape(), why));
    }
    gradient.row_major()
}

/// An error unless there is one row of the gradient for each number; gives the gradient in row-major order.
fn check_rows<'a, T: Float, const N: usize>(
    op: &'static str,
    parameter: &Tensor<T>,
    rows: &[u32],
    gradient: &'a Tensor<T>,
    states: &[&mut Tensor<T>; N],
) -> Result<RowMajor<'a, T>> {
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
        return Err(Error::bad_setting(op, "a row", rows[i + 1], "above the one before"));
    }
    gradient.row_major()
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
