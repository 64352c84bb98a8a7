//! MovieLens 100K: ratings and films (Harper and Konstan 2015); and where the larger sets lie.
//!
//! The larger sets are not read here: a recommender wants them as a log, and `cairn_recsys::read::movielens` makes one
//! of any of them in one pass, from the archive or the folder that [`locate`] names.
//!
//! `u.data` has a rating a line: user, item, value and time, separated by tabs. `u.item` has a film a line, separated by
//! `|`, in ISO-8859-1, whose bytes are the first 256 characters of Unicode. A row that does not read is refused with its
//! line: copies of this data set with missing or additional rows are common, and a wrong rating is worse than none.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::registry::{KnownSet, MOVIELENS_100K};

/// The genres of `u.item`, in the order of its last 19 columns.
pub const GENRES: [&str; 19] = [
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

/// No file of this data set comes near this size.
const MAX_BYTES: u64 = 64 << 20;

/// One person's opinion of one film.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// The person, from 1.
    pub user: u32,
    /// The film, from 1.
    pub item: u32,
    /// 1 to 5.
    pub value: f32,
    /// Seconds since 1970 (UTC).
    pub timestamp: i64,
}

/// A film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The number ratings refer to, from 1.
    pub id: u32,
    /// Title and, usually, year.
    pub title: String,
    /// Date of release as written in the file, such as `01-Jan-1995`; empty if unknown.
    pub release: String,
    /// Bit `i` stands for `GENRES[i]`.
    genres: u32,
}

impl Item {
    pub(crate) fn new(id: u32, title: String, release: String, genres: u32) -> Self {
        Item { id, title, release, genres }
    }

    /// The names of its genres.
    pub fn genres(&self) -> impl Iterator<Item = &'static str> + '_ {
        GENRES.iter().enumerate().filter(|(i, _)| self.genres >> i & 1 == 1).map(|(_, name)| *name)
    }

    /// Year of release, if known.
    pub fn year(&self) -> Option<u16> {
        self.release.rsplit('-').next()?.parse().ok()
    }
}

/// Ratings and the films they are of.
///
/// As an iterator it gives `(user, item, value, timestamp)`, which is what recommenders take.
#[derive(Debug, Clone, PartialEq)]
pub struct MovieLens {
    /// In the order of the file.
    pub ratings: Vec<Rating>,
    /// In the order of the file.
    pub items: Vec<Item>,
}

impl MovieLens {
    /// The film with this number.
    pub fn item(&self, id: u32) -> Option<&Item> {
        // Films are numbered 1, 2, 3, … in the publisher's file; search if this one differs.
        let guess = self.items.get((id as usize).wrapping_sub(1)).filter(|item| item.id == id);
        guess.or_else(|| self.items.iter().find(|item| item.id == id))
    }

    /// `(user, item, value, timestamp)` of each rating, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, u32, f32, i64)> + '_ {
        self.ratings.iter().map(|r| (r.user, r.item, r.value, r.timestamp))
    }
}

impl IntoIterator for MovieLens {
    type Item = (u32, u32, f32, i64);
    type IntoIter = std::iter::Map<std::vec::IntoIter<Rating>, fn(Rating) -> (u32, u32, f32, i64)>;

    fn into_iter(self) -> Self::IntoIter {
        self.ratings.into_iter().map(|r| (r.user, r.item, r.value, r.timestamp))
    }
}

/// 100,000 ratings of 1,682 films by 943 people, from the publisher's archive or unpacked. Downloads it if it is missing.
///
/// ```no_run
/// use cairn_datasets::{movielens, DataDir};
/// let data = movielens::load_100k(&DataDir::default())?;
/// assert_eq!(data.ratings.len(), 100_000);
/// println!("{}", data.item(1).unwrap().title);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// As [`DataDir::obtain`]; [`Error::Format`] with file and line for a row that does not read, a rating outside 1 to 5, or
/// one of a film that is not listed.
pub fn load_100k(dir: &DataDir) -> Result<MovieLens> {
    match dir.obtain(&MOVIELENS_100K)?.as_slice() {
        [Located::Packed(zip)] => from_zip(zip),
        [Located::Unpacked(paths)] => match paths.as_slice() {
            [data, item] => read_files(data, item),
            _ => Err(Error::argument("load_100k", "expected u.data and u.item")),
        },
        _ => Err(Error::argument("load_100k", "expected one archive")),
    }
}

/// The archive of a MovieLens set, or the folder it was unpacked to: what `cairn_recsys::read::movielens` takes. Downloads
/// the archive if neither is there.
///
/// ```no_run
/// use cairn_datasets::{movielens, registry, DataDir};
/// let archive = movielens::locate(&DataDir::default(), &registry::MOVIELENS_1M)?;
/// // let (log, report) = cairn_recsys::read::movielens::ratings(archive)?;
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// As [`DataDir::obtain`]; [`Error::Argument`] for a set that is not one archive.
pub fn locate(dir: &DataDir, set: &KnownSet) -> Result<PathBuf> {
    let place = match dir.obtain(set)?.as_slice() {
        [Located::Packed(archive)] => Some(archive.clone()),
        [Located::Unpacked(paths)] => paths.first().and_then(|file| file.parent()).map(Path::to_owned),
        _ => None,
    };
    place.ok_or_else(|| Error::argument("locate", format!("{} is not one archive", set.name)))
}

/// Reads `u.data` and `u.item`.
///
/// # Errors
/// As [`load_100k`].
pub fn read_files(data: &Path, item: &Path) -> Result<MovieLens> {
    let ratings = files::read_limited(files::open(data)?, data, MAX_BYTES)?;
    let items = files::read_limited(files::open(item)?, item, MAX_BYTES)?;
    parse(&ratings, data, &items, item)
}

/// Reads the publisher's archive.
///
/// # Errors
/// As [`load_100k`].
pub fn from_zip(path: &Path) -> Result<MovieLens> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| zip_error(path, e))?;
    let mut member = |name: &str| -> Result<_> {
        let full = path.join(name);
        let entry = zip.by_name(name).map_err(|e| zip_error(&full, e))?;
        let bytes = files::read_limited(entry, &full, MAX_BYTES)?;
        Ok((bytes, full))
    };
    let (ratings, data) = member("ml-100k/u.data")?;
    let (items, item) = member("ml-100k/u.item")?;
    parse(&ratings, &data, &items, &item)
}

fn zip_error(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(source) => files::read_error(path, source),
        other => Error::format(path, other.to_string()),
    }
}

fn parse(ratings: &[u8], data: &Path, items: &[u8], item: &Path) -> Result<MovieLens> {
    let items = parse_items(items, item)?;
    let ratings = parse_ratings(ratings, data)?;
    let known: HashSet<u32> = items.iter().map(|item| item.id).collect();
    if let Some(at) = ratings.iter().position(|r| !known.contains(&r.item)) {
        let message = format!("item {} is not in {}", ratings[at].item, item.display());
        return Err(Error::line(data, at + 1, message));
    }
    Ok(MovieLens { ratings, items })
}

/// Reads the lines of a `u.data` file; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with the line of the first row that does not read; [`Error::Empty`] when there is none.
pub fn parse_ratings(bytes: &[u8], path: &Path) -> Result<Vec<Rating>> {
    let rows = lines(bytes).map(|(number, line)| {
        let fault = |message: &str| Error::line(path, number, message);
        let line = std::str::from_utf8(line).map_err(|_| fault("not UTF-8"))?;
        let mut columns = line.split('\t');
        let mut column = |name| columns.next().ok_or_else(|| fault(&format!("{name} is missing")));
        let user = number_from_one(column("the user")?, "user").map_err(|m| fault(&m))?;
        let item = number_from_one(column("the item")?, "item").map_err(|m| fault(&m))?;
        let value: f32 = number_of(column("the rating")?, "rating").map_err(|m| fault(&m))?;
        let timestamp = number_of(column("the time")?, "time").map_err(|m| fault(&m))?;
        if columns.next().is_some() {
            return Err(fault("more than four columns"));
        }
        if !(1.0..=5.0).contains(&value) {
            return Err(fault(&format!("rating {value} is not from 1 to 5")));
        }
        Ok(Rating { user, item, value, timestamp })
    });
    not_empty(rows.collect::<Result<Vec<_>>>()?)
}

/// Reads the lines of a `u.item` file, in ISO-8859-1; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] with the line of the first row that does not read or that repeats a number; [`Error::Empty`] when
/// there is none.
pub fn parse_items(bytes: &[u8], path: &Path) -> Result<Vec<Item>> {
    let mut seen = HashSet::new();
    let rows = lines(bytes).map(|(number, line)| {
        let fault = |message: String| Error::line(path, number, message);
        let line = files::from_latin1(line);
        let columns: Vec<&str> = line.split('|').collect();
        let [id, title, release, _video, _url, genres @ ..] = columns.as_slice() else {
            return Err(fault(format!("{} columns, not 24", columns.len())));
        };
        if genres.len() != GENRES.len() {
            return Err(fault(format!("{} columns, not 24", columns.len())));
        }
        let id = number_from_one(id, "item").map_err(fault)?;
        if !seen.insert(id) {
            return Err(fault(format!("item {id} comes a second time")));
        }
        if title.is_empty() {
            return Err(fault("the title is missing".to_owned()));
        }
        let genres = genres.iter().enumerate().try_fold(0, |bits, (i, &flag)| match flag {
            "0" => Ok(bits),
            "1" => Ok(bits | 1 << i),
            _ => Err(fault(format!("genre column `{flag}` is neither 0 nor 1"))),
        })?;
        Ok(Item { id, title: (*title).to_owned(), release: (*release).to_owned(), genres })
    });
    not_empty(rows.collect::<Result<Vec<_>>>()?)
}

/// The lines with their numbers, from 1. A last line without an end counts; what follows the last end does not.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let count = if bytes.is_empty() { 0 } else { usize::MAX };
    let lines = bytes.split(|&b| b == b'\n').take(count);
    lines.enumerate().map(|(i, line)| (i + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

fn number_of<T: FromStr>(text: &str, name: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} `{text}` is not a number of its kind"))
}

fn number_from_one(text: &str, name: &str) -> Result<u32, String> {
    match number_of(text, name)? {
        0 => Err(format!("{name} 0: numbers begin at 1")),
        n => Ok(n),
    }
}

fn not_empty<T>(rows: Vec<T>) -> Result<Vec<T>> {
    if rows.is_empty() { Err(Error::Empty { what: "movielens" }) } else { Ok(rows) }
}
