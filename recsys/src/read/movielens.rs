//! The MovieLens data sets as GroupLens publishes them, unpacked (Harper & Konstan 2015).
//!
//! | folder | ratings | films |
//! |---|---|---|
//! | `ml-100k` | `u.data`, tabs | `u.item`, between bars, ISO-8859-1 |
//! | `ml-1m` | `ratings.dat`, `::` | `movies.dat`, `::`, ISO-8859-1 |
//! | `ml-10M100K` | `ratings.dat`, `::`, half stars | `movies.dat`, `::`, UTF-8 |
//! | `ml-20m`, `ml-25m`, `ml-32m`, `ml-latest-small` | `ratings.csv`, header, half stars | `movies.csv`, header, quotes |

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::{LogReader, ReadReport};
use crate::{Error, Interactions, Result};

/// Which of the layouts a folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// 100K.
    Tabs,
    /// 1M and 10M.
    Colons,
    /// 20M and later.
    Csv,
}

impl Layout {
    fn of(folder: &Path) -> Result<Self> {
        let has = |name| folder.join(name).is_file();
        if has("u.data") {
            Ok(Self::Tabs)
        } else if has("ratings.dat") {
            Ok(Self::Colons)
        } else if has("ratings.csv") {
            Ok(Self::Csv)
        } else {
            let expected = "a folder of MovieLens with u.data, ratings.dat or ratings.csv";
            Err(Error::parameter("folder", folder.display(), expected))
        }
    }
}

/// Reads the ratings of an unpacked set, whichever it is. Ids are the publisher's.
///
/// ```no_run
/// let (log, report) = cairn_recsys::read::movielens::ratings("ml-1m")?;
/// assert_eq!((log.len(), report.rejections()), (1_000_209, 0));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for a folder that has none of the files; else as [`LogReader::read`].
pub fn ratings(folder: impl AsRef<Path>) -> Result<(Interactions, ReadReport)> {
    let folder = folder.as_ref();
    match Layout::of(folder)? {
        Layout::Tabs => LogReader::tsv().values_between(1.0, 5.0).read(folder.join("u.data")),
        Layout::Colons => {
            LogReader::separated_by("::").values_between(0.5, 5.0).read(folder.join("ratings.dat"))
        }
        Layout::Csv => LogReader::csv()
            .columns("userId", "movieId")
            .value("rating")
            .time("timestamp")
            .values_between(0.5, 5.0)
            .read(folder.join("ratings.csv")),
    }
}

/// Titles by film, with the year as the publisher writes it.
///
/// # Errors
/// [`Error::Parameter`] for a folder that has none of the files; [`Error::Io`]; [`Error::InvalidRow`] for a line that does
/// not read.
pub fn titles(folder: impl AsRef<Path>) -> Result<HashMap<u32, String>> {
    let folder = folder.as_ref();
    let (name, separator) = match Layout::of(folder)? {
        Layout::Tabs => ("u.item", "|"),
        Layout::Colons => ("movies.dat", "::"),
        Layout::Csv => ("movies.csv", ","),
    };
    let path = folder.join(name);
    let bytes = fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    // Valid UTF-8 with bytes above 127 is UTF-8 in practice; else the file is ISO-8859-1, whose bytes are the first 256
    // characters of Unicode.
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect());
    let csv = separator == ",";
    let mut titles = HashMap::new();
    let mut fault = None;
    super::rows::for_each(text.as_bytes(), separator, csv, &path, |line, fields| {
        if csv && line == 1 {
            return true;
        }
        let row = fields.and_then(|fields| match fields {
            [id, title, ..] => id
                .trim()
                .parse::<u32>()
                .map(|id| (id, (*title).to_owned()))
                .map_err(|_| format!("`{id}` is not a film's number")),
            _ => Err("fewer than two fields".to_owned()),
        });
        match row {
            Ok((id, title)) => {
                titles.insert(id, title);
                true
            }
            Err(reason) => {
                fault = Some(Error::InvalidRow { path: path.clone(), line, reason });
                false
            }
        }
    })?;
    match fault {
        Some(error) => Err(error),
        None if titles.is_empty() => Err(Error::Empty { what: "the list of titles" }),
        None => Ok(titles),
    }
}
