//! A part of a file as a matrix in compressed rows: the rows are on disk, where each of them begins is in memory.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::{Error, Result};

/// Bytes of an entry: its column and its value, both of 32 bits, little-endian.
pub(super) const ENTRY: usize = 8;
/// Entries that are read together, where a row has not more: half a mebibyte, which is enough to do for some threads.
const TOGETHER: usize = 1 << 16;

/// The file that rows are in, read by one at a time.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file: Mutex<File>,
}

impl Source {
    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        // A reader that panicked has left nothing but a position, which is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes));
        read.map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

/// Rows of a matrix on disk.
#[derive(Debug, Clone)]
pub(crate) struct StoredRows<R, C> {
    source: Arc<Source>,
    /// Where the first entry is in the file.
    start: u64,
    n_cols: usize,
    offsets: Arc<Vec<usize>>,
    types: PhantomData<fn(R, C)>,
}

impl<R: Idx, C: Idx> StoredRows<R, C> {
    /// `offsets` ascend from 0 to the number of entries.
    pub(super) fn new(source: Arc<Source>, start: u64, n_cols: usize, offsets: Vec<usize>) -> Self {
        StoredRows { source, start, n_cols, offsets: Arc::new(offsets), types: PhantomData }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn n_cols(&self) -> usize {
        self.n_cols
    }

    pub(crate) fn nnz(&self) -> usize {
        self.offsets[self.n_rows()]
    }

    /// Where each row begins, in entries, and where the last ends.
    pub(crate) fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The rows from one to before another, as a matrix of these alone.
    pub(crate) fn read(&self, rows: Range<usize>) -> Result<Csr<R, C>> {
        let entries = self.offsets[rows.start]..self.offsets[rows.end];
        let mut bytes = vec![0; entries.len() * ENTRY];
        self.source.read(self.start + (entries.start * ENTRY) as u64, &mut bytes)?;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let columns = bytes.chunks_exact(ENTRY).map(|entry| C::from_u32(word(entry))).collect();
        let values = bytes.chunks_exact(ENTRY).map(|entry| f32::from_bits(word(&entry[4..]))).collect();
        let offsets = self.offsets[rows.start..=rows.end].iter().map(|at| at - entries.start).collect();
        let part = Csr::from_parts(self.n_cols, offsets, columns, values);
        if part.is_consistent() {
            return Ok(part);
        }
        let reason = format!("the entries of {} {} to {} are damaged", R::KIND, rows.start, rows.end - 1);
        Err(Error::ModelFile { path: self.source.path.clone(), reason })
    }

    /// Parts of these rows to read one after the other. They end at multiples of `unit`, or with the last row.
    pub(crate) fn parts(&self, rows: Range<usize>, unit: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = rows.start;
        std::iter::from_fn(move || {
            let start = next;
            while next < rows.end && (next == start || self.offsets[next] - self.offsets[start] < TOGETHER) {
                next = ((next / unit + 1) * unit).min(rows.end);
            }
            (start < next).then_some(start..next)
        })
    }
}
