//! IDX files: whatever is written reads back, and nothing else does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cairn_datasets::idx::{self, Idx};
use cairn_datasets::{DataDir, Dataset, Error, ImageDataset, mnist};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn bytes_of(idx: &Idx) -> Vec<u8> {
    let mut bytes = Vec::new();
    idx::write(&mut bytes, idx).unwrap();
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn images(count: usize) -> Idx {
    Idx { shape: vec![count, 2, 3], values: (0..count * 6).map(|i| (i * 37 % 256) as u8).collect() }
}

fn labels(values: &[u8]) -> Idx {
    Idx { shape: vec![values.len()], values: values.to_vec() }
}

/// Writes both files and reads them as a data set of three classes.
fn load(images: &[u8], labels: &[u8]) -> Result<ImageDataset, Error> {
    let dir = tempfile::tempdir().unwrap();
    let [x, y] = [("images", images), ("labels", labels)].map(|(name, bytes)| write(dir.path(), name, bytes));
    ImageDataset::from_idx(&x, &y, 3)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// The message of a format error about the file of that name.
fn fault(result: Result<ImageDataset, Error>, file: &str) -> String {
    match result.unwrap_err() {
        Error::Format { path, message, .. } => {
            assert!(path.ends_with(file), "{} is not {file}: {message}", path.display());
            message
        }
        other => panic!("not a format error: {other}"),
    }
}

#[test]
fn plain_and_gzipped_files_read_alike() {
    let (x, y) = (bytes_of(&images(4)), bytes_of(&labels(&[0, 1, 2, 0])));
    for set in [load(&x, &y), load(&gzip(&x), &y), load(&gzip(&x), &gzip(&y))] {
        let set = set.unwrap();
        assert_eq!((set.len(), set.size(), set.labels()), (4, [2, 3, 1], &[0, 1, 2, 0][..]));
        assert_eq!(set.pixels(1).unwrap(), &images(4).values[6..12]);
        assert_eq!(set.pixels(4), None);
    }
}

#[test]
fn wrong_magic_number() {
    let y = bytes_of(&labels(&[0]));
    // Labels where images should be, and bytes of another kind.
    assert!(fault(load(&y, &y), "images").contains("magic number 0x00000801, not 0x00000803"));
    assert!(fault(load(b"PNG\r\n\x1a\n????????????", &y), "images").contains("magic number"));
    let x = bytes_of(&images(1));
    assert!(fault(load(&x, &x), "labels").contains("magic number 0x00000803, not 0x00000801"));
}

#[test]
fn truncated_files() {
    let (x, y) = (bytes_of(&images(3)), bytes_of(&labels(&[0, 1, 2])));
    for cut in 0..x.len() {
        let message = fault(load(&x[..cut], &y), "images");
        assert!(message.contains("truncated"), "{cut}: {message}");
    }
    let packed = gzip(&x);
    // A gzip file cut to its first byte or none is not gzip, but no IDX file either.
    for cut in 0..packed.len() {
        let message = fault(load(&packed[..cut], &y), "images");
        assert!(message.contains("truncated"), "{cut}: {message}");
    }
}

#[test]
fn damaged_gzip() {
    let (x, y) = (bytes_of(&images(50)), bytes_of(&labels(&[0; 50])));
    let packed = gzip(&x);
    // The checksum and the length at the end, and the compressed data.
    for at in [packed.len() - 1, packed.len() - 5, packed.len() / 2] {
        let mut bad = packed.clone();
        bad[at] ^= 0x55;
        fault(load(&bad, &y), "images");
    }
}

#[test]
fn label_out_of_range() {
    let x = bytes_of(&images(3));
    let message = fault(load(&x, &bytes_of(&labels(&[0, 1, 3]))), "labels");
    assert_eq!(message, "label 3 of image 2 is out of range for 3 classes");
}

#[test]
fn counts_that_do_not_match() {
    let message = fault(load(&bytes_of(&images(3)), &bytes_of(&labels(&[0, 1]))), "labels");
    assert!(message.starts_with("2 labels for the 3 images of"), "{message}");
}

#[test]
fn bytes_after_the_end() {
    let y = bytes_of(&labels(&[0]));
    let mut x = bytes_of(&images(1));
    x.push(0);
    assert!(fault(load(&x, &y), "images").contains("goes on"));
}

#[test]
fn absurd_sizes_are_refused_at_once() {
    let y = bytes_of(&labels(&[0]));
    let mut x = vec![0, 0, 8, 3];
    x.extend([0xff; 12]);
    assert!(fault(load(&x, &y), "images").contains("more than"));
    // Within the limit but not there: no memory may be reserved on the header's word.
    let mut x = vec![0, 0, 8, 3];
    x.extend([0, 0, 255, 255, 0, 0, 0, 100, 0, 0, 0, 100]);
    assert!(fault(load(&x, &y), "images").contains("truncated"));
    // Images of no pixels, and so no bound on their number.
    let mut x = vec![0, 0, 8, 3];
    x.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert!(fault(load(&x, &y), "images").contains("images of 0 x 9"));
}

#[test]
fn missing_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = ImageDataset::from_idx(&dir.path().join("none"), &dir.path().join("none"), 10).unwrap_err();
    assert!(matches!(&error, Error::Io { action: "open", path, .. } if path.ends_with("none")), "{error}");
}

#[test]
fn mnist_loads_from_a_folder_with_a_mixture_of_packed_and_unpacked_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mnist")).unwrap();
    let folder = dir.path().join("mnist");
    write(&folder, "train-images-idx3-ubyte.gz", &gzip(&bytes_of(&images(3))));
    write(&folder, "train-labels-idx1-ubyte", &bytes_of(&labels(&[9, 0, 1])));
    write(&folder, "t10k-images-idx3-ubyte", &bytes_of(&images(1)));
    write(&folder, "t10k-labels-idx1-ubyte.gz", &gzip(&bytes_of(&labels(&[5]))));
    let (train, test) = mnist::load(&DataDir::new(dir.path()).offline()).unwrap();
    assert_eq!((train.labels(), test.labels()), (&[9, 0, 1][..], &[5][..]));
}

fn any_idx() -> impl Strategy<Value = Idx> {
    prop::collection::vec(0usize..5, 0..4).prop_flat_map(|shape| {
        let len = shape.iter().product::<usize>();
        prop::collection::vec(any::<u8>(), len).prop_map(move |values| Idx { shape: shape.clone(), values })
    })
}

proptest! {
    #[test]
    fn round_trip(idx in any_idx(), packed in any::<bool>()) {
        let bytes = if packed { gzip(&bytes_of(&idx)) } else { bytes_of(&idx) };
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "file", &bytes);
        prop_assert_eq!(idx::read(&path, idx.shape.len()).unwrap(), idx);
    }

    /// Any change of the header, and any other length, is noticed; no bytes at all make the reader panic.
    #[test]
    fn mutations(idx in any_idx(), at in any::<prop::sample::Index>(), flip in 1u8.., noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let axes = idx.shape.len();
        let good = bytes_of(&idx);
        let mut bad = good.clone();
        let at = at.index(4 + 4 * axes);
        bad[at] ^= flip;
        let read = idx::read_from(&bad[..], Path::new("x"), axes);
        // With an axis of 0 the other axes may be anything.
        prop_assert!(read.is_err() || (at >= 4 && idx.values.is_empty()), "byte {} changed", at);

        prop_assert!(idx::read_from(&good[..good.len() - 1], Path::new("x"), axes).is_err());
        let _ = idx::read_from(&noise[..], Path::new("x"), axes);
        let mut started = good[..4].to_vec();
        started.extend(&noise);
        let _ = idx::read_from(&started[..], Path::new("x"), axes);
    }
}
