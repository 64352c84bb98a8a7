//! Where data lies: the data folder, and getting what is missing from it.
//!
//! A data set or a model is looked for in the folder first, as the publisher's archive or unpacked, so that data placed there by hand
//! (a shared disk, a machine without network) is used as it is. Only what is missing is downloaded. Files already there
//! are trusted: their readers check their form, and [`DataDir::verify`] compares checksums on request.

use std::env;
use std::path::{Component, Path, PathBuf};

use etcetera::BaseStrategy;

use crate::error::{Error, Result};
use crate::registry::{RemoteFile, Resource};

/// The environment variable that names the data folder.
pub const DATA_DIR_VARIABLE: &str = "CAIRN_DATA_DIR";

/// The folder that data sets are read from and downloaded to.
///
/// ```
/// use cairn_datasets::{mnist, DataDir};
/// let dir = DataDir::new("/no/such/folder").offline();
/// let error = mnist::load(&dir).unwrap_err();
/// assert!(error.to_string().starts_with("mnist is not in /no/such/folder"));
/// ```
#[doc(alias("TORCH_HOME", "HF_HOME", "KERAS_HOME"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
    offline: bool,
    mirrors: Vec<String>,
}

/// A file of a data set, as found in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// The publisher's file.
    Packed(PathBuf),
    /// Its unpacked contents, in the order of [`RemoteFile::unpacked`].
    Unpacked(Vec<PathBuf>),
}

impl Located {
    /// The path, or the paths of the unpacked contents.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Located::Packed(path) => std::slice::from_ref(path),
            Located::Unpacked(paths) => paths,
        }
    }
}

impl Default for DataDir {
    /// [`DataDir::resolve`] without an explicit folder.
    fn default() -> Self {
        Self::resolve(None)
    }
}

impl DataDir {
    /// The given folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        DataDir { root: root.into(), offline: false, mirrors: Vec::new() }
    }

    /// The explicit folder if there is one, else `CAIRN_DATA_DIR` if set and not empty, else `cairn` in the user's cache
    /// folder (`~/.cache` on Linux), else, for a user without a home, `cairn` in the folder for temporary files.
    pub fn resolve(explicit: Option<&Path>) -> Self {
        Self::new(choose_root(explicit, env::var_os(DATA_DIR_VARIABLE).map(PathBuf::from)))
    }

    /// Never download: what is missing is an error.
    #[must_use]
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Whether downloads are forbidden.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Adds a server to ask before the publishers, such as one inside a company: files are expected under `base` at the
    /// paths they have below the data folder (`{base}/mnist/train-images-idx3-ubyte.gz`). Checksums apply as ever.
    #[must_use]
    pub fn mirror(mut self, base: impl Into<String>) -> Self {
        self.mirrors.push(base.into());
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Finds a file of a data set without downloading: at its path below the data folder, or at that path less its first
    /// folder if a folder remains (`ml-100k/u.data` for `movielens/ml-100k/u.data`). The bare name would not do: several
    /// sets have files of the same name.
    pub fn locate(&self, file: &RemoteFile<'_>) -> Option<Located> {
        let existing = |relative: &str| {
            let shorter = relative.split_once('/').map(|(_, rest)| rest).filter(|rest| rest.contains('/'));
            [Some(relative), shorter].into_iter().flatten().map(|r| self.root.join(r)).find(|p| p.exists())
        };
        if let Some(path) = existing(file.path).filter(|p| p.is_file()) {
            return Some(Located::Packed(path));
        }
        let unpacked: Option<Vec<_>> = file.unpacked.iter().map(|p| existing(p)).collect();
        unpacked.filter(|paths| !paths.is_empty()).map(Located::Unpacked)
    }

    /// Whether all files of a data set are there.
    pub fn has(&self, set: &Resource<'_>) -> bool {
        set.files.iter().all(|file| self.locate(file).is_some())
    }

    /// Finds the `N` files of a resource, in the order it lists them, downloading those that are missing.
    ///
    /// ```no_run
    /// use cairn_datasets::{DataDir, Located, registry};
    /// let [archive] = DataDir::default().obtain(&registry::CIFAR_10)?;
    /// match archive {
    ///     Located::Packed(path) => println!("the publisher's archive {}", path.display()),
    ///     Located::Unpacked(paths) => println!("{} files from it", paths.len()),
    /// }
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Missing`] when a file is missing and downloads are forbidden or not built in;
    /// [`Error::Download`] when no address gave it; [`Error::Io`] when it cannot be written, [`Error::Busy`] when another
    /// process is downloading it for too long; [`Error::Argument`] when the resource has another number of files.
    pub fn obtain<const N: usize>(&self, resource: &Resource<'_>) -> Result<[Located; N]> {
        let count = resource.files.len();
        if count != N {
            return Err(wrong_count(resource, count, N));
        }
        self.obtain_all(resource)?.try_into().map_err(|_| wrong_count(resource, count, N))
    }

    /// As [`obtain`](Self::obtain), for any number of files.
    ///
    /// # Errors
    /// [`Error::Missing`] when a file is missing and downloads are forbidden or not built in; [`Error::Download`] when no address
    /// gave it; [`Error::Io`] when it cannot be written, [`Error::Busy`] when another process is downloading it for too long;
    /// [`Error::Argument`] for a path that leads out of the data folder.
    #[doc(alias("get_file", "download_and_prepare", "snapshot_download"))]
    pub fn obtain_all(&self, resource: &Resource<'_>) -> Result<Vec<Located>> {
        if let Some(file) = resource.files.iter().find(|file| !is_below(file.path)) {
            return Err(Error::argument("DataDir", format!("`{}` is no path below a folder", file.path)));
        }
        // Say what is missing before fetching the first of several files.
        if (self.offline || !cfg!(feature = "download"))
            && let Some(file) = resource.files.iter().find(|file| self.locate(file).is_none())
        {
            return Err(self.missing(resource, file));
        }
        resource
            .files
            .iter()
            .map(|file| match self.locate(file) {
                Some(located) => Ok(located),
                None => self.fetch(resource, file),
            })
            .collect()
    }

    /// As [`obtain`](Self::obtain), for `N` files that are each one file however they are packed, and read the same way: their
    /// paths.
    ///
    /// ```no_run
    /// use cairn_datasets::{DataDir, registry};
    /// let [train, valid, test] = DataDir::default().paths(&registry::PENN_TREEBANK)?;
    /// # Ok::<(), cairn_datasets::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Download`] when a file is not there and not to be had; [`Error::Argument`] when there are not
    /// `N` files, as where an archive was unpacked to several.
    pub fn paths<const N: usize>(&self, resource: &Resource<'_>) -> Result<[PathBuf; N]> {
        let located = self.obtain_all(resource)?;
        let paths: Vec<PathBuf> = located.iter().flat_map(Located::paths).cloned().collect();
        let found = paths.len();
        paths.try_into().map_err(|_| wrong_count(resource, found, N))
    }

    #[cfg(feature = "download")]
    fn fetch(&self, _resource: &Resource<'_>, file: &RemoteFile<'_>) -> Result<Located> {
        self.fetch_with(&crate::download::Downloader::default(), file)
    }

    /// Downloads a file, from the mirrors first.
    #[cfg(feature = "download")]
    pub(crate) fn fetch_with(
        &self,
        downloader: &crate::download::Downloader,
        file: &RemoteFile<'_>,
    ) -> Result<Located> {
        let path = self.root.join(file.path);
        let own = self.mirrors.iter().map(|base| format!("{}/{}", base.trim_end_matches('/'), file.path));
        let urls: Vec<String> = own.chain(file.addresses()).collect();
        downloader.fetch(&urls, &path, &file.into())?;
        Ok(Located::Packed(path))
    }

    #[cfg(not(feature = "download"))]
    fn fetch(&self, set: &Resource<'_>, file: &RemoteFile<'_>) -> Result<Located> {
        Err(self.missing(set, file))
    }

    /// Compares the publisher's files that are there with their published length and SHA-256. Returns how many were
    /// compared; unpacked contents have no published checksum and are passed over.
    ///
    /// # Errors
    /// [`Error::Missing`] for a file that is not there, [`Error::WrongLength`] or [`Error::Checksum`] for one that differs.
    #[cfg(feature = "download")]
    pub fn verify(&self, set: &Resource<'_>) -> Result<usize> {
        let mut compared = 0;
        for file in set.files {
            match self.locate(file).ok_or_else(|| self.missing(set, file))? {
                Located::Packed(path) => {
                    crate::download::verify(&path, &file.into())?;
                    compared += 1;
                }
                Located::Unpacked(_) => {}
            }
        }
        Ok(compared)
    }

    pub(crate) fn missing(&self, set: &Resource<'_>, file: &RemoteFile<'_>) -> Error {
        let mut names = vec![file.path];
        names.extend(file.unpacked);
        let hint = if self.root.is_file() {
            "that is a file, not a folder"
        } else if !self.root.exists() {
            "the folder itself does not exist"
        } else if cfg!(feature = "download") {
            "offline mode forbids the download"
        } else {
            "put it there, or build with the feature `download`"
        };
        Error::Missing {
            set: set.name.to_owned(),
            dir: self.root.clone(),
            looked_for: names.join(", "),
            hint,
        }
    }
}

/// Whether a path stays in the folder that it is joined to. Descriptions may come from a server.
pub(crate) fn is_below(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn wrong_count(resource: &Resource<'_>, found: usize, asked: usize) -> Error {
    Error::argument("DataDir", format!("{} is {found} files, not {asked}", resource.name))
}

/// The order of precedence, apart from the environment so that it can be tested.
fn choose_root(explicit: Option<&Path>, variable: Option<PathBuf>) -> PathBuf {
    explicit
        .map(Path::to_owned)
        .or_else(|| variable.filter(|v| !v.as_os_str().is_empty()))
        .or_else(|| etcetera::choose_base_strategy().ok().map(|s| s.cache_dir().join("cairn")))
        .unwrap_or_else(|| env::temp_dir().join("cairn"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{MNIST, MOVIELENS_100K};
    use std::fs;

    #[test]
    fn explicit_folder_wins_over_the_variable_over_the_cache() {
        let var = Some(PathBuf::from("/var"));
        assert_eq!(choose_root(Some(Path::new("/given")), var.clone()), Path::new("/given"));
        assert_eq!(choose_root(None, var), Path::new("/var"));
        assert!(choose_root(None, Some(PathBuf::new())).ends_with("cairn"));
        assert!(choose_root(None, None).ends_with("cairn"));
    }

    #[test]
    fn finds_archives_and_unpacked_files_with_or_without_the_first_folder() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path()).offline();
        let zip = &MOVIELENS_100K.files[0];
        assert_eq!(dir.locate(zip), None);

        fs::create_dir_all(root.path().join("ml-100k")).unwrap();
        fs::write(root.path().join("ml-100k/u.data"), "").unwrap();
        assert_eq!(dir.locate(zip), None, "one of two unpacked files is not enough");
        fs::write(root.path().join("ml-100k/u.item"), "").unwrap();
        let folder = root.path().join("ml-100k");
        assert_eq!(
            dir.locate(zip),
            Some(Located::Unpacked(vec![folder.join("u.data"), folder.join("u.item")]))
        );

        fs::create_dir_all(root.path().join("movielens")).unwrap();
        let path = root.path().join("movielens/ml-100k.zip");
        fs::write(&path, "").unwrap();
        assert_eq!(dir.locate(zip), Some(Located::Packed(path)));
        assert!(dir.has(&MOVIELENS_100K));
        assert!(!dir.has(&MNIST));
    }

    #[test]
    fn no_file_is_put_outside_the_folder() {
        let root = tempfile::tempdir().unwrap();
        for path in ["../evil", "/etc/evil", "a/../../evil", ""] {
            let files = [RemoteFile::new(path, &["http://127.0.0.1:1/"])];
            let resource = Resource { files: &files, ..MNIST };
            let error = DataDir::new(root.path()).obtain::<1>(&resource).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{error}");
        }
    }

    #[test]
    fn offline_names_the_set_the_folder_and_the_file() {
        let root = tempfile::tempdir().unwrap();
        let error = DataDir::new(root.path()).offline().obtain::<4>(&MNIST).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Missing { .. }));
        assert!(text.contains("mnist") && text.contains("train-images-idx3-ubyte.gz"), "{text}");
        assert!(text.contains(&root.path().display().to_string()), "{text}");
        let hint = |dir: &Path| DataDir::new(dir).offline().obtain::<4>(&MNIST).unwrap_err().to_string();
        assert!(hint(root.path()).contains("forbids the download"));
        assert!(hint(&root.path().join("typo")).contains("the folder itself does not exist"));
        fs::write(root.path().join("file"), "").unwrap();
        assert!(hint(&root.path().join("file")).contains("a file, not a folder"));
    }
}
