//! Bytes that several tensors share: a file in place, or memory.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use crate::cpu::buffer::Buffer;
use crate::{Error, Result};

/// Bytes that are worth pages of their own.
const MANY: usize = 1 << 20;

/// Bytes that never change, shared by whoever holds a part of them: the content of a file, read in place, or of a vector.
///
/// ```
/// use cairn_tensor::SharedBytes;
/// let all = SharedBytes::from(vec![1, 2, 3, 4]);
/// let part = all.part(1..3).unwrap(); // no copy
/// assert_eq!(*part, [2, 3]);
/// assert!(all.part(3..5).is_none());
/// ```
#[derive(Clone)]
pub struct SharedBytes {
    owner: Arc<Owner>,
    range: Range<usize>,
}

enum Owner {
    Vec(Vec<u8>),
    Buffer(Buffer<u8>),
    Map(memmap2::Mmap),
    /// New memory, of pages that are there once they are written to.
    Pages(memmap2::MmapMut),
}

impl SharedBytes {
    /// The content of a file, mapped into memory: nothing is read before it is looked at, and the system may take the memory back,
    /// as it can read it again.
    ///
    /// As with every program that maps files, the file must stay as it is meanwhile. To *replace* it is safe, as all that
    /// Cairn writes is (a new file takes the name, and the old one lives on for whoever has it open). To write into it changes
    /// the bytes, and to cut it short ends the process (a signal) when it looks at what is gone.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be opened or mapped.
    #[doc(alias = "mmap")]
    pub fn map_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let map = || -> io::Result<Owner> {
            let file = File::open(path)?;
            if file.metadata()?.len() == 0 {
                return Ok(Owner::Vec(Vec::new()));
            }
            // SAFETY: the mapping is private and never written to. That nobody else writes into or cuts the file is what the
            // documentation above asks of the caller, as nothing in a program can forbid it; bytes have no invalid values, and
            // all that is read from them is checked before it is believed.
            Ok(Owner::Map(unsafe { memmap2::Mmap::map(&file)? }))
        };
        let owner = map().map_err(|error| Error::File {
            op: "map_file",
            path: path.display().to_string(),
            kind: error.kind(),
            why: error.to_string(),
        })?;
        Ok(Self::of(owner))
    }

    pub(crate) fn from_buffer(buffer: Buffer<u8>) -> Self {
        Self::of(Owner::Buffer(buffer))
    }

    /// New memory of exactly so many bytes, which `fill` writes; in pages as large as the system has, where it has several sizes.
    pub(crate) fn filled(bytes: usize, fill: impl FnOnce(&mut [u8])) -> Result<Self> {
        let pages = (bytes >= MANY).then(|| memmap2::MmapOptions::new().len(bytes).map_anon());
        let Some(Ok(mut pages)) = pages else {
            // Little to map, or no system to ask.
            let mut memory = Buffer::unspecified("pack", bytes)?;
            fill(&mut memory);
            return Ok(Self::from_buffer(memory));
        };
        #[cfg(target_os = "linux")]
        // It is a hint, and what becomes of it changes no result.
        drop(pages.advise(memmap2::Advice::HugePage));
        fill(&mut pages);
        Ok(Self::of(Owner::Pages(pages)))
    }

    fn of(owner: Owner) -> Self {
        let mut this = SharedBytes { owner: Arc::new(owner), range: 0..0 };
        this.range = 0..this.whole().len();
        this
    }

    fn whole(&self) -> &[u8] {
        match &*self.owner {
            Owner::Vec(bytes) => bytes,
            Owner::Buffer(bytes) => bytes,
            Owner::Map(bytes) => bytes,
            Owner::Pages(bytes) => bytes,
        }
    }

    /// Gives the memory that these bytes of a mapped file take back to the system, which reads them again when they are looked at:
    /// for whoever copies a file piece by piece, and would hold it twice at the end. Of bytes in memory nothing changes.
    ///
    /// ```
    /// use cairn_tensor::SharedBytes;
    /// let bytes = SharedBytes::from(vec![1, 2, 3]);
    /// bytes.release();
    /// assert_eq!(*bytes, [1, 2, 3]);
    /// ```
    #[doc(alias("madvise", "MADV_DONTNEED"))]
    pub fn release(&self) {
        #[cfg(unix)]
        if let Owner::Map(map) = &*self.owner {
            let (start, len) = (self.range.start, self.range.len());
            // SAFETY: the mapping is private and never written to, so there is nothing in it that the file has not; whoever looks at
            // the bytes afterwards gets them from the file again, as at the first time.
            let done = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
            // It is a hint, and what becomes of it changes no result.
            drop(done);
        }
    }

    /// A part of these bytes, without a copy; `None` where they do not reach as far.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        let (start, end) =
            (self.range.start.checked_add(range.start)?, self.range.start.checked_add(range.end)?);
        let fits = start <= end && end <= self.range.end;
        fits.then(|| SharedBytes { owner: Arc::clone(&self.owner), range: start..end })
    }
}

impl Deref for SharedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.whole()[self.range.clone()]
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(Owner::Vec(bytes))
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}
