//! Reading logs from text: CSV, TSV, `::` and other separators, a row at a time.
//!
//! Rows that do not read are left out and reported with line and reason, not guessed at and not passed over in silence. Ids
//! of any type that parses from text; memory is that of the log itself. [`movielens`] knows the files of MovieLens as they
//! are published. With the feature `parquet`, logs come from Parquet files as well (`LogReader::read_parquet`).

pub mod movielens;
#[cfg(feature = "parquet")]
mod parquet;
mod report;
mod rows;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use report::{ReadReport, Rejected};

use crate::data::ids::{Id, IdMap, ItemIdx, UserIdx};
use crate::data::interactions::{Catalog, Duplicates, Interactions};
use crate::{Error, Result};

/// Which field of a row: by position from 0, or by its name in the first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Position, from 0.
    At(usize),
    /// Name in the header, without surrounding blanks.
    Named(String),
}

impl From<usize> for Column {
    fn from(at: usize) -> Self {
        Self::At(at)
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

/// How a text file holds a log. Columns are user, item, value and time in this order unless said otherwise.
///
/// ```
/// use cairn_recsys::read::LogReader;
/// let text = "user,film,stars,when\nann,tea,5,100\nbob,tea,five,101\nann,milk,4,102\n";
/// let (log, report) = LogReader::csv()
///     .columns("user", "film")
///     .value("stars")
///     .time("when")
///     .from_reader::<String, String>(text.as_bytes())?;
/// assert_eq!(log.len(), 2);
/// assert_eq!(report.rejected()[0].line, 3);
/// println!("{report}");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LogReader {
    separator: String,
    quotes: bool,
    header: bool,
    user: Column,
    item: Column,
    value: Option<Column>,
    time: Option<Column>,
    range: Option<(f32, f32)>,
    duplicates: Duplicates,
}

impl LogReader {
    /// Fields between commas, quoted where need be; the first line is a header.
    #[must_use]
    pub fn csv() -> Self {
        Self { quotes: true, header: true, ..Self::separated_by(",") }
    }

    /// Fields between tabs, no quotes, no header.
    #[must_use]
    pub fn tsv() -> Self {
        Self::separated_by("\t")
    }

    /// Fields between any text, such as `::`; no quotes, no header.
    #[must_use]
    pub fn separated_by(separator: &str) -> Self {
        Self {
            separator: separator.to_owned(),
            quotes: false,
            header: false,
            user: Column::At(0),
            item: Column::At(1),
            value: Some(Column::At(2)),
            time: Some(Column::At(3)),
            range: None,
            duplicates: Duplicates::default(),
        }
    }

    /// Whether the first line names the columns.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// The columns of user and item.
    #[must_use]
    pub fn columns(mut self, user: impl Into<Column>, item: impl Into<Column>) -> Self {
        (self.user, self.item) = (user.into(), item.into());
        self
    }

    /// The column of the value.
    #[must_use]
    pub fn value(mut self, column: impl Into<Column>) -> Self {
        self.value = Some(column.into());
        self
    }

    /// There is no value: every row counts 1.
    #[must_use]
    pub fn without_value(mut self) -> Self {
        self.value = None;
        self
    }

    /// The column of the time: a whole number, seconds since 1970 by custom.
    #[must_use]
    pub fn time(mut self, column: impl Into<Column>) -> Self {
        self.time = Some(column.into());
        self
    }

    /// There is no time: the order of the rows stands for it.
    #[must_use]
    pub fn without_time(mut self) -> Self {
        self.time = None;
        self
    }

    /// Rows with a value outside these bounds are rejected. Values that are not finite always are.
    #[must_use]
    pub fn values_between(mut self, low: f32, high: f32) -> Self {
        self.range = Some((low, high));
        self
    }

    /// What to do when a user meets the same item again; [`Duplicates::Last`] by default.
    #[must_use]
    pub fn duplicates(mut self, policy: Duplicates) -> Self {
        self.duplicates = policy;
        self
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parameter`] for a column that the header does not name; [`Error::Empty`] if no row is left;
    /// [`Error::DuplicateInteraction`] under [`Duplicates::Error`].
    pub fn read<U: Id + FromStr, I: Id + FromStr>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        self.parse(file, path)
    }

    /// Reads anything that can be read.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parameter`] for a column that the header does not name; [`Error::Empty`] if no row is left;
    /// [`Error::DuplicateInteraction`] under [`Duplicates::Error`].
    pub fn from_reader<U: Id + FromStr, I: Id + FromStr>(
        &self,
        reader: impl Read,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        self.parse(reader, Path::new("the log"))
    }

    fn parse<U: Id + FromStr, I: Id + FromStr>(
        &self,
        reader: impl Read,
        path: &Path,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        self.collect(|each| rows::for_each(reader, &self.separator, self.quotes, path, each))
    }

    /// The log of the rows that `rows` hands to its argument, with the line of each, until that says to stop.
    fn collect<U: Id + FromStr, I: Id + FromStr>(
        &self,
        rows: impl FnOnce(&mut dyn FnMut(u64, Fields<'_, '_>) -> bool) -> Result<()>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let mut columns = Columns::<U, I>::default();
        let mut report = ReadReport::default();
        let mut positions = if self.header { None } else { Some(self.positions(&[])?) };
        let mut failure = None;
        rows(&mut |line, fields| {
            let Some(positions) = &positions else {
                return match fields.and_then(|names| self.positions(names).map_err(|e| e.to_string())) {
                    Ok(found) => {
                        positions = Some(found);
                        true
                    }
                    Err(reason) => {
                        failure = Some(Error::parameter("header", format!("line {line}"), reason));
                        false
                    }
                };
            };
            match fields.and_then(|fields| self.row(fields, positions)) {
                Ok(row) => match columns.push(row) {
                    Ok(()) => report.accept(),
                    Err(error) => {
                        failure = Some(error);
                        return false;
                    }
                },
                Err(reason) => report.reject(line, reason),
            }
            true
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        let catalog = Catalog { users: Arc::new(columns.user_ids), items: Arc::new(columns.item_ids) };
        let times = self.time.is_some().then_some(columns.times);
        let log = Interactions::from_columns(
            catalog,
            columns.users,
            columns.items,
            columns.values,
            times,
            self.duplicates,
        )?;
        report.repeated = report.accepted() - log.len();
        Ok((log, report))
    }

    /// Positions of the columns, given the names in the header.
    fn positions(&self, names: &[&str]) -> Result<Positions> {
        let find = |column: &Column| match column {
            Column::At(at) => Ok(*at),
            Column::Named(name) => {
                let missing = || {
                    let expected = format!("one of the columns {names:?}");
                    Error::parameter(
                        "column",
                        name,
                        if names.is_empty() { "a header".into() } else { expected },
                    )
                };
                names.iter().position(|n| n.trim() == name).ok_or_else(missing)
            }
        };
        Ok(Positions {
            user: find(&self.user)?,
            item: find(&self.item)?,
            value: self.value.as_ref().map(find).transpose()?,
            time: self.time.as_ref().map(find).transpose()?,
        })
    }

    fn row<U: FromStr, I: FromStr>(
        &self,
        fields: &[&str],
        positions: &Positions,
    ) -> Result<Row<U, I>, String> {
        let value = match positions.value {
            None => 1.0,
            Some(at) => parse::<f32>(fields, at, "value")?,
        };
        if !value.is_finite() {
            return Err(format!("value {value} is not finite"));
        }
        if let Some((low, high)) = self.range.filter(|(low, high)| !(*low..=*high).contains(&value)) {
            return Err(format!("value {value} is not from {low} to {high}"));
        }
        Ok(Row {
            user: parse(fields, positions.user, "user")?,
            item: parse(fields, positions.item, "item")?,
            value,
            time: positions.time.map_or(Ok(0), |at| parse(fields, at, "time"))?,
        })
    }
}

fn parse<T: FromStr>(fields: &[&str], at: usize, name: &str) -> Result<T, String> {
    let text = fields.get(at).map_or("", |text| text.trim());
    if text.is_empty() {
        return Err(format!("the {name} is missing"));
    }
    text.parse().map_err(|_| format!("{name} `{text}` does not read"))
}

/// The fields of a row, or why there are none.
type Fields<'a, 'b> = Result<&'a [&'b str], String>;

struct Positions {
    user: usize,
    item: usize,
    value: Option<usize>,
    time: Option<usize>,
}

struct Row<U, I> {
    user: U,
    item: I,
    value: f32,
    time: i64,
}

struct Columns<U, I> {
    user_ids: IdMap<U, UserIdx>,
    item_ids: IdMap<I, ItemIdx>,
    users: Vec<UserIdx>,
    items: Vec<ItemIdx>,
    values: Vec<f32>,
    times: Vec<i64>,
}

impl<U, I> Default for Columns<U, I> {
    fn default() -> Self {
        Self {
            user_ids: IdMap::default(),
            item_ids: IdMap::default(),
            users: Vec::new(),
            items: Vec::new(),
            values: Vec::new(),
            times: Vec::new(),
        }
    }
}

impl<U: Id, I: Id> Columns<U, I> {
    fn push(&mut self, row: Row<U, I>) -> Result<()> {
        self.users.push(self.user_ids.insert(row.user)?);
        self.items.push(self.item_ids.insert(row.item)?);
        self.values.push(row.value);
        self.times.push(row.time);
        Ok(())
    }
}
