//! Reading files as they come: compressed by gzip or xz or not at all, told apart by their first bytes rather than their
//! names. And writing them in one step.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const XZ_MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// Opens a file for reading; compressed contents are unpacked on the way, whatever the file's name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or its first bytes not read.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    unpack(Box::new(BufReader::with_capacity(1 << 16, file))).map_err(|e| read_error(path, e))
}

/// Puts a decoder around a reader if its bytes begin as gzip's or xz's do.
pub(crate) fn unpack<'a>(mut reader: Box<dyn BufRead + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    let start = reader.fill_buf()?;
    if start.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))))
    } else if start.starts_with(&XZ_MAGIC) {
        unpack_xz(reader)
    } else {
        Ok(reader)
    }
}

#[cfg(feature = "xz")]
fn unpack_xz<'a>(reader: Box<dyn BufRead + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    Ok(Box::new(BufReader::with_capacity(1 << 16, lzma_rust2::XzReader::new(reader, true))))
}

#[cfg(not(feature = "xz"))]
fn unpack_xz<'a>(_reader: Box<dyn BufRead + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "compressed by xz; build with the feature `xz`"))
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

/// Reads all of a text file in UTF-8, compressed or not.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    utf8(read_limited(open(path)?, path, limit)?, path)
}

/// Bytes as text.
pub(crate) fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        Error::line(path, line, "not UTF-8")
    })
}

/// Writes a text file in one step: whenever the program ends there is either the old file or the new one.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(Error::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("move into place", path))
}
