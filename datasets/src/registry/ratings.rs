//! Ratings.

use super::{KnownSet, RemoteFile};

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
    licence: "GroupLens: research use, no redistribution, no commercial use without permission; cite Harper and Konstan 2015",
    homepage: "https://grouplens.org/datasets/movielens/100k/",
};
