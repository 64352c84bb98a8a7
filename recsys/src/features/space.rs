//! From raw rows to numbered features with weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::table::{FeatureKind, FeatureRow, FeatureTable, FeatureValue, check_value};
use crate::data::ids::{Id, IdMap, Idx};
use crate::data::sparse::Csr;
use crate::linalg::gram::from_rows;
use crate::{Error, Result};

/// Scaled numbers are at most this far from 0.
const FAR: f64 = 3.0;

/// Number of a feature: `0..n_features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FeatureIdx(pub u32);

impl Idx for FeatureIdx {
    const KIND: &'static str = "feature";
    fn from_u32(value: u32) -> Self {
        Self(value)
    }
    fn to_u32(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Encoding {
    Number { mean: f64, deviation: f64, feature: FeatureIdx },
    Categories { kind: FeatureKind, features: BTreeMap<String, FeatureIdx> },
}

/// What a table's columns hold, and the number of each feature. Kept with the model.
///
/// A category is a feature of weight 1, each of n categories one of 1/√n, so that a row with many is no longer than one with few. A
/// number is one feature, weighed by its distance from the mean in standard deviations, held within ±3: one wild price must not
/// outweigh all else. What is missing has no feature, which of a number says the same as the mean, and neither has a category that the space does
/// not know: rows that come later may hold new ones, which say nothing. A column that it does not know is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[doc(alias("vocabulary", "LabelEncoder", "StandardScaler", "OneHotEncoder"))]
pub struct FeatureSpace {
    columns: BTreeMap<String, Encoding>,
    names: Vec<String>,
}

impl FeatureSpace {
    /// Learns from a table. Features are numbered by the names of columns and categories, so the order of rows does not matter, not to a
    /// bit: what is read from a map comes in any order.
    pub fn new<K: Id>(table: &FeatureTable<K>) -> Self {
        let mut space = Self { columns: BTreeMap::new(), names: Vec::new() };
        for (name, &kind) in &table.columns {
            let values = table.rows.iter().filter_map(|(_, row)| row.get(name));
            let encoding = match kind {
                FeatureKind::Number => space.number(name, values),
                _ => space.categories(name, kind, values),
            };
            space.columns.insert(name.clone(), encoding);
        }
        space
    }

    fn feature(&mut self, name: String) -> FeatureIdx {
        self.names.push(name);
        FeatureIdx(self.names.len() as u32 - 1)
    }

    fn number<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a FeatureValue>) -> Encoding {
        let mut numbers: Vec<f64> = values
            .filter_map(|value| if let FeatureValue::Number(x) = value { Some(*x) } else { None })
            .collect();
        numbers.sort_by(f64::total_cmp);
        let n = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let deviation = (numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        Encoding::Number { mean, deviation, feature: self.feature(name.to_owned()) }
    }

    fn categories<'a>(
        &mut self,
        name: &str,
        kind: FeatureKind,
        values: impl Iterator<Item = &'a FeatureValue>,
    ) -> Encoding {
        let known: BTreeSet<&String> = values.flat_map(categories).collect();
        let features = known.into_iter().map(|category| {
            let feature = self.feature(format!("{name} {category}"));
            (category.clone(), feature)
        });
        Encoding::Categories { kind, features: features.collect() }
    }

    /// Number of features.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// For what comes from a file: features are numbered once each.
    pub(super) fn is_consistent(&self) -> bool {
        let mut numbers: Vec<u32> = Vec::new();
        for encoding in self.columns.values() {
            match encoding {
                Encoding::Number { mean, deviation, feature } => {
                    if !mean.is_finite() || !deviation.is_finite() {
                        return false;
                    }
                    numbers.push(feature.0);
                }
                Encoding::Categories { features, .. } => numbers.extend(features.values().map(|f| f.0)),
            }
        }
        numbers.sort_unstable();
        numbers.len() == self.names.len() && (0..).zip(&numbers).all(|(n, number)| n == *number)
    }

    /// The first column of numbers.
    pub(super) fn number_column(&self) -> Option<&str> {
        let number = self.columns.iter().find(|(_, encoding)| matches!(encoding, Encoding::Number { .. }));
        number.map(|(name, _)| name.as_str())
    }

    /// What each feature is, by number: its column, and of a category its name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features of a row with their weights, ascending.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a column that the space does not know, a value of another type than the column's, and a number that is
    /// not one from -1e100 to 1e100.
    pub fn encode(&self, row: &FeatureRow) -> Result<Vec<(FeatureIdx, f32)>> {
        let mut encoded = Vec::new();
        for (name, value) in row.iter() {
            let Some(encoding) = self.columns.get(name) else {
                let known: Vec<&str> = self.columns.keys().map(String::as_str).collect();
                let expected = match &known[..] {
                    [] => "nothing: the table that the space is of has no columns".to_owned(),
                    _ => format!("one of {}", known.join(", ")),
                };
                return Err(Error::parameter("feature", name, expected));
            };
            match encoding {
                Encoding::Number { mean, deviation, feature } => {
                    check_value(name, value, FeatureKind::Number)?;
                    let FeatureValue::Number(x) = value else { continue };
                    let scaled = if *deviation > 0.0 { (x - mean) / deviation } else { 0.0 };
                    encoded.push((*feature, scaled.clamp(-FAR, FAR) as f32));
                }
                Encoding::Categories { kind, features } => {
                    check_value(name, value, *kind)?;
                    let mut known: Vec<FeatureIdx> =
                        categories(value).iter().filter_map(|name| features.get(name).copied()).collect();
                    known.sort_unstable();
                    known.dedup();
                    let weight = 1.0 / (known.len() as f32).sqrt();
                    encoded.extend(known.into_iter().map(|feature| (feature, weight)));
                }
            }
        }
        encoded.retain(|&(_, weight)| weight != 0.0);
        encoded.sort_unstable_by_key(|&(feature, _)| feature);
        Ok(encoded)
    }
}

fn categories(value: &FeatureValue) -> &[String] {
    match value {
        FeatureValue::Number(_) => &[],
        FeatureValue::Category(one) => std::slice::from_ref(one),
        FeatureValue::Categories(all) => all,
    }
}

/// The features of all users, or all items, of a catalogue.
#[derive(Clone, PartialEq)]
pub struct FeatureMatrix<X> {
    space: FeatureSpace,
    rows: Csr<X, FeatureIdx>,
}

/// Its size: settings have one in them, and are printed with what a model is trained by.
impl<X: Idx> fmt::Debug for FeatureMatrix<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, features) = (self.rows.n_rows(), self.space.len());
        f.debug_struct("FeatureMatrix")
            .field("rows", &rows)
            .field("features", &features)
            .finish_non_exhaustive()
    }
}

impl<X: Idx> FeatureMatrix<X> {
    /// The rows of a table in the order of a catalogue, by the space of that table; who has no row has no features.
    ///
    /// ```
    /// use cairn_recsys::features::{FeatureMatrix, FeatureRow, FeatureTable};
    /// use cairn_recsys::Interactions;
    /// let log = Interactions::from_ratings([("ann", "tea"), ("bob", "milk")])?;
    /// let table = FeatureTable::new([("tea", FeatureRow::new().categories("kind", ["hot", "leaf"]))])?;
    /// let features = FeatureMatrix::new(&table, &log.catalog().items)?;
    /// assert_eq!(features.space().names(), ["kind hot", "kind leaf"]);
    /// assert_eq!((features.rows().nnz(), features.rows().n_rows()), (2, 2));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// None for a table as it is made.
    pub fn new<K: Id>(table: &FeatureTable<K>, ids: &IdMap<K, X>) -> Result<Self> {
        let space = FeatureSpace::new(table);
        let mut rows = vec![Vec::new(); ids.len()];
        for (id, row) in &table.rows {
            if let Some(index) = ids.get(id) {
                rows[index.at()] = space.encode(row)?;
            }
        }
        let rows = from_rows(space.len(), rows);
        Ok(Self { space, rows })
    }

    /// What the features are.
    pub fn space(&self) -> &FeatureSpace {
        &self.space
    }

    /// A row each, with a column for each feature.
    pub fn rows(&self) -> &Csr<X, FeatureIdx> {
        &self.rows
    }

    /// That it is of a catalogue of so many.
    pub(super) fn check(&self, n: usize) -> Result<()> {
        if self.rows.n_rows() == n {
            return Ok(());
        }
        Err(Error::Shape {
            what: "features",
            expected: format!("a row for each {} of the log, {n}", X::KIND),
            found: self.rows.n_rows().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_encoded_by_what_the_table_held_and_what_is_unknown_has_no_feature() {
        let film = |year: f64, genres: &[&str]| {
            FeatureRow::new().number("year", year).categories("genres", genres.iter().copied())
        };
        let rows = [
            (1, film(1990.0, &["War"])),
            (2, film(2000.0, &["War", "Love"])),
            (3, FeatureRow::new().category("studio", "A")),
        ];
        let space = FeatureSpace::new(&FeatureTable::new(rows).unwrap());
        assert_eq!(space.names(), ["genres Love", "genres War", "studio A", "year"]);
        let half = 0.5_f32.sqrt();
        let encode = |row: &FeatureRow| -> Vec<(u32, f32)> {
            space.encode(row).unwrap().into_iter().map(|(feature, weight)| (feature.0, weight)).collect()
        };
        assert_eq!(encode(&film(2000.0, &["Love", "War", "Love"])), [(0, half), (1, half), (3, 1.0)]);
        assert_eq!(encode(&film(1e9, &["Western"])), [(3, 3.0)]);
        assert_eq!(encode(&FeatureRow::new().category("studio", "B")), []);
        assert_eq!(encode(&FeatureRow::new()), []);
        let refused =
            |row: FeatureRow| matches!(space.encode(&row), Err(Error::Parameter { name: "feature", .. }));
        assert!(refused(FeatureRow::new().number("price", 1.0)), "a column that is not known");
        assert!(refused(FeatureRow::new().category("year", "old")), "a value of another type");
        assert!(refused(FeatureRow::new().category("genres", "War")), "one category where lists are");
        let why = space.encode(&FeatureRow::new().category("genres", "War")).unwrap_err().to_string();
        assert!(why.contains("(`category`) in column `genres`") && why.ends_with("(`categories`)"), "{why}");
        assert!(refused(FeatureRow::new().number("year", f64::NAN)));
        let none = FeatureSpace::new(&FeatureTable::new([(1, FeatureRow::new())]).unwrap());
        let why = none.encode(&FeatureRow::new().number("price", 1.0)).unwrap_err().to_string();
        assert!(why.starts_with("feature = price") && why.ends_with("has no columns"), "{why}");
        let mixed = FeatureTable::new([
            (1, FeatureRow::new().number("a", 1.0)),
            (2, FeatureRow::new().category("a", "x")),
        ]);
        assert!(mixed.is_err());
        assert!(matches!(
            FeatureTable::new([(1, FeatureRow::new()), (1, FeatureRow::new())]),
            Err(Error::DuplicateId { .. })
        ));
    }
}
