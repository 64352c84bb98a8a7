//! Texts with their classes, as people keep them: a label and a text on each line.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use cairn_files::{Budget, RowFormat, Rows};

use super::LabelledText;
use crate::error::{Error, Result};
use crate::files;

/// Largest file to read, unpacked.
const MAX_BYTES: u64 = 16 << 30;

/// Reads lines of a label and a text: `spam, win a prize, now`. Classes are the labels there are, numbers in their order and
/// words in theirs.
///
/// Files may be compressed by gzip. A field in quotes is what is between them; where the text is the last field, separators in it
/// need no quotes. Empty lines are passed over, and a byte order mark is no part of the first field.
///
/// ```
/// use cairn_datasets::text::LabelledReader;
/// let lines = "ham, see you at 8\nspam, \"win, win, win\"\nspam, a prize, now\n";
/// let (texts, classes) = LabelledReader::csv().header(false).from_reader(lines.as_bytes())?;
/// assert_eq!(classes, ["ham", "spam"]);
/// assert_eq!((texts[2].text.as_str(), texts[2].label), ("a prize, now", 1));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("read_csv", "load_dataset", "TextLineDataset"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledReader {
    format: RowFormat,
    header: bool,
    label: usize,
    text: usize,
}

impl LabelledReader {
    /// Fields between commas, the label first; the first line is a header.
    #[must_use]
    pub fn csv() -> Self {
        LabelledReader { header: true, ..Self::separated_by(",") }
    }

    /// Fields between tabs, the label first, no header.
    #[must_use]
    pub fn tsv() -> Self {
        Self::separated_by("\t")
    }

    /// Fields between any text, the label first, no header.
    #[must_use]
    pub fn separated_by(separator: &str) -> Self {
        LabelledReader { format: RowFormat::separated_by(separator), header: false, label: 0, text: 1 }
    }

    /// Whether the first line names the columns.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// The columns of label and text, from 0.
    #[must_use]
    pub fn columns(mut self, label: usize, text: usize) -> Self {
        (self.label, self.text) = (label, text);
        self
    }

    /// Whether quotes surround fields, as they do unless this says no: then they are text like any other.
    #[must_use]
    pub fn quotes(mut self, quotes: bool) -> Self {
        self.format.quotes = quotes;
        self
    }

    /// The text is in ISO-8859-1 (Latin-1), not in UTF-8.
    #[doc(alias = "encoding")]
    #[must_use]
    pub fn latin1(mut self) -> Self {
        self.format.latin1 = true;
        self
    }

    /// Reads a file, compressed by gzip or not: the texts, and the names of the classes by label.
    ///
    /// # Errors
    /// [`Error::Format`] with file and line for a line without a label or a text, and for text in another encoding;
    /// [`Error::Empty`] for a file without lines; [`Error::Io`] when it cannot be read; [`Error::Argument`] for one column for both.
    pub fn read(&self, path: &Path) -> Result<(Vec<LabelledText>, Vec<String>)> {
        self.parse(files::open(path, MAX_BYTES, 1)?, path, Budget::of_file(path)?)
    }

    /// As [`read`](Self::read), from any reader.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_reader(&self, reader: impl Read) -> Result<(Vec<LabelledText>, Vec<String>)> {
        self.parse(BufReader::new(reader), Path::new("the texts"), Budget::of_bytes(u64::MAX))
    }

    fn parse(
        &self,
        reader: impl BufRead,
        path: &Path,
        mut budget: Budget,
    ) -> Result<(Vec<LabelledText>, Vec<String>)> {
        if self.label == self.text {
            return Err(Error::argument("LabelledReader", "label and text are one column"));
        }
        let mut rows = Rows::new(reader, self.format.clone());
        let (mut labels, mut texts) = (Vec::new(), Vec::new());
        let mut header = self.header;
        while let Some(row) = rows.next_row().map_err(files::error(path))? {
            if std::mem::take(&mut header) {
                continue;
            }
            let fault = |message: &str| Error::line(path, row.line() as usize, message);
            let fields = row.fields().map_err(fault)?;
            let label = fields.get(self.label).map(|label| label.trim()).filter(|label| !label.is_empty());
            let label = label.ok_or_else(|| fault("there is no label"))?;
            let text = fields.get(self.text..).unwrap_or_default();
            // What is behind the last column is part of it.
            let text = match text {
                [] => String::new(),
                all if self.text > self.label => all.join(&self.format.separator),
                [first, ..] => (*first).to_owned(),
            };
            if text.trim().is_empty() {
                return Err(fault("there is no text"));
            }
            files::count::<(String, String, LabelledText)>(&mut budget, path, 3, label.len() + text.len())?;
            labels.push(label.to_owned());
            texts.push(text.trim().to_owned());
        }
        if texts.is_empty() {
            return Err(Error::Empty { what: "LabelledReader" });
        }
        let classes = classes(&labels);
        let places: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
        let place = |label: &String| places[label.as_str()];
        let texts =
            texts.into_iter().zip(&labels).map(|(text, label)| LabelledText { text, label: place(label) });
        let texts = texts.collect();
        Ok((texts, classes))
    }
}

/// The different labels: by value if all are whole numbers, else by name.
fn classes(labels: &[String]) -> Vec<String> {
    let mut classes: Vec<String> = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    classes
}
