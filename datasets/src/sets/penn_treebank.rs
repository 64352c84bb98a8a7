//! Penn Treebank text in Mikolov's preparation: a sentence a line, tokens apart by spaces.

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::PENN_TREEBANK;

const MAX_BYTES: u64 = 64 << 20;

/// The three parts, each as one text with a sentence a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PennTreebank {
    /// 42,068 sentences.
    pub train: String,
    /// 3,370 sentences.
    pub valid: String,
    /// 3,761 sentences.
    pub test: String,
}

/// The text, to be divided by [`WhitespaceTokenizer`](crate::text::WhitespaceTokenizer). Downloads what is missing.
///
/// # Errors
/// As [`DataDir::obtain`]; [`Error::Format`] with file and line for text that is not UTF-8.
pub fn load(dir: &DataDir) -> Result<PennTreebank> {
    let located = dir.obtain(&PENN_TREEBANK)?;
    let texts = located.iter().flat_map(Located::paths).map(|path| files::read_text(path, MAX_BYTES));
    match <[String; 3]>::try_from(texts.collect::<Result<Vec<_>>>()?) {
        Ok([train, valid, test]) => Ok(PennTreebank { train, valid, test }),
        Err(_) => Err(Error::argument("penn_treebank", "expected three files")),
    }
}
