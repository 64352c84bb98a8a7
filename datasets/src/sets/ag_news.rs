//! AG News (Zhang, Zhao and LeCun 2015): comma-separated class (from 1), title and description.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use cairn_files::{Budget, RowFormat, Rows};

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;
use crate::text::LabelledText;

/// News in four classes, 120,000 to train on and 7,600 to test on (Zhang, Zhao and LeCun 2015).
pub const AG_NEWS: Resource<'_> = Resource {
    name: "ag-news",
    title: "AG News, 127,600 news items in four classes",
    files: &[
        RemoteFile {
            path: "text/ag_news/train.csv",
            size: Some(29_470_338),
            sha256: Some("76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e"),
            urls: &["https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"],
            unpacked: &["text/ag_news/train.csv.gz"],
        },
        RemoteFile {
            path: "text/ag_news/test.csv",
            size: Some(1_857_427),
            sha256: Some("521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699"),
            urls: &["https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"],
            unpacked: &["text/ag_news/test.csv.gz"],
        },
    ],
    licence: "AG's corpus: for non-commercial use",
    homepage: "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
};

const MAX_BYTES: u64 = 1 << 30;

/// The names of the classes, by label.
pub const CLASSES: [&str; 4] = ["World", "Sports", "Business", "Sci/Tech"];

/// 120,000 news items to train on and 7,600 to test on, title and description joined by a space, labels as in
/// [`CLASSES`]. Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had; as [`read`] for the files.
pub fn load(dir: &DataDir) -> Result<(Vec<LabelledText>, Vec<LabelledText>)> {
    let [train, test] = dir.paths(&AG_NEWS)?;
    Ok((read(&train)?, read(&test)?))
}

/// Reads one file, gzipped or not.
///
/// # Errors
/// [`Error::Format`] with file and line for a row that does not have three columns, a class from 1 to 4, UTF-8 and some
/// text; [`Error::Empty`] for an empty file.
pub fn read(path: &Path) -> Result<Vec<LabelledText>> {
    parse(files::open(path, MAX_BYTES, 1)?, path, Budget::of_file(path)?)
}

/// As [`read`], from any reader; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with file and line for a row that does not have three columns, a class from 1 to 4, UTF-8 and some
/// text; [`Error::Empty`] when there are no rows.
pub fn read_from(reader: impl Read, path: &Path) -> Result<Vec<LabelledText>> {
    parse(BufReader::new(reader), path, Budget::of_bytes(MAX_BYTES))
}

fn parse(reader: impl BufRead, path: &Path, mut budget: Budget) -> Result<Vec<LabelledText>> {
    let mut news = Vec::new();
    let mut rows = Rows::new(reader, RowFormat::separated_by(","));
    while let Some(row) = rows.next_row().map_err(files::error(path))? {
        let fault = |message: String| Error::line(path, row.line() as usize, message);
        let fields = row.fields().map_err(|why| fault(why.to_owned()))?;
        let [class, title, description] = fields[..] else {
            return Err(fault(format!("{} columns, not 3", fields.len())));
        };
        let class: usize =
            class.trim().parse().map_err(|_| fault(format!("class `{class}` is not a number")))?;
        if !(1..=CLASSES.len()).contains(&class) {
            return Err(fault(format!("class {class} is not from 1 to {}", CLASSES.len())));
        }
        let text = format!("{} {}", title.trim(), description.trim());
        if text.trim().is_empty() {
            return Err(fault("no text".to_owned()));
        }
        files::count::<LabelledText>(&mut budget, path, 1, text.len())?;
        news.push(LabelledText { text, label: class as u32 - 1 });
    }
    if news.is_empty() { Err(Error::Empty { what: "ag_news" }) } else { Ok(news) }
}
