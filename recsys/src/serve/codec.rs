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
/// Raised with every change of what is written.
const VERSION: u32 = 1;
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

/// Writes `value` as a model file, in one step.
pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let payload = bincode::serde::encode_to_vec(value, config()).map_err(|e| broken(path, e.to_string()))?;
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC);
    header.extend(VERSION.to_le_bytes());
    header.extend((payload.len() as u64).to_le_bytes());
    header.extend(crc32fast::hash(&payload).to_le_bytes());
    let (draft, mut file) = create_beside(path)?;
    let written = file
        .write_all(&header)
        .and_then(|()| file.write_all(&payload))
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

/// Reads a model file.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(io(path))?;
    let payload = check(path, &bytes)?;
    let (value, used) =
        decode(payload).map_err(|e| broken(path, format!("does not decode as the model asked for: {e}")))?;
    if used != payload.len() {
        return Err(broken(path, format!("{} bytes are left over after the model", payload.len() - used)));
    }
    Ok(value)
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

/// The payload, if everything around it is right.
fn check<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8]> {
    if bytes.len() < HEADER || bytes[..8] != MAGIC {
        return Err(broken(path, "not a Cairn recommender file"));
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let version = word(8);
    if version != VERSION {
        return Err(broken(path, format!("format version {version}, this program reads version {VERSION}")));
    }
    let length = u64::from(word(12)) | u64::from(word(16)) << 32;
    let payload = &bytes[HEADER..];
    if payload.len() as u64 != length {
        return Err(broken(path, format!("{length} bytes of payload announced, {} found", payload.len())));
    }
    if crc32fast::hash(payload) != word(20) {
        return Err(broken(path, "checksum does not match: the file is damaged"));
    }
    Ok(payload)
}
