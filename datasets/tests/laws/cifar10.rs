//! CIFAR-10 from generated files: archive, folder, and everything that can be wrong with them.

use std::fs;
use std::path::Path;

use cairn_datasets::{DataDir, Dataset, Error, ImageDataset, cifar10};
use flate2::{Compression, write::GzEncoder};

const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// A record of the class, whose pixel (y, x) is (y, x, class).
fn record(class: u8) -> Vec<u8> {
    let mut bytes = vec![class];
    bytes.extend((0..1024).map(|i| (i / 32) as u8));
    bytes.extend((0..1024).map(|i| (i % 32) as u8));
    bytes.extend([class; 1024]);
    bytes
}

fn archive(path: &Path, names: &[&str]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let gzip = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    for name in ["readme.html"].iter().chain(names) {
        let place = FILES.iter().position(|file| file == name).unwrap_or(0) as u8;
        let bytes = [record(place), record(9 - place)].concat();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
}

fn check(train: &ImageDataset, test: &ImageDataset) {
    assert_eq!((train.size(), train.classes()), ([32, 32, 3], 10));
    assert_eq!(train.labels(), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]);
    assert_eq!(test.labels(), [5, 4]);
    let pixels = train.pixels(3).unwrap();
    assert_eq!(pixels[(5 * 32 + 7) * 3..][..3], [5, 7, 8]);
}

#[test]
fn reads_the_archive_in_any_order_and_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let reversed: Vec<&str> = FILES.iter().rev().copied().collect();
    archive(&dir.path().join("cifar-10/cifar-10-binary.tar.gz"), &reversed);
    let (train, test) = cifar10::load(&DataDir::new(dir.path()).offline()).unwrap();
    check(&train, &test);

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cifar-10-batches-bin")).unwrap();
    for (place, name) in (0u8..).zip(FILES) {
        let path = dir.path().join("cifar-10-batches-bin").join(name);
        fs::write(path, [record(place), record(9 - place)].concat()).unwrap();
    }
    let (train, test) = cifar10::load(&DataDir::new(dir.path()).offline()).unwrap();
    check(&train, &test);
    assert_eq!(train.len(), 10);
}

fn fault(result: Result<impl std::fmt::Debug, Error>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error}");
    error.to_string()
}

#[test]
fn archives_that_lack_a_file_repeat_one_or_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cifar-10/cifar-10-binary.tar.gz");
    let load = || cifar10::load(&DataDir::new(dir.path()).offline());
    archive(&path, &FILES[..5]);
    assert!(fault(load()).contains("test_batch.bin is not in it"));
    archive(&path, &[FILES[0], FILES[0]]);
    assert!(fault(load()).contains("twice"));
    archive(&path, &FILES);
    let whole = fs::read(&path).unwrap();
    for cut in [20, whole.len() / 2, whole.len() - 4] {
        fs::write(&path, &whole[..cut]).unwrap();
        fault(load());
    }
    let mut damaged = whole.clone();
    damaged[whole.len() - 6] ^= 1; // in the checksum
    fs::write(&path, damaged).unwrap();
    fault(load());
}

#[test]
fn files_that_are_cut_empty_or_of_another_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("batch.bin");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        cifar10::read(&path)
    };
    assert_eq!(read(&[record(3), record(4)].concat()).unwrap().labels(), [3, 4]);
    let two = [record(3), record(10)].concat();
    assert!(fault(read(&two)).contains("label 10 of image 1 is out of range"));
    for cut in [1, 3072, 3074, 6145] {
        assert!(fault(read(&two[..cut])).contains("truncated"), "{cut}");
    }
    assert!(fault(read(b"")).contains("no images"));
}
