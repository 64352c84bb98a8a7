//! The container of every file that Cairn writes, and the only place that knows bincode.
//!
//! Header, 32 bytes, little-endian: magic `CAIRN\r\n\0` (a transfer that mangles line ends destroys it), format version
//! (u32), kind of content (u32), payload length (u64), CRC-32 of the payload (u32), four zero bytes. The payload is
//! bincode. The header is checked in full, against the true length of the file, before anything is decoded, and decoding
//! reads a slice with a length limit, so a damaged or hostile file gives an error and allocates no more than a small
//! multiple of its size.
//!
//! Other crates of the workspace write their files through it too, each under a [`Kind`] of its own; it is no part of the
//! interface that is kept stable.
//!
//! bincode 2 is complete but no longer maintained; nothing outside this file depends on it, and the version number is
//! there so that another codec can take its place.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"CAIRN\r\n\0";
/// 1: tensors of f32, layers by the number of their kind. 2: tensors of any type, layers by the name of their kind.
const VERSION: u32 = 2;
const HEADER: usize = 32;
/// The largest payload that is decoded: 64 GiB.
const LIMIT: usize = 1 << 36;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Kind {
    /// A `Sequential`: architecture and values.
    Sequential = 1,
    /// The values of any module, by path.
    Weights = 2,
    /// A training run, to be gone on with.
    Training = 3,
}

/// Header and payload of a value.
///
/// # Errors
/// Why it cannot be encoded.
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; HEADER];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(|error| format!("cannot be encoded: {error}"))?;
    let payload = &bytes[HEADER..];
    let (length, checksum) = (payload.len() as u64, crc32fast::hash(payload));
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The value in a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, String> {
    let Some((header, payload)) = bytes.split_at_checked(HEADER) else {
        return Err(format!("{} bytes are too few for a Cairn file", bytes.len()));
    };
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if header[..8] != MAGIC {
        return Err("this is not a Cairn file".into());
    }
    if number(8) == 1 {
        let why = "written by Cairn 0.1 before tensors had any element type (format version 1)";
        return Err(format!("{why}; write the weights as safetensors with that Cairn, and read those here"));
    }
    if number(8) != VERSION {
        return Err(format!("format version {}; this program reads version {VERSION}", number(8)));
    }
    if number(12) != kind as u32 {
        return Err(format!("content of kind {}, not {} ({kind:?})", number(12), kind as u32));
    }
    let length = u64::from(number(16)) | u64::from(number(20)) << 32;
    if length != payload.len() as u64 {
        return Err(format!(
            "{length} bytes of content announced, {} found: the file is cut short or longer",
            payload.len()
        ));
    }
    if number(24) != crc32fast::hash(payload) || number(28) != 0 {
        return Err("the checksum does not match: the file is damaged".into());
    }
    match decode_payload(payload) {
        Ok((value, used)) if used == payload.len() => Ok(value),
        Ok((_, used)) => Err(format!("{} bytes of content are left over", payload.len() - used)),
        Err(error) => Err(format!("the content cannot be decoded: {error}")),
    }
}

/// Decodes under a limit of what the content may take in memory: at least sixteen times the payload, since a byte can stand
/// for a number of eight, and at most 256 times, since the limit is part of bincode's type. Without it a text that
/// claims to be long would be believed before its end is missed.
fn decode_payload<T: DeserializeOwned>(payload: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    macro_rules! within {
        ($($bits:literal),*) => {
            $(if payload.len() <= 1 << ($bits - 4) {
                let config = bincode::config::standard().with_limit::<{ 1 << $bits }>();
                return bincode::serde::decode_from_slice(payload, config);
            })*
        };
    }
    within!(12, 16, 20, 24, 28, 32);
    bincode::serde::decode_from_slice(payload, bincode::config::standard().with_limit::<LIMIT>())
}

/// Writes a file in one step: into a temporary file beside it, synced, then renamed over it. Whatever goes wrong, the old
/// file is still there and whole.
///
/// # Errors
/// [`Error::File`] when it cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path);
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // The rename itself is on disk once the folder is synced; not every system lets a folder be opened.
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
            && let Ok(folder) = File::open(folder)
        {
            folder.sync_all().ok();
        }
        Ok(())
    })();
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written.map_err(Error::file(path))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}
