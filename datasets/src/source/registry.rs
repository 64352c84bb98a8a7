//! The data sets Cairn knows: their files, where to get them, how to tell that they arrived whole, and their terms.
//!
//! A [`KnownSet`] is plain constant data, so a program can describe its own sets the same way and hand them to
//! [`DataDir::obtain`](crate::DataDir::obtain). Addresses are tried in order. The checksums are those of the publishers'
//! files; they guard the transport (some publishers offer plain HTTP only) as well as the mirrors.
//!
//! The data sets are not part of Cairn and are not under its licence: read each one's terms.

mod images;
mod ratings;
mod text;

pub use images::{CIFAR_10, FASHION_MNIST, MNIST};
pub use ratings::{MOVIELENS_1M, MOVIELENS_20M, MOVIELENS_25M, MOVIELENS_100K};
pub use text::{
    AG_NEWS, IMDB, MR_POLARITY, MULTI30K, PENN_TREEBANK, TINY_SHAKESPEARE, UD_ENGLISH_EWT, WORD_TESTS,
};

/// A file of a data set as its publisher offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Where it lies below the data folder, with `/` between folders.
    pub path: &'static str,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the contents, in hexadecimal.
    pub sha256: &'static str,
    /// Where to get it: the publisher and mirrors, in the order to try.
    pub urls: &'static [&'static str],
    /// Files or folders that stand for this one when they are all there: the unpacked contents of an archive, or the same
    /// contents packed otherwise. Paths as in `path`.
    pub unpacked: &'static [&'static str],
}

/// A data set that Cairn can find, download and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSet {
    /// The name to ask for it, such as `mnist`.
    pub name: &'static str,
    /// What it is, in one line.
    pub title: &'static str,
    /// Its files.
    pub files: &'static [RemoteFile],
    /// The terms of use, in short.
    pub licence: &'static str,
    /// Where its authors describe it.
    pub homepage: &'static str,
}

impl KnownSet {
    /// Bytes to download in all.
    ///
    /// ```
    /// assert_eq!(cairn_datasets::registry::MNIST.size(), 11_594_722);
    /// ```
    pub fn size(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }
}

/// Every data set known, in alphabetical order.
pub const ALL: &[&KnownSet] = &[
    &AG_NEWS,
    &CIFAR_10,
    &FASHION_MNIST,
    &IMDB,
    &MNIST,
    &MOVIELENS_100K,
    &MOVIELENS_1M,
    &MOVIELENS_20M,
    &MOVIELENS_25M,
    &MR_POLARITY,
    &MULTI30K,
    &PENN_TREEBANK,
    &TINY_SHAKESPEARE,
    &UD_ENGLISH_EWT,
    &WORD_TESTS,
];

/// The data set of that name.
///
/// ```
/// assert!(cairn_datasets::registry::find("mnist").is_some());
/// assert!(cairn_datasets::registry::find("no-such-set").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static KnownSet> {
    ALL.iter().copied().find(|set| set.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_and_their_files_fully_described() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
        for file in ALL.iter().flat_map(|set| set.files) {
            let hexadecimal = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(hexadecimal), "{}", file.path);
            assert!(file.size > 0 && !file.urls.is_empty(), "{}", file.path);
            assert!(file.urls.iter().all(|url| url.starts_with("http")), "{}", file.path);
            assert!(!file.path.starts_with('/') && !file.path.contains(".."), "{}", file.path);
        }
    }
}
