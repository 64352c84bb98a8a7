//! Numbers and texts as bytes, little-endian, and back. A message of another process is checked as a file would be: a length that
//! cannot be is an error, and nothing is allocated for it.

use crate::{Error, Result};

/// Writes values one after another.
#[derive(Debug, Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Writer::default()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// A number.
    pub fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    /// Bytes and their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Values and their number.
    pub fn f32s(&mut self, values: &[f32]) {
        self.u64(values.len() as u64);
        let start = self.0.len();
        self.0.resize(start + 4 * values.len(), 0);
        for (to, value) in self.0[start..].chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Values and their number.
    pub fn u32s(&mut self, values: &[u32]) {
        self.u64(values.len() as u64);
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

/// Reads in the order of writing.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let cut = || Error::Malformed(format!("a message ends {} bytes early", count - self.0.len()));
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the end, as for all of these.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A number.
    ///
    /// # Errors
    /// At the end.
    pub fn u64(&mut self) -> Result<u64> {
        let mut value = [0; 8];
        value.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(value))
    }

    /// Bytes.
    ///
    /// # Errors
    /// At the end.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.count(1)?;
        self.take(count)
    }

    /// A text.
    ///
    /// # Errors
    /// At the end, and if it is none.
    pub fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Error::Malformed("a text that is not UTF-8".into()))
    }

    /// Values.
    ///
    /// # Errors
    /// At the end.
    pub fn f32s(&mut self) -> Result<Vec<f32>> {
        self.words(f32::from_le_bytes)
    }

    /// Values.
    ///
    /// # Errors
    /// At the end.
    pub fn u32s(&mut self) -> Result<Vec<u32>> {
        self.words(u32::from_le_bytes)
    }

    fn words<T>(&mut self, of: impl Fn([u8; 4]) -> T) -> Result<Vec<T>> {
        let count = self.count(4)?;
        let word = |bytes: &[u8]| of([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(self.take(4 * count)?.chunks_exact(4).map(word).collect())
    }

    /// A number of values of so many bytes, as many as there can be.
    fn count(&mut self, width: usize) -> Result<usize> {
        let count = self.u64()?;
        let fits = usize::try_from(count).ok().filter(|count| *count <= self.0.len() / width);
        fits.ok_or_else(|| Error::Malformed(format!("{count} values announced in {} bytes", self.0.len())))
    }
}
