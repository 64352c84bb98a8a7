//! How much memory may be made of a file.
//!
//! A limit on the bytes of a file, packed or unpacked, says little about memory: a row of two bytes can become a struct of two
//! hundred, a kilobyte unpack to a gigabyte. So readers count what they make, and stop with an error before it is more than a
//! multiple of what the file has on disk. Nothing that a person stores comes near the multiple; what was made to fill the memory
//! does.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Bytes in memory for each byte of a file.
const TIMES: u64 = 20;
/// And for any file.
const BASE: u64 = 56 << 20;

/// What may still be made of a file: twenty times its length on disk, and 56 MiB for the small ones.
///
/// ```
/// let mut budget = cairn_files::Budget::of_length(1000);
/// assert!(budget.take(1 << 20).is_ok());
/// let error = budget.take(1 << 30).unwrap_err();
/// assert!(error.to_string().contains("unpack it first"), "{error}");
/// ```
#[derive(Debug, Clone)]
pub struct Budget {
    length: u64,
    limit: u64,
    left: u64,
}

impl Budget {
    /// Of a file, packed or not.
    ///
    /// # Errors
    /// [`Error::Io`] when the file is not there.
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self::of_length(fs::metadata(path).map_err(Error::io("open", path))?.len()))
    }

    /// Of a file of this length.
    pub fn of_length(length: u64) -> Self {
        let limit = length.saturating_mul(TIMES).saturating_add(BASE);
        Budget { length, limit, left: limit }
    }

    /// Of text in memory, or a stream of unknown length: no more than this.
    pub fn of_bytes(limit: u64) -> Self {
        Budget { length: 0, limit, left: limit }
    }

    /// With another limit, for whoever trusts the file.
    #[must_use]
    pub fn limit(self, bytes: u64) -> Self {
        let taken = self.limit - self.left;
        Budget { limit: bytes, left: bytes.saturating_sub(taken), ..self }
    }

    /// Bytes that may still be made.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Bytes that were counted.
    pub fn taken(&self) -> u64 {
        self.limit.saturating_sub(self.left)
    }

    /// Counts bytes that are about to be made.
    ///
    /// # Errors
    /// `FileTooLarge` when they are more than is left.
    pub fn take(&mut self, bytes: u64) -> io::Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exceeded()),
        }
    }

    fn exceeded(&self) -> io::Error {
        let Budget { length, limit, .. } = self;
        let message = if *length == 0 {
            format!("more than {limit} bytes of memory would be made of it")
        } else {
            format!(
                "more than {limit} bytes of memory would be made of {length} bytes: no ordinary file; \
                 if it is packed and can be trusted, unpack it first"
            )
        };
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    }
}

/// All that a reader gives, as it is: a member of an archive, say.
///
/// # Errors
/// What the reader says, and `FileTooLarge` for more than `limit` bytes.
pub fn read_limited(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)? as u64 > limit {
        return Err(too_long(limit));
    }
    Ok(bytes)
}

/// The error of a file that goes on after the limit.
pub(crate) fn too_long(limit: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes of contents"))
}
