//! IMDB film reviews (Maas et al. 2011), from the archive without unpacking it, or from the unpacked folders.
//!
//! A review is a file `aclImdb/{train,test}/{pos,neg}/ID_RATING.txt`. Reading them in the order of part, class and ID makes
//! archive and folder, and every file system, give the same order. Reviews without a label (`unsup`) are passed over.

use std::fs;
use std::io::Read;
use std::path::Path;

use cairn_files::Budget;

use crate::error::{Error, Result};
use crate::files;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::{DataDir, Located};

/// Film reviews, 25,000 to train on and 25,000 to test on, half of them favourable (Maas et al. 2011).
pub const IMDB: Resource<'_> = Resource {
    name: "imdb",
    title: "IMDB film reviews, 50,000 with their sentiment",
    files: &[RemoteFile {
        path: "text/imdb/aclImdb_v1.tar.gz",
        size: Some(84_125_825),
        sha256: Some("c40f74a18d3b61f90feba1e17730e0d38e8b97c05fee7008942e91923d1658fe"),
        urls: &["https://ai.stanford.edu/~amaas/data/sentiment/"],
        unpacked: &["text/imdb/aclImdb/train", "text/imdb/aclImdb/test"],
    }],
    licence: "the authors' page asks to cite Maas et al. 2011 and states no licence",
    homepage: "https://ai.stanford.edu/~amaas/data/sentiment/",
};

/// The longest review has 14 kB.
const MAX_REVIEW: u64 = 1 << 20;
/// The archive has 220 MB, unpacked.
const MAX_BYTES: u64 = 4 << 30;

/// A review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The text, with line ends where the file has `<br />`.
    pub text: String,
    /// 0 unfavourable, 1 favourable.
    pub label: u32,
    /// The stars given, 1 to 4 or 7 to 10.
    pub rating: u8,
    /// Its number among those of its class.
    pub id: u32,
}

/// 25,000 reviews to train on and 25,000 to test on; in each part first the favourable ones, by number, then the others.
/// Downloads the archive if nothing is there.
///
/// ```no_run
/// use cairn_datasets::{imdb, DataDir};
/// let (train, test) = imdb::load(&DataDir::default())?;
/// assert_eq!((train.len(), test.len()), (25_000, 25_000));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had;
/// [`Error::Format`] naming the file for a review that is not UTF-8, is empty or too long, or has
/// no rating in its name, and for a damaged archive; [`Error::Empty`] when a part has no reviews.
#[doc(alias("load_data", "load_dataset"))]
pub fn load(dir: &DataDir) -> Result<(Vec<Review>, Vec<Review>)> {
    let mut parts = Parts::default();
    let [located] = dir.obtain(&IMDB)?;
    match located {
        Located::Packed(archive) => parts.read_archive(&archive)?,
        Located::Unpacked(folders) => {
            for (folder, part) in folders.iter().zip(["train", "test"]) {
                parts.read_folder(folder, part)?;
            }
        }
    }
    parts.finish()
}

#[derive(Default)]
struct Parts {
    train: Vec<Review>,
    test: Vec<Review>,
}

impl Parts {
    fn read_archive(&mut self, path: &Path) -> Result<()> {
        // Reviews are in memory once, beside what their lists need to grow; a member takes a kilobyte of the archive at least.
        let limit = MAX_BYTES.min(Budget::of_file(path)?.left() / 2);
        files::each_member(path, limit, |name, full, member| {
            let parts: Vec<&str> = name.split('/').collect();
            match parts[..] {
                ["aclImdb", part, class, file] if member.header().entry_type().is_file() => {
                    self.add(part, class, file, member, full)
                }
                _ => Ok(()),
            }
        })
    }

    fn read_folder(&mut self, folder: &Path, part: &str) -> Result<()> {
        for class in ["pos", "neg"] {
            let folder = folder.join(class);
            for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
                let path = entry.map_err(Error::io("list", &folder))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let mut file = fs::File::open(&path).map_err(Error::io("open", &path))?;
                self.add(part, class, &name, &mut file, &path)?;
            }
        }
        Ok(())
    }

    /// Reads one file, unless it is none of the labelled reviews.
    fn add(
        &mut self,
        part: &str,
        class: &str,
        name: &str,
        reader: &mut impl Read,
        path: &Path,
    ) -> Result<()> {
        let reviews = match part {
            "train" => &mut self.train,
            "test" => &mut self.test,
            _ => return Ok(()),
        };
        let label = match class {
            "pos" => 1,
            "neg" => 0,
            _ => return Ok(()),
        };
        let Some(stem) = name.strip_suffix(".txt") else { return Ok(()) };
        let (id, rating) = stem
            .split_once('_')
            .and_then(|(id, rating)| Some((id.parse().ok()?, rating.parse().ok()?)))
            .ok_or_else(|| Error::format(path, "the name is not `ID_RATING.txt`"))?;
        let text = files::text_from(reader, path, MAX_REVIEW)?.replace("<br />", "\n");
        if text.trim().is_empty() {
            return Err(Error::format(path, "the review is empty"));
        }
        reviews.push(Review { text, label, rating, id });
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<Review>, Vec<Review>)> {
        for part in [&mut self.train, &mut self.test] {
            if part.is_empty() {
                return Err(Error::Empty { what: "imdb" });
            }
            part.sort_by_key(|review| (1 - review.label, review.id));
        }
        Ok((self.train, self.test))
    }
}
