//! What can go wrong with a file, with its path in every message.

use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation on a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file could not be read or written. Complete on purpose: each crate turns both into errors of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, such as `open` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said. Part of the message, and so no source besides, which a report of the whole chain would
        /// say again.
        r#source: io::Error,
    },
    /// The contents are not what they should be.
    #[error("{}: {message}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// For `map_err` on an operation of the operating system: `file.sync_all().map_err(Error::io("write", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }

    /// A fault of the contents.
    pub fn contents(path: &Path, message: impl Into<String>) -> Error {
        Error::Contents { path: path.to_owned(), message: message.into() }
    }

    /// What a failed read means: a stream that ends too early, does not decode or is too long is a fault of the contents, everything
    /// else one of the system.
    pub fn reading(path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::contents(path, "the file ends too early (truncated?)"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Error::contents(path, format!("damaged contents: {source}"))
            }
            io::ErrorKind::FileTooLarge => Error::contents(path, source.to_string()),
            _ => Error::Io { action: "read", path: path.to_owned(), source },
        }
    }
}
