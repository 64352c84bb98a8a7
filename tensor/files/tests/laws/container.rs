//! What was saved is loaded, to the bit; a file that is damaged, cut, lengthened, of another kind or made up is an error.

use std::collections::BTreeMap;
use std::fs;

use cairn_files::container::{self, Format, Kind, decode, encode, identify};
use cairn_files::{Error, write};
use proptest::prelude::*;

const FORMAT: Format = Kind::Weights.version(3);

type Content = (String, BTreeMap<String, Vec<f32>>, Option<u64>);

fn content() -> Content {
    let rows = [("a".to_owned(), vec![1.5, -0.0]), ("b".to_owned(), (0..100).map(|x| x as f32).collect())];
    ("weights".to_owned(), rows.into(), Some(u64::MAX))
}

/// The header that belongs to a payload.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode(FORMAT, &()).unwrap();
    bytes[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes[24..28].copy_from_slice(&crc32(payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// The reflected CRC-32 of zip and PNG, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.cairn");
    container::save(&path, FORMAT, &content()).unwrap();
    assert_eq!(container::load::<Content>(&path, FORMAT).unwrap(), content());
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes, encode(FORMAT, &content()).unwrap());
    assert_eq!(decode::<Content>(FORMAT, &bytes).unwrap(), content());
    assert_eq!(identify(&bytes), Ok(FORMAT));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// The layout is a promise: these bytes were written down by hand from the table in the module.
#[test]
fn the_layout_is_the_one_described() {
    let payload = [2, 1, 0xfb, 0xe8, 3]; // a list of two: 1, and 1000 behind the mark of a number of 16 bits
    let mut expected = b"CAIRN\r\n\0\x03\0\0\0\x02\0\0\0\x05\0\0\0\0\0\0\0".to_vec();
    expected.extend(crc32(&payload).to_le_bytes());
    expected.extend([0; 4]);
    expected.extend(payload);
    assert_eq!(encode(FORMAT, &vec![1u32, 1000]).unwrap(), expected);
    assert_eq!(sealed(&payload), expected);
}

#[test]
fn every_cut_and_every_flipped_bit_is_an_error() {
    let bytes = encode(FORMAT, &content()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.cairn");
    for cut in 0..bytes.len() {
        decode::<Content>(FORMAT, &bytes[..cut]).unwrap_err();
        fs::write(&path, &bytes[..cut]).unwrap();
        let error = container::load::<Content>(&path, FORMAT).unwrap_err();
        assert!(matches!(error, Error::Contents { .. }), "cut at {cut}: {error}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        decode::<Content>(FORMAT, &flipped).unwrap_err();
    }
    let longer = [&bytes[..], b"x"].concat();
    let why = decode::<Content>(FORMAT, &longer).unwrap_err();
    assert!(why.contains("goes on after"), "{why}");
    write(&path, &longer).unwrap();
    assert!(container::load::<Content>(&path, FORMAT).unwrap_err().to_string().contains("goes on after"));
}

#[test]
fn what_is_wrong_is_said_with_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.cairn");
    let error = container::load::<Content>(&path, FORMAT).unwrap_err();
    assert!(matches!(error, Error::Io { action: "open", .. }), "{error}");
    let bytes = encode(FORMAT, &content()).unwrap();
    let cases: [(&[u8], Format, &str); 6] = [
        (b"CAIRNREC\x01\0\0\0", FORMAT, "the first form"),
        (b"PK\x03\x04 some archive", FORMAT, "not a Cairn file"),
        (b"CAIRN\r\n\0\x01", FORMAT, "9 bytes are too few"),
        (&bytes, Kind::Weights.version(4), "format version 3; this program reads version 4"),
        (&bytes, Kind::Training.version(3), "holds weights of a network, not a training run"),
        (&bytes[..40], FORMAT, "cut short"),
    ];
    for (bytes, format, what) in cases {
        write(&path, bytes).unwrap();
        let text = container::load::<Content>(&path, format).unwrap_err().to_string();
        assert!(text.starts_with(&path.display().to_string()) && text.contains(what), "{text}");
    }
    assert!(identify(b"RIFF").is_err());
    let mut unknown = bytes;
    unknown[12] = 200;
    assert_eq!(identify(&unknown).unwrap_err(), "this file holds content of the unknown kind 200");
}

#[test]
fn kinds_are_told_apart() {
    for (i, kind) in Kind::ALL.into_iter().enumerate() {
        let bytes = encode(kind.version(1), &7u8).unwrap();
        assert_eq!(identify(&bytes), Ok(kind.version(1)));
        for (j, other) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(decode::<u8>(other.version(1), &bytes).is_ok(), i == j);
        }
    }
}

/// A payload with a right checksum may still ask for anything: lists of 2^40 entries, texts without an end.
#[test]
fn sizes_are_not_believed() {
    let huge = [&[253u8][..], &(1u64 << 40).to_le_bytes(), &[0; 100]].concat();
    for bytes in [sealed(&huge), sealed(&[&[2, b'a', b'b'][..], &huge].concat())] {
        decode::<Vec<u64>>(FORMAT, &bytes).unwrap_err();
        decode::<String>(FORMAT, &bytes).unwrap_err();
        decode::<Content>(FORMAT, &bytes).unwrap_err();
        decode::<(String, Vec<f64>)>(FORMAT, &bytes).unwrap_err();
    }
    // The header announces more than there can be.
    let mut bytes = encode(FORMAT, &content()).unwrap();
    bytes[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.cairn");
    write(&path, &bytes).unwrap();
    assert!(container::load::<Content>(&path, FORMAT).unwrap_err().to_string().contains("cut short"));
    assert!(decode::<Content>(FORMAT, &bytes).unwrap_err().contains("cut short"));
}

#[test]
fn what_cannot_be_encoded_leaves_the_old_file() {
    struct Refuses;
    impl serde::Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no such value"))
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.cairn");
    container::save(&path, FORMAT, &1u8).unwrap();
    let error = container::save(&path, FORMAT, &(vec![0u8; 1 << 20], Refuses)).unwrap_err();
    assert!(error.to_string().contains("no such value"), "{error}");
    assert!(encode(FORMAT, &Refuses).unwrap_err().contains("no such value"));
    assert_eq!(container::load::<u8>(&path, FORMAT).unwrap(), 1);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode::<Content>(FORMAT, &bytes).is_err());
        let _ = decode::<Content>(FORMAT, &sealed(&bytes));
        let _ = decode::<Vec<String>>(FORMAT, &sealed(&bytes));
    }

    #[test]
    fn values_round_trip(rows in prop::collection::btree_map("[a-z.]{0,8}", prop::collection::vec(any::<u32>(), 0..200), 0..5)) {
        let bytes = encode(FORMAT, &rows).unwrap();
        prop_assert_eq!(decode::<BTreeMap<String, Vec<u32>>>(FORMAT, &bytes).unwrap(), rows);
    }
}
