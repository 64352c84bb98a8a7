//! Sorting more records than memory holds: parts sorted in memory and laid down one after the other, then merged.
//!
//! Parts are files without a name, which the system takes back when the program ends, however it ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut as _;

use crate::{Error, Result};

/// Parts that are merged together: each has a file open, of which a process may have a thousand or so.
const PARTS: usize = 128;
/// The longest record.
const LONGEST: usize = 32;

/// What is sorted. No two are equal, so that the order is one whatever the parts.
pub(super) trait Record: Copy + Ord + Send {
    /// Bytes in a file, at most [`LONGEST`].
    const BYTES: usize;
    fn write(&self, to: &mut [u8]);
    fn read(from: &[u8]) -> Self;
}

/// Takes records in any order and gives them back in theirs.
pub(super) struct Sorter<T> {
    folder: PathBuf,
    /// Records that memory holds.
    capacity: usize,
    records: Vec<T>,
    parts: Vec<File>,
}

impl<T: Record> Sorter<T> {
    /// With so many bytes of memory, and files in this folder where they are not enough.
    pub(super) fn new(folder: &Path, memory: u64) -> Self {
        let capacity = usize::try_from(memory / size_of::<T>() as u64).unwrap_or(usize::MAX).max(1);
        Sorter { folder: folder.to_owned(), capacity, records: Vec::new(), parts: Vec::new() }
    }

    pub(super) fn add(&mut self, record: T) -> Result<()> {
        if self.records.len() == self.capacity {
            self.lay_down()?;
        }
        if self.records.len() == self.records.capacity() {
            // Never more than was said, as doubling would.
            let room = self.records.len().max(1024).min(self.capacity - self.records.len());
            self.records.try_reserve_exact(room).map_err(|_| Error::Memory {
                what: "sorting a log".to_owned(),
                needed: (room * size_of::<T>()) as u64,
                limit: 0,
            })?;
        }
        self.records.push(record);
        Ok(())
    }

    /// Writes what is in memory, sorted.
    fn lay_down(&mut self) -> Result<()> {
        if self.parts.len() == PARTS {
            let parts = std::mem::take(&mut self.parts);
            let merged = self.write(Merged::<T>::of(parts, Vec::new(), &self.folder)?)?;
            self.parts.push(merged);
        }
        self.records.par_sort_unstable();
        let records = std::mem::take(&mut self.records);
        let part = self.write(records.iter().map(|record| Ok(*record)))?;
        self.parts.push(part);
        self.records = records;
        self.records.clear();
        Ok(())
    }

    fn write(&self, records: impl Iterator<Item = Result<T>>) -> Result<File> {
        let failed = |source| Error::Io { path: self.folder.clone(), source };
        let mut to = BufWriter::with_capacity(1 << 16, tempfile::tempfile_in(&self.folder).map_err(failed)?);
        let mut bytes = [0; LONGEST];
        for record in records {
            record?.write(&mut bytes[..T::BYTES]);
            to.write_all(&bytes[..T::BYTES]).map_err(failed)?;
        }
        let mut file = to.into_inner().map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        Ok(file)
    }

    /// All records in their order.
    pub(super) fn sorted(mut self) -> Result<Merged<T>> {
        self.records.par_sort_unstable();
        if !self.parts.is_empty() && !self.records.is_empty() {
            // On disk with the others: the memory is wanted for what comes of them.
            self.lay_down()?;
            self.records = Vec::new();
        }
        Merged::of(self.parts, self.records, &self.folder)
    }
}

/// Sorted parts as one.
pub(super) struct Merged<T> {
    folder: PathBuf,
    parts: Vec<BufReader<File>>,
    /// The next record of each part that has one, with the part.
    next: BinaryHeap<Reverse<(T, usize)>>,
    /// Where nothing had to be laid down.
    records: std::vec::IntoIter<T>,
}

impl<T: Record> Merged<T> {
    fn of(parts: Vec<File>, records: Vec<T>, folder: &Path) -> Result<Self> {
        let parts = parts.into_iter().map(|file| BufReader::with_capacity(1 << 15, file)).collect();
        let (folder, next) = (folder.to_owned(), BinaryHeap::new());
        let mut merged = Merged { folder, parts, next, records: records.into_iter() };
        (0..merged.parts.len()).try_for_each(|part| merged.advance(part))?;
        Ok(merged)
    }

    fn advance(&mut self, part: usize) -> Result<()> {
        let failed = |source| Error::Io { path: self.folder.clone(), source };
        let mut bytes = [0; LONGEST];
        let bytes = &mut bytes[..T::BYTES];
        // Parts hold whole records: an end is one only before the first byte of one.
        if self.parts[part].read(&mut bytes[..1]).map_err(failed)? == 1 {
            self.parts[part].read_exact(&mut bytes[1..]).map_err(failed)?;
            self.next.push(Reverse((T::read(bytes), part)));
        }
        Ok(())
    }
}

impl<T: Record> Iterator for Merged<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let Some(Reverse((record, part))) = self.next.pop() else { return self.records.next().map(Ok) };
        Some(self.advance(part).map(|()| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record for u64 {
        const BYTES: usize = 8;
        fn write(&self, to: &mut [u8]) {
            to.copy_from_slice(&self.to_le_bytes());
        }
        fn read(from: &[u8]) -> Self {
            u64::from_le_bytes(from.try_into().unwrap())
        }
    }

    #[test]
    fn records_come_back_in_order_however_little_memory_there_is() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, 7, 2000] {
            for memory in [0, 8 * 6, 8 * 7, 8 * 100, u64::MAX] {
                // Parts of one record: more of them than are merged at once.
                let mut sorter = Sorter::new(folder.path(), memory);
                (0..count).for_each(|n: u64| sorter.add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap());
                let found: Vec<u64> = sorter.sorted().unwrap().map(Result::unwrap).collect();
                assert!(found.len() as u64 == count && found.is_sorted(), "{count} of {memory}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left over");
    }
}
