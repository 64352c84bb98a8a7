//! Multi30k captions (Elliott et al. 2016): the same sentence on the same line of two files.

use std::path::Path;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::MULTI30K;

const MAX_BYTES: u64 = 64 << 20;

/// Sentences in two languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// In the language to translate from: German.
    pub source: String,
    /// In the language to translate to: English.
    pub target: String,
}

/// The parts of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multi30k {
    /// 29,000 pairs.
    pub train: Vec<Pair>,
    /// 1,014 pairs.
    pub valid: Vec<Pair>,
    /// 1,000 pairs: the test set of 2016.
    pub test: Vec<Pair>,
}

/// German captions and their English counterparts. Downloads what is missing.
///
/// # Errors
/// As [`DataDir::obtain`] and [`read_pairs`].
pub fn load(dir: &DataDir) -> Result<Multi30k> {
    let located = dir.obtain(&MULTI30K)?;
    let paths: Vec<_> = located.iter().flat_map(Located::paths).collect();
    let parts = paths.chunks_exact(2).map(|pair| read_pairs(pair[0], pair[1]));
    match <[Vec<Pair>; 3]>::try_from(parts.collect::<Result<Vec<_>>>()?) {
        Ok([train, valid, test]) => Ok(Multi30k { train, valid, test }),
        Err(_) => Err(Error::argument("multi30k", "expected six files")),
    }
}

/// Reads two files with a sentence a line, compressed or not.
///
/// # Errors
/// [`Error::Format`] naming the file when the numbers of lines differ, with the line for an empty sentence or text that is
/// not UTF-8; [`Error::Empty`] for empty files.
pub fn read_pairs(source: &Path, target: &Path) -> Result<Vec<Pair>> {
    let (from, to) = (files::read_text(source, MAX_BYTES)?, files::read_text(target, MAX_BYTES)?);
    let (from, to) = (sentences(&from, source)?, sentences(&to, target)?);
    if from.len() != to.len() {
        let message = format!("{} lines, but {} has {}", to.len(), source.display(), from.len());
        return Err(Error::format(target, message));
    }
    if from.is_empty() {
        return Err(Error::Empty { what: "parallel text" });
    }
    Ok(from.into_iter().zip(to).map(|(source, target)| Pair { source, target }).collect())
}

fn sentences(text: &str, path: &Path) -> Result<Vec<String>> {
    let each = text.lines().enumerate().map(|(i, line)| match line.trim() {
        "" => Err(Error::line(path, i + 1, "the sentence is empty")),
        line => Ok(line.to_owned()),
    });
    each.collect()
}
