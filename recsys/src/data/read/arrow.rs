//! Logs and tables of features from Apache Arrow's record batches: what DataFusion, Delta Lake and other programs in Rust hold in memory.
//!
//! As from Parquet, what the columns in question hold becomes text and goes the way of all other rows, so that ids of any type, bounds,
//! rejections and policies mean the same.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef, TimeUnit};
use cairn_files::Budget;

use super::cells::{Buffer, Cell, Cells, hand_texts};
use super::features::{EventReader, FeatureReader, Keyed};
use super::{LogReader, ReadReport};
use crate::data::ids::Id;
use crate::features::FeatureTable;
use crate::{Error, Interactions, Result};

/// What errors call the batches.
const NAME: &str = "the record batches";

impl LogReader {
    /// Reads Arrow record batches of one schema, under the feature `arrow`: columns by name or by position, whole numbers, decimals or
    /// text, as dictionaries too; times as whole numbers, dates or timestamps, which become seconds since 1970. Rows count from 1 over
    /// all batches. Separator, quotes and header do not matter.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    /// use cairn_recsys::read::LogReader;
    ///
    /// let users: ArrayRef = Arc::new(StringArray::from(vec!["ann", "bob", "ann"]));
    /// let items: ArrayRef = Arc::new(Int64Array::from(vec![10, 10, 11]));
    /// let batch = RecordBatch::try_from_iter([("user", users), ("item", items)]).unwrap();
    /// let reader = LogReader::csv().columns("user", "item").without_value().without_time();
    /// let (log, report) = reader.read_batches::<String, u64>([batch])?;
    /// assert_eq!((log.len(), report.rejections()), (3, 0));
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for a column that is not there, or is of a type that is none of these; [`Error::Shape`] for batches of
    /// different schemas; [`Error::NoRows`] and [`Error::Empty`] if no row is left; [`Error::Memory`] beyond
    /// [`memory_limit`](Self::memory_limit).
    pub fn read_batches<U: Id + FromStr, I: Id + FromStr>(
        &self,
        batches: impl IntoIterator<Item = RecordBatch>,
    ) -> Result<(Interactions<U, I>, ReadReport)> {
        let named = self.clone().header(true);
        let budget = Budget::of_bytes(u64::MAX);
        named.collect(Path::new(NAME), budget, |each| {
            rows(batches, &|name| named.reads(name), &mut |line, cells| hand_texts(line, cells, each))
        })
    }
}

impl FeatureReader {
    /// Reads Arrow record batches of one schema, under the feature `arrow`: columns by name or by position; a null is a value that is
    /// not known. Of a column of lists each element is a category, whole, whatever separator [`categories`](Self::categories) was told.
    /// Separator, quotes and header do not matter.
    ///
    /// # Errors
    /// As [`LogReader::read_batches`]; [`Error::InvalidRow`] with the number of a row that does not read, as of a list of several values
    /// that is not read by [`categories`](Self::categories); [`Error::DuplicateId`].
    pub fn read_batches<K: Id + FromStr>(
        &self,
        batches: impl IntoIterator<Item = RecordBatch>,
    ) -> Result<FeatureTable<K>> {
        self.keyed().read_batches(batches)
    }
}

impl EventReader {
    /// Reads Arrow record batches of one schema, under the feature `arrow`, as [`FeatureReader::read_batches`]; times as
    /// [`LogReader::read_batches`] takes them.
    ///
    /// # Errors
    /// As [`FeatureReader::read_batches`]; [`Error::DuplicateId`] for a user and time with different features.
    pub fn read_batches<U: Id + FromStr>(
        &self,
        batches: impl IntoIterator<Item = RecordBatch>,
    ) -> Result<FeatureTable<(U, i64)>> {
        self.keyed().read_batches(batches)
    }
}

impl<K: Id> Keyed<'_, K> {
    fn read_batches(self, batches: impl IntoIterator<Item = RecordBatch>) -> Result<FeatureTable<K>> {
        let named = self.named();
        let budget = named.limited(Budget::of_bytes(u64::MAX));
        named.collect(Path::new(NAME), budget, |each| rows(batches, &|name| named.reads(name), each))
    }
}

/// The names of the columns that are wanted, then each row, as they would be in a text file but for lists.
fn rows(
    batches: impl IntoIterator<Item = RecordBatch>,
    wanted: &dyn Fn(&str) -> bool,
    each: &mut dyn FnMut(u64, Cells<'_, '_>) -> bool,
) -> Result<bool> {
    let (mut schema, mut line): (Option<SchemaRef>, u64) = (None, 0);
    for batch in batches {
        let found = batch.schema();
        let fields = || found.fields().iter().enumerate().filter(|(_, field)| wanted(field.name()));
        match &schema {
            None => {
                let names: Vec<Cell<'_>> = fields().map(|(_, field)| Cell::of(field.name())).collect();
                if !each(0, Ok(&names)) {
                    return Ok(true);
                }
                schema = Some(found.clone());
            }
            Some(first) if alike(first, &found) => {}
            Some(first) => {
                let (expected, found) = (first.to_string(), found.to_string());
                return Err(Error::Shape { what: "the schemas of record batches", expected, found });
            }
        }
        let columns = fields().map(|(at, field)| Column::new(field.name(), batch.column(at)));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut buffers = vec![Buffer::default(); columns.len()];
        for row in 0..batch.num_rows() {
            line += 1;
            for (buffer, column) in buffers.iter_mut().zip(&columns) {
                buffer.clear();
                column.write(row, buffer);
            }
            if !each(line, Ok(&buffers.iter().map(Buffer::cell).collect::<Vec<_>>())) {
                return Ok(true);
            }
        }
    }
    Ok(true)
}

/// Whether columns have the same names and types; what else is said of them does not matter.
fn alike(one: &Schema, other: &Schema) -> bool {
    let columns = |schema: &Schema| {
        schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect::<Vec<_>>()
    };
    columns(one) == columns(other)
}

/// A column, of which every value has a text.
enum Column {
    Plain(ArrayRef),
    /// The place of each row's value among those of a dictionary, which may be of any type.
    Dictionary(ArrayRef, Vec<usize>, Box<Column>),
    List(ArrayRef, Box<Column>),
}

impl Column {
    fn new(name: &str, array: &ArrayRef) -> Result<Self> {
        use DataType as D;
        Ok(match array.data_type() {
            D::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                let values = Column::new(name, dictionary.values())?;
                // Of a dictionary without values every row is null.
                let keys =
                    if dictionary.values().is_empty() { Vec::new() } else { dictionary.normalized_keys() };
                Column::Dictionary(array.clone(), keys, Box::new(values))
            }
            D::List(_) => {
                Column::List(array.clone(), Box::new(Column::new(name, array.as_list::<i32>().values())?))
            }
            D::LargeList(_) => {
                Column::List(array.clone(), Box::new(Column::new(name, array.as_list::<i64>().values())?))
            }
            D::Boolean | D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Float32 | D::Float64 => {
                Column::Plain(array.clone())
            }
            D::Int8 | D::Int16 | D::Int32 | D::Int64 => Column::Plain(array.clone()),
            D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Column::Plain(array.clone()),
            D::Date32 | D::Date64 | D::Timestamp(..) | D::Null => Column::Plain(array.clone()),
            other => {
                let expected = "text, numbers, dates, or lists of these";
                return Err(Error::parameter("column", format!("{name} of type {other}"), expected));
            }
        })
    }

    /// The value as it would be in a text file, of a list each element; nothing for a missing one.
    fn write(&self, row: usize, buffer: &mut Buffer) {
        match self {
            Column::Plain(array) => buffer.write(|text| write_value(array, row, text)),
            Column::Dictionary(array, keys, values) => {
                if !array.is_null(row)
                    && let Some(&key) = keys.get(row)
                {
                    values.write(key, buffer);
                }
            }
            Column::List(array, values) if !array.is_null(row) => {
                let range = match array.as_list_opt::<i32>() {
                    Some(list) => list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize,
                    None => {
                        let offsets = array.as_list::<i64>().value_offsets();
                        offsets[row] as usize..offsets[row + 1] as usize
                    }
                };
                buffer.list();
                range.for_each(|element| values.write(element, buffer));
            }
            Column::List(..) => {}
        }
    }
}

/// Writes a value of one of the types that [`Column::new`] lets pass.
fn write_value(array: &ArrayRef, row: usize, text: &mut String) {
    use DataType as D;
    if array.is_null(row) {
        return;
    }
    macro_rules! number {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row)
        };
    }
    let seconds = |ticks: i64, each: i64| ticks.div_euclid(each);
    // Writing to a string cannot fail.
    let _ = match array.data_type() {
        D::Utf8 => text.write_str(array.as_string::<i32>().value(row)),
        D::LargeUtf8 => text.write_str(array.as_string::<i64>().value(row)),
        D::Utf8View => text.write_str(array.as_string_view().value(row)),
        D::Boolean => write!(text, "{}", array.as_boolean().value(row)),
        D::Int8 => write!(text, "{}", number!(Int8Type)),
        D::Int16 => write!(text, "{}", number!(Int16Type)),
        D::Int32 => write!(text, "{}", number!(Int32Type)),
        D::Int64 => write!(text, "{}", number!(Int64Type)),
        D::UInt8 => write!(text, "{}", number!(UInt8Type)),
        D::UInt16 => write!(text, "{}", number!(UInt16Type)),
        D::UInt32 => write!(text, "{}", number!(UInt32Type)),
        D::UInt64 => write!(text, "{}", number!(UInt64Type)),
        D::Float32 => write!(text, "{}", number!(Float32Type)),
        D::Float64 => write!(text, "{}", number!(Float64Type)),
        D::Date32 => write!(text, "{}", i64::from(number!(Date32Type)) * 86_400),
        D::Date64 => write!(text, "{}", seconds(number!(Date64Type), 1000)),
        D::Timestamp(TimeUnit::Second, _) => write!(text, "{}", number!(TimestampSecondType)),
        D::Timestamp(TimeUnit::Millisecond, _) => {
            write!(text, "{}", seconds(number!(TimestampMillisecondType), 1000))
        }
        D::Timestamp(TimeUnit::Microsecond, _) => {
            write!(text, "{}", seconds(number!(TimestampMicrosecondType), 1_000_000))
        }
        D::Timestamp(TimeUnit::Nanosecond, _) => {
            write!(text, "{}", seconds(number!(TimestampNanosecondType), 1_000_000_000))
        }
        _ => Ok(()),
    };
}
