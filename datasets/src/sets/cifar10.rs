//! CIFAR-10: small colour photographs (Krizhevsky 2009), in the binary version.
//!
//! A file is one record after the other: a byte for the class, then 1024 bytes each of red, green and blue, row by row.
//! Here pixels are (height, width, channels), so the three planes are interleaved while reading. The archive is read as a
//! stream, without unpacking it to disk; whatever order its files come in, the training images are in the publisher's.

use std::io::Read;
use std::path::Path;

use cairn_files::Budget;

use crate::error::{Error, Result};
use crate::files;
use crate::images::ImageDataset;
use crate::registry::{RemoteFile, Resource};
use crate::source::dir::{DataDir, Located};

/// Small colour photographs: 50,000 and 10,000 of 32 x 32 in 10 classes (Krizhevsky 2009).
pub const CIFAR_10: Resource<'_> = Resource {
    name: "cifar-10",
    title: "CIFAR-10 photographs, 60,000 images of 32 x 32 in colour",
    files: &[RemoteFile {
        path: "cifar-10/cifar-10-binary.tar.gz",
        size: Some(170_052_171),
        sha256: Some("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        urls: &["https://www.cs.toronto.edu/~kriz/"],
        unpacked: &[
            "cifar-10/cifar-10-batches-bin/data_batch_1.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_2.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_3.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_4.bin",
            "cifar-10/cifar-10-batches-bin/data_batch_5.bin",
            "cifar-10/cifar-10-batches-bin/test_batch.bin",
        ],
    }],
    licence: "the author's page states none and asks to cite Krizhevsky 2009",
    homepage: "https://www.cs.toronto.edu/~kriz/cifar.html",
};

/// What the classes show, in the order of their numbers.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;

/// The publisher's files have 10,000 images each; ten times as many are still read.
const MAX_IMAGES: usize = 100_000;
/// Of the archive, unpacked, and of a file.
const MAX_BYTES: u64 = 4 << 30;
/// How often an image is in memory while parts are joined, with room to grow.
const COPIES: u64 = 4;

/// Names of the files in the archive: five to train on, one to test on.
const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// 50,000 images to train on and 10,000 to test on, 32 x 32 in colour, labels 0 to 9, in the publisher's order. Downloads
/// the archive if nothing is there.
///
/// ```no_run
/// use cairn_datasets::{cifar10, DataDir, Dataset};
/// let (train, test) = cifar10::load(&DataDir::default())?;
/// assert_eq!((train.len(), test.len(), train.size()), (50_000, 10_000, [32, 32, 3]));
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Missing`] or [`Error::Download`] when it is not in the data folder and not to be had;
/// [`Error::Format`] naming the file for one that is truncated, empty, too long or missing from
/// the archive, for a label above 9, and for a damaged archive.
#[doc(alias = "load_data")]
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    let [located] = dir.obtain(&CIFAR_10)?;
    let parts = match located {
        Located::Packed(archive) => read_archive(&archive)?,
        Located::Unpacked(paths) => paths.iter().map(|path| read_file(path)).collect::<Result<_>>()?,
    };
    let mut train = Images::default();
    let mut parts = parts.into_iter();
    for part in parts.by_ref().take(FILES.len() - 1) {
        train.pixels.extend(part.pixels);
        train.labels.extend(part.labels);
    }
    Ok((train.finish()?, parts.next().unwrap_or_default().finish()?))
}

/// Reads one file of the binary version, compressed or not, such as `data_batch_1.bin`.
///
/// # Errors
/// [`Error::Format`] naming the file for one that is truncated, empty or too long, and for a label above 9; [`Error::Io`] when it
/// cannot be read.
pub fn read(path: &Path) -> Result<ImageDataset> {
    read_file(path)?.finish()
}

#[derive(Default)]
struct Images {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Images {
    fn finish(self) -> Result<ImageDataset> {
        ImageDataset::new([SIDE, SIDE, 3], self.pixels, self.labels, CLASSES.len())
    }
}

fn read_file(path: &Path) -> Result<Images> {
    read_records(&mut files::open(path, MAX_BYTES, COPIES)?, path)
}

fn read_archive(path: &Path) -> Result<Vec<Images>> {
    let mut found: [Option<Images>; FILES.len()] = Default::default();
    let limit = MAX_BYTES.min(Budget::of_file(path)?.left() / COPIES);
    files::each_member(path, limit, |name, full, member| {
        let file = name.strip_prefix("cifar-10-batches-bin/");
        let Some(i) = file.and_then(|file| FILES.iter().position(|known| *known == file)) else {
            return Ok(());
        };
        if !member.header().entry_type().is_file() {
            return Err(Error::format(full, "not a file"));
        }
        if found[i].is_some() {
            return Err(Error::format(full, "is in the archive twice"));
        }
        found[i] = Some(read_records(member, full)?);
        Ok(())
    })?;
    found
        .into_iter()
        .zip(FILES)
        .map(|(images, name)| images.ok_or_else(|| Error::format(path, format!("{name} is not in it"))))
        .collect()
}

fn read_records(reader: &mut impl Read, path: &Path) -> Result<Images> {
    let mut images = Images::default();
    let mut record = Vec::with_capacity(RECORD);
    loop {
        record.clear();
        reader.take(RECORD as u64).read_to_end(&mut record).map_err(files::error(path))?;
        let number = images.labels.len();
        match record.len() {
            0 if number == 0 => return Err(Error::format(path, "no images")),
            0 => return Ok(images),
            RECORD if number == MAX_IMAGES => {
                return Err(Error::format(path, format!("more than {MAX_IMAGES} images")));
            }
            RECORD => {}
            len => {
                let message = format!("ends after {len} of {RECORD} bytes of image {number} (truncated?)");
                return Err(Error::format(path, message));
            }
        }
        let label = u32::from(record[0]);
        if label as usize >= CLASSES.len() {
            let message = format!("label {label} of image {number} is out of range for 10 classes");
            return Err(Error::format(path, message));
        }
        images.labels.push(label);
        let (red, rest) = record[1..].split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        let pixels = red.iter().zip(green).zip(blue);
        images.pixels.extend(pixels.flat_map(|((&r, &g), &b)| [r, g, b]));
    }
}
