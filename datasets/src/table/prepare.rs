//! From the columns of a table to the numbers that a network takes, by what was learnt from the rows to train on.
//!
//! What scikit-learn builds from `SimpleImputer`, `StandardScaler` and `OneHotEncoder` in a `ColumnTransformer`, with its defaults; a
//! category that was not there in training is no error but has a place of its own, since new ones are certain to come.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::path::Path;

use cairn_files::container::{self, Format, Kind};
use cairn_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Column, Table};
use crate::error::{Error, Result};

const FORMAT: Format = Kind::Preparation.version(1);
const DAY: f64 = 86_400.0;

/// How numbers are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scaling {
    /// To mean 0 and variance 1 over the rows to train on.
    #[doc(alias = "StandardScaler")]
    #[default]
    Standard,
    /// To 0 for the least and 1 for the greatest of the rows to train on; others may lie beyond.
    #[doc(alias = "MinMaxScaler")]
    MinMax,
    /// Not at all.
    None,
}

/// Which columns become what; [`fit`](Self::fit) learns from a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreparationBuilder {
    columns: Vec<(String, Use)>,
    scaling: Scaling,
    indicators: bool,
    min_count: usize,
}

/// What becomes of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Number,
    Date,
    Category,
    Code,
}

impl PreparationBuilder {
    /// These columns of numbers, scaled; where a value is missing, the mean of the others.
    #[must_use]
    pub fn numbers<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        self.with(names, Use::Number)
    }

    /// These columns of dates: days, scaled as numbers are, and sine and cosine of the time of the year, of the week, and, where one is
    /// given, of the day, so that December is close to January. A missing date has the mean day and zeros.
    #[must_use]
    pub fn dates<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        self.with(names, Use::Date)
    }

    /// These columns of texts or whole numbers: 1 at the place of the category, 0 at the others, and a last place for those that were not
    /// there in training, or are missing.
    #[doc(alias("OneHotEncoder", "get_dummies"))]
    #[must_use]
    pub fn categories<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        self.with(names, Use::Category)
    }

    /// These columns of texts or whole numbers as numbers of their categories, for an embedding: [`Preparation::codes`].
    #[doc(alias("OrdinalEncoder", "StringLookup"))]
    #[must_use]
    pub fn codes<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Self {
        self.with(names, Use::Code)
    }

    /// How numbers and days are scaled.
    #[must_use]
    pub fn scaling(self, scaling: Scaling) -> Self {
        PreparationBuilder { scaling, ..self }
    }

    /// Whether a column of numbers is followed by one that is 1 where its value is missing.
    #[doc(alias = "add_indicator")]
    #[must_use]
    pub fn indicators(self, indicators: bool) -> Self {
        PreparationBuilder { indicators, ..self }
    }

    /// Categories that fewer rows to train on have are taken for unknown, so that a model learns what unknown means. 1 unless given.
    #[doc(alias = "min_frequency")]
    #[must_use]
    pub fn min_count(self, rows: usize) -> Self {
        PreparationBuilder { min_count: rows, ..self }
    }

    fn with<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>, purpose: Use) -> Self {
        self.columns.extend(names.into_iter().map(|name| (name.into(), purpose)));
        self
    }

    /// Learns from the rows to train on.
    ///
    /// # Errors
    /// [`Error::Argument`] for no columns, one that is not there or holds another type, one without any value, and numbers so large that their
    /// mean is not finite.
    #[doc(alias = "fit_transform")]
    pub fn fit(self, table: &Table) -> Result<Preparation> {
        if self.columns.is_empty() {
            return Err(Error::argument("Preparation", "no columns were named"));
        }
        let steps = self.columns.iter().map(|(name, purpose)| self.step(table, name, *purpose));
        Ok(Preparation { steps: steps.collect::<Result<_>>()? })
    }

    fn step(&self, table: &Table, name: &str, purpose: Use) -> Result<Step> {
        let none = || Error::argument("Preparation", format!("column `{name}` has no value to learn from"));
        let learnt = match purpose {
            Use::Number => {
                let scale = Scale::of(numbers(table, name)?.iter().flatten().copied(), self.scaling);
                Learnt::Number { scale: scale.ok_or_else(none)?.checked(name)?, indicator: self.indicators }
            }
            Use::Date => {
                let values = dates(table, name)?;
                let days = values.iter().flatten().map(|&seconds| seconds as f64 / DAY);
                let scale = Scale::of(days, self.scaling).ok_or_else(none)?.checked(name)?;
                Learnt::Date {
                    scale,
                    clock: values.iter().flatten().any(|seconds| seconds % DAY as i64 != 0),
                }
            }
            Use::Category | Use::Code => {
                let categories = self.frequent(&words(table, name)?);
                if categories.is_empty() {
                    return Err(none());
                }
                Learnt::Categories { categories, codes: purpose == Use::Code }
            }
        };
        Ok(Step { column: name.to_owned(), learnt })
    }

    /// The categories of enough rows, in order.
    fn frequent(&self, values: &[Option<String>]) -> Vec<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for value in values.iter().flatten() {
            *counts.entry(value).or_default() += 1;
        }
        let frequent = counts.into_iter().filter(|(_, count)| *count >= self.min_count.max(1));
        let mut categories: Vec<String> = frequent.map(|(value, _)| value.to_owned()).collect();
        categories.sort_unstable();
        categories
    }
}

/// What was learnt from the rows to train on, and is done with these and any others.
///
/// ```
/// use cairn_datasets::table::{Preparation, TableReader};
/// let read = |text: &str| TableReader::csv().from_reader(text.as_bytes());
/// let train = read("age,city\n20,Rome\n40,Oslo\n,Rome\n")?;
/// let preparation = Preparation::builder().numbers(["age"]).categories(["city"]).fit(&train)?;
/// let new = read("age,city\n30,Lima\n50,Oslo\n")?;
/// assert_eq!(preparation.names(), ["age", "city=Oslo", "city=Rome", "city unknown"]);
/// assert_eq!(preparation.transform(&new)?.to_vec(), [0.0, 0.0, 0.0, 1.0, 2.0, 1.0, 0.0, 0.0]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("ColumnTransformer", "preprocessing"))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step {
    column: String,
    learnt: Learnt,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Learnt {
    Number { scale: Scale, indicator: bool },
    Date { scale: Scale, clock: bool },
    Categories { categories: Vec<String>, codes: bool },
}

/// (x - offset) / divisor, and what stands in for a missing x.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Scale {
    fill: f64,
    offset: f64,
    divisor: f64,
}

impl Scale {
    /// `None` without values. A column of one value is shifted and not divided.
    fn of(values: impl Iterator<Item = f64> + Clone, scaling: Scaling) -> Option<Self> {
        let n = values.clone().count() as f64;
        let mean = (n > 0.0).then(|| values.clone().sum::<f64>() / n)?;
        let (offset, spread) = match scaling {
            Scaling::Standard => {
                let squares: f64 = values.map(|x| (x - mean) * (x - mean)).sum();
                (mean, (squares / n).sqrt())
            }
            Scaling::MinMax => {
                let least = values.clone().fold(f64::INFINITY, f64::min);
                (least, values.fold(f64::NEG_INFINITY, f64::max) - least)
            }
            Scaling::None => (0.0, 1.0),
        };
        // Rounding leaves a spread to equal numbers whose mean is not quite theirs.
        let divisor = if spread > mean.abs() * 1e-14 { spread } else { 1.0 };
        Some(Scale { fill: mean, offset, divisor })
    }

    fn checked(self, name: &str) -> Result<Self> {
        let finite = [self.fill, self.offset, self.divisor].iter().all(|x| x.is_finite());
        let fault = || Error::argument("Preparation", format!("column `{name}`: the numbers are too large"));
        finite.then_some(self).ok_or_else(fault)
    }

    fn apply(&self, value: Option<f64>) -> f32 {
        ((value.unwrap_or(self.fill) - self.offset) / self.divisor) as f32
    }
}

impl Preparation {
    /// To be told which columns become what.
    #[must_use]
    pub fn builder() -> PreparationBuilder {
        PreparationBuilder { min_count: 1, ..PreparationBuilder::default() }
    }

    /// What each column of [`transform`](Self::transform) is, in order.
    #[doc(alias = "get_feature_names_out")]
    pub fn names(&self) -> Vec<String> {
        self.steps.iter().flat_map(Step::names).collect()
    }

    /// The rows of a table as numbers: `[rows, columns]`, the columns in the order in which they were named.
    ///
    /// # Errors
    /// [`Error::Argument`] for a column that is not there or holds another type, for no columns but codes, and for a number beyond `f32`.
    pub fn transform(&self, table: &Table) -> Result<Tensor<f32>> {
        let width = self.names().len();
        if width == 0 {
            let message = "all columns are codes, which `codes` gives";
            return Err(Error::argument("Preparation::transform", message));
        }
        let mut out = Tensor::zeros([table.len(), width])?.to_vec();
        let mut at = 0;
        for step in &self.steps {
            step.write(table, &mut out, width, at)?;
            at += step.names().len();
        }
        if let Some(place) = out.iter().position(|x| !x.is_finite()) {
            let (row, name) = (place / width, self.names().swap_remove(place % width));
            let message = format!("row {row} of `{name}` is beyond what f32 holds");
            return Err(Error::argument("Preparation::transform", message));
        }
        Ok(Tensor::from_vec(out, [table.len(), width])?)
    }

    /// The categories of the columns for embeddings as numbers: `[rows, columns]`. 0 is unknown or missing.
    ///
    /// # Errors
    /// [`Error::Argument`] for a column that is not there or holds another type, and where no columns were named as
    /// [`codes`](PreparationBuilder::codes).
    pub fn codes(&self, table: &Table) -> Result<Tensor<u32>> {
        let coded: Vec<(&str, &[String])> = self.coded().collect();
        if coded.is_empty() {
            return Err(Error::argument("Preparation::codes", "no columns were named as codes"));
        }
        let mut out = vec![0; table.len() * coded.len()];
        for (at, (column, categories)) in coded.iter().enumerate() {
            let places = places(categories);
            for (row, word) in words(table, column)?.iter().enumerate() {
                let place = word.as_ref().and_then(|word| places.get(word.as_str()));
                out[row * coded.len() + at] = place.map_or(0, |place| *place as u32 + 1);
            }
        }
        Ok(Tensor::from_vec(out, [table.len(), coded.len()])?)
    }

    /// How many numbers each column of [`codes`](Self::codes) has, the unknown one included: rows of its embedding.
    pub fn code_counts(&self) -> Vec<usize> {
        self.coded().map(|(_, categories)| categories.len() + 1).collect()
    }

    fn coded(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.steps.iter().filter_map(|step| match &step.learnt {
            Learnt::Categories { categories, codes: true } => {
                Some((step.column.as_str(), categories.as_slice()))
            }
            _ => None,
        })
    }

    /// Writes it to a file, to be kept beside the model.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written; the old one stays then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(container::save(path, FORMAT, self)?)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Format`] for a damaged one and for one of another kind.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Ok(container::load(path, FORMAT)?)
    }
}

impl Step {
    fn names(&self) -> Vec<String> {
        let name = &self.column;
        match &self.learnt {
            Learnt::Number { indicator: false, .. } => vec![name.clone()],
            Learnt::Number { indicator: true, .. } => vec![name.clone(), format!("{name} missing")],
            Learnt::Date { clock, .. } => {
                let cycles = ["year", "week", "day"].into_iter().take(2 + usize::from(*clock));
                let waves =
                    cycles.flat_map(|cycle| ["sin", "cos"].map(|wave| format!("{name} {cycle} {wave}")));
                std::iter::once(name.clone()).chain(waves).collect()
            }
            Learnt::Categories { codes: true, .. } => Vec::new(),
            Learnt::Categories { categories, .. } => {
                let known = categories.iter().map(|category| format!("{name}={category}"));
                known.chain([format!("{name} unknown")]).collect()
            }
        }
    }

    /// Fills the columns of `out`, rows of `width`, from the one at `at`.
    fn write(&self, table: &Table, out: &mut [f32], width: usize, at: usize) -> Result<()> {
        let rows = out.chunks_exact_mut(width).map(|row| &mut row[at..]);
        match &self.learnt {
            Learnt::Number { scale, indicator } => {
                for (row, value) in rows.zip(numbers(table, &self.column)?) {
                    row[0] = scale.apply(value);
                    if *indicator {
                        row[1] = f32::from(u8::from(value.is_none()));
                    }
                }
            }
            Learnt::Date { scale, clock } => {
                for (row, value) in rows.zip(dates(table, &self.column)?) {
                    row[0] = scale.apply(value.map(|seconds| seconds as f64 / DAY));
                    if let Some(seconds) = value {
                        for (pair, turns) in row[1..].chunks_exact_mut(2).zip(turns(seconds, *clock)) {
                            let (sin, cos) = (TAU * turns).sin_cos();
                            pair.copy_from_slice(&[sin as f32, cos as f32]);
                        }
                    }
                }
            }
            Learnt::Categories { codes: true, .. } => {}
            Learnt::Categories { categories, .. } => {
                let places = places(categories);
                for (row, word) in rows.zip(words(table, &self.column)?) {
                    let place = word.as_ref().and_then(|word| places.get(word.as_str()));
                    row[place.copied().unwrap_or(categories.len())] = 1.0;
                }
            }
        }
        Ok(())
    }
}

/// How much of the year (of 365.2425 days), the week and perhaps the day has passed, from 0 to 1.
fn turns(seconds: i64, clock: bool) -> impl Iterator<Item = f64> {
    let days = seconds as f64 / DAY;
    [365.2425, 7.0, 1.0]
        .into_iter()
        .take(2 + usize::from(clock))
        .map(move |cycle| (days / cycle).rem_euclid(1.0))
}

fn places(categories: &[String]) -> HashMap<&str, usize> {
    categories.iter().map(String::as_str).zip(0..).collect()
}

fn numbers(table: &Table, name: &str) -> Result<Vec<Option<f64>>> {
    match table.column(name)? {
        Column::Numbers(values) => Ok(values.clone()),
        column if column.missing() == column.len() => Ok(vec![None; column.len()]),
        _ => Err(table.mistyped(name, "numbers")),
    }
}

fn dates(table: &Table, name: &str) -> Result<Vec<Option<i64>>> {
    match table.column(name)? {
        Column::Dates(values) => Ok(values.clone()),
        // A column without any value is of no type.
        column if column.missing() == column.len() => Ok(vec![None; column.len()]),
        _ => Err(table.mistyped(name, "dates")),
    }
}

/// The names of categories: texts, or whole numbers as they are written.
fn words(table: &Table, name: &str) -> Result<Vec<Option<String>>> {
    match table.column(name)? {
        Column::Texts(values) => Ok(values.iter().map(|value| value.as_deref().map(str::to_owned)).collect()),
        Column::Numbers(values) => {
            Ok(values.iter().map(|value| value.map(|value| value.to_string())).collect())
        }
        Column::Dates(_) => Err(table.mistyped(name, "texts or numbers")),
    }
}
