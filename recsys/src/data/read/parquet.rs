//! Logs from Apache Parquet, the format in which data warehouses hand tables over.
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

use super::{Column, Fields, LogReader, ReadReport};
use crate::data::ids::Id;
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
        named.collect(path, Budget::of_file(path)?, |each| {
            // The library answers damaged files with errors as far as its authors know of them.
            let rows = quietly(|| named.rows_of_parquet(path, each));
            rows.unwrap_or_else(|| Err(damaged(path, "the file is damaged")))
        })
    }

    /// The names of the columns, then each row.
    fn rows_of_parquet(
        &self,
        path: &Path,
        each: &mut dyn FnMut(u64, Fields<'_, '_>) -> bool,
    ) -> Result<bool> {
        let file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|error| damaged(path, error))?;
        self.check_size(reader.metadata(), &Budget::of_file(path)?)?;
        let schema = reader.metadata().file_metadata().schema();
        let columns: Vec<Arc<Type>> =
            schema.get_fields().iter().filter(|field| self.reads(field.name())).cloned().collect();
        let names: Vec<String> = columns.iter().map(|column| column.name().to_owned()).collect();
        if !each(0, Ok(&names.iter().map(String::as_str).collect::<Vec<_>>())) {
            return Ok(true);
        }
        let wanted = Type::group_type_builder(schema.name()).with_fields(columns).build();
        let wanted = wanted.map_err(|error| damaged(path, error))?;
        let rows = reader.get_row_iter(Some(wanted)).map_err(|error| damaged(path, error))?;
        let mut texts = vec![String::new(); names.len()];
        for (i, row) in rows.enumerate() {
            let row = row.map_err(|error| damaged(path, error))?;
            for (text, (_, field)) in texts.iter_mut().zip(row.get_column_iter()) {
                text.clear();
                write_text(field, text);
            }
            if !each(i as u64 + 1, Ok(&texts.iter().map(String::as_str).collect::<Vec<_>>())) {
                break;
            }
        }
        Ok(true)
    }

    /// That neither the rows nor a column's pages that the file announces take more memory than may be made of it. Of what repeats
    /// there is any number in few bytes.
    fn check_size(&self, metadata: &ParquetMetaData, budget: &Budget) -> Result<()> {
        let limit = self.memory_limit.unwrap_or(budget.left());
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
        let largest = columns.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).max();
        let needed = rows.saturating_mul(super::ROW).max(largest.unwrap_or(0));
        memory::check(|| format!("a table of {rows} rows (see `LogReader::memory_limit`)"), needed, limit)
    }

    /// Whether a column is needed: all are as soon as one is given by position.
    fn reads(&self, name: &str) -> bool {
        let columns = [Some(&self.user), Some(&self.item), self.value.as_ref(), self.time.as_ref()];
        columns.into_iter().flatten().any(|column| match column {
            Column::At(_) => true,
            Column::Named(wanted) => wanted == name.trim(),
        })
    }
}

/// A field as it would be in a text file; nothing for a missing one.
fn write_text(field: &Field, text: &mut String) {
    // Writing to a string cannot fail.
    let _ = match field {
        Field::Null => Ok(()),
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
