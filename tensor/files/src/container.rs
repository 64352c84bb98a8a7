//! The container of every model file that Cairn writes, and the only place that knows bincode.
//!
//! A header of 32 bytes, little-endian, then the payload:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | magic `CAIRN\r\n\0`; a transfer that mangles line ends destroys it |
//! | 8–11 | version of the content's form |
//! | 12–15 | kind of content, [`Kind`] |
//! | 16–23 | length of the payload |
//! | 24–27 | CRC-32 of the payload |
//! | 28–31 | zero |
//! | 32– | payload: bincode 2, standard configuration |
//!
//! The header is checked in full, against the true length of the file, before anything is decoded, and decoding is under a
//! limit of what it may take in memory. So a damaged or hostile file gives an error, and allocates no more than a
//! multiple of its size.
//!
//! bincode 2 is complete but no longer maintained; nothing outside this file depends on it, and the version is there so
//! that another codec can take its place.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"CAIRN\r\n\0";
/// Bytes before the payload.
const HEADER: usize = 32;
/// The largest payload that is decoded: 64 GiB.
const LIMIT: usize = 1 << 36;

/// What a file holds. All kinds of all crates are here, so that none is used twice and a program can ask any file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Kind {
    /// A sequential network: architecture, parameters and buffers.
    Sequential = 1,
    /// Parameters and buffers of any network, by path.
    Weights = 2,
    /// A training run, to be resumed.
    Training = 3,
    /// A fitted recommender with its ids and history.
    Recommender = 4,
    /// An index over the items of a recommender.
    ItemIndex = 5,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] =
        [Kind::Sequential, Kind::Weights, Kind::Training, Kind::Recommender, Kind::ItemIndex];

    /// In words, such as `a training run`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sequential => "a sequential network",
            Kind::Weights => "weights of a network",
            Kind::Training => "a training run",
            Kind::Recommender => "a recommender",
            Kind::ItemIndex => "an index of items",
        }
    }

    /// With the version of its content's form, which is raised with every change of what is written.
    ///
    /// ```
    /// use cairn_files::container::{self, Format, Kind};
    /// const FORMAT: Format = Kind::Weights.version(1);
    /// let bytes = container::encode(FORMAT, &vec![0.5f32, 1.0])?;
    /// assert_eq!(container::decode::<Vec<f32>>(FORMAT, &bytes)?, [0.5, 1.0]);
    /// let why = container::decode::<Vec<f32>>(Kind::Training.version(1), &bytes).unwrap_err();
    /// assert_eq!(why, "this file holds weights of a network, not a training run");
    /// # Ok::<(), String>(())
    /// ```
    pub const fn version(self, version: u32) -> Format {
        Format { kind: self, version }
    }
}

/// What a file holds, and the version of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What is in it.
    pub kind: Kind,
    /// The version of its form.
    pub version: u32,
}

/// Writes a value into a file, in one step.
///
/// # Errors
/// [`Error::Io`] when it cannot be written, [`Error::Contents`] when the value refuses to be encoded.
pub fn save<T: Serialize>(path: impl AsRef<Path>, format: Format, value: &T) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    write(&mut file, format, value).map_err(|error| match error {
        Failed::Writing(source) => Error::io("write", path)(source),
        Failed::Encoding(why) => Error::contents(path, why),
    })?;
    file.commit()
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Contents`] when it is no such file, is damaged, of another kind or
/// version, or does not decode as a `T`.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>, format: Format) -> Result<T> {
    let path = path.as_ref();
    let wrong = |why| Error::contents(path, why);
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = Vec::with_capacity(HEADER);
    (&mut file).take(HEADER as u64).read_to_end(&mut start).map_err(Error::io("read", path))?;
    // What is no such file is not read to its end.
    let header = Header::parse(&start).and_then(|header| header.check(format)).map_err(wrong)?;
    let mut payload = Vec::new();
    (&mut file)
        .take(header.length.saturating_add(1))
        .read_to_end(&mut payload)
        .map_err(Error::io("read", path))?;
    header.decode(&payload).map_err(wrong)
}

/// The file's bytes for a value.
///
/// # Errors
/// Why it cannot be encoded.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = io::Cursor::new(Vec::new());
    write(&mut bytes, format, value).map_err(|error| match error {
        Failed::Writing(source) => source.to_string(),
        Failed::Encoding(why) => why,
    })?;
    Ok(bytes.into_inner())
}

/// The value in a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, String> {
    let header = Header::parse(bytes)?.check(format)?;
    header.decode(&bytes[HEADER..])
}

/// What a file holds, by its first bytes; the rest may be damaged.
///
/// # Errors
/// That it is no Cairn file, or holds something that is not known here.
pub fn identify(bytes: &[u8]) -> Result<Format, String> {
    let header = Header::parse(bytes)?;
    let kind = Kind::ALL.into_iter().find(|&kind| kind as u32 == header.kind);
    let kind = kind.ok_or_else(|| format!("this file holds content of the unknown kind {}", header.kind))?;
    Ok(kind.version(header.version))
}

/// Why nothing was written.
enum Failed {
    Writing(io::Error),
    Encoding(String),
}

/// Writes the payload, counting and summing it on the way, and then the header before it: a large model is never in memory a
/// second time.
fn write<W: Write + io::Seek, T: Serialize>(to: &mut W, format: Format, value: &T) -> Result<(), Failed> {
    to.write_all(&[0; HEADER]).map_err(Failed::Writing)?;
    let mut payload = BufWriter::with_capacity(1 << 16, Summed::new(&mut *to));
    let encoded = bincode::serde::encode_into_std_write(value, &mut payload, bincode::config::standard());
    encoded.map_err(|error| match error {
        bincode::error::EncodeError::Io { inner, .. } => Failed::Writing(inner),
        error => Failed::Encoding(format!("the content cannot be encoded: {error}")),
    })?;
    let payload = payload.into_inner().map_err(|error| Failed::Writing(error.into_error()))?;
    let header = Header {
        version: format.version,
        kind: format.kind as u32,
        length: payload.length,
        checksum: payload.hasher.finalize(),
    };
    to.seek(SeekFrom::Start(0)).map_err(Failed::Writing)?;
    to.write_all(&header.bytes()).map_err(Failed::Writing)
}

/// Passes bytes on, with their count and checksum.
struct Summed<W> {
    to: W,
    hasher: crc32fast::Hasher,
    length: u64,
}

impl<W> Summed<W> {
    fn new(to: W) -> Self {
        Summed { to, hasher: crc32fast::Hasher::new(), length: 0 }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The first 32 bytes.
struct Header {
    version: u32,
    kind: u32,
    length: u64,
    checksum: u32,
}

impl Header {
    fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Header, String> {
        if !bytes.starts_with(&MAGIC) {
            return Err("this is not a Cairn file".into());
        }
        let Some((words, _)) = bytes.split_at_checked(HEADER) else {
            return Err(format!("{} bytes are too few for a Cairn file: it is cut short", bytes.len()));
        };
        let word = |at: usize| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
        if word(28) != 0 {
            return Err("the header is damaged".into());
        }
        let length = u64::from(word(16)) | u64::from(word(20)) << 32;
        Ok(Header { version: word(8), kind: word(12), length, checksum: word(24) })
    }

    /// That the file holds what is asked for, in a form that is read.
    fn check(self, format: Format) -> Result<Header, String> {
        if self.kind != format.kind as u32 {
            let held = Kind::ALL.into_iter().find(|&kind| kind as u32 == self.kind);
            let held =
                held.map_or_else(|| format!("content of kind {}", self.kind), |kind| kind.name().into());
            return Err(format!("this file holds {held}, not {}", format.kind.name()));
        }
        if self.version != format.version {
            let (found, known) = (self.version, format.version);
            return Err(format!("format version {found}; this program reads version {known}"));
        }
        Ok(self)
    }

    /// The value, if the payload is the one announced.
    fn decode<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, String> {
        let (announced, found) = (self.length, payload.len() as u64);
        if found < announced {
            return Err(format!(
                "{announced} bytes of content announced, {found} found: the file is cut short"
            ));
        }
        if found > announced {
            return Err(format!("the file goes on after the {announced} bytes of content announced"));
        }
        if crc32fast::hash(payload) != self.checksum {
            return Err("the checksum does not match: the file is damaged".into());
        }
        match decode_within_limit(payload) {
            Ok((value, used)) if used == payload.len() => Ok(value),
            Ok((_, used)) => Err(format!("{} bytes of content are left over", payload.len() - used)),
            Err(error) => Err(format!("the content cannot be decoded: {error}")),
        }
    }
}

/// Decodes under a limit of what the content may take in memory: at least sixteen times the payload, since one byte can stand
/// for a number of eight, and at most 256 times, since the limit is part of bincode's type. Without it a text that
/// claims to be long would be believed before its end is missed.
fn decode_within_limit<T: DeserializeOwned>(
    payload: &[u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
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
