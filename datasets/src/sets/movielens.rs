//! MovieLens (Harper and Konstan 2015): where its sets lie. They are read by `cairn_recsys::read::movielens`, which makes a log of
//! any of them from the archive or the folder that [`locate`] names.
//!
//! Here are the sets with a fixed archive. Those named `latest` change under the same address, and for those of 10 and 32
//! million ratings no checksum is published that could be confirmed: they are read from the disk like any other.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::{DataDir, Located};

const LICENCE: &str = "GroupLens: research use, no redistribution, no commercial use without permission; cite Harper and Konstan 2015";
const SERVER: &[&str] = &["https://files.grouplens.org/datasets/movielens/"];

/// 100,000 ratings of 1,682 films by 943 people.
pub const MOVIELENS_100K: Resource<'_> = Resource {
    name: "movielens-100k",
    title: "MovieLens 100K, 100,000 ratings of 1,682 films by 943 people",
    files: &[RemoteFile {
        path: "movielens/ml-100k.zip",
        size: Some(4_924_029),
        sha256: Some("50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"),
        urls: SERVER,
        unpacked: &["movielens/ml-100k/u.data", "movielens/ml-100k/u.item"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/100k/",
};

// The publisher gives MD5 alone. The SHA-256 below are those that TensorFlow Datasets downloads against
// (tensorflow_datasets/url_checksums/movielens.txt, which has that of 100K too) and that other projects state besides the
// publisher's MD5.

/// 1,000,209 ratings of 3,706 films by 6,040 people, in whole stars.
pub const MOVIELENS_1M: Resource<'_> = Resource {
    name: "movielens-1m",
    title: "MovieLens 1M, 1,000,209 ratings of 3,706 films by 6,040 people",
    files: &[RemoteFile {
        path: "movielens/ml-1m.zip",
        size: Some(5_917_549),
        sha256: Some("a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"),
        urls: SERVER,
        unpacked: &["movielens/ml-1m/ratings.dat"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/1m/",
};

/// 20,000,263 ratings of 26,744 films by 138,493 people, in half stars.
pub const MOVIELENS_20M: Resource<'_> = Resource {
    name: "movielens-20m",
    title: "MovieLens 20M, 20,000,263 ratings of 26,744 films by 138,493 people",
    files: &[RemoteFile {
        path: "movielens/ml-20m.zip",
        size: Some(198_702_078),
        sha256: Some("96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3"),
        urls: SERVER,
        unpacked: &["movielens/ml-20m/ratings.csv"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/20m/",
};

/// 25,000,095 ratings by 162,541 people, in half stars.
pub const MOVIELENS_25M: Resource<'_> = Resource {
    name: "movielens-25m",
    title: "MovieLens 25M, 25,000,095 ratings by 162,541 people",
    files: &[RemoteFile {
        path: "movielens/ml-25m.zip",
        size: Some(261_978_986),
        sha256: Some("8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa"),
        urls: SERVER,
        unpacked: &["movielens/ml-25m/ratings.csv"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/25m/",
};

/// The archive of a MovieLens set, or the folder it was unpacked to: what `cairn_recsys::read::movielens` takes. Downloads
/// the archive if neither is there.
///
/// ```no_run
/// use cairn_datasets::{movielens, registry, DataDir};
/// let archive = movielens::locate(&DataDir::default(), &registry::MOVIELENS_100K)?;
/// // let (log, report) = cairn_recsys::read::movielens::ratings(archive)?;
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Missing`](crate::Error::Missing) or [`Error::Download`](crate::Error::Download) when it is not in the data folder and
/// not to be had; [`Error::Argument`](crate::Error::Argument) for a set that is not one archive.
pub fn locate(dir: &DataDir, set: &Resource<'_>) -> Result<PathBuf> {
    let [located] = dir.obtain(set)?;
    Ok(match located {
        Located::Packed(archive) => archive,
        // All of them lie in the one folder.
        Located::Unpacked(files) => {
            files.first().and_then(|file| file.parent()).map_or_else(|| dir.path().to_owned(), Path::to_owned)
        }
    })
}
