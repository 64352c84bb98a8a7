//! Reading tables of users, items or events from text: CSV and its kin, a row each, columns by name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::BufRead;
use std::path::Path;
use std::str::FromStr;

use cairn_files::{Budget, RowFormat};

use super::cells::{Cell, Cells};
use super::{Column, parse, rows};
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
    memory_limit: Option<u64>,
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
            memory_limit: None,
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

    /// Marks of a value that is missing, besides the empty field: `missing(["NA", "NaN"])`. By default there are none. Elements of lists, as
    /// Parquet and Arrow have them, are left out if they are one.
    #[must_use]
    #[doc(alias("na_values", "null"))]
    pub fn missing<S: Into<String>>(mut self, marks: impl IntoIterator<Item = S>) -> Self {
        self.missing = marks.into_iter().map(Into::into).collect();
        self
    }

    /// Most bytes of memory that reading may take, as far as they are counted. By default twenty times what the file has on disk and 56 MiB,
    /// and any number for streams and record batches: a row of a table takes some hundred bytes, so that files of a million short rows need
    /// a limit of their own.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
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

    /// A column of any number of categories, with this between them. A column of lists, as Parquet and Arrow have them, is read by its
    /// elements, each of them whole, whatever is said here.
    #[must_use]
    #[doc(alias = "multi_valued")]
    pub fn categories(self, column: impl Into<Column>, separator: &str) -> Self {
        self.with(column, Kind::Categories(separator.to_owned()))
    }

    /// For a table of events, the context of a request: the id is the user's, and this is the column of the time.
    #[must_use]
    pub fn events(self, time: impl Into<Column>) -> EventReader {
        EventReader { reader: self, time: time.into() }
    }

    /// Reads a file, which may be compressed by gzip.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::InvalidRow`] with the line for a row that does not read, a value of another type included;
    /// [`Error::Parameter`] for a column that is not there, or there twice; [`Error::DuplicateId`] with both lines; [`Error::Empty`] for
    /// a table without rows; [`Error::Memory`] beyond [`memory_limit`](Self::memory_limit).
    pub fn read<K: Id + FromStr>(&self, path: impl AsRef<Path>) -> Result<FeatureTable<K>> {
        self.keyed().read(path.as_ref())
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader<K: Id + FromStr>(&self, reader: impl BufRead) -> Result<FeatureTable<K>> {
        self.keyed().parse(reader, Path::new("features"), Budget::of_bytes(u64::MAX))
    }

    pub(super) fn keyed<K: Id + FromStr>(&self) -> Keyed<'_, K> {
        Keyed { reader: self, header: self.header, time: None, key: id_of::<K> }
    }
}

fn id_of<K: FromStr>(cells: &[Cell<'_>], places: &[usize]) -> Result<K, String> {
    parse::id(key_text(cells, places[0], "id")?, "id")
}

/// The text of a field that says whose a row is.
fn key_text<'a>(cells: &[Cell<'a>], at: usize, name: &str) -> Result<&'a str, String> {
    match cells.get(at).map(|cell| cell.text.trim()) {
        Some(text) if !text.is_empty() => Ok(text),
        _ => parse::text(&texts(cells), at, name),
    }
}

fn texts<'a>(cells: &[Cell<'a>]) -> Vec<&'a str> {
    cells.iter().map(|cell| cell.text).collect()
}

/// How a file holds features of events, as [`EventFeatures`](crate::features::EventFeatures) takes them: the columns of a
/// [`FeatureReader`], of which the id is the user, and the column of the time. Made by [`FeatureReader::events`].
///
/// The time is read as [`LogReader`](super::LogReader) reads it, so that the file of the log may hold what is known of its events, too. Rows of
/// one user and time that say the same are one; those that differ are an error.
///
/// ```
/// use cairn_recsys::features::EventFeatures;
/// use cairn_recsys::read::{FeatureReader, LogReader};
/// let text = "user,item,value,time,device\nann,tea,1,8,phone\nann,milk,1,8,phone\nann,beer,1,20,tv\n";
/// let (log, _) = LogReader::csv().from_reader::<String, String>(text.as_bytes())?;
/// let reader = FeatureReader::csv("user").category("device").events("time");
/// let table = reader.from_reader::<String>(text.as_bytes())?;
/// let context = EventFeatures::new(&table, &log.catalog().users)?;
/// assert_eq!((table.len(), context.space().len()), (2, 2));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EventReader {
    reader: FeatureReader,
    time: Column,
}

impl EventReader {
    /// Reads a file, which may be compressed by gzip.
    ///
    /// # Errors
    /// As [`FeatureReader::read`]; [`Error::DuplicateId`] for a user and time with different features.
    pub fn read<U: Id + FromStr>(&self, path: impl AsRef<Path>) -> Result<FeatureTable<(U, i64)>> {
        self.keyed().read(path.as_ref())
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader<U: Id + FromStr>(&self, reader: impl BufRead) -> Result<FeatureTable<(U, i64)>> {
        self.keyed().parse(reader, Path::new("features of events"), Budget::of_bytes(u64::MAX))
    }

    pub(super) fn keyed<U: Id + FromStr>(&self) -> Keyed<'_, (U, i64)> {
        Keyed { reader: &self.reader, header: self.reader.header, time: Some(&self.time), key: event_of::<U> }
    }
}

fn event_of<U: FromStr>(cells: &[Cell<'_>], places: &[usize]) -> Result<(U, i64), String> {
    let user = parse::id(key_text(cells, places[0], "user")?, "user")?;
    let time = key_text(cells, places[1], "time of the event")?;
    let moment = parse::moment(time).ok_or_else(|| {
        let time = parse::excerpt(time);
        format!("the time `{time}` is neither a number nor a date like `2005-04-02 23:53:47`")
    })?;
    Ok((user, moment))
}

/// A reader of rows that are of a `K`.
pub(super) struct Keyed<'a, K> {
    reader: &'a FeatureReader,
    header: bool,
    /// The column behind that of the id, of tables of events, in which rows may be repeated.
    time: Option<&'a Column>,
    /// Reads whose row it is from its fields, by where the columns that say so are.
    key: fn(&[Cell<'_>], &[usize]) -> Result<K, String>,
}

/// Bytes of memory that a row takes: its entry of the table and the text in it, twice while it grows, and the key with its line.
fn of_row(cells: &[Cell<'_>], (keys, features): &Places) -> u64 {
    let text = |&at: &usize| cells.get(at).map_or(0, |cell| cell.text.len() as u64);
    480 + 6 * keys.iter().chain(features).map(text).sum::<u64>()
}

/// Where the columns are: those that say whose a row is, and those of the features.
type Places = (Vec<usize>, Vec<usize>);

impl<K: Id> Keyed<'_, K> {
    fn read(&self, path: &Path) -> Result<FeatureTable<K>> {
        let (reader, budget) = rows::open(path)?;
        self.parse(reader, path, budget)
    }

    /// With the limit that was set, if any.
    pub(super) fn limited(&self, budget: Budget) -> Budget {
        match self.reader.memory_limit {
            Some(bytes) => budget.limit(bytes),
            None => budget,
        }
    }

    fn parse(&self, reader: impl BufRead, path: &Path, budget: Budget) -> Result<FeatureTable<K>> {
        self.collect(path, self.limited(budget), |each| {
            rows::for_each(reader, &self.reader.format, path, |line, fields| match fields {
                Ok(fields) => each(line, Ok(&fields.iter().copied().map(Cell::of).collect::<Vec<_>>())),
                Err(why) => each(line, Err(why)),
            })
        })
    }

    /// Of a file whose columns have names.
    #[cfg(any(feature = "arrow", feature = "parquet"))]
    pub(super) fn named(self) -> Self {
        Self { header: true, ..self }
    }

    /// Whether a column of this name is needed: all are as soon as one is given by position.
    #[cfg(any(feature = "arrow", feature = "parquet"))]
    pub(super) fn reads(&self, name: &str) -> bool {
        let features = self.reader.columns.iter().map(|(_, column, _)| column);
        self.keys().chain(features).any(|column| column.may_be(name))
    }

    /// The columns that say whose a row is.
    fn keys(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.reader.id).chain(self.time)
    }

    /// The table of what `rows` hands on, each row with its line.
    pub(super) fn collect(
        &self,
        path: &Path,
        mut budget: Budget,
        rows: impl FnOnce(&mut dyn FnMut(u64, Cells<'_, '_>) -> bool) -> Result<bool>,
    ) -> Result<FeatureTable<K>> {
        let mut places = if self.header { None } else { Some(self.places(&[])?) };
        let (mut table, mut failure) = (Vec::<(K, FeatureRow)>::new(), None);
        // Of each key its line, and its place in the table.
        let mut known: HashMap<K, (u64, usize)> = HashMap::new();
        rows(&mut |line, cells| {
            let invalid = |reason| Error::InvalidRow { path: path.to_owned(), line, reason };
            let result = cells.map_err(invalid).and_then(|cells| {
                let Some(places) = &places else {
                    places = Some(self.places(&texts(cells))?);
                    return Ok(());
                };
                let key = (self.key)(cells, &places.0).map_err(invalid)?;
                let row = || self.reader.row(cells, &places.1).map_err(invalid);
                match known.entry(key) {
                    Entry::Occupied(first) => {
                        let row = row()?;
                        if self.time.is_some() && table[first.get().1].1 == row {
                            return Ok(());
                        }
                        let (id, before) = (first.key(), first.get().0);
                        let id = format!("{id:?} ({}, lines {before} and {line})", path.display());
                        Err(Error::DuplicateId { kind: "row", id })
                    }
                    Entry::Vacant(free) => {
                        let needed = of_row(cells, places);
                        budget.take(needed).map_err(|_| Error::Memory {
                            what: format!(
                                "a table of {} rows and more (see `FeatureReader::memory_limit`)",
                                table.len()
                            ),
                            needed: budget.taken() + needed,
                            limit: budget.taken() + budget.left(),
                        })?;
                        table.push((free.key().clone(), row()?));
                        free.insert((line, table.len() - 1));
                        Ok(())
                    }
                }
            });
            failure = result.err();
            failure.is_none()
        })?;
        drop(known);
        match failure {
            Some(error) => Err(error),
            None if table.is_empty() => Err(Error::Empty { what: "the table of features" }),
            None => FeatureTable::new(table),
        }
    }

    fn places(&self, header: &[&str]) -> Result<Places> {
        let keys = self.keys().map(|column| column.position(header)).collect::<Result<_>>()?;
        let columns = self.reader.columns.iter().map(|(_, column, _)| column.position(header));
        Ok((keys, columns.collect::<Result<_>>()?))
    }
}

impl FeatureReader {
    fn is_missing(&self, value: &str) -> bool {
        value.is_empty() || self.missing.iter().any(|mark| mark == value)
    }

    /// The features of a row, by where their columns are.
    fn row(&self, cells: &[Cell<'_>], places: &[usize]) -> Result<FeatureRow, String> {
        let mut row = FeatureRow::new();
        for ((name, _, kind), &at) in self.columns.iter().zip(places) {
            let Some(cell) = cells.get(at) else {
                return Err(format!("`{name}` is column {} of a row of {} fields", at + 1, cells.len()));
            };
            if let Some(value) = self.value(*cell, kind, name)? {
                row = row.with(name, value);
            }
        }
        Ok(row)
    }

    fn value(&self, cell: Cell<'_>, kind: &Kind, name: &str) -> Result<Option<FeatureValue>, String> {
        let Some(elements) = cell.elements() else { return self.text_value(cell.text.trim(), kind, name) };
        let known: Vec<&str> = elements.filter(|element| !self.is_missing(element)).collect();
        match (&known[..], kind) {
            ([], _) => Ok(None),
            (all, Kind::Categories(_)) => {
                let all = all.iter().map(|&element| element.to_owned()).collect();
                Ok(Some(FeatureValue::Categories(all)))
            }
            ([only], _) => self.text_value(only, kind, name),
            _ => Err(format!("`{name}` is a list of {} values; `categories` reads lists", known.len())),
        }
    }

    fn text_value(&self, field: &str, kind: &Kind, name: &str) -> Result<Option<FeatureValue>, String> {
        if self.is_missing(field) {
            return Ok(None);
        }
        let invalid = |expected: &str| {
            let field = parse::excerpt(field);
            format!(
                "`{field}` of `{name}` is {expected}; an empty field, or a mark named by `missing`, is no value"
            )
        };
        Ok(Some(match kind {
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
        }))
    }
}
