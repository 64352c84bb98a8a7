//! Movie review sentence polarity (Pang and Lee 2005): a sentence a line, ISO-8859-1, tokens apart by spaces.

use std::path::Path;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::MR_POLARITY;
use crate::text::LabelledText;

const MAX_BYTES: u64 = 64 << 20;

/// 10,662 sentences, first the 5,331 favourable ones (label 1), then the others (label 0). There is no fixed division;
/// results are usually given for ten-fold cross-validation. Downloads what is missing.
///
/// # Errors
/// As [`DataDir::obtain`]; [`Error::Format`] with file and line for an empty line, [`Error::Empty`] for an empty file.
pub fn load(dir: &DataDir) -> Result<Vec<LabelledText>> {
    let located = dir.obtain(&MR_POLARITY)?;
    let mut sentences = Vec::new();
    for (path, label) in located.iter().flat_map(Located::paths).zip([1, 0]) {
        sentences.extend(read(path, label)?);
    }
    Ok(sentences)
}

/// Reads a file of sentences that all have one label.
///
/// # Errors
/// As [`load`].
pub fn read(path: &Path, label: u32) -> Result<Vec<LabelledText>> {
    let text = files::from_latin1(&files::read_limited(files::open(path)?, path, MAX_BYTES)?);
    let sentences = text.lines().enumerate().map(|(i, line)| match line.trim() {
        "" => Err(Error::line(path, i + 1, "the sentence is empty")),
        line => Ok(LabelledText { text: line.to_owned(), label }),
    });
    let sentences = sentences.collect::<Result<Vec<_>>>()?;
    if sentences.is_empty() { Err(Error::Empty { what: "mr_polarity" }) } else { Ok(sentences) }
}
