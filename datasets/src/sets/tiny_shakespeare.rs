//! Tiny Shakespeare: one text of 1.1 million characters, for character models. Also any plain text file.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

/// About 1.1 million characters of Shakespeare.
pub const TINY_SHAKESPEARE: Resource<'_> = Resource {
    name: "tiny-shakespeare",
    title: "Tiny Shakespeare, 1,115,394 characters",
    files: &[RemoteFile {
        path: "text/tinyshakespeare/input.txt",
        size: Some(1_115_394),
        sha256: Some("86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),
        urls: &[
            "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/",
        ],
        unpacked: &["text/tinyshakespeare/input.txt.gz"],
    }],
    licence: "public domain text",
    homepage: "https://github.com/karpathy/char-rnn",
};

const MAX_BYTES: u64 = 4 << 30;

/// The text. Downloads it if it is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had; as [`read_text`] for the
/// file.
pub fn load(dir: &DataDir) -> Result<String> {
    let [path] = dir.paths(&TINY_SHAKESPEARE)?;
    read_text(&path)
}

/// Reads a text file, compressed or not.
///
/// # Errors
/// [`Error::Format`] with file and line for text that is not UTF-8, [`Error::Empty`] for no text; [`Error::Io`] when the
/// file cannot be read.
pub fn read_text(path: &Path) -> Result<String> {
    let (text, _) = files::text(path, MAX_BYTES)?;
    if text.is_empty() { Err(Error::Empty { what: "text" }) } else { Ok(text) }
}
