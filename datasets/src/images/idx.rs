//! IDX, the format of MNIST: a magic number, the sizes along each axis, then the values, all big-endian.
//!
//! ```text
//! byte 0-1  zero
//! byte 2    element type, 0x08 for unsigned bytes (the only one read here)
//! byte 3    number of axes
//! then      one u32 for each axis, then the values in row-major order
//! ```
//!
//! So an image file begins with 0x00000803 (2051) and a label file with 0x00000801 (2049). A header can ask for any amount
//! of memory; nothing is reserved beyond what has really been read.

use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;

/// Most values a file may hold: 2 GiB, forty times MNIST.
pub const MAX_VALUES: u64 = 2 << 30;
/// Bytes before the values: the magic number and up to 255 sizes.
const MAX_HEADER: u64 = 4 * 256;

/// The contents of an IDX file of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// The sizes along each axis.
    pub shape: Vec<usize>,
    /// The values in row-major order; as many as the product of the shape.
    pub values: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with the given number of axes, gzipped or not.
///
/// # Errors
/// [`Error::Format`] naming the file for a wrong magic number, sizes beyond [`MAX_VALUES`], a file that ends early, goes on
/// after its last value or is damaged; [`Error::Io`] when it cannot be read.
pub fn read(path: &Path, axes: usize) -> Result<Idx> {
    // A data set has a copy of its own.
    read_from(files::open(path, MAX_VALUES + MAX_HEADER, 3)?, path, axes)
}

/// As [`read`], from any reader of uncompressed bytes; `path` is for messages.
///
/// # Errors
/// [`Error::Format`] naming the file for a wrong magic number, sizes beyond [`MAX_VALUES`], and data that ends early or goes on
/// after its last value; [`Error::Io`] when the reader fails.
pub fn read_from(mut reader: impl Read, path: &Path, axes: usize) -> Result<Idx> {
    let magic = read_u32(&mut reader, path)?;
    let expected = magic_number(axes);
    if magic != expected {
        return Err(Error::format(
            path,
            format!(
                "magic number {magic:#010x}, not {expected:#010x}: not an IDX file of bytes with {axes} axes"
            ),
        ));
    }
    let sizes = (0..axes).map(|_| read_u32(&mut reader, path)).collect::<Result<Vec<_>>>()?;
    let len = sizes.iter().try_fold(1u64, |n, &size| n.checked_mul(u64::from(size)));
    let len = match len {
        Some(len) if len <= MAX_VALUES => len,
        _ => return Err(Error::format(path, format!("sizes {sizes:?} are more than {MAX_VALUES} values"))),
    };
    let mut values = Vec::new();
    // `take` and growing as bytes arrive: the header's word is not enough to reserve memory on.
    reader.by_ref().take(len).read_to_end(&mut values).map_err(files::error(path))?;
    if (values.len() as u64) < len {
        let message = format!("ends after {} of {len} values (truncated?)", values.len());
        return Err(Error::format(path, message));
    }
    // Reading on to the end also makes gzip compare its checksum.
    if reader.read(&mut [0]).map_err(files::error(path))? > 0 {
        return Err(Error::format(path, format!("goes on after the {len} values its header announces")));
    }
    Ok(Idx { shape: sizes.into_iter().map(|size| size as usize).collect(), values })
}

/// Writes unsigned bytes in IDX form, uncompressed.
///
/// ```
/// use cairn_datasets::idx::{self, Idx};
/// let labels = Idx { shape: vec![3], values: vec![7, 2, 1] };
/// let mut bytes = Vec::new();
/// idx::write(&mut bytes, &labels)?;
/// assert_eq!(bytes, [0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]);
/// assert_eq!(idx::read_from(&bytes[..], "labels".as_ref(), 1).unwrap(), labels);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` when the shape does not fit the format or the values; what the writer says.
pub fn write(writer: &mut impl Write, idx: &Idx) -> std::io::Result<()> {
    let invalid = |message| std::io::Error::new(std::io::ErrorKind::InvalidInput, message);
    if idx.shape.len() > 255 || idx.shape.iter().product::<usize>() != idx.values.len() {
        return Err(invalid("IDX: the shape does not hold the values"));
    }
    writer.write_all(&magic_number(idx.shape.len()).to_be_bytes())?;
    for &size in &idx.shape {
        let size = u32::try_from(size).map_err(|_| invalid("IDX: an axis is longer than 2^32 - 1"))?;
        writer.write_all(&size.to_be_bytes())?;
    }
    writer.write_all(&idx.values)
}

fn magic_number(axes: usize) -> u32 {
    0x0800 | axes as u32
}

fn read_u32(reader: &mut impl Read, path: &Path) -> Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).map_err(files::error(path))?;
    Ok(u32::from_be_bytes(bytes))
}
