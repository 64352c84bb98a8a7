//! Model files: the one place that knows bincode.
//!
//! | bytes | what                                                     |
//! |-------|----------------------------------------------------------|
//! | 8     | magic `CAIRNREC`                                         |
//! | 4     | format version, little-endian                            |
//! | 8     | length of the payload, little-endian                     |
//! | 4     | CRC-32 of the payload, little-endian                     |
//! | rest  | payload: bincode 2, standard configuration               |
//!
//! Everything before the payload is checked before bincode sees a byte, and bincode decodes under a size limit: a wrong
//! length cannot make the process ask for more memory than the machine has. Files are written beside their place and moved
//! into it, so a reader finds the old file or the new one, never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"CAIRNREC";
/// Raised with every change of what is written. Version 1 did not say of what types the ids are.
const VERSION: u32 = 2;
/// The oldest version that is still read.
const OLDEST: u32 = 1;
const HEADER: usize = 8 + 4 + 8 + 4;
/// No model file holds more than this many bytes: 64 GiB.
const LIMIT: usize = 1 << 36;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

fn broken(path: &Path, reason: impl Into<String>) -> Error {
    Error::ModelFile { path: path.to_owned(), reason: reason.into() }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

/// Appends `value` to a payload: parts written one after another are a whole of these parts.
pub(crate) fn encode<T: Serialize>(value: &T, payload: &mut Vec<u8>) -> Result<(), String> {
    bincode::serde::encode_into_std_write(value, payload, config()).map(|_| ()).map_err(|e| e.to_string())
}

/// Writes a payload as a model file, in one step.
pub(crate) fn save(path: &Path, payload: &[u8]) -> Result<()> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((payload.len() as u64).to_le_bytes());
    header.extend(crc32fast::hash(payload).to_le_bytes());
    let (draft, mut file) = create_beside(path)?;
    let written = file
        .write_all(&header)
        .and_then(|()| file.write_all(payload))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path));
    written.map_err(|source| {
        // The draft is of no use to anybody; that it cannot be removed either would only hide the first error.
        let _ = fs::remove_file(&draft);
        Error::Io { path: path.to_owned(), source }
    })
}

/// A new file in the same folder, under a name nobody else uses.
fn create_beside(path: &Path) -> Result<(PathBuf, File)> {
    let name = path.file_name().ok_or_else(|| broken(path, "not the name of a file"))?.to_string_lossy();
    let mut n = 0;
    loop {
        let draft = path.with_file_name(format!(".{name}.{}.{n}.part", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&draft) {
            Ok(file) => return Ok((draft, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
            Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
        }
    }
}

/// The version of a model file, and its payload.
pub(crate) fn load(path: &Path) -> Result<(u32, Vec<u8>)> {
    let mut bytes = fs::read(path).map_err(io(path))?;
    let version = check(path, &bytes)?;
    bytes.drain(..HEADER);
    Ok((version, bytes))
}

/// Takes a value off the front of a payload.
pub(crate) fn take<T: DeserializeOwned>(payload: &mut &[u8]) -> Result<T, String> {
    let (value, used) = decode(payload).map_err(|e| format!("does not decode as what was asked for: {e}"))?;
    *payload = &payload[used..];
    Ok(value)
}

/// There must be nothing left of a payload.
pub(crate) fn finish(payload: &[u8]) -> Result<(), String> {
    match payload.len() {
        0 => Ok(()),
        left => Err(format!("{left} bytes are left over after the model")),
    }
}

/// Decodes under a limit of what the model may take in memory: at least sixteen times the payload, since a byte can stand for
/// a number of eight, and at most 256 times, since the limit is part of bincode's type.
fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    macro_rules! within {
        ($($bits:literal),*) => {
            $(if payload.len() <= 1 << ($bits - 4) {
                let config = bincode::config::standard().with_limit::<{ 1 << $bits }>();
                return bincode::serde::decode_from_slice(payload, config);
            })*
        };
    }
    within!(12, 16, 20, 24, 28, 32);
    bincode::serde::decode_from_slice(payload, config())
}

/// The version, if everything around the payload is right.
fn check(path: &Path, bytes: &[u8]) -> Result<u32> {
    if bytes.len() < HEADER || bytes[..8] != MAGIC {
        return Err(broken(path, "not a Cairn recommender file"));
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let version = word(8);
    if !(OLDEST..=VERSION).contains(&version) {
        let reads = format!("this program reads versions {OLDEST} to {VERSION}");
        return Err(broken(path, format!("format version {version}, {reads}")));
    }
    let length = u64::from(word(12)) | u64::from(word(16)) << 32;
    let payload = &bytes[HEADER..];
    if payload.len() as u64 != length {
        return Err(broken(path, format!("{length} bytes of payload announced, {} found", payload.len())));
    }
    if crc32fast::hash(payload) != word(20) {
        return Err(broken(path, "checksum does not match: the file is damaged"));
    }
    Ok(version)
}
