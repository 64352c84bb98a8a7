//! What settings and training data have to be for more than one model.

use crate::data::ids::{Idx, ItemIdx};
use crate::data::sparse::Csr;
use crate::error::number;
use crate::{Error, Result};

/// Values beyond this are refused: sums of their squares would leave single precision, and lists would be empty.
const LARGEST: f32 = 1e15;

/// What models that go by values demand of them.
pub(crate) const NOT_NEGATIVE: &str =
    "0 or more and at most 1e15; `Interactions::at_least` leaves rows out, `map_values` changes them";
/// What models that go by values of either sign demand of them.
pub(crate) const BOUNDED: &str = "from -1e15 to 1e15; `Interactions::map_values` changes values";

/// Whether a value is [`NOT_NEGATIVE`].
pub(crate) fn is_not_negative(value: f32) -> bool {
    (0.0..=LARGEST).contains(&value)
}

/// Whether a value is [`BOUNDED`].
pub(crate) fn is_bounded(value: f32) -> bool {
    value.abs() <= LARGEST
}

/// For numbers of factors, neighbours and the like.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<()> {
    if value == 0 { Err(Error::parameter(name, 0, "at least 1")) } else { Ok(()) }
}

/// Items that are drawn for each that was met, at most: from a file a larger number would be an attack.
#[cfg(feature = "neural")]
pub(crate) const MOST_NEGATIVES: usize = 1 << 16;

/// For numbers of items that are drawn for each that was met.
#[cfg(feature = "neural")]
pub(crate) fn negatives(value: usize) -> Result<()> {
    if (1..=MOST_NEGATIVES).contains(&value) {
        Ok(())
    } else {
        Err(Error::parameter("negatives", value, format!("1 to {MOST_NEGATIVES}")))
    }
}

/// For step sizes; NaN and infinity are refused, too.
pub(crate) fn above_zero<T: Into<f64>>(name: &'static str, value: T) -> Result<()> {
    let value: f64 = value.into();
    let ok = value > 0.0 && value.is_finite();
    if ok { Ok(()) } else { Err(Error::parameter(name, number(value), "above 0, and finite")) }
}

/// For regularisation and other weights; NaN and infinity are refused, too.
pub(crate) fn not_negative(name: &'static str, value: f32) -> Result<()> {
    let ok = value >= 0.0 && value.is_finite();
    if ok { Ok(()) } else { Err(Error::parameter(name, number(value.into()), "0 or more, and finite")) }
}

/// For what values are multiplied by: as large as these may be, as sums of their products stay numbers then.
pub(crate) fn weight(name: &'static str, value: f32) -> Result<()> {
    let ok = is_not_negative(value);
    if ok { Ok(()) } else { Err(Error::parameter(name, number(value.into()), "0 or more, and at most 1e15")) }
}

/// For what comes from a file: all of some values are finite. The text says of what one is not.
pub(crate) fn finite(what: impl std::fmt::Display, values: &[f32]) -> Result<(), String> {
    match values.iter().find(|x| !x.is_finite()) {
        Some(x) => Err(format!("a value of {what} is {x}, which is not finite")),
        None => Ok(()),
    }
}

/// There must be something to learn from.
pub(crate) fn not_empty<R: Idx, C: Idx>(matrix: &Csr<R, C>) -> Result<()> {
    if matrix.nnz() == 0 { Err(Error::Empty { what: "the training matrix" }) } else { Ok(()) }
}

/// The error of a value of a history that a model cannot take.
pub(crate) fn entry(items: &[ItemIdx], values: &[f32], at: usize) -> Error {
    let item = items.get(at).map_or(0, |item| item.to_u32());
    Error::invalid_entry("fold-in", None, item, values[at], NOT_NEGATIVE)
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
