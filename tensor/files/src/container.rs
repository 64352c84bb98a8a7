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
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"CAIRN\r\n\0";
/// Recommenders had a header of their own in version 1.
const RECOMMENDER_1: [u8; 8] = *b"CAIRNREC";
/// Bytes before the payload.
const HEADER: usize = 32;
/// The largest payload that is decoded: 64 GiB, or what addresses reach.
const LIMIT: usize = limit(36);

/// 2 to the power of `bits`, or what addresses reach.
const fn limit(bits: u32) -> usize {
    match 1usize.checked_shl(bits) {
        Some(limit) => limit,
        None => usize::MAX,
    }
}

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
    /// How tables become tensors.
    Preparation = 6,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [
        Kind::Sequential,
        Kind::Weights,
        Kind::Training,
        Kind::Recommender,
        Kind::ItemIndex,
        Kind::Preparation,
    ];

    /// In words, such as `a training run`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sequential => "a sequential network",
            Kind::Weights => "weights of a network",
            Kind::Training => "a training run",
            Kind::Recommender => "a recommender",
            Kind::ItemIndex => "an index of items",
            Kind::Preparation => "a preparation of tables",
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
    save_with(path.as_ref(), format, |to| {
        match bincode::serde::encode_into_std_write(value, to, bincode::config::standard()) {
            Ok(_) => Ok(()),
            Err(bincode::error::EncodeError::Io { inner, .. }) => Err(Failed::Writing(inner)),
            Err(error) => Err(Failed::Encoding(cannot_encode(&error))),
        }
    })
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Contents`] when it is no such file, is damaged, of another kind or
/// version, or does not decode as a `T`.
pub fn load<T: DeserializeOwned>(path: impl AsRef<Path>, format: Format) -> Result<T> {
    let path = path.as_ref();
    let payload = load_payload(path, format)?;
    take_all(&payload).map_err(|why| Error::contents(path, why))
}

/// Writes a payload made by [`append`] into a file, in one step. For values of types that are not known together: the parts of a
/// file whose first part says what the others are.
///
/// ```
/// use cairn_files::container::{self, Kind};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("ease.cairn");
/// let mut payload = Vec::new();
/// container::append(&mut payload, "ease")?;
/// container::append(&mut payload, &[1.5f32, 2.0])?;
/// container::save_payload(&path, Kind::Recommender.version(1), &payload).unwrap();
///
/// let payload = container::load_payload(&path, Kind::Recommender.version(1)).unwrap();
/// let mut rest = payload.as_slice();
/// assert_eq!(container::take::<String>(&mut rest)?, "ease");
/// assert_eq!(container::take::<[f32; 2]>(&mut rest)?, [1.5, 2.0]);
/// assert!(rest.is_empty());
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// [`Error::Io`] when it cannot be written.
pub fn save_payload(path: impl AsRef<Path>, format: Format, payload: &[u8]) -> Result<()> {
    save_with(path.as_ref(), format, |to| to.write_all(payload).map_err(Failed::Writing))
}

/// Reads the payload of a file, checked against its header.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Contents`] when it is no such file, is damaged, or of another kind or
/// version.
pub fn load_payload(path: impl AsRef<Path>, format: Format) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let wrong = |why| Error::contents(path, why);
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = Vec::with_capacity(HEADER);
    (&mut file).take(HEADER as u64).read_to_end(&mut start).map_err(Error::io("read", path))?;
    // What is no such file is not read to its end.
    let header = Header::parse(&start).and_then(|header| header.check(format)).map_err(wrong)?;
    let mut payload = Vec::new();
    file.take(header.length.saturating_add(1)).read_to_end(&mut payload).map_err(Error::io("read", path))?;
    header.verify(&payload).map_err(wrong)?;
    Ok(payload)
}

/// Appends a value to a payload: parts one after the other are the same as a tuple of them.
///
/// # Errors
/// Why it cannot be encoded; what was appended of it stays.
pub fn append<T: Serialize + ?Sized>(payload: &mut Vec<u8>, value: &T) -> Result<(), String> {
    let encoded = bincode::serde::encode_into_std_write(value, payload, bincode::config::standard());
    encoded.map(drop).map_err(|error| cannot_encode(&error))
}

/// Takes a value off the front of a payload, in at most a multiple of the memory that the payload takes.
///
/// # Errors
/// Why it does not decode.
pub fn take<T: DeserializeOwned>(payload: &mut &[u8]) -> Result<T, String> {
    let (value, used) =
        decode_within_limit(payload).map_err(|error| format!("the content does not decode: {error}"))?;
    *payload = &payload[used..];
    Ok(value)
}

/// The one value of a payload.
fn take_all<T: DeserializeOwned>(mut payload: &[u8]) -> Result<T, String> {
    let value = take(&mut payload)?;
    if !payload.is_empty() {
        return Err(format!("{} bytes of content are left over", payload.len()));
    }
    Ok(value)
}

/// The file's bytes for a value.
///
/// # Errors
/// Why it cannot be encoded.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; HEADER];
    append(&mut bytes, value)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[HEADER..]);
    let header = Header::new(format, (bytes.len() - HEADER) as u64, hasher);
    bytes[..HEADER].copy_from_slice(&header.bytes());
    Ok(bytes)
}

/// The value in a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode<T: DeserializeOwned>(format: Format, bytes: &[u8]) -> Result<T, String> {
    let header = Header::parse(bytes)?.check(format)?;
    let payload = &bytes[HEADER..];
    header.verify(payload)?;
    take_all(payload)
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

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Writing(error)
    }
}

fn cannot_encode(error: &bincode::error::EncodeError) -> String {
    format!("the content cannot be encoded: {error}")
}

/// Writes a payload, counting and summing it on the way, and then the header before it: a large model is never in memory a
/// second time.
fn save_with(
    path: &Path,
    format: Format,
    payload: impl FnOnce(&mut BufWriter<Summed<&mut AtomicFile>>) -> Result<(), Failed>,
) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let write = || {
        file.write_all(&[0; HEADER])?;
        let mut summed = BufWriter::with_capacity(1 << 16, Summed::new(&mut file));
        payload(&mut summed)?;
        let Summed { length, hasher, .. } = summed.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&Header::new(format, length, hasher).bytes())?;
        Ok(())
    };
    write().map_err(|failed| match failed {
        Failed::Writing(source) => Error::io("write", path)(source),
        Failed::Encoding(why) => Error::contents(path, why),
    })?;
    file.commit()
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
    fn new(format: Format, length: u64, hasher: crc32fast::Hasher) -> Header {
        Header { version: format.version, kind: format.kind as u32, length, checksum: hasher.finalize() }
    }

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
        if bytes.starts_with(&RECOMMENDER_1) {
            return Err("a recommender in the first form of its files, which is not read any more".into());
        }
        if !bytes.starts_with(&MAGIC) {
            return Err(match bytes.len() {
                few @ ..8 => format!("{few} bytes are too few: this is not a Cairn file"),
                _ => "this is not a Cairn file".into(),
            });
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

    /// That the payload is the one announced.
    fn verify(&self, payload: &[u8]) -> Result<(), String> {
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
        Ok(())
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
                let config = bincode::config::standard().with_limit::<{ limit($bits) }>();
                return bincode::serde::decode_from_slice(payload, config);
            })*
        };
    }
    within!(12, 16, 20, 24, 28, 32);
    bincode::serde::decode_from_slice(payload, bincode::config::standard().with_limit::<LIMIT>())
}
