//! What is published where: files, how to tell that they arrived whole, and the terms of using them.
//!
//! A [`Resource`] is plain data, so a program can describe sets and models of its own, as constants or at run time, and hand
//! them to [`DataDir::obtain`](crate::DataDir::obtain). Addresses are tried in order. The checksums are those of the
//! publishers' files; they guard the transport (some publishers offer plain HTTP only) as well as the mirrors.
//!
//! ```
//! use cairn_datasets::registry::{RemoteFile, Resource};
//! use cairn_datasets::{DataDir, Error};
//!
//! let (model, revision) = ("example/tiny-model", "9f1c0a");         // known when the program runs
//! let server = format!("https://models.example/{model}/resolve/{revision}/");
//! let files = ["config.json", "model.safetensors"].map(|name| format!("models/{model}/{name}"));
//! let urls = [server.as_str()];
//! let files = files.each_ref().map(|path| RemoteFile::new(path, &urls));
//! let resource = Resource { name: model, title: "a model", files: &files, licence: "MIT", homepage: "" };
//! let missing = DataDir::new("/no/such/folder").offline().paths::<2>(&resource);
//! assert!(matches!(missing, Err(Error::Missing { .. })));
//! ```
//!
//! Nothing that is listed here is part of Cairn or under its licence: read each one's terms.

pub use crate::sets::known::*;

/// A file as its publisher offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile<'a> {
    /// Where it lies below the data folder, with `/` between folders.
    pub path: &'a str,
    /// Length in bytes, if it is known.
    pub size: Option<u64>,
    /// SHA-256 of the contents in hexadecimal, if it is known. Without it only the length is verified.
    pub sha256: Option<&'a str>,
    /// Where to get it: the publisher and mirrors, in the order to try. An address that ends with `/` is that of a folder,
    /// in which the file has the name it has in [`path`](Self::path).
    pub urls: &'a [&'a str],
    /// Files or folders that stand for this one when they are all there: the unpacked contents of an archive, or the same
    /// contents packed otherwise. Paths as in [`path`](Self::path).
    pub unpacked: &'a [&'a str],
}

impl<'a> RemoteFile<'a> {
    /// A file of which neither length nor checksum is known.
    pub const fn new(path: &'a str, urls: &'a [&'a str]) -> Self {
        RemoteFile { path, size: None, sha256: None, urls, unpacked: &[] }
    }

    /// The last part of its path.
    pub fn name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// The addresses in full, in the order to try.
    ///
    /// ```
    /// use cairn_datasets::registry::RemoteFile;
    /// let file = RemoteFile::new("sets/a.csv", &["https://one.example/data/", "https://two.example/get?id=7"]);
    /// let urls: Vec<String> = file.addresses().collect();
    /// assert_eq!(urls, ["https://one.example/data/a.csv", "https://two.example/get?id=7"]);
    /// ```
    pub fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        self.urls
            .iter()
            .map(|url| if url.ends_with('/') { format!("{url}{}", self.name()) } else { (*url).to_owned() })
    }
}

/// A data set or a model that is published: what it is, its files, and their terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The name to ask for it, such as `mnist`.
    pub name: &'a str,
    /// What it is, in one line.
    pub title: &'a str,
    /// Its files.
    pub files: &'a [RemoteFile<'a>],
    /// The terms of use, in short.
    pub licence: &'a str,
    /// Where its authors describe it.
    pub homepage: &'a str,
}

impl Resource<'_> {
    /// Bytes to download in all, as far as lengths are known.
    ///
    /// ```
    /// assert_eq!(cairn_datasets::registry::MNIST.size(), 11_594_722);
    /// ```
    pub fn size(&self) -> u64 {
        self.files.iter().filter_map(|file| file.size).sum()
    }
}

/// The data set of that name.
///
/// ```
/// assert!(cairn_datasets::registry::find("mnist").is_some());
/// assert!(cairn_datasets::registry::find("no-such-set").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static Resource<'static>> {
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
            let sum = file.sha256.unwrap_or_default();
            assert!(sum.len() == 64 && sum.bytes().all(hexadecimal), "{}", file.path);
            assert!(file.size > Some(0) && !file.urls.is_empty(), "{}", file.path);
            assert!(
                file.addresses().all(|url| url.starts_with("http") && url.ends_with(file.name())),
                "{}",
                file.path
            );
            assert!(!file.path.starts_with('/') && !file.path.contains(".."), "{}", file.path);
        }
    }
}
