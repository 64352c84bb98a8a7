//! Reading tables of users or items from text: CSV and its kin, a row each, columns by name.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;
use std::str::FromStr;

use cairn_files::RowFormat;

use super::{Column, Fields, parse, rows};
use crate::data::ids::Id;
use crate::features::{FeatureRow, FeatureTable, FeatureValue, is_bounded};
use crate::{Error, Result};

/// How a text file holds features: which column is the id, and what the others are. Columns that are not named are passed over; an
/// empty field is a value that is missing, and so is a mark that [`missing`](Self::missing) names. What is missing is no feature of its
/// row, see [`FeatureSpace`](crate::features::FeatureSpace).
///
/// ```
/// use cairn_recsys::read::FeatureReader;
/// let text = "film,year,genres,released\n1,1995,Animation|Comedy,1995-11-22\n2,,Drama,\n";
/// let table = FeatureReader::csv("film").number("year").categories("genres", "|").date("released").from_reader::<u32>(text.as_bytes())?;
/// assert_eq!(table.len(), 2);
/// assert!(table.rows()[1].1.get("year").is_none());
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureReader {
    format: RowFormat,
    header: bool,
    id: Column,
    columns: Vec<(String, Column, Kind)>,
    missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Number,
    Date,
    Category,
    Categories(String),
}

impl FeatureReader {
    /// Fields between commas; the first line is a header, in which the id's column has this name.
    #[must_use]
    pub fn csv(id: impl Into<Column>) -> Self {
        Self { header: true, ..Self::separated_by(",", id) }
    }

    /// Fields between any text; no header, unless it is said by [`header`](Self::header).
    #[must_use]
    pub fn separated_by(separator: &str, id: impl Into<Column>) -> Self {
        Self {
            format: RowFormat::separated_by(separator),
            header: false,
            id: id.into(),
            columns: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Whether the first line names the columns.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Whether bytes are characters of ISO-8859-1 (Latin-1).
    #[must_use]
    pub fn latin1(mut self) -> Self {
        self.format.latin1 = true;
        self
    }

    /// Marks of a value that is missing, besides the empty field: `missing(["NA", "NaN"])`. By default there are none.
    #[must_use]
    #[doc(alias("na_values", "null"))]
    pub fn missing<S: Into<String>>(mut self, marks: impl IntoIterator<Item = S>) -> Self {
        self.missing = marks.into_iter().map(Into::into).collect();
        self
    }

    fn with(mut self, column: impl Into<Column>, kind: Kind) -> Self {
        let column = column.into();
        let name = match &column {
            Column::Named(name) => name.clone(),
            Column::At(at) => format!("column {at}"),
        };
        self.columns.push((name, column, kind));
        self
    }

    /// A column of numbers.
    #[must_use]
    pub fn number(self, column: impl Into<Column>) -> Self {
        self.with(column, Kind::Number)
    }

    /// A column of dates or times, as [`LogReader`](super::LogReader) reads them; a number of seconds.
    #[must_use]
    pub fn date(self, column: impl Into<Column>) -> Self {
        self.with(column, Kind::Date)
    }

    /// A column of categories, one a row.
    #[must_use]
    pub fn category(self, column: impl Into<Column>) -> Self {
        self.with(column, Kind::Category)
    }

    /// A column of any number of categories, with this between them.
    #[must_use]
    #[doc(alias = "multi_valued")]
    pub fn categories(self, column: impl Into<Column>, separator: &str) -> Self {
        self.with(column, Kind::Categories(separator.to_owned()))
    }

    /// Reads a file, which may be compressed by gzip.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidRow`] with the line for a row that does not read, a value of another type included;
    /// [`Error::Parameter`] for a column that is not there, or there twice; [`Error::DuplicateId`] with both lines; [`Error::Empty`] for
    /// a table without rows.
    pub fn read<K: Id + FromStr>(&self, path: impl AsRef<Path>) -> Result<FeatureTable<K>> {
        let path = path.as_ref();
        let (reader, mut budget) = rows::open(path)?;
        self.parse(reader, path, |bytes| budget.take(bytes).map_err(rows::io(path)))
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader<K: Id + FromStr>(&self, reader: impl BufRead) -> Result<FeatureTable<K>> {
        self.parse(reader, Path::new("features"), |_| Ok(()))
    }

    fn parse<K: Id + FromStr>(
        &self,
        reader: impl BufRead,
        path: &Path,
        take: impl FnMut(u64) -> Result<()>,
    ) -> Result<FeatureTable<K>> {
        self.collect(path, take, |each| rows::for_each(reader, &self.format, path, each))
    }

    /// The table of what `rows` hands on, each row with its line.
    pub(super) fn collect<K: Id + FromStr>(
        &self,
        path: &Path,
        mut take: impl FnMut(u64) -> Result<()>,
        rows: impl FnOnce(&mut dyn FnMut(u64, Fields<'_, '_>) -> bool) -> Result<bool>,
    ) -> Result<FeatureTable<K>> {
        let mut places = if self.header { None } else { Some(self.places(&[])?) };
        let (mut table, mut failure) = (Vec::new(), None);
        let mut lines: HashMap<K, u64> = HashMap::new();
        rows(&mut |line, fields| {
            let invalid = |reason| Error::InvalidRow { path: path.to_owned(), line, reason };
            let result = fields.map_err(invalid).and_then(|fields| {
                let Some(places) = &places else {
                    places = Some(self.places(fields)?);
                    return Ok(());
                };
                // An entry of the table and the text in it, twice while it grows, and the id with its line.
                let text: usize = fields.iter().map(|field| field.len()).sum();
                take(480 + 6 * text as u64)?;
                let (id, row) = self.row::<K>(fields, places).map_err(invalid)?;
                if let Some(first) = lines.insert(id.clone(), line) {
                    let id = format!("{id:?} ({}, lines {first} and {line})", path.display());
                    return Err(Error::DuplicateId { kind: "row", id });
                }
                table.push((id, row));
                Ok(())
            });
            failure = result.err();
            failure.is_none()
        })?;
        drop(lines);
        match failure {
            Some(error) => Err(error),
            None if table.is_empty() => Err(Error::Empty { what: "the table of features" }),
            None => FeatureTable::new(table),
        }
    }

    /// Whether a column of this name is needed: all are as soon as one is given by position.
    #[cfg(any(feature = "arrow", feature = "parquet"))]
    pub(super) fn reads(&self, name: &str) -> bool {
        self.id.may_be(name) || self.columns.iter().any(|(_, column, _)| column.may_be(name))
    }

    /// Where the id and the columns are.
    fn places(&self, header: &[&str]) -> Result<(usize, Vec<usize>)> {
        let columns = self.columns.iter().map(|(_, column, _)| column.position(header));
        Ok((self.id.position(header)?, columns.collect::<Result<_>>()?))
    }

    fn row<K: FromStr>(
        &self,
        fields: &[&str],
        (id, places): &(usize, Vec<usize>),
    ) -> std::result::Result<(K, FeatureRow), String> {
        let id = parse::id(parse::text(fields, *id, "id")?, "id")?;
        let mut row = FeatureRow::new();
        for ((name, _, kind), &at) in self.columns.iter().zip(places) {
            let Some(field) = fields.get(at).map(|field| field.trim()) else {
                return Err(format!("`{name}` is column {} of a row of {} fields", at + 1, fields.len()));
            };
            if field.is_empty() || self.missing.iter().any(|mark| mark == field) {
                continue;
            }
            let invalid = |expected: &str| {
                let field = parse::excerpt(field);
                format!(
                    "`{field}` of `{name}` is {expected}; an empty field, or a mark named by `missing`, is no value"
                )
            };
            let value = match kind {
                Kind::Number => {
                    let number = field.parse().ok().filter(|x: &f64| is_bounded(*x));
                    let expected = "not a number from -1e100 to 1e100";
                    FeatureValue::Number(number.ok_or_else(|| invalid(expected))?)
                }
                Kind::Date => {
                    let expected = "neither a number nor a date like `2005-04-02 23:53:47`";
                    FeatureValue::Number(parse::moment(field).ok_or_else(|| invalid(expected))? as f64)
                }
                Kind::Category => FeatureValue::Category(field.to_owned()),
                Kind::Categories(between) => {
                    let all = field.split(between.as_str()).map(str::trim).filter(|one| !one.is_empty());
                    FeatureValue::Categories(all.map(str::to_owned).collect())
                }
            };
            row = row.with(name, value);
        }
        Ok((id, row))
    }
}
