//! What a table is: columns of one length, by name.

use std::sync::Arc;

use cairn_tensor::{Rng, Tensor, rng};

use crate::error::{Error, Result};
use crate::random;

/// The values of a column, from the first row to the last; `None` where one is missing.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Finite numbers.
    Numbers(Vec<Option<f64>>),
    /// Texts, among them the names of categories.
    Texts(Vec<Option<Arc<str>>>),
    /// Dates and times, in seconds since 1970.
    Dates(Vec<Option<i64>>),
}

impl Column {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Column::Numbers(values) => values.len(),
            Column::Texts(values) => values.len(),
            Column::Dates(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values are missing.
    #[doc(alias = "isna")]
    pub fn missing(&self) -> usize {
        match self {
            Column::Numbers(values) => values.iter().filter(|value| value.is_none()).count(),
            Column::Texts(values) => values.iter().filter(|value| value.is_none()).count(),
            Column::Dates(values) => values.iter().filter(|value| value.is_none()).count(),
        }
    }

    /// What it holds, in a word.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Column::Numbers(_) => "numbers",
            Column::Texts(_) => "texts",
            Column::Dates(_) => "dates",
        }
    }

    fn rows(&self, rows: &[usize]) -> Column {
        match self {
            Column::Numbers(values) => Column::Numbers(rows.iter().map(|&row| values[row]).collect()),
            Column::Texts(values) => Column::Texts(rows.iter().map(|&row| values[row].clone()).collect()),
            Column::Dates(values) => Column::Dates(rows.iter().map(|&row| values[row]).collect()),
        }
    }
}

/// Columns of one length, by name, in the order of the file.
///
/// ```
/// use cairn_datasets::table::{Column, Table};
/// let table = Table::new([
///     ("age", Column::Numbers(vec![Some(31.0), None, Some(47.0), Some(22.0)])),
///     ("bought", Column::Texts(["yes", "no", "no", "yes"].map(|word| Some(word.into())).to_vec())),
/// ])?;
/// assert_eq!((table.len(), table.column("age")?.missing()), (4, 1));
/// let classes = table.classes("bought")?;
/// assert_eq!(classes, ["no", "yes"]);
/// assert_eq!(table.labels("bought", &classes)?.to_vec(), [1, 0, 0, 1]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias = "DataFrame")]
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    rows: usize,
    columns: Vec<(String, Column)>,
}

impl Table {
    /// Of these columns.
    ///
    /// # Errors
    /// [`Error::Argument`] for columns of different lengths, a name twice, a number that is not finite; [`Error::Empty`] for none.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Column)>) -> Result<Self> {
        let columns: Vec<(String, Column)> =
            columns.into_iter().map(|(name, column)| (name.into(), column)).collect();
        let Some(rows) = columns.first().map(|(_, column)| column.len()) else {
            return Err(Error::Empty { what: "Table" });
        };
        for (i, (name, column)) in columns.iter().enumerate() {
            let fault = |message: String| Err(Error::argument("Table", message));
            if column.len() != rows {
                let (first, len) = (&columns[0].0, column.len());
                return fault(format!("column `{name}` has {len} rows, `{first}` {rows}"));
            }
            if columns[..i].iter().any(|(other, _)| other == name) {
                return fault(format!("there are two columns `{name}`"));
            }
            if let Column::Numbers(values) = column
                && let Some(row) =
                    values.iter().position(|value| value.is_some_and(|value| !value.is_finite()))
            {
                return fault(format!(
                    "row {row} of column `{name}` is not finite: a missing value is `None`"
                ));
            }
        }
        Ok(Table { rows, columns })
    }

    /// The number of rows.
    #[doc(alias = "shape")]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// A column.
    ///
    /// # Errors
    /// [`Error::Argument`] with the names there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|(other, _)| other == name);
        found.map(|(_, column)| column).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            Error::argument("Table", format!("there is no column `{name}`, but {}", names.join(", ")))
        })
    }

    /// These rows, in this order; one may come more than once.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for a row that is not there.
    #[doc(alias("iloc", "take"))]
    pub fn rows(&self, rows: &[usize]) -> Result<Table> {
        if let Some(&index) = rows.iter().find(|&&row| row >= self.rows) {
            return Err(Error::IndexOutOfRange { index, len: self.rows });
        }
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), column.rows(rows))).collect();
        Ok(Table { rows: rows.len(), columns })
    }

    /// Two tables of rows drawn at random: all but a share of them, and that share, to test on.
    ///
    /// # Errors
    /// [`Error::Argument`] for a share that leaves one of the two without rows.
    #[doc(alias = "train_test_split")]
    pub fn split(&self, share: f64, seed: u64) -> Result<(Table, Table)> {
        let test = (self.rows as f64 * share).round();
        if !(test >= 1.0 && test < self.rows as f64) {
            let message = format!("a share of {share} of {} rows leaves one part without any", self.rows);
            return Err(Error::argument("Table::split", message));
        }
        let mut order: Vec<usize> = (0..self.rows).collect();
        let mut rng: Rng = rng(seed);
        random::shuffle(&mut order, &mut rng);
        let (test, train) = order.split_at(test as usize);
        Ok((self.rows(train)?, self.rows(test)?))
    }

    /// A column of numbers as what a network is to answer: `[rows]`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a column that is not there or of another type, and where a value is missing: what is to be learnt must
    /// not be invented.
    pub fn targets(&self, name: &str) -> Result<Tensor<f32>> {
        let Column::Numbers(values) = self.column(name)? else { return Err(self.mistyped(name, "numbers")) };
        let values = values.iter().enumerate().map(|(row, value)| match value {
            Some(value) => Ok(*value as f32),
            None => Err(Error::argument("Table", format!("row {row} of column `{name}` is missing"))),
        });
        Ok(Tensor::from_vec(values.collect::<Result<_>>()?, [self.rows])?)
    }

    /// The different values of a column of texts or numbers, in order: the classes of a classifier. Missing ones are none.
    ///
    /// # Errors
    /// [`Error::Argument`] for a column that is not there, or of dates.
    #[doc(alias("LabelEncoder", "unique"))]
    pub fn classes(&self, name: &str) -> Result<Vec<String>> {
        match self.column(name)? {
            Column::Texts(values) => {
                let mut classes: Vec<&str> = values.iter().flatten().map(|value| &**value).collect();
                classes.sort_unstable();
                classes.dedup();
                Ok(classes.into_iter().map(str::to_owned).collect())
            }
            Column::Numbers(values) => {
                let mut classes: Vec<f64> = values.iter().flatten().copied().collect();
                classes.sort_by(f64::total_cmp);
                classes.dedup();
                Ok(classes.into_iter().map(|value| value.to_string()).collect())
            }
            Column::Dates(_) => Err(self.mistyped(name, "texts or numbers")),
        }
    }

    /// The classes of the rows, as numbers of these `classes`, those of the table to train on: `[rows]`.
    ///
    /// # Errors
    /// As [`classes`](Self::classes); [`Error::Argument`] for a row whose class is missing or not among these.
    pub fn labels(&self, name: &str, classes: &[String]) -> Result<Tensor<u32>> {
        let place = |row: usize, class: Option<String>| {
            let class = class.ok_or_else(|| format!("row {row} of column `{name}` is missing"));
            let place = class.and_then(|class| {
                let place = classes.iter().position(|other| *other == class);
                place.ok_or_else(|| format!("row {row} of column `{name}`: the class `{class}` is not known"))
            });
            place.map(|place| place as u32).map_err(|message| Error::argument("Table", message))
        };
        let labels: Result<Vec<u32>> = match self.column(name)? {
            Column::Texts(values) => values
                .iter()
                .enumerate()
                .map(|(row, value)| place(row, value.as_deref().map(str::to_owned)))
                .collect(),
            Column::Numbers(values) => values
                .iter()
                .enumerate()
                .map(|(row, value)| place(row, value.map(|value| value.to_string())))
                .collect(),
            Column::Dates(_) => return Err(self.mistyped(name, "texts or numbers")),
        };
        Ok(Tensor::from_vec(labels?, [self.rows])?)
    }

    /// That a column holds something else.
    pub(super) fn mistyped(&self, name: &str, wanted: &str) -> Error {
        let kind = self.column(name).map_or("nothing", Column::kind);
        Error::argument("Table", format!("column `{name}` holds {kind}, not {wanted}"))
    }
}
