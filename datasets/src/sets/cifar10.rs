//! CIFAR-10: small colour photographs (Krizhevsky 2009), in the binary version.
//!
//! A file is one record after the other: a byte for the class, then 1024 bytes each of red, green and blue, row by row.
//! Here pixels are (height, width, channels), so the three planes are interleaved while reading. The archive is read as a
//! stream, without unpacking it to disk; whatever order its files come in, the training images are in the publisher's.

use std::fs;
use std::io::{self, BufReader, Read};
use std::path::Path;

use tar::Archive;

use crate::dir::{DataDir, Located};
use crate::error::{Error, Result};
use crate::files;
use crate::images::ImageDataset;
use crate::registry::CIFAR_10;

/// What the classes show, in the order of their numbers.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PLANE;

/// The publisher's files have 10,000 images each; ten times as many are still read.
const MAX_IMAGES: usize = 100_000;

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
/// As [`DataDir::obtain`]; [`Error::Format`] naming the file for one that is truncated, empty, too long or missing from
/// the archive, for a label above 9, and for a damaged archive.
pub fn load(dir: &DataDir) -> Result<(ImageDataset, ImageDataset)> {
    let parts = match dir.obtain(&CIFAR_10)?.as_slice() {
        [Located::Packed(archive)] => read_archive(archive)?,
        [Located::Unpacked(paths)] => paths.iter().map(|path| read_file(path)).collect::<Result<_>>()?,
        _ => return Err(Error::argument("cifar10", "expected one archive")),
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
/// As [`load`], but for the archive.
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
    read_records(&mut files::open(path)?, path)
}

fn read_archive(path: &Path) -> Result<Vec<Images>> {
    let fault = |e| files::read_error(path, e);
    let file = fs::File::open(path).map_err(Error::io("open", path))?;
    let reader = files::unpack(Box::new(BufReader::with_capacity(1 << 16, file))).map_err(fault)?;
    let mut archive = Archive::new(reader);
    let mut found: [Option<Images>; FILES.len()] = Default::default();
    for entry in archive.entries().map_err(fault)? {
        let mut entry = entry.map_err(fault)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let file = name.trim_start_matches("./").strip_prefix("cifar-10-batches-bin/");
        let Some(place) = file.and_then(|file| FILES.iter().position(|known| *known == file)) else {
            continue;
        };
        let member = path.join(&name);
        if !entry.header().entry_type().is_file() {
            return Err(Error::format(&member, "not a file"));
        }
        if found[place].is_some() {
            return Err(Error::format(&member, "is in the archive twice"));
        }
        found[place] = Some(read_records(&mut entry, &member)?);
    }
    // Reading on to the end makes gzip compare its checksum; nothing but padding should be left.
    io::copy(&mut archive.into_inner().take(1 << 20), &mut io::sink()).map_err(fault)?;
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
        reader.take(RECORD as u64).read_to_end(&mut record).map_err(|e| files::read_error(path, e))?;
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
