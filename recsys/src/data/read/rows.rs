//! What a log is read from: a file, packed or not, or a stream, as rows of fields, with a count of the memory that they take.

use std::io::{self, BufRead};
use std::path::Path;

use cairn_files::{Budget, RowFormat, Rows, unpack};

use crate::{Error, Result};

/// A file that may be compressed by gzip, and what may be made of it.
pub(super) fn open(path: &Path) -> Result<(Box<dyn BufRead>, Budget)> {
    let open = || Ok((unpack::open(path, u64::MAX)?, Budget::of_file(path)?));
    open().map_err(|error| match error {
        cairn_files::Error::Io { path, source, .. } => Error::Io { path, source },
        cairn_files::Error::Contents { path, message } => {
            Error::Io { path, source: io::Error::new(io::ErrorKind::InvalidData, message) }
        }
    })
}

/// Hands each row to `f` with its line, from 1, until `f` says to stop: the fields, or why there are none. Empty lines and comments
/// are passed over. Whether the text ended with a line end.
///
/// # Errors
/// [`Error::Io`], and [`Error::Parameter`] for an empty separator.
pub(super) fn for_each(
    reader: impl BufRead,
    format: &RowFormat,
    path: &Path,
    mut f: impl FnMut(u64, Result<&[&str], String>) -> bool,
) -> Result<bool> {
    if format.separator.is_empty() {
        return Err(Error::parameter("separator", "\"\"", "at least one character"));
    }
    let mut rows = Rows::new(reader, format.clone());
    while let Some(row) = rows.next_row().map_err(io(path))? {
        let go_on = match row.fields() {
            Ok(fields) => f(row.line(), Ok(&fields)),
            Err(why) => f(row.line(), Err(why.to_owned())),
        };
        if !go_on {
            break;
        }
    }
    Ok(rows.ended())
}

/// What went wrong with a file.
pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| Error::Io { path: path.to_owned(), source }
}
