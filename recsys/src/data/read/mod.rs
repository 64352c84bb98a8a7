//! Reading logs from text: CSV, TSV, `::` and other separators, compressed by gzip or not, a row at a time.
//!
//! Rows that do not read are left out and reported with line and reason, not guessed at and not passed over in silence. Ids
//! of any type that parses from text; memory is that of the log itself, and limited. [`movielens`] knows the files of MovieLens
//! as they are published. With the feature `parquet`, logs come from Parquet files as well (`LogReader::read_parquet`), with `arrow` from
//! record batches (`LogReader::read_batches`).

#[cfg(feature = "arrow")]
mod arrow;
mod cells;
mod comments;
mod features;
pub mod movielens;
#[cfg(feature = "parquet")]
mod parquet;
mod parse;
mod report;
mod rows;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use cairn_files::{Budget, RowFormat};
use comments::Comments;
pub use features::{EventReader, FeatureReader};
pub use report::{ReadReport, Rejected};
use serde::Serialize;

use crate::data::ids::{Id, IdMap, ItemIdx, UserIdx};
use crate::data::interactions::{Catalog, Duplicates, Interactions};
use crate::data::stored::{StoredInteractions, StoredWriter};
use crate::{Error, Result};

/// Which field of a row: by position from 0, or by its name in the first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Position, from 0.
    At(usize),
    /// Name in the header, without surrounding blanks.
    Named(String),
}

impl Column {
    /// Where it is, given the names in the header. A name that two columns have does not say which is meant.
    fn position(&self, names: &[&str]) -> Result<usize> {
        let name = match self {
            Self::At(at) => return Ok(*at),
            Self::Named(name) => name,
        };
        let mut found = (0..names.len()).filter(|&at| names[at].trim() == name);
        let expected = match (found.next(), found.next()) {
            (Some(at), None) => return Ok(at),
            (Some(_), Some(_)) => "a name that one column has; positions tell several apart".to_owned(),
            (None, _) if names.is_empty() => "a header".to_owned(),
            (None, _) => format!("one of the columns {names:?}"),
        };
        Err(Error::parameter("column", name, expected))
    }
}

#[cfg(any(feature = "arrow", feature = "parquet"))]
impl Column {
    /// Whether the column of this name may be meant: any, where it is given by position.
    fn may_be(&self, name: &str) -> bool {
        match self {
            Self::At(_) => true,
            Self::Named(wanted) => wanted == name.trim(),
        }
    }
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
/// A field in quotes is what is between them, with every separator; empty lines are passed over, line ends may be those of
/// Windows, and a byte order mark is no part of the first field. Ids that are numbers may be written `29.0`. Ids that are
/// [`String`]s are the text as it is: `1` and `1.0` are two users.
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
    format: RowFormat,
    comments: Comments,
    decimal_comma: bool,
    header: bool,
    user: Column,
    item: Column,
    value: Option<Column>,
    time: Option<Column>,
    range: Option<(f32, f32)>,
    duplicates: Duplicates,
    memory_limit: Option<u64>,
}

impl LogReader {
    /// Fields between commas; the first line is a header.
    #[doc(alias = "read_csv")]
    #[must_use]
    pub fn csv() -> Self {
        Self { header: true, ..Self::separated_by(",") }
    }

    /// Fields between tabs, no header.
    #[must_use]
    pub fn tsv() -> Self {
        Self::separated_by("\t")
    }

    /// Fields between any text, such as `;` or `::`; no header. Between spaces means between any runs of spaces and tabs, and those
    /// at the beginning of a line are passed over.
    #[doc(alias("sep", "delim_whitespace"))]
    #[must_use]
    pub fn separated_by(separator: &str) -> Self {
        Self {
            format: RowFormat::separated_by(separator),
            comments: Comments::Suspected,
            decimal_comma: false,
            memory_limit: None,
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

    /// Whether quotes surround fields, as they do unless this says no: then they are text like any other.
    #[doc(alias = "quoting")]
    #[must_use]
    pub fn quotes(mut self, quotes: bool) -> Self {
        self.format.quotes = quotes;
        self
    }

    /// Lines that begin with this are comments, which are passed over; nothing says that there are none.
    ///
    /// Unless told, lines before the first row that begin with `#` or `%` are rejected and reported as what they seem to be.
    #[must_use]
    pub fn comment(mut self, sign: &str) -> Self {
        self.format.comment = Some(sign.to_owned()).filter(|sign| !sign.is_empty());
        self.comments = Comments::Told;
        self
    }

    /// Values have a comma before their fraction: `3,5`.
    #[doc(alias = "decimal")]
    #[must_use]
    pub fn decimal_comma(mut self) -> Self {
        self.decimal_comma = true;
        self
    }

    /// The text is in ISO-8859-1 (Latin-1), not in UTF-8.
    #[doc(alias = "encoding")]
    #[must_use]
    pub fn latin1(mut self) -> Self {
        self.format.latin1 = true;
        self
    }

    /// Most bytes of memory that reading may take. By default twenty times what the file has on disk and 56 MiB: more than any
    /// log needs, and less than one made to fill the memory asks for.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
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

    /// The column of the time: a number, seconds since 1970 by custom, of which the whole part counts, or a date like
    /// `2005-04-02`, with or without a time of day (`2005-04-02 23:53:47`, `2005-04-02T23:53:47+02:00`), which becomes one.
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

    /// Reads a file, compressed by gzip (`.csv.gz`) or not.
    ///
    /// # Errors
    /// [`Error::Io`], also for a damaged archive; [`Error::Parameter`] for a column that the header does not name, or names twice;
    /// [`Error::NoRows`] if every row was rejected and [`Error::Empty`] if there is none; [`Error::Memory`] beyond
    /// [`memory_limit`](Self::memory_limit); [`Error::DuplicateInteraction`] under [`Duplicates::Error`].
    pub fn read<U: Id + FromStr, I: Id + FromStr>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let path = path.as_ref();
        let (file, budget) = rows::open(path)?;
        self.parse(file, path, budget)
    }

    /// Reads anything that can be read, as it is: no more than [`memory_limit`](Self::memory_limit) of memory, or without one as
    /// much as it takes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader<U: Id + FromStr, I: Id + FromStr>(
        &self,
        reader: impl Read,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        self.parse(BufReader::new(reader), Path::new("the log"), Budget::of_bytes(u64::MAX))
    }

    fn parse<U: Id + FromStr, I: Id + FromStr>(
        &self,
        reader: impl BufRead,
        path: &Path,
        budget: Budget,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        self.collect(path, budget, |each| rows::for_each(reader, &self.format, path, each))
    }

    /// Reads a file as [`read`](Self::read) does, but into a file of its own instead of memory, `to`, for logs that memory does not
    /// hold. [`memory_limit`](Self::memory_limit) is then that of sorting; ids are in memory besides.
    ///
    /// ```no_run
    /// use cairn_recsys::read::LogReader;
    /// use cairn_recsys::Als;
    /// let (log, report) = LogReader::csv().store::<u64, u64>("plays.csv.gz", "plays.log")?;
    /// println!("{report}: {} users, {} items", log.n_users(), log.n_items());
    /// let model = Als::new().fit_stored(&log)?;
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`StoredWriter::finish`]; what was of the name `to` is then as it was.
    pub fn store<U, I>(
        &self,
        path: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(StoredInteractions<U, I>, ReadReport)>
    where
        U: Id + FromStr + Serialize,
        I: Id + FromStr + Serialize,
    {
        let path = path.as_ref();
        let (file, _) = rows::open(path)?;
        let mut writer = StoredWriter::create(to, self.duplicates)?;
        if let Some(bytes) = self.memory_limit {
            writer = writer.memory(bytes);
        }
        let mut report = self.each_row(
            path,
            |each| rows::for_each(file, &self.format, path, each),
            |row: Row<U, I>| writer.add((row.user.0, row.item.0, row.value, row.time)),
        )?;
        let log = writer.finish()?;
        report.repeated = report.accepted() - log.len();
        Ok((log, report))
    }

    /// The log of the rows that `rows` hands to its argument, see [`each_row`](Self::each_row).
    fn collect<U: Id + FromStr, I: Id + FromStr>(
        &self,
        path: &Path,
        budget: Budget,
        rows: impl FnOnce(&mut dyn FnMut(u64, Fields<'_, '_>) -> bool) -> Result<bool>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let budget = self.memory_limit.map_or(budget.clone(), |bytes| budget.limit(bytes));
        let mut columns = Columns::<U, I>::new(budget);
        let mut report = self.each_row(path, rows, |row| columns.push(row))?;
        let log = columns.log(self.time.is_some(), self.duplicates)?;
        report.repeated = report.accepted() - log.len();
        Ok((log, report))
    }

    /// Hands the rows that read to `take`. `rows` hands each row, with its line, to its argument, until that says to stop, and gives
    /// whether the text ended with a line end.
    fn each_row<U: Id + FromStr, I: Id + FromStr>(
        &self,
        path: &Path,
        rows: impl FnOnce(&mut dyn FnMut(u64, Fields<'_, '_>) -> bool) -> Result<bool>,
        mut take: impl FnMut(Row<U, I>) -> Result<()>,
    ) -> Result<ReadReport> {
        let mut report = ReadReport::default();
        let mut positions = if self.header { None } else { Some(self.positions(&[])?) };
        let mut failure = None;
        let ended = rows(&mut |line, fields| {
            if report.accepted() == 0
                && let Ok(fields) = &fields
                && self.comments.suspects(fields, positions.is_none().then(|| self.last_column()))
            {
                report.reject(line, comments::REASON.to_owned());
                return true;
            }
            let Some(positions) = &positions else {
                let invalid = |reason| Error::InvalidRow { path: path.to_owned(), line, reason };
                match fields.map_err(invalid).and_then(|names| self.positions(names)) {
                    Ok(found) => positions = Some(found),
                    Err(error) => failure = Some(error),
                }
                return failure.is_none();
            };
            match fields.and_then(|fields| self.row(fields, positions)) {
                Ok(row) => match take(row) {
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
        report.unfinished = !ended;
        if let (0, Some(first)) = (report.accepted(), report.rejected().first()) {
            let (rows, line, reason) = (report.rejections(), first.line, first.reason.clone());
            return Err(Error::NoRows { path: path.to_owned(), rows, line, reason });
        }
        Ok(report)
    }

    /// The highest position that a row must have, as far as columns are given by position.
    fn last_column(&self) -> usize {
        let columns = [Some(&self.user), Some(&self.item), self.value.as_ref(), self.time.as_ref()];
        let position = |column: &Column| if let Column::At(at) = column { *at } else { 0 };
        columns.into_iter().flatten().map(position).max().unwrap_or(0)
    }

    /// Positions of the columns, given the names in the header.
    fn positions(&self, names: &[&str]) -> Result<Positions> {
        let find = |column: &Column| column.position(names);
        Ok(Positions {
            user: find(&self.user)?,
            item: find(&self.item)?,
            value: self.value.as_ref().map(find).transpose()?,
            time: self.time.as_ref().map(find).transpose()?,
        })
    }

    /// Whether a column is needed: all are as soon as one is given by position.
    #[cfg(any(feature = "arrow", feature = "parquet"))]
    fn reads(&self, name: &str) -> bool {
        let columns = [Some(&self.user), Some(&self.item), self.value.as_ref(), self.time.as_ref()];
        columns.into_iter().flatten().any(|column| column.may_be(name))
    }

    fn row<U: FromStr, I: FromStr>(
        &self,
        fields: &[&str],
        positions: &Positions,
    ) -> Result<Row<U, I>, String> {
        fn id<T: FromStr>(fields: &[&str], at: usize, name: &str) -> Result<ReadId<T>, String> {
            let text = parse::text(fields, at, name)?;
            Ok((parse::id(text, name)?, text.len()))
        }
        let value = match positions.value {
            None => 1.0,
            Some(at) => parse::value(parse::text(fields, at, "value")?, self.decimal_comma)?,
        };
        if !value.is_finite() {
            return Err(format!("value {value} is not finite"));
        }
        if let Some((low, high)) = self.range.filter(|(low, high)| !(*low..=*high).contains(&value)) {
            return Err(format!("value {value} is not from {low} to {high}"));
        }
        Ok(Row {
            user: id(fields, positions.user, "user")?,
            item: id(fields, positions.item, "item")?,
            value,
            time: positions.time.map_or(Ok(0), |at| parse::time(parse::text(fields, at, "time")?))?,
        })
    }
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
    user: ReadId<U>,
    item: ReadId<I>,
    value: f32,
    time: i64,
}

/// An id, and the bytes of its text.
type ReadId<T> = (T, usize);

/// Bytes of memory that a row takes at most: its columns, half again as room to grow, once more one of them while it grows, and
/// what settling repeats takes.
const ROW: u64 = 64;

struct Columns<U, I> {
    user_ids: IdMap<U, UserIdx>,
    item_ids: IdMap<I, ItemIdx>,
    users: Vec<UserIdx>,
    items: Vec<ItemIdx>,
    values: Vec<f32>,
    times: Vec<i64>,
    budget: Budget,
}

impl<U: Id, I: Id> Columns<U, I> {
    fn new(budget: Budget) -> Self {
        Self {
            user_ids: IdMap::default(),
            item_ids: IdMap::default(),
            users: Vec::new(),
            items: Vec::new(),
            values: Vec::new(),
            times: Vec::new(),
            budget,
        }
    }

    fn push(&mut self, row: Row<U, I>) -> Result<()> {
        let met = self.user_ids.len() + self.item_ids.len();
        let ids = of_id::<U>(row.user.1) + of_id::<I>(row.item.1);
        grow(&mut self.users, self.user_ids.insert(row.user.0)?);
        grow(&mut self.items, self.item_ids.insert(row.item.0)?);
        grow(&mut self.values, row.value);
        grow(&mut self.times, row.time);
        let new = (self.user_ids.len() + self.item_ids.len() - met) as u64;
        let needed = ROW + new * ids / 2;
        self.budget.take(needed).map_err(|_| {
            let rows = self.values.len();
            Error::Memory {
                what: format!("a log of {rows} rows and more (see `LogReader::memory_limit`)"),
                needed: self.budget.taken() + needed,
                limit: self.budget.taken() + self.budget.left(),
            }
        })
    }

    fn log(self, timed: bool, duplicates: Duplicates) -> Result<Interactions<U, I>> {
        let catalog = Catalog { users: Arc::new(self.user_ids), items: Arc::new(self.item_ids) };
        let times = timed.then_some(self.times);
        Interactions::from_columns(catalog, self.users, self.items, self.values, times, duplicates)
    }
}

/// Bytes of memory that a new id takes: in the list and in the table, which has room for twice as many and is there twice while it
/// grows.
fn of_id<T>(text: usize) -> u64 {
    (size_of::<T>() as u64 + 5) * 6 + 2 * text as u64
}

/// Half as much room again, where `push` would take as much again.
fn grow<T>(column: &mut Vec<T>, value: T) {
    if column.len() == column.capacity() {
        column.reserve_exact((column.len() / 2).max(64));
    }
    column.push(value);
}
