//! Movie review sentence polarity (Pang and Lee 2005): a sentence a line, ISO-8859-1, tokens apart by spaces.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;
use crate::text::LabelledText;

/// Single sentences of film reviews, 5,331 favourable and 5,331 not (Pang and Lee 2005).
pub const MR_POLARITY: Resource<'_> = Resource {
    name: "mr-polarity",
    title: "Movie review sentence polarity, 10,662 sentences",
    files: &[
        RemoteFile {
            path: "text/mr/rt-polarity.pos",
            size: Some(626_139),
            sha256: Some("2da124ec187a9d5a29c9f04e91c540e02baed5af8868f550a26bd6fd4dbf8bf0"),
            urls: &[
                "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c/",
            ],
            unpacked: &["text/mr/rt-polarity.pos.gz"],
        },
        RemoteFile {
            path: "text/mr/rt-polarity.neg",
            size: Some(612_256),
            sha256: Some("4ace77d558c3714723843f1d65b60c01e3417b208180f0728808d76ad0eeeaca"),
            urls: &[
                "https://raw.githubusercontent.com/yoonkim/CNN_sentence/23e0e1f7355705bb083043fda05c031b15acb38c/",
            ],
            unpacked: &["text/mr/rt-polarity.neg.gz"],
        },
    ],
    licence: "CC BY 4.0",
    homepage: "https://www.cs.cornell.edu/people/pabo/movie-review-data/",
};

const MAX_BYTES: u64 = 64 << 20;

/// 10,662 sentences, first the 5,331 favourable ones (label 1), then the others (label 0). There is no fixed division;
/// results are usually given for ten-fold cross-validation. Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had;
/// [`Error::Format`] with file and line for an empty line, [`Error::Empty`] for an empty file.
pub fn load(dir: &DataDir) -> Result<Vec<LabelledText>> {
    let [favourable, unfavourable] = dir.paths(&MR_POLARITY)?;
    let mut sentences = read(&favourable, 1)?;
    sentences.extend(read(&unfavourable, 0)?);
    Ok(sentences)
}

/// Reads a file of sentences that all have one label.
///
/// # Errors
/// [`Error::Format`] with file and line for an empty line, [`Error::Empty`] for an empty file; [`Error::Io`] when it cannot be
/// read.
pub fn read(path: &Path, label: u32) -> Result<Vec<LabelledText>> {
    let (text, mut budget) = files::latin1(path, MAX_BYTES)?;
    let sentences = text.lines().enumerate().map(|(i, line)| match line.trim() {
        "" => Err(Error::line(path, i + 1, "the sentence is empty")),
        line => {
            // In a list of its own and in that of both classes.
            files::count::<[LabelledText; 2]>(&mut budget, path, 1, line.len())?;
            Ok(LabelledText { text: line.to_owned(), label })
        }
    });
    let sentences = sentences.collect::<Result<Vec<_>>>()?;
    if sentences.is_empty() { Err(Error::Empty { what: "mr_polarity" }) } else { Ok(sentences) }
}
