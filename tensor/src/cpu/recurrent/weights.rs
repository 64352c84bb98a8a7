//! The recurrent weights of a layer, packed for the products of its steps, and what these begin with.
//!
//! Most kinds have one product a step, of h with the weights of all gates. A kind that resets before the product
//! ([`Cell::RESET_BEFORE_PRODUCT`]) has two: of h with those of the first gates, and of r ∘ h with those of the last.

use std::marker::PhantomData;

use super::cells::Cell;
use super::product::{Panels, padded};
use crate::cpu::matmul::Mat;
use crate::{Float, Result};

pub(super) struct Weights<T: Float, C> {
    /// Of the gates whose product is of h …
    pub(super) of_hidden: Panels<T>,
    /// … and of the last, where that is of r ∘ h.
    pub(super) of_reset: Option<Panels<T>>,
    units: usize,
    cell: PhantomData<C>,
}

impl<T: Float, C: Cell> Weights<T, C> {
    /// Of `recurrent`, `[units, gates · units]`, for products with states.
    pub(super) fn forward(op: &'static str, units: usize, recurrent: &[T]) -> Result<Self> {
        let width = C::GATES * units;
        let all = Mat { data: recurrent, offset: 0, row_step: width as isize, column_step: 1 };
        let direct = C::UNRESET_GATES * units;
        Self::pack(op, units, (units, direct, all), (units, units, all.beginning_at(direct)))
    }

    /// Of its transpose, for products with the gradients of gates.
    pub(super) fn backward(op: &'static str, units: usize, recurrent: &[T]) -> Result<Self> {
        let width = C::GATES * units;
        let all = Mat { data: recurrent, offset: 0, row_step: 1, column_step: width as isize };
        let direct = C::UNRESET_GATES * units;
        Self::pack(op, units, (direct, units, all), (units, units, Mat { offset: direct, ..all }))
    }

    /// Matrices with their rows and columns.
    fn pack(
        op: &'static str,
        units: usize,
        of_hidden: (usize, usize, Mat<'_, T>),
        of_reset: (usize, usize, Mat<'_, T>),
    ) -> Result<Self> {
        let pack = |(rows, columns, matrix)| Panels::pack(op, (rows, columns), matrix);
        let of_reset = C::RESET_BEFORE_PRODUCT.then(|| pack(of_reset)).transpose()?;
        Ok(Weights { of_hidden: pack(of_hidden)?, of_reset, units, cell: PhantomData })
    }

    /// Length of a row of the product of h.
    pub(super) fn row_of_hidden(&self) -> usize {
        padded(C::UNRESET_GATES * self.units)
    }

    /// Length of a row of the product of r ∘ h.
    pub(super) fn row_of_reset(&self) -> usize {
        if C::RESET_BEFORE_PRODUCT { padded(self.units) } else { 0 }
    }

    /// What the two products begin with, given the bias: it, in whole panels; or nothing.
    pub(super) fn begin(&self, bias: Option<&[T]>) -> [Vec<T>; 2] {
        let Some(bias) = bias else { return [Vec::new(), Vec::new()] };
        let (units, width, direct) = (self.units, C::GATES * self.units, C::UNRESET_GATES * self.units);
        let whole_panels = |bias: &[T], row| {
            let mut begin = vec![T::ZERO; row];
            begin[..bias.len()].copy_from_slice(bias);
            begin
        };
        let mut of_hidden = whole_panels(&bias[..direct], self.row_of_hidden());
        if C::BIASES > C::GATES {
            // Of the last gate, the bias of the recurrent part.
            of_hidden[width - units..width].copy_from_slice(&bias[width..]);
        }
        [of_hidden, whole_panels(&bias[direct..width], self.row_of_reset().max(width - direct))]
    }
}
