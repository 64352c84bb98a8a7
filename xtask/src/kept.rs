//! How far a check that takes hours has come, in a file, so that an interruption costs an epoch and not all of them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cairn_nn::codec::{self, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file of one check.
#[derive(Clone, Debug)]
pub struct Kept {
    path: PathBuf,
}

impl Kept {
    /// In this file.
    pub fn new(path: PathBuf) -> Self {
        Kept { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written last; `None` where nothing was.
    ///
    /// # Errors
    /// For a file that cannot be read, or holds something else.
    pub fn read<T: DeserializeOwned>(&self) -> anyhow::Result<Option<T>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.path.display().to_string()),
        };
        let value = codec::decode(Kind::Training, &bytes);
        value
            .map(Some)
            .map_err(|why| anyhow::anyhow!("{}: {why}; remove it to begin anew", self.path.display()))
    }

    /// Writes how far it is, in one step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write<T: Serialize>(&self, value: &T) -> anyhow::Result<()> {
        let bytes = codec::encode(Kind::Training, value).map_err(anyhow::Error::msg)?;
        Ok(codec::write_atomically(&self.path, &bytes)?)
    }

    /// Removes the file of what is done.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path().join("check.training.cairn"));
        assert_eq!(kept.read::<(u32, String)>().unwrap(), None);
        kept.remove().unwrap();
        for value in [(1, "one".to_owned()), (2, "two".to_owned())] {
            kept.write(&value).unwrap();
            assert_eq!(kept.read::<(u32, String)>().unwrap(), Some(value));
        }
        fs::write(kept.path(), b"something else").unwrap();
        let error = kept.read::<(u32, String)>().unwrap_err().to_string();
        assert!(error.contains("check.training.cairn") && error.contains("begin anew"), "{error}");
        kept.remove().unwrap();
        assert!(!kept.path().exists());
    }
}
