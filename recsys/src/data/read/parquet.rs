//! Logs and tables of features from Apache Parquet, the format in which data warehouses hand tables over.
//!
//! Only the columns in question are read, a row at a time; what they hold becomes text and goes the way of all other rows,
//! so that ids of any type, bounds, rejections and policies mean the same. That costs a little, and a log is read once.

use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use cairn_files::{Budget, quietly};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

use super::cells::{Buffer, Cell, Cells, hand_texts};
use super::features::{EventReader, FeatureReader, Keyed};
use super::{LogReader, ReadReport};
use crate::data::ids::Id;
use crate::features::FeatureTable;
use crate::{Error, Interactions, Result, memory};

impl LogReader {
    /// Reads a Parquet file, under the feature `parquet`: columns by name or by position, whole numbers, decimals or text;
    /// times as whole numbers or timestamps, which become seconds since 1970. Separator, quotes and header do not matter.
    ///
    /// ```no_run
    /// use cairn_recsys::read::LogReader;
    /// let reader = LogReader::csv().columns("user_id", "item_id").value("rating").time("when");
    /// let (log, report) = reader.read_parquet::<u32, u32>("ratings.parquet")?;
    /// println!("{} interactions, {report}", log.len());
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], for a file that is not Parquet or a damaged one too; [`Error::Parameter`] for a column that the file does not
    /// have; [`Error::Empty`] if no row is left; [`Error::DuplicateInteraction`] under [`Duplicates::Error`](crate::Duplicates::Error).
    pub fn read_parquet<U: Id + FromStr, I: Id + FromStr>(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let path = path.as_ref();
        let named = self.clone().header(true);
        let budget = Budget::of_file(path)?;
        let limit = self.memory_limit.unwrap_or(budget.left());
        named.collect(path, budget, |each| {
            rows(path, limit, &|name| named.reads(name), &mut |line, cells| hand_texts(line, cells, each))
        })
    }
}

impl FeatureReader {
    /// Reads a Parquet file, under the feature `parquet`: columns by name or by position; a missing value is one that is not known. Of a
    /// column of lists each element is a category, whole, whatever separator [`categories`](Self::categories) was told. Separator, quotes
    /// and header do not matter.
    ///
    /// ```no_run
    /// use cairn_recsys::read::FeatureReader;
    /// let reader = FeatureReader::csv("film").number("year").categories("genres", "|");
    /// let table = reader.read_parquet::<u32>("films.parquet")?;
    /// println!("{} films", table.len());
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], for a file that is not Parquet or a damaged one too; [`Error::InvalidRow`] with the number of a row that does not
    /// read, as of a list of several values that is not read by [`categories`](Self::categories); [`Error::Parameter`] for a column that
    /// the file does not have; [`Error::DuplicateId`]; [`Error::Memory`] beyond [`memory_limit`](Self::memory_limit), which may be announced.
    pub fn read_parquet<K: Id + FromStr>(&self, path: impl AsRef<Path>) -> Result<FeatureTable<K>> {
        self.keyed().read_parquet(path.as_ref())
    }
}

impl EventReader {
    /// Reads a Parquet file, under the feature `parquet`, as [`FeatureReader::read_parquet`]; times as [`LogReader::read_parquet`] takes
    /// them.
    ///
    /// # Errors
    /// As [`FeatureReader::read_parquet`]; [`Error::DuplicateId`] for a user and time with different features.
    pub fn read_parquet<U: Id + FromStr>(&self, path: impl AsRef<Path>) -> Result<FeatureTable<(U, i64)>> {
        self.keyed().read_parquet(path.as_ref())
    }
}

impl<K: Id> Keyed<'_, K> {
    fn read_parquet(self, path: &Path) -> Result<FeatureTable<K>> {
        let named = self.named();
        let budget = named.limited(Budget::of_file(path)?);
        let limit = budget.left();
        named.collect(path, budget, |each| rows(path, limit, &|name| named.reads(name), each))
    }
}

/// The names of the columns that are wanted, then each row, as they would be in a text file but for lists.
fn rows(
    path: &Path,
    limit: u64,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(u64, Cells<'_, '_>) -> bool,
) -> Result<bool> {
    // The library answers damaged files with errors as far as its authors know of them.
    let read = quietly(|| {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, error))?;
        check_size(reader.metadata(), limit)?;
        let schema = reader.metadata().file_metadata().schema();
        let columns: Vec<Arc<Type>> =
            schema.get_fields().iter().filter(|field| wanted(field.name())).cloned().collect();
        let names: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
        if !each(0, Ok(&names.iter().map(|name| Cell::of(name)).collect::<Vec<_>>())) {
            return Ok(true);
        }
        let wanted = Type::group_type_builder(schema.name()).with_fields(columns).build();
        let wanted = wanted.map_err(|error| damaged(path, error))?;
        let rows = reader.get_row_iter(Some(wanted)).map_err(|error| damaged(path, error))?;
        let mut buffers = vec![Buffer::default(); names.len()];
        for (i, row) in rows.enumerate() {
            let row = row.map_err(|error| damaged(path, error))?;
            for (buffer, (_, field)) in buffers.iter_mut().zip(row.get_column_iter()) {
                buffer.clear();
                write(field, buffer);
            }
            if !each(i as u64 + 1, Ok(&buffers.iter().map(Buffer::cell).collect::<Vec<_>>())) {
                break;
            }
        }
        Ok(true)
    });
    read.unwrap_or_else(|| Err(damaged(path, "the file is damaged")))
}

/// That neither the rows nor a column's pages that the file announces take more memory than may be made of it. Of what repeats
/// there is any number in few bytes.
fn check_size(metadata: &ParquetMetaData, limit: u64) -> Result<()> {
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let largest = columns.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).max();
    let needed = rows.saturating_mul(super::ROW).max(largest.unwrap_or(0));
    memory::check(|| format!("a table of {rows} rows (see `memory_limit` of its reader)"), needed, limit)
}

/// A field as it would be in a text file, of a list each element; nothing for a missing one.
fn write(field: &Field, buffer: &mut Buffer) {
    match field {
        Field::Null => {}
        Field::ListInternal(list) => {
            buffer.list();
            list.elements().iter().for_each(|element| write(element, buffer));
        }
        field => buffer.write(|text| write_text(field, text)),
    }
}

fn write_text(field: &Field, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = match field {
        Field::Str(x) => text.write_str(x),
        Field::Float(x) => write!(text, "{x}"),
        Field::Double(x) => write!(text, "{x}"),
        Field::TimestampMillis(x) => write!(text, "{}", x.div_euclid(1000)),
        Field::TimestampMicros(x) => write!(text, "{}", x.div_euclid(1_000_000)),
        Field::Date(days) => write!(text, "{}", i64::from(*days) * 86_400),
        Field::Bytes(x) => write!(text, "{}", String::from_utf8_lossy(x.data())),
        other => write!(text, "{other}"),
    };
}

fn damaged(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Io { path: path.to_owned(), source: std::io::Error::other(why.to_string()) }
}
