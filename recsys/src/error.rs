//! What can go wrong in this crate: one enum, so that a caller can tell bad data from a bad setting from a bad file.
//!
//! Ids are carried as text (their `Debug` form): an error must not drag the caller's id types into every signature.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to work on: no interactions, no users to evaluate, an empty matrix.
    #[error("{what} is empty")]
    Empty {
        /// What was empty.
        what: &'static str,
    },
    /// A value that the computation cannot take: NaN, infinite, or negative where counts are wanted.
    #[error("{what}: value {} at {at} must be {expected}", number(*value))]
    InvalidValue {
        /// Where it was met: an operation or a model.
        what: &'static str,
        /// Row of the log with its ids; `(row, column)` of a matrix that was given without ids.
        at: String,
        /// The offending value.
        value: f64,
        /// What is accepted.
        expected: &'static str,
        /// User, unless it is of a history, and item by index, where it is of a matrix.
        entry: Option<(Option<u32>, u32)>,
    },
    /// The same user met the same item twice under [`Duplicates::Error`](crate::Duplicates::Error).
    #[error("user {user} and item {item} occur together more than once (rows {first} and {second})")]
    DuplicateInteraction {
        /// The user's id.
        user: String,
        /// The item's id.
        item: String,
        /// Row of the first occurrence.
        first: usize,
        /// Row of the second occurrence.
        second: usize,
    },
    /// An id twice in a list that must name each thing once.
    #[error("{kind} id {id} occurs more than once")]
    DuplicateId {
        /// `user` or `item`.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// A user that the model or data set has never met.
    #[error("unknown user {0}")]
    UnknownUser(String),
    /// An item that the model or data set has never met.
    #[error("unknown item {0}")]
    UnknownItem(String),
    /// Other processes cannot go on, or do not do the same.
    #[error(transparent)]
    Processes(#[from] cairn_processes::Error),
    /// A setting outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Parameter {
        /// Name of the setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// Lengths or shapes that do not fit together.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// The operation.
        what: &'static str,
        /// The shape that was needed.
        expected: String,
        /// The shape that was given.
        found: String,
    },
    /// More than `u32::MAX` users, items or interactions.
    #[error("{count} {what} do not fit in 32-bit indices")]
    TooMany {
        /// What there was too much of.
        what: &'static str,
        /// How many there were.
        count: usize,
    },
    /// An iterative solver stopped before it reached its tolerance.
    #[error(
        "{what} did not converge: residual {residual:.3e} above tolerance {tolerance:.3e} after {iterations} iterations"
    )]
    NotConverged {
        /// The solver.
        what: &'static str,
        /// The largest relative residual reached.
        residual: f64,
        /// What was asked for.
        tolerance: f64,
        /// Iterations done.
        iterations: usize,
    },
    /// A factorisation failed: a matrix that should be positive definite is not, or a dense solver gave up.
    #[error("{what} failed: {reason}")]
    Factorization {
        /// Which factorisation.
        what: &'static str,
        /// What the solver said.
        reason: String,
    },
    /// A network could not be trained or run.
    #[error("{model}: {reason}")]
    Network {
        /// The model.
        model: &'static str,
        /// What went wrong.
        reason: String,
    },
    /// The model cannot do this; for instance fold-in with a model that has no user representation.
    #[error("{model} does not offer {operation}")]
    Unsupported {
        /// The model.
        model: &'static str,
        /// The operation.
        operation: &'static str,
    },
    /// The computation would need more memory than the stated limit. Nothing has been allocated yet.
    #[error("{what} needs {needed} bytes, more than {}", memory_limit(*limit))]
    Memory {
        /// What needs the memory.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// The limit in bytes; 0 where it is what the system has left.
        limit: u64,
    },
    /// A model file that is not one, is damaged, or was written by another version.
    #[error("{path}: {reason}", path = path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line of a text file that does not read.
    #[error("{path}, line {line}: {reason}", path = path.display())]
    InvalidRow {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A text of which no row reads.
    #[error("{path}: none of {rows} rows reads; line {line}: {reason}", path = path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// How many rows there are.
        rows: usize,
        /// The line of the first, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error. Part of the message, and so no source besides, which a report of the whole chain would say again.
        r#source: std::io::Error,
    },
}

fn memory_limit(limit: u64) -> String {
    if limit == 0 { "the system has".to_owned() } else { format!("the limit of {limit}") }
}

/// A number in as few digits as say it: `-3e38`, not its 39 digits. One that was an `f32` is told like one.
pub(crate) fn number(value: f64) -> String {
    let narrow = value as f32;
    let exact = f64::from(narrow) == value;
    let plain = value == 0.0 || (1e-5..1e16).contains(&value.abs()) || !value.is_finite();
    match (exact, plain) {
        (true, true) => narrow.to_string(),
        (true, false) => format!("{narrow:e}"),
        (false, true) => value.to_string(),
        (false, false) => format!("{value:e}"),
    }
}

impl Error {
    /// With the caller's ids in place of indices, as far as `user` and `item` know them.
    pub(crate) fn named(
        self,
        user: impl Fn(u32) -> Option<String>,
        item: impl Fn(u32) -> Option<String>,
    ) -> Self {
        let Self::InvalidValue { what, value, expected, entry: Some((row, column)), .. } = self else {
            return self;
        };
        let user = row.map(|row| user(row).unwrap_or_else(|| row.to_string()));
        let item = item(column).unwrap_or_else(|| column.to_string());
        let at = user.map_or_else(|| format!("item {item}"), |user| format!("user {user}, item {item}"));
        Self::InvalidValue { what, at, value, expected, entry: Some((row, column)) }
    }

    /// For a matrix that is some rows of another.
    pub(crate) fn further_down(mut self, rows: u32) -> Self {
        if let Self::InvalidValue { entry: Some((Some(row), _)), .. } = &mut self {
            *row += rows;
        }
        self
    }

    /// A value of a matrix, or of a history, by index.
    pub(crate) fn invalid_entry(
        what: &'static str,
        user: Option<u32>,
        item: u32,
        value: f32,
        expected: &'static str,
    ) -> Self {
        let at = user.map_or_else(|| format!("item {item}"), |user| format!("({user}, {item})"));
        Self::InvalidValue { what, at, value: f64::from(value), expected, entry: Some((user, item)) }
    }

    pub(crate) fn parameter(
        name: &'static str,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        Self::Parameter { name, value: value.to_string(), expected: expected.into() }
    }
}

impl From<cairn_files::Error> for Error {
    fn from(error: cairn_files::Error) -> Self {
        match error {
            cairn_files::Error::Io { path, source, .. } => Self::Io { path, source },
            cairn_files::Error::Contents { path, message } => Self::ModelFile { path, reason: message },
        }
    }
}
