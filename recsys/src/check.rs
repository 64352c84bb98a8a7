//! What settings and training data have to be for more than one model.

use std::fmt::Display;

use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::Csr;
use crate::{Error, Result};

/// For numbers of factors, neighbours and the like.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<()> {
    if value == 0 { Err(Error::parameter(name, 0, "at least 1")) } else { Ok(()) }
}

/// For step sizes; NaN and infinity are refused, too.
pub(crate) fn above_zero<T: Display + Copy + Into<f64>>(name: &'static str, value: T) -> Result<()> {
    let number: f64 = value.into();
    if number > 0.0 && number.is_finite() { Ok(()) } else { Err(Error::parameter(name, value, "above 0")) }
}

/// For regularisation and other weights; NaN and infinity are refused, too.
pub(crate) fn not_negative(name: &'static str, value: f32) -> Result<()> {
    if value >= 0.0 && value.is_finite() { Ok(()) } else { Err(Error::parameter(name, value, "0 or more")) }
}

/// There must be something to learn from.
pub(crate) fn not_empty<R: Idx, C: Idx>(matrix: &Csr<R, C>) -> Result<()> {
    if matrix.nnz() == 0 { Err(Error::Empty { what: "the training matrix" }) } else { Ok(()) }
}

/// A history has items that the model knows, each with a value.
pub(crate) fn history(items: &[ItemIdx], values: &[f32], n_items: usize) -> Result<()> {
    if items.len() != values.len() {
        return Err(Error::Shape {
            what: "the values of a history",
            expected: items.len().to_string(),
            found: values.len().to_string(),
        });
    }
    known(items, n_items)
}

/// For items that a caller names by index.
pub(crate) fn known(items: &[ItemIdx], n_items: usize) -> Result<()> {
    match items.iter().find(|item| item.at() >= n_items) {
        Some(item) => Err(Error::UnknownItem(format!("{item:?}"))),
        None => Ok(()),
    }
}
