//! Reading tables from CSV and its kin.
//!
//! A column's type is found from all of its values, not from the first thousand: one word on the last row makes texts of a column, where
//! a guess would have ended in an error or a silent gap. So the fields of a file are kept as text until its end, in one piece with their
//! ends, which takes less memory than numbers would.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use cairn_files::{Budget, RowFormat, Rows, date};

use super::{Column, Table};
use crate::error::{Error, Result};
use crate::files;

/// Largest file to read, unpacked.
const MAX_BYTES: u64 = 16 << 30;
/// What stands for a missing value, besides an empty field: as in pandas.
const MISSING: [&str; 11] =
    ["NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "-NaN"];

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Numbers.
    Numbers,
    /// Texts, as they are.
    Texts,
    /// Dates, with or without a time of day.
    Dates,
}

/// How to read a table. Files may be compressed by gzip.
///
/// A column of which every value is a number holds numbers, one of dates (`2005-04-02`, `2005/04/02 23:53`,
/// `2005-04-02T23:53:47+02:00`) dates, any other texts. Empty fields are missing, and so are `NA`, `NaN`, `null` and the like, as in pandas.
/// Whole numbers that `f64` does not hold, or that begin with a zero, are texts: they name something, and would lose by rounding what
/// they name.
///
/// ```
/// use cairn_datasets::table::{Column, ColumnType, TableReader};
/// let text = "# from the shop\nplz;m2;seen\n01067;61,5;2024-02-29\n80331;NA;2023-12-31\n";
/// let reader = TableReader::separated_by(";").comment("#").decimal_comma(true).column("plz", ColumnType::Texts);
/// let table = reader.from_reader(text.as_bytes())?;
/// assert_eq!(table.column("m2")?, &Column::Numbers(vec![Some(61.5), None]));
/// assert_eq!(table.classes("plz")?, ["01067", "80331"]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("read_csv", "CsvReader"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReader {
    format: RowFormat,
    header: bool,
    decimal_comma: bool,
    missing: HashSet<String>,
    types: Vec<(String, ColumnType)>,
}

impl TableReader {
    /// Fields between commas.
    #[must_use]
    pub fn csv() -> Self {
        Self::separated_by(",")
    }

    /// Fields between tabs.
    #[must_use]
    pub fn tsv() -> Self {
        Self::separated_by("\t")
    }

    /// Fields between any text; blanks where it is one. The first line names the columns, unless [`header`](Self::header) says no.
    #[must_use]
    pub fn separated_by(separator: &str) -> Self {
        TableReader {
            format: RowFormat::separated_by(separator),
            header: true,
            decimal_comma: false,
            missing: MISSING.into_iter().map(str::to_owned).collect(),
            types: Vec::new(),
        }
    }

    /// Whether the first line names the columns. Otherwise they are called by their numbers, from `0`.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Lines that begin with this are passed over.
    #[must_use]
    pub fn comment(mut self, sign: &str) -> Self {
        self.format.comment = Some(sign.to_owned());
        self
    }

    /// Whether quotes surround fields, as they do unless this says no: then they are text like any other.
    #[must_use]
    pub fn quotes(mut self, quotes: bool) -> Self {
        self.format.quotes = quotes;
        self
    }

    /// The text is in ISO-8859-1 (Latin-1), not in UTF-8.
    #[doc(alias = "encoding")]
    #[must_use]
    pub fn latin1(mut self) -> Self {
        self.format.latin1 = true;
        self
    }

    /// Whether numbers are written `61,5`.
    #[must_use]
    pub fn decimal_comma(mut self, comma: bool) -> Self {
        self.decimal_comma = comma;
        self
    }

    /// What stands for a missing value, besides an empty field, in place of the usual.
    #[doc(alias = "na_values")]
    #[must_use]
    pub fn missing<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.missing = words.into_iter().map(Into::into).collect();
        self
    }

    /// What a column holds, whatever it looks like: a value of another type is an error then.
    #[doc(alias = "dtype")]
    #[must_use]
    pub fn column(mut self, name: &str, holds: ColumnType) -> Self {
        self.types.push((name.to_owned(), holds));
        self
    }

    /// Reads a file, compressed by gzip or not.
    ///
    /// # Errors
    /// [`Error::Format`] with file and line for a row that has more or fewer fields than there are columns, for a value of another type than
    /// [`column`](Self::column) says, for text in another encoding, and for two columns of one name; [`Error::Empty`] for a file
    /// without rows; [`Error::Io`] when it cannot be read; [`Error::Argument`] for a type of a column that is not there.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        self.parse(files::open(path, MAX_BYTES, 1)?, path, Budget::of_file(path)?)
    }

    /// As [`read`](Self::read), from any reader.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader(&self, reader: impl Read) -> Result<Table> {
        self.parse(BufReader::new(reader), Path::new("the table"), Budget::of_bytes(u64::MAX))
    }

    fn parse(&self, reader: impl BufRead, path: &Path, mut budget: Budget) -> Result<Table> {
        let mut rows = Rows::new(reader, self.format.clone());
        let mut names: Option<Vec<String>> = None;
        let mut cells = Cells::default();
        while let Some(row) = rows.next_row().map_err(files::error(path))? {
            let line = row.line() as usize;
            let fault = |message: String| Error::line(path, line, message);
            let fields = row.fields().map_err(|message| fault(message.to_owned()))?;
            let Some(names) = &names else {
                let first = names.insert(self.names(&fields));
                files::count::<String>(&mut budget, path, first.len(), first.iter().map(String::len).sum())?;
                if let Some(twice) = repeated(first) {
                    return Err(fault(format!("there are two columns `{twice}`")));
                }
                if !self.header {
                    cells.add(&fields, line, &mut budget, path)?;
                }
                continue;
            };
            if fields.len() != names.len() {
                return Err(fault(format!(
                    "{} fields, where there are {} columns",
                    fields.len(),
                    names.len()
                )));
            }
            cells.add(&fields, line, &mut budget, path)?;
        }
        let names = names.filter(|_| !cells.lines.is_empty()).ok_or(Error::Empty { what: "TableReader" })?;
        if let Some((unknown, _)) = self.types.iter().find(|(name, _)| !names.contains(name)) {
            let message = format!("there is no column `{unknown}`, but {}", names.join(", "));
            return Err(Error::argument("TableReader::column", message));
        }
        let width = names.len();
        let columns = names.into_iter().enumerate().map(|(at, name)| {
            let column = self
                .typed(&cells, at, width, &name)
                .map_err(|(line, message)| Error::line(path, line, format!("column `{name}`: {message}")))?;
            Ok((name, column))
        });
        Table::new(columns.collect::<Result<Vec<_>>>()?)
    }

    fn names(&self, fields: &[&str]) -> Vec<String> {
        let name =
            |(i, field): (usize, &&str)| if self.header { field.trim().to_owned() } else { i.to_string() };
        fields.iter().enumerate().map(name).collect()
    }

    /// A column of the type that was asked for, or of the narrowest that holds all values.
    fn typed(&self, cells: &Cells, at: usize, width: usize, name: &str) -> Result<Column, (usize, String)> {
        let asked = self.types.iter().rev().find(|(other, _)| other == name).map(|(_, holds)| *holds);
        let fields = || cells.column(at, width).map(|(line, field)| (line, self.present(field)));
        let number = |text: &str| number(text, self.decimal_comma);
        let kinds =
            asked.map_or(vec![ColumnType::Numbers, ColumnType::Dates, ColumnType::Texts], |kind| vec![kind]);
        let mut failed = (0, String::new());
        for kind in kinds {
            let column = match kind {
                // A column without any value has no type; numbers are easiest to go on with.
                ColumnType::Numbers => converted(fields(), number, "a number").map(Column::Numbers),
                ColumnType::Dates => {
                    converted(fields(), date::seconds, "a date like `2005-04-02 23:53`").map(Column::Dates)
                }
                ColumnType::Texts => {
                    let mut known: HashSet<Arc<str>> = HashSet::new();
                    converted(fields(), |text| Some(interned(&mut known, text)), "a text").map(Column::Texts)
                }
            };
            match column {
                Ok(column) => return Ok(column),
                Err(why) => failed = why,
            }
        }
        Err(failed)
    }

    /// A field's text, unless it says that a value is missing.
    fn present<'a>(&self, field: &'a str) -> Option<&'a str> {
        let text = field.trim();
        (!text.is_empty() && !self.missing.contains(text)).then_some(text)
    }
}

/// The fields of a file, row by row, in one piece.
#[derive(Default)]
struct Cells {
    text: String,
    /// Where each field ends.
    ends: Vec<usize>,
    /// The line of each row.
    lines: Vec<usize>,
}

impl Cells {
    fn add(&mut self, fields: &[&str], line: usize, budget: &mut Budget, path: &Path) -> Result<()> {
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        // The text twice, as it grows; each field's end, and what becomes of it in a column, which may be a text of its own.
        files::count::<usize>(budget, path, 3 * fields.len(), 3 * bytes)?;
        for field in fields {
            self.text.push_str(field);
            self.ends.push(self.text.len());
        }
        self.lines.push(line);
        Ok(())
    }

    /// The fields of a column with their lines.
    fn column(&self, at: usize, width: usize) -> impl Iterator<Item = (usize, &str)> {
        self.lines.iter().enumerate().map(move |(row, &line)| {
            let cell = row * width + at;
            let start = cell.checked_sub(1).map_or(0, |before| self.ends[before]);
            (line, &self.text[start..self.ends[cell]])
        })
    }
}

/// All values of a column in another form, or the line and text of the first that has none.
fn converted<'a, T>(
    fields: impl Iterator<Item = (usize, Option<&'a str>)>,
    mut convert: impl FnMut(&str) -> Option<T>,
    what: &str,
) -> Result<Vec<Option<T>>, (usize, String)> {
    let value = |(line, field): (usize, Option<&str>)| match field {
        None => Ok(None),
        Some(text) => convert(text).map(Some).ok_or_else(|| {
            let excerpt: String = text.chars().take(60).collect();
            (line, format!("`{excerpt}` is not {what}"))
        }),
    };
    fields.map(value).collect()
}

/// A finite number. Words that name one (`inf`) are words; whole numbers beyond 2^53, or behind a zero (`01067`), are names.
fn number(text: &str, decimal_comma: bool) -> Option<f64> {
    let digits = text.trim_start_matches(['-', '+']);
    if !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let exact = digits.parse::<u64>().is_ok_and(|number| number <= 1 << 53);
        let named = digits.len() > 1 && digits.starts_with('0');
        if !exact || named {
            return None;
        }
    }
    let number: f64 =
        if decimal_comma { text.replacen(',', ".", 1).parse().ok()? } else { text.parse().ok()? };
    number.is_finite().then_some(number)
}

/// One copy of each text.
fn interned(known: &mut HashSet<Arc<str>>, text: &str) -> Arc<str> {
    match known.get(text) {
        Some(text) => Arc::clone(text),
        None => {
            let text: Arc<str> = text.into();
            known.insert(Arc::clone(&text));
            text
        }
    }
}

fn repeated(names: &[String]) -> Option<&str> {
    let mut known = HashSet::new();
    names.iter().find(|name| !known.insert(name.as_str())).map(String::as_str)
}
