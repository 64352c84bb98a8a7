//! AG News (Zhang, Zhao and LeCun 2015): comma-separated class (from 1), title and description.

use std::io::Read;
use std::path::Path;

use csv::ReaderBuilder;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::AG_NEWS;
use crate::text::LabelledText;

/// The names of the classes, by label.
pub const CLASSES: [&str; 4] = ["World", "Sports", "Business", "Sci/Tech"];

/// 120,000 news items to train on and 7,600 to test on, title and description joined by a space, labels as in
/// [`CLASSES`]. Downloads what is missing.
///
/// # Errors
/// As [`DataDir::obtain`] and [`read`].
pub fn load(dir: &DataDir) -> Result<(Vec<LabelledText>, Vec<LabelledText>)> {
    let located = dir.obtain(&AG_NEWS)?;
    let paths: Vec<_> = located.iter().flat_map(Located::paths).collect();
    let [train, test] = paths[..] else {
        return Err(Error::argument("ag_news", "expected two files"));
    };
    Ok((read(train)?, read(test)?))
}

/// Reads one file, gzipped or not.
///
/// # Errors
/// [`Error::Format`] with file and line for a row that does not have three columns, a class from 1 to 4, UTF-8 and some
/// text; [`Error::Empty`] for an empty file.
pub fn read(path: &Path) -> Result<Vec<LabelledText>> {
    read_from(files::open(path)?, path)
}

/// As [`read`], from any reader; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn read_from(reader: impl Read, path: &Path) -> Result<Vec<LabelledText>> {
    let mut news = Vec::new();
    for row in ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader).records() {
        let row = row.map_err(|e| csv_error(path, e))?;
        let line = row.position().map_or(0, csv::Position::line) as usize;
        let fault = |message: String| Error::line(path, line, message);
        let (Some(class), Some(title), Some(description), 3) =
            (row.get(0), row.get(1), row.get(2), row.len())
        else {
            return Err(fault(format!("{} columns, not 3", row.len())));
        };
        let class: usize = class.parse().map_err(|_| fault(format!("class `{class}` is not a number")))?;
        if !(1..=CLASSES.len()).contains(&class) {
            return Err(fault(format!("class {class} is not from 1 to {}", CLASSES.len())));
        }
        let text = format!("{} {}", title.trim(), description.trim());
        if text.trim().is_empty() {
            return Err(fault("no text".to_owned()));
        }
        news.push(LabelledText { text, label: class as u32 - 1 });
    }
    if news.is_empty() { Err(Error::Empty { what: "ag_news" }) } else { Ok(news) }
}

fn csv_error(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(|p| p.line() as usize);
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => files::read_error(path, source),
        _ => Error::Format { path: path.to_owned(), line, message },
    }
}
