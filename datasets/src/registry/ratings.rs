//! Ratings: the MovieLens sets with a fixed archive. The sets named `latest` change under the same address, and for those of
//! 10 and 32 million ratings no checksum is published that could be confirmed: they are read from the disk like any other
//! (`cairn_recsys::read::movielens`).

use super::{KnownSet, RemoteFile};

const LICENCE: &str = "GroupLens: research use, no redistribution, no commercial use without permission; cite Harper and Konstan 2015";

/// 100,000 ratings of 1,682 films by 943 people.
pub const MOVIELENS_100K: KnownSet = KnownSet {
    name: "movielens-100k",
    title: "MovieLens 100K, 100,000 ratings of 1,682 films by 943 people",
    files: &[RemoteFile {
        path: "movielens/ml-100k.zip",
        size: 4_924_029,
        sha256: "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        urls: &["https://files.grouplens.org/datasets/movielens/ml-100k.zip"],
        unpacked: &["movielens/ml-100k/u.data", "movielens/ml-100k/u.item"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/100k/",
};

// The publisher gives MD5 alone. The SHA-256 below are those that TensorFlow Datasets downloads against
// (tensorflow_datasets/url_checksums/movielens.txt, which has that of 100K too) and that other projects state besides the
// publisher's MD5.

/// 1,000,209 ratings of 3,706 films by 6,040 people, in whole stars.
pub const MOVIELENS_1M: KnownSet = KnownSet {
    name: "movielens-1m",
    title: "MovieLens 1M, 1,000,209 ratings of 3,706 films by 6,040 people",
    files: &[RemoteFile {
        path: "movielens/ml-1m.zip",
        size: 5_917_549,
        sha256: "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        urls: &["https://files.grouplens.org/datasets/movielens/ml-1m.zip"],
        unpacked: &["movielens/ml-1m/ratings.dat"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/1m/",
};

/// 20,000,263 ratings of 26,744 films by 138,493 people, in half stars.
pub const MOVIELENS_20M: KnownSet = KnownSet {
    name: "movielens-20m",
    title: "MovieLens 20M, 20,000,263 ratings of 26,744 films by 138,493 people",
    files: &[RemoteFile {
        path: "movielens/ml-20m.zip",
        size: 198_702_078,
        sha256: "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        urls: &["https://files.grouplens.org/datasets/movielens/ml-20m.zip"],
        unpacked: &["movielens/ml-20m/ratings.csv"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/20m/",
};

/// 25,000,095 ratings by 162,541 people, in half stars.
pub const MOVIELENS_25M: KnownSet = KnownSet {
    name: "movielens-25m",
    title: "MovieLens 25M, 25,000,095 ratings by 162,541 people",
    files: &[RemoteFile {
        path: "movielens/ml-25m.zip",
        size: 261_978_986,
        sha256: "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        urls: &["https://files.grouplens.org/datasets/movielens/ml-25m.zip"],
        unpacked: &["movielens/ml-25m/ratings.csv"],
    }],
    licence: LICENCE,
    homepage: "https://grouplens.org/datasets/movielens/25m/",
};
