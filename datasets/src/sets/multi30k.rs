//! Multi30k captions (Elliott et al. 2016): the same sentence on the same line of two files.

use std::path::Path;

use cairn_files::Budget;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::DataDir;

const SERVERS: &[&str] = &[
    "https://raw.githubusercontent.com/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/",
];

/// Captions of pictures in English and German: 29,000 pairs, 1,014 for validation, 1,000 for testing (Elliott et al. 2016).
pub const MULTI30K: Resource<'_> = Resource {
    name: "multi30k",
    title: "Multi30k English and German captions, 31,014 pairs",
    files: &[
        RemoteFile {
            path: "mt/multi30k/train.de.gz",
            size: Some(637_044),
            sha256: Some("726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/train.de"],
        },
        RemoteFile {
            path: "mt/multi30k/train.en.gz",
            size: Some(568_929),
            sha256: Some("d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/train.en"],
        },
        RemoteFile {
            path: "mt/multi30k/val.de.gz",
            size: Some(24_681),
            sha256: Some("f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/val.de"],
        },
        RemoteFile {
            path: "mt/multi30k/val.en.gz",
            size: Some(21_650),
            sha256: Some("14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/val.en"],
        },
        RemoteFile {
            path: "mt/multi30k/test_2016_flickr.de.gz",
            size: Some(22_890),
            sha256: Some("9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2016_flickr.de"],
        },
        RemoteFile {
            path: "mt/multi30k/test_2016_flickr.en.gz",
            size: Some(21_077),
            sha256: Some("611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2016_flickr.en"],
        },
    ],
    licence: "partly derived from Flickr30k: non-commercial research and education",
    homepage: "https://github.com/multi30k/dataset",
};

/// The test sets that came later: of 2017, captions of pictures of the same kind and of those of COCO whose verbs are ambiguous.
pub const MULTI30K_2017: Resource<'_> = Resource {
    name: "multi30k-2017",
    title: "Multi30k's later test sets: 1,000 captions of 2017 and 461 of COCO",
    files: &[
        RemoteFile {
            path: "mt/multi30k/test_2017_flickr.de.gz",
            size: Some(21_471),
            sha256: Some("a2c89666db00c495cd8513b9d708d5a3acc205d7de312ef2bf5fb7ebc1540aee"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2017_flickr.de"],
        },
        RemoteFile {
            path: "mt/multi30k/test_2017_flickr.en.gz",
            size: Some(19_138),
            sha256: Some("76a444ee25172e72695cddb13ae4a3bda59430617be88e0bb46b60504f054074"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2017_flickr.en"],
        },
        RemoteFile {
            path: "mt/multi30k/test_2017_mscoco.de.gz",
            size: Some(10_230),
            sha256: Some("799e4854c25d601cb6cb6be29eabe5667734c61ace2f495e03e429031a0bc338"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2017_mscoco.de"],
        },
        RemoteFile {
            path: "mt/multi30k/test_2017_mscoco.en.gz",
            size: Some(8_844),
            sha256: Some("aab300bfb4427697987e02cd0aacd44bfe8aa50456231b6474c08038bbed2b58"),
            urls: SERVERS,
            unpacked: &["mt/multi30k/test_2017_mscoco.en"],
        },
    ],
    ..MULTI30K
};

const MAX_BYTES: u64 = 64 << 20;

/// Sentences in two languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// In the language to translate from: German.
    pub source: String,
    /// In the language to translate to: English.
    pub target: String,
}

impl Pair {
    /// The same pair in the other direction.
    #[must_use]
    pub fn reversed(self) -> Self {
        Pair { source: self.target, target: self.source }
    }
}

/// The parts of the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multi30k {
    /// 29,000 pairs.
    pub train: Vec<Pair>,
    /// 1,014 pairs.
    pub valid: Vec<Pair>,
    /// 1,000 pairs: the test set of 2016.
    pub test: Vec<Pair>,
}

/// German captions and their English counterparts. Downloads what is missing.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had; as [`read_pairs`] for the
/// files.
pub fn load(dir: &DataDir) -> Result<Multi30k> {
    let [train_de, train_en, valid_de, valid_en, test_de, test_en] = dir.paths(&MULTI30K)?;
    Ok(Multi30k {
        train: read_pairs(&train_de, &train_en)?,
        valid: read_pairs(&valid_de, &valid_en)?,
        test: read_pairs(&test_de, &test_en)?,
    })
}

/// The test sets of 2017 and of COCO, German and English. Downloads what is missing.
///
/// # Errors
/// As [`load`].
pub fn load_2017(dir: &DataDir) -> Result<[Vec<Pair>; 2]> {
    let [flickr_de, flickr_en, coco_de, coco_en] = dir.paths(&MULTI30K_2017)?;
    Ok([read_pairs(&flickr_de, &flickr_en)?, read_pairs(&coco_de, &coco_en)?])
}

/// Reads two files with a sentence a line, compressed or not.
///
/// # Errors
/// [`Error::Format`] naming the file when the numbers of lines differ, with the line for an empty sentence or text that is
/// not UTF-8; [`Error::Empty`] for empty files.
pub fn read_pairs(source: &Path, target: &Path) -> Result<Vec<Pair>> {
    let (from, to) = (files::text(source, MAX_BYTES)?, files::text(target, MAX_BYTES)?);
    let (from, to) = (sentences(from, source)?, sentences(to, target)?);
    if from.len() != to.len() {
        let message = format!("{} lines, but {} has {}", to.len(), source.display(), from.len());
        return Err(Error::format(target, message));
    }
    if from.is_empty() {
        return Err(Error::Empty { what: "parallel text" });
    }
    Ok(from.into_iter().zip(to).map(|(source, target)| Pair { source, target }).collect())
}

fn sentences((text, mut budget): (String, Budget), path: &Path) -> Result<Vec<String>> {
    let each = text.lines().enumerate().map(|(i, line)| match line.trim() {
        "" => Err(Error::line(path, i + 1, "the sentence is empty")),
        line => {
            // In a list of its own and in one of pairs.
            files::count::<[String; 2]>(&mut budget, path, 1, line.len())?;
            Ok(line.to_owned())
        }
    });
    each.collect()
}
