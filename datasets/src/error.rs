//! What can go wrong, in one enum.
//!
//! Every message says what was being done and to which file or address, because the person who reads it has a program, a
//! disk and a network to choose between. The system's own words are part of the message, and so no source besides: a report of the
//! whole chain would say them twice.

use std::io;
use std::path::{Path, PathBuf};

/// The result of a data set operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why data could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, such as `read` or `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        r#source: io::Error,
    },
    /// A data set is not in the data folder and may not be downloaded.
    #[error("{set} is not in {}: looked for {looked_for}; {hint}", dir.display())]
    Missing {
        /// Name of the data set.
        set: String,
        /// The data folder.
        dir: PathBuf,
        /// The names looked for, relative to the folder.
        looked_for: String,
        /// What would help.
        hint: &'static str,
    },
    /// A file whose contents are not what its format asks for.
    #[error("{}{}: {message}", path.display(), line_suffix(*line))]
    Format {
        /// The file; for a member of an archive the archive's path followed by the member's.
        path: PathBuf,
        /// The line, counted from 1, in a file of lines.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// A server answered with a status other than success.
    #[error("{url}: the server answered with status {status}")]
    Status {
        /// The address asked.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A connection failed, broke off or stood still.
    #[error("{url}: {message} (after {received} bytes)")]
    Network {
        /// The address asked.
        url: String,
        /// What the network said.
        message: String,
        /// Bytes of the file received by then.
        received: u64,
    },
    /// A server of this name is not known, as where there is no network.
    #[error("{url}: no such host, or no network ({message})")]
    UnknownHost {
        /// The address asked.
        url: String,
        /// What the network said.
        message: String,
    },
    /// A server offers a file of another length than the publisher's, or one above the limit.
    #[error("{url}: {got} bytes where {expected} were expected")]
    WrongLength {
        /// The address asked.
        url: String,
        /// What the file's length must be (or may be at most).
        expected: u64,
        /// What it is (or has reached).
        got: u64,
    },
    /// The contents of a downloaded file are not the publisher's.
    #[error("{url}: SHA-256 is {got}, not {expected}")]
    Checksum {
        /// Where it came from.
        url: String,
        /// The published checksum, in hexadecimal.
        expected: String,
        /// The checksum of what arrived.
        got: String,
    },
    /// No mirror gave the file.
    #[error("cannot download {}:{}", path.display(), join(attempts))]
    Download {
        /// Where the file would have gone.
        path: PathBuf,
        /// What each mirror said, in the order tried.
        attempts: Vec<Error>,
    },
    /// A hub has no model of this name, or not for everybody.
    #[error(
        "{name}: {server} answered with status {status}: no such model, or one whose terms are to be accepted there first and that asks \
         for a token (HF_TOKEN)"
    )]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The hub's address.
        server: String,
        /// The HTTP status.
        status: u16,
    },
    /// Another process is downloading the same file and did not finish in time.
    #[error("{} is being downloaded by another process", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A data set, or a part of one, without any samples.
    #[error("{what}: the data set is empty")]
    Empty {
        /// What needed samples.
        what: &'static str,
    },
    /// A sample index beyond the end.
    #[error("sample {index} is out of range for a data set of {len}")]
    IndexOutOfRange {
        /// The index asked for.
        index: usize,
        /// The number of samples.
        len: usize,
    },
    /// An argument outside what it may be.
    #[error("{what}: {message}")]
    Argument {
        /// The function or setting.
        what: &'static str,
        /// What is wrong with its value.
        message: String,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] cairn_tensor::Error),
}

impl From<cairn_files::Error> for Error {
    fn from(error: cairn_files::Error) -> Self {
        match error {
            cairn_files::Error::Io { action, path, source } => Error::Io { action, path, source },
            cairn_files::Error::Contents { path, message } => Error::Format { path, line: None, message },
        }
    }
}

impl Error {
    /// For `map_err` on a file operation.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.to_owned(), source }
    }

    /// A fault of a file as a whole.
    pub(crate) fn format(path: &Path, message: impl Into<String>) -> Error {
        Error::Format { path: path.to_owned(), line: None, message: message.into() }
    }

    /// A fault in one line, counted from 1.
    pub(crate) fn line(path: &Path, line: usize, message: impl Into<String>) -> Error {
        Error::Format { path: path.to_owned(), line: Some(line), message: message.into() }
    }

    pub(crate) fn argument(what: &'static str, message: impl Into<String>) -> Error {
        Error::Argument { what, message: message.into() }
    }
}

fn line_suffix(line: Option<usize>) -> String {
    line.map_or_else(String::new, |n| format!(", line {n}"))
}

fn join(attempts: &[Error]) -> String {
    if attempts.is_empty() {
        return " no address to get it from is known".to_owned();
    }
    attempts.iter().map(|attempt| format!("\n  {attempt}")).collect()
}
