//! Amazon Beauty as sequences (McAuley et al. 2015): where the file lies that figures of models of the next item are given for. It is
//! read like any log, by `cairn_recsys::read::LogReader`: a user and an item a line, users together, in order of time.

use std::path::PathBuf;

use crate::error::Result;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::{DataDir, Located};

/// 353,962 reviews by 40,226 people of 54,542 products, in order.
pub const BEAUTY: Resource<'_> = Resource {
    name: "beauty",
    title: "Amazon Beauty, 353,962 reviews by 40,226 people in order",
    files: &[RemoteFile {
        path: "sequences/beauty/beauty.txt",
        size: Some(3_912_093),
        sha256: Some("f480b7a7403852342ffd8f9809bb30697dd669be31813d0e204b698fec86ef49"),
        urls: &[
            "https://raw.githubusercontent.com/antklen/sasrec-bert4rec-recsys23/29c272e155cad52c8958b04e9e98557526a646e5/data/",
        ],
        unpacked: &["sequences/beauty/beauty.txt.gz"],
    }],
    licence: "Amazon reviews, as McAuley publishes them for research; no terms of its own",
    homepage: "https://github.com/antklen/sasrec-bert4rec-recsys23",
};

/// The file, plain or packed by gzip. Downloads it if it is not there.
///
/// # Errors
/// [`Error::Missing`](crate::Error::Missing) or [`Error::Download`](crate::Error::Download) when it is not in the data folder and
/// not to be had.
pub fn locate(dir: &DataDir) -> Result<PathBuf> {
    let [located] = dir.obtain(&BEAUTY)?;
    Ok(match located {
        Located::Packed(file) => file,
        Located::Unpacked(files) => files.into_iter().next().unwrap_or_else(|| dir.path().to_owned()),
    })
}
