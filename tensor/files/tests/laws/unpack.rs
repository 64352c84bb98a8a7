//! Packed or not, the contents are the same; damage is an error, and so is more than the caller allows.

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cairn_files::{Error, unpack};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// "one two three\n", compressed by `xz`.
#[cfg(feature = "xz")]
const XZ: &[u8] = &[
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x1c,
    0x00, 0x00, 0x00, 0x10, 0xcf, 0x58, 0xcc, 0x01, 0x00, 0x0d, 0x6f, 0x6e, 0x65, 0x20, 0x74, 0x77, 0x6f,
    0x20, 0x74, 0x68, 0x72, 0x65, 0x65, 0x0a, 0x00, 0x00, 0x00, 0xc1, 0x93, 0xa4, 0xbf, 0xda, 0x48, 0x61,
    0xe5, 0x00, 0x01, 0x26, 0x0e, 0x08, 0x1b, 0xe0, 0x04, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x04, 0x59, 0x5a,
];

fn put(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("words");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn contents_decide_and_not_the_name() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [
        b"one two three\n".to_vec(),
        gzip(b"one two three\n"),
        [gzip(b"one two"), gzip(b" three\n")].concat(),
    ] {
        let path = put(dir.path(), &bytes);
        assert_eq!(unpack::read(&path, 14).unwrap(), b"one two three\n");
        let lines: Vec<String> = unpack::open(&path, 14).unwrap().lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["one two three"]);
    }
    #[cfg(feature = "xz")]
    assert_eq!(unpack::read(&put(dir.path(), XZ), 14).unwrap(), b"one two three\n");
    assert!(unpack::read(&put(dir.path(), b""), 0).unwrap().is_empty());
    assert_eq!(unpack::read(&put(dir.path(), b"\x1f"), 1).unwrap(), b"\x1f");
}

#[test]
fn nothing_unpacks_to_more_than_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let bomb = gzip(&vec![0; 10 << 20]);
    assert!(bomb.len() < 20_000);
    let path = put(dir.path(), &bomb);
    let error = unpack::read(&path, 1 << 20).unwrap_err();
    assert!(matches!(error, Error::Contents { .. }) && error.to_string().contains("1048576"), "{error}");
    let mut reader = unpack::open(&path, 1000).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(reader.read_to_end(&mut bytes).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    assert_eq!(bytes.len(), 1000);
    assert_eq!(unpack::read(&path, 10 << 20).unwrap().len(), 10 << 20);
    assert_eq!(cairn_files::read_limited(&b"abc"[..], 3).unwrap(), b"abc");
    assert!(cairn_files::read_limited(&b"abcd"[..], 3).is_err());
}

#[test]
fn damage_is_an_error_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let mut packed = vec![gzip(&[7; 5000])];
    #[cfg(feature = "xz")]
    packed.push(XZ.to_vec());
    for whole in packed {
        for cut in 6..whole.len() {
            let path = put(dir.path(), &whole[..cut]);
            let error = unpack::read(&path, 1 << 20).unwrap_err();
            assert!(matches!(error, Error::Contents { .. }), "cut at {cut}: {error}");
            assert!(error.to_string().starts_with(&path.display().to_string()));
        }
        let mut flipped = whole.clone();
        let checksum = whole.len() - 6;
        flipped[checksum] ^= 0x10;
        let error = unpack::read(&put(dir.path(), &flipped), 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Contents { .. }), "{error}");
    }
    let missing = unpack::read(&dir.path().join("missing"), 1).unwrap_err();
    assert!(matches!(missing, Error::Io { action: "open", .. }), "{missing}");
}

proptest! {
    #[test]
    fn no_bytes_panic(start in 0usize..3, rest in prop::collection::vec(any::<u8>(), 0..300)) {
        let magic: [&[u8]; 3] = [b"", b"\x1f\x8b\x08", b"\xfd7zXZ\0\0"];
        let dir = tempfile::tempdir().unwrap();
        let _ = unpack::read(&put(dir.path(), &[magic[start], &rest].concat()), 1000);
    }
}
