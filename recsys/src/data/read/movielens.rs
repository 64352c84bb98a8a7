//! The MovieLens data sets as GroupLens publishes them (Harper & Konstan 2015): the archive, under the feature `zip`, or the
//! folder that it unpacks to, or the file of ratings in that. Archives are read as a stream; nothing is unpacked to the disk.
//!
//! Where the sets are, and how they are downloaded, is the business of `cairn_datasets`, which hands on their paths; what is in
//! them is read here alone.
//!
//! | folder | ratings | films |
//! |---|---|---|
//! | `ml-100k` | `u.data`, tabs | `u.item`, between bars, ISO-8859-1 |
//! | `ml-1m` | `ratings.dat`, `::` | `movies.dat`, `::`, ISO-8859-1 |
//! | `ml-10M100K` | `ratings.dat`, `::`, half stars | `movies.dat`, `::`, UTF-8 |
//! | `ml-20m`, `ml-25m`, `ml-32m`, `ml-latest-small` | `ratings.csv`, header, half stars | `movies.csv`, header, quotes |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use cairn_files::{Budget, RowFormat};

use super::{LogReader, ReadReport, rows};
use crate::{Error, Interactions, Result};

/// No list of titles comes near this size.
const MOST_TITLES: u64 = 256 << 20;
/// Fields of a row of `u.item`: number, title, two dates, an address, and a mark for each of 19 genres.
const ITEM_FIELDS: usize = 24;

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

/// The file of ratings in each layout.
const RATINGS: [(&str, Layout); 3] =
    [("u.data", Layout::Tabs), ("ratings.dat", Layout::Colons), ("ratings.csv", Layout::Csv)];

/// The files of a set, in a folder or an archive.
enum Source {
    Folder(PathBuf),
    #[cfg(feature = "zip")]
    Archive(PathBuf, zip::ZipArchive<File>),
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self::Folder(path.to_owned()));
        }
        if RATINGS.iter().any(|(name, _)| path.file_name().is_some_and(|own| own == *name)) {
            return Ok(Self::Folder(path.with_file_name("")));
        }
        #[cfg(feature = "zip")]
        {
            let archive = zip::ZipArchive::new(open(path)?).map_err(|error| broken(path, error))?;
            Ok(Self::Archive(path.to_owned(), archive))
        }
        #[cfg(not(feature = "zip"))]
        Err(Error::parameter("folder", path.display(), "a folder; archives need the feature `zip`"))
    }

    /// Whether there is a file of this name; an archive has it within the set's folder.
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).is_file(),
            #[cfg(feature = "zip")]
            Self::Archive(_, archive) => member(archive, name).is_some(),
        }
    }

    /// Which layout the set has.
    fn layout(&self) -> Result<Layout> {
        let found = RATINGS.into_iter().find(|(name, _)| self.has(name));
        let path = match self {
            Self::Folder(path) => path,
            #[cfg(feature = "zip")]
            Self::Archive(path, _) => path,
        };
        let expected = "a folder or archive of MovieLens with u.data, ratings.dat or ratings.csv";
        found.map(|(_, layout)| layout).ok_or_else(|| Error::parameter("folder", path.display(), expected))
    }

    /// Reads a file of the set with `read`, which is given its path for messages, and what may be made of it.
    fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn Read, &Path, Budget) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                read(&mut open(&path)?, &path, Budget::of_file(&path)?)
            }
            #[cfg(feature = "zip")]
            Self::Archive(path, archive) => {
                let full = path.join(name);
                let inside = member(archive, name).unwrap_or_else(|| name.to_owned());
                let mut file = archive.by_name(&inside).map_err(|error| broken(&full, error))?;
                read(&mut file, &full, Budget::of_file(path.as_path())?)
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The full name of a file in an archive: that of a file of this name in any folder. Some programs on Windows put `\\` between
/// folders.
#[cfg(feature = "zip")]
fn member(archive: &zip::ZipArchive<File>, name: &str) -> Option<String> {
    let mut names = archive.file_names().filter_map(Result::ok);
    names.find(|full| full.rsplit(['/', '\\']).next() == Some(name)).map(std::borrow::Cow::into_owned)
}

#[cfg(feature = "zip")]
fn broken(path: &Path, error: zip::result::ZipError) -> Error {
    Error::Io { path: path.to_owned(), source: error.into() }
}

/// Reads the ratings of a set, whichever it is, from its folder, its archive or its file of ratings. Ids are the publisher's.
/// Rows that do not read are left out and reported.
///
/// ```no_run
/// let (log, report) = cairn_recsys::read::movielens::ratings("ml-1m.zip")?;
/// assert_eq!((log.len(), report.rejections()), (1_000_209, 0));
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
///
/// # Errors
/// [`Error::Parameter`] for a folder or archive that has none of the files; [`Error::Io`] for a damaged archive; else as
/// [`LogReader::read`].
pub fn ratings(set: impl AsRef<Path>) -> Result<(Interactions, ReadReport)> {
    let mut source = Source::open(set.as_ref())?;
    let (name, reader) = match source.layout()? {
        Layout::Tabs => ("u.data", LogReader::tsv().quotes(false).values_between(1.0, 5.0)),
        Layout::Colons => {
            ("ratings.dat", LogReader::separated_by("::").quotes(false).values_between(0.5, 5.0))
        }
        Layout::Csv => {
            let columns = LogReader::csv().columns("userId", "movieId").value("rating").time("timestamp");
            ("ratings.csv", columns.values_between(0.5, 5.0))
        }
    };
    source.read(name, |file, path, budget| reader.parse(BufReader::new(file), path, budget))
}

/// Titles by film, with the year as the publisher writes it.
///
/// # Errors
/// [`Error::Parameter`] for a folder or archive that has none of the files; [`Error::Io`]; [`Error::InvalidRow`] for a line
/// that does not read.
pub fn titles(set: impl AsRef<Path>) -> Result<BTreeMap<u32, String>> {
    films(set.as_ref(), title)
}

/// Genres by film, as the publisher names them; none for `(no genres listed)` and `unknown`.
///
/// ```no_run
/// use cairn_recsys::features::{FeatureRow, FeatureTable};
/// let genres = cairn_recsys::read::movielens::genres("ml-100k")?;
/// let rows = genres.into_iter().map(|(film, genres)| (film, FeatureRow::new().categories("genres", genres)));
/// let table = FeatureTable::new(rows)?;
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
///
/// # Errors
/// As [`titles`].
pub fn genres(set: impl AsRef<Path>) -> Result<BTreeMap<u32, Vec<String>>> {
    films(set.as_ref(), |fields, layout, header| {
        let (id, _) = title(fields, layout, header)?;
        let named = match layout {
            Layout::Tabs => {
                let flags = &fields[fields.len().saturating_sub(GENRES.len())..];
                if flags.len() < GENRES.len() || fields.len() < ITEM_FIELDS {
                    return Err(format!("{} fields, of {ITEM_FIELDS}", fields.len()));
                }
                let set = GENRES.iter().zip(flags).filter(|(_, flag)| flag.trim() == "1");
                set.map(|(name, _)| (*name).to_owned()).collect()
            }
            _ => fields
                .last()
                .map_or_else(Vec::new, |all| all.split('|').map(|one| one.trim().to_owned()).collect()),
        };
        let known = |name: &String| !name.is_empty() && name != "unknown" && !name.starts_with('(');
        Ok((id, named.into_iter().filter(known).collect()))
    })
}

/// The genres of MovieLens 100K, whose films have a flag for each.
const GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// What `read` makes of each film.
fn films<T>(
    set: &Path,
    read: impl Fn(&[&str], Layout, Option<usize>) -> Result<(u32, T), String>,
) -> Result<BTreeMap<u32, T>> {
    let mut source = Source::open(set)?;
    let layout = source.layout()?;
    let (name, separator) = match layout {
        Layout::Tabs => ("u.item", "|"),
        Layout::Colons => ("movies.dat", "::"),
        Layout::Csv => ("movies.csv", ","),
    };
    let (text, path, mut budget) = source.read(name, |file, path, mut budget| {
        let most = MOST_TITLES.min(budget.left() / 2);
        let bytes = cairn_files::read_limited(file, most).map_err(rows::io(path))?;
        budget.take(2 * bytes.len() as u64).map_err(rows::io(path))?;
        Ok((decode(bytes), path.to_owned(), budget))
    })?;
    let format = RowFormat { quotes: layout == Layout::Csv, ..RowFormat::separated_by(separator) };
    let mut films = BTreeMap::new();
    let mut failure = None;
    // Only CSV has one.
    let mut header = None;
    rows::for_each(text.as_bytes(), &format, &path, |line, fields| {
        let invalid = |reason| Error::InvalidRow { path: path.clone(), line, reason };
        if layout == Layout::Csv && header.is_none() {
            header = fields.ok().map(<[&str]>::len);
            return true;
        }
        let text: usize = fields.as_ref().map_or(0, |fields| fields.iter().map(|field| field.len()).sum());
        let film = fields.and_then(|fields| read(fields, layout, header)).map_err(invalid);
        let added = film.and_then(|(id, film)| {
            // An entry of the table, which has room for twice as many and is there twice while it grows.
            budget.take(200 + text as u64).map_err(rows::io(&path))?;
            films.insert(id, film);
            Ok(())
        });
        failure = added.err();
        failure.is_none()
    })?;
    match failure {
        Some(error) => Err(error),
        None if films.is_empty() => Err(Error::Empty { what: "the list of films" }),
        None => Ok(films),
    }
}

/// Valid UTF-8 with bytes above 127 is UTF-8 in practice; else the file is ISO-8859-1, whose bytes are the first 256 characters
/// of Unicode.
fn decode(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// A film's number and title. A title may hold what is between fields, of which there is a known number besides.
fn title(fields: &[&str], layout: Layout, header: Option<usize>) -> Result<(u32, String), String> {
    let [id, title, rest @ ..] = fields else { return Err("fewer than two fields".to_owned()) };
    let title = match layout {
        Layout::Colons if !rest.is_empty() => fields[1..fields.len() - 1].join("::"),
        Layout::Tabs if fields.len() > ITEM_FIELDS => fields[1..=fields.len() + 1 - ITEM_FIELDS].join("|"),
        Layout::Csv if header.is_some_and(|named| named != fields.len()) => {
            let named = header.unwrap_or_default();
            return Err(format!(
                "{} fields where the header names {named}: a title with a comma needs quotes",
                fields.len()
            ));
        }
        _ => (*title).to_owned(),
    };
    let id = id.trim().parse().map_err(|_| format!("`{id}` is not a film's number"))?;
    Ok((id, title))
}
