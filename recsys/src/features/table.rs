//! Raw rows of named values by id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::data::ids::Id;
use crate::error::number;
use crate::{Error, Result};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FeatureKind {
    Number,
    Category,
    Categories,
}

impl FeatureKind {
    /// With the method that says so, of a row as of a reader.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Number => "numbers (`number`)",
            Self::Category => "categories, one a row (`category`)",
            Self::Categories => "lists of categories (`categories`)",
        }
    }
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FeatureValue {
    /// A quantity: a price, an age, a date in seconds.
    Number(f64),
    /// One of several: an occupation.
    Category(String),
    /// Any number of several: genres.
    Categories(Vec<String>),
}

impl FeatureValue {
    pub(crate) fn kind(&self) -> FeatureKind {
        match self {
            Self::Number(_) => FeatureKind::Number,
            Self::Category(_) => FeatureKind::Category,
            Self::Categories(_) => FeatureKind::Categories,
        }
    }
}

/// The values of one user or item by column; what is unknown is left out.
///
/// ```
/// use cairn_recsys::features::FeatureRow;
/// let film = FeatureRow::new().number("year", 1995.0).category("studio", "Pixar").categories("genres", ["Animation", "Comedy"]);
/// assert!(film.get("price").is_none());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureRow(BTreeMap<String, FeatureValue>);

impl FeatureRow {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a number.
    #[must_use]
    pub fn number(self, column: &str, value: f64) -> Self {
        self.with(column, FeatureValue::Number(value))
    }

    /// With a category.
    #[must_use]
    pub fn category(self, column: &str, value: &str) -> Self {
        self.with(column, FeatureValue::Category(value.to_owned()))
    }

    /// With categories.
    #[must_use]
    pub fn categories<S: Into<String>>(self, column: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.with(column, FeatureValue::Categories(values.into_iter().map(Into::into).collect()))
    }

    pub(crate) fn with(mut self, column: &str, value: FeatureValue) -> Self {
        self.0.insert(column.to_owned(), value);
        self
    }

    /// The value of a column, if it is known.
    pub fn get(&self, column: &str) -> Option<&FeatureValue> {
        self.0.get(column)
    }

    /// Columns with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FeatureValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Rows by id, of users or of items. Those of ids that no log knows do no harm, and a row may leave columns out: what becomes of values
/// that are missing, and of numbers, is said at [`FeatureSpace`](crate::features::FeatureSpace).
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureTable<K> {
    pub(super) rows: Vec<(K, FeatureRow)>,
    pub(super) columns: BTreeMap<String, FeatureKind>,
}

impl<K: Id> FeatureTable<K> {
    /// From rows.
    ///
    /// # Errors
    /// [`Error::DuplicateId`] for an id twice; [`Error::Parameter`] for a column that holds values of different types, and for a number
    /// that is not one from -1e100 to 1e100.
    pub fn new(rows: impl IntoIterator<Item = (K, FeatureRow)>) -> Result<Self> {
        let mut table = Self { rows: Vec::new(), columns: BTreeMap::new() };
        let mut known = std::collections::HashSet::new();
        for (id, row) in rows {
            if !known.insert(id.clone()) {
                return Err(Error::DuplicateId { kind: "row", id: format!("{id:?}") });
            }
            for (name, value) in row.iter() {
                let kind = *table.columns.entry(name.to_owned()).or_insert(value.kind());
                check_value(name, value, kind)?;
            }
            table.rows.push((id, row));
        }
        Ok(table)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows with their ids.
    pub fn rows(&self) -> &[(K, FeatureRow)] {
        &self.rows
    }
}

/// Numbers beyond this are refused: the sum of their squares could leave double precision.
const LARGEST: f64 = 1e100;

/// Whether a number can be a feature.
pub(crate) fn is_bounded(number: f64) -> bool {
    number.abs() <= LARGEST
}

/// That a value is of a column's type, and a number bounded.
pub(super) fn check_value(column: &str, value: &FeatureValue, kind: FeatureKind) -> Result<()> {
    if value.kind() != kind {
        let found = format!("{} in column `{column}`", value.kind().name());
        return Err(Error::parameter("feature", found, kind.name()));
    }
    match value {
        FeatureValue::Number(x) if !is_bounded(*x) => Err(Error::parameter(
            "feature",
            format!("{} in column `{column}`", number(*x)),
            "a finite number, at most 1e100 and at least -1e100",
        )),
        _ => Ok(()),
    }
}
