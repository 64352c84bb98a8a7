//! Tiny Shakespeare: one text of 1.1 million characters, for character models. Also any plain text file.

use std::path::Path;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::TINY_SHAKESPEARE;

const MAX_BYTES: u64 = 4 << 30;

/// The text. Downloads it if it is missing.
///
/// # Errors
/// As [`DataDir::obtain`] and [`read_text`].
pub fn load(dir: &DataDir) -> Result<String> {
    match dir.obtain(&TINY_SHAKESPEARE)?.iter().flat_map(Located::paths).next() {
        Some(path) => read_text(path),
        None => Err(Error::argument("tiny_shakespeare", "expected one file")),
    }
}

/// Reads a text file, compressed or not.
///
/// # Errors
/// [`Error::Format`] with file and line for text that is not UTF-8, [`Error::Empty`] for no text; [`Error::Io`] when the
/// file cannot be read.
pub fn read_text(path: &Path) -> Result<String> {
    let text = files::read_text(path, MAX_BYTES)?;
    if text.is_empty() { Err(Error::Empty { what: "text" }) } else { Ok(text) }
}
