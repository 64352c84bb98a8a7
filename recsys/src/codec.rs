//! Model files: the container of `cairn_files` with this crate's errors.

use std::path::Path;

use cairn_files::container::{self, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Raised with every change of what is written. Version 1 had a header of its own and is refused by it.
const VERSION: u32 = 2;

/// Writes `value` as a file of this kind, in one step.
pub(crate) fn save<T: Serialize>(path: &Path, kind: Kind, value: &T) -> Result<()> {
    Ok(container::save(path, kind.version(VERSION), value)?)
}

/// Reads what [`save`] wrote.
pub(crate) fn load<T: DeserializeOwned>(path: &Path, kind: Kind) -> Result<T> {
    Ok(container::load(path, kind.version(VERSION))?)
}

impl From<cairn_files::Error> for Error {
    fn from(error: cairn_files::Error) -> Self {
        match error {
            cairn_files::Error::Io { path, source, .. } => Error::Io { path, source },
            cairn_files::Error::Contents { path, message } => Error::ModelFile { path, reason: message },
        }
    }
}
