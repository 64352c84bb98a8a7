//! Reading files as they come: compressed by gzip or xz or not at all, told apart by their first bytes rather than their
//! names, and never more of them than the caller allows: a kilobyte can unpack to a gigabyte.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::budget::too_long;
use crate::error::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const BUFFER: usize = 1 << 16;

/// Opens a file of at most `limit` bytes, counted after unpacking. Reading fails with `FileTooLarge` beyond it.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or its first bytes not read; [`Error::Contents`] when they are not those of
/// the format that they announce.
pub fn open(path: &Path, limit: u64) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let unpacked = unpack(Box::new(BufReader::with_capacity(BUFFER, file)));
    let inner = unpacked.map_err(|error| Error::reading(path, error))?;
    Ok(Box::new(Limited { inner, limit, left: limit }))
}

/// All of a file, which must not have more than `limit` bytes, counted after unpacking.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("words.txt.gz");
/// # std::fs::write(&path, b"one two").unwrap();
/// let words = cairn_files::unpack::read(&path, 1 << 20)?; // packed or not
/// assert_eq!(words, b"one two");
/// let error = cairn_files::unpack::read(&path, 3).unwrap_err();
/// assert!(error.to_string().contains("more than 3 bytes"));
/// # Ok::<(), cairn_files::Error>(())
/// ```
///
/// # Errors
/// As [`open`], and for a file that is longer, cut short or damaged.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, limit)?.read_to_end(&mut bytes).map_err(|error| Error::reading(path, error))?;
    Ok(bytes)
}

/// Puts a decoder around a reader if its bytes begin as those of a compressed file.
fn unpack(mut reader: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    let start = reader.fill_buf()?;
    if start.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(reader))))
    } else if start.starts_with(&XZ_MAGIC) {
        unpack_xz(reader)
    } else {
        Ok(reader)
    }
}

#[cfg(feature = "xz")]
fn unpack_xz(reader: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(BufReader::with_capacity(BUFFER, lzma_rust2::XzReader::new(reader, true))))
}

#[cfg(not(feature = "xz"))]
fn unpack_xz(_reader: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "compressed by xz; build with the feature `xz`"))
}

/// A reader that fails where it would go on after `limit` bytes.
struct Limited {
    inner: Box<dyn BufRead>,
    limit: u64,
    left: u64,
}

impl BufRead for Limited {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.inner.fill_buf()?;
        match usize::try_from(self.left) {
            Ok(0) if !buffer.is_empty() => Err(too_long(self.limit)),
            Ok(left) if left < buffer.len() => Ok(&buffer[..left]),
            _ => Ok(buffer),
        }
    }

    fn consume(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        self.inner.consume(count);
    }
}

impl Read for Limited {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(to)?;
        self.consume(count);
        Ok(count)
    }
}
