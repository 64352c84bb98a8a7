//! Reading files as they come: gzipped or not, told apart by their first bytes rather than their names.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file for reading; gzipped contents are unpacked on the way, whatever the file's name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or its first bytes not read.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    unpack(Box::new(BufReader::with_capacity(1 << 16, file))).map_err(Error::io("read", path))
}

/// Puts a gzip decoder around a reader if its bytes begin as gzip's do.
pub(crate) fn unpack<'a>(mut reader: Box<dyn BufRead + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    if reader.fill_buf()?.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))))
    } else {
        Ok(reader)
    }
}

/// What a failed read means. A compressed stream that ends early or does not decode is a fault of the file and not of
/// the system.
pub(crate) fn read_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::format(path, "the file ends too early (truncated?)"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::format(path, format!("damaged contents: {source}"))
        }
        _ => Error::Io { action: "read", path: path.to_owned(), source },
    }
}

/// Reads all of a file, at most `limit` bytes.
pub(crate) fn read_limited(reader: impl io::Read, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let n = reader.take(limit + 1).read_to_end(&mut bytes).map_err(|e| read_error(path, e))?;
    if n as u64 > limit {
        return Err(Error::format(path, format!("more than {limit} bytes of contents")));
    }
    Ok(bytes)
}

/// Text in ISO-8859-1, in which every byte is the character of that number.
pub(crate) fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}
