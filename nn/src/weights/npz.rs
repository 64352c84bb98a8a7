//! NumPy's `.npz` archives of named arrays.
//!
//! They are compressed, so a small hostile file may unpack to much: all arrays together may take sixteen times the file's
//! size and a mebibyte. Weights barely compress; an archive that is mostly zeros needs
//! [`read_npz_within`](Weights::read_npz_within).

use std::fs;
use std::path::Path;

use cairn_tensor::{NpzReader, NpzWriter};

use super::{Weights, bad};
use crate::{Error, Result};

impl Weights {
    /// Reads an archive, every array in its own type; types that Cairn has not are left out.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::BadFile`] when it is damaged, or unpacks to more than sixteen times
    /// its size and a mebibyte.
    pub fn read_npz(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let size = fs::metadata(path).map_err(Error::file(path))?.len();
        Weights::read_npz_within(path, size.saturating_mul(16).saturating_add(1 << 20))
    }

    /// As [`read_npz`](Self::read_npz), where all arrays together may take so many bytes.
    ///
    /// # Errors
    /// As [`read_npz`](Self::read_npz).
    pub fn read_npz_within(path: impl AsRef<Path>, bytes: u64) -> Result<Self> {
        let path = path.as_ref();
        fs::metadata(path).map_err(Error::file(path))?;
        let why = |error: cairn_tensor::Error| bad(path)(error.to_string());
        let (mut left, mut weights) = (bytes, Weights::default());
        let mut archive = NpzReader::open(path).map_err(why)?;
        for name in archive.names() {
            archive = archive.limit(left);
            if archive.dtype(&name).map_err(why)?.is_none() {
                weights.left_out.push(name);
                continue;
            }
            let tensor = archive.read_any(&name).map_err(why)?;
            left = left.saturating_sub(tensor.byte_count() as u64);
            weights.tensors.insert(name, tensor.contiguous()?);
        }
        weights.left_out.sort();
        Ok(weights)
    }

    /// Writes an archive, in one step: an old file is replaced only once the new one is complete. A link is replaced by the file, not
    /// followed. Metadata is not kept.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it cannot be written, or a type is one that NumPy has not (bf16).
    pub fn write_npz(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = || -> cairn_tensor::Result<()> {
            let mut archive = NpzWriter::create(path)?;
            for (name, tensor) in &self.tensors {
                archive.add_any(name, tensor)?;
            }
            archive.finish()
        };
        write().map_err(|error| bad(path)(error.to_string()))
    }
}
