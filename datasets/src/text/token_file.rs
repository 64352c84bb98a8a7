//! A corpus of token ids that is read by position, so that it may be far larger than memory.
//!
//! The file is nothing but the ids, one after the other, lowest byte first, in two bytes each where the vocabulary has at most 65,536
//! tokens and in four otherwise: what nanoGPT's `train.bin` and llama2.c's are, and what any program can write. The size of the
//! vocabulary is not in it, so the reader has to say it, and every id is held against it as it is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_tensor::Tensor;

use crate::dataset::{Dataset, check_indices};
use crate::error::{Error, Result};

/// Ids that two bytes can tell apart.
const SHORT: usize = 1 << 16;
/// Bytes read at a time.
const PART: usize = 1 << 16;

/// A file of token ids as a data set for language models: windows, and the same windows one token later, each read when it is asked for.
///
/// ```
/// use cairn_datasets::text::TokenFile;
/// use cairn_datasets::Dataset;
/// let path = std::env::temp_dir().join(format!("cairn-tokens-{}.bin", std::process::id()));
/// TokenFile::write(&path, 50_257, (0..10).map(|i| i * 5000))?;
/// let data = TokenFile::open(&path, 50_257)?.windows(3, 3)?;
/// assert_eq!((data.tokens(), data.len()), (10, 3));
/// let (x, y) = data.batch(&[0, 2])?;
/// assert_eq!(x.to_vec(), [0, 5000, 10_000, 30_000, 35_000, 40_000]);
/// assert_eq!(y.to_vec(), [5000, 10_000, 15_000, 35_000, 40_000, 45_000]);
/// # std::fs::remove_file(&path).ok();
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
///
/// In memory, see [`WindowDataset`](super::WindowDataset).
#[doc(alias("memmap", "train.bin", "MMapIndexedDataset"))]
#[derive(Debug, Clone)]
pub struct TokenFile {
    /// A read moves the place in the file, so that one thread reads at a time.
    file: Arc<Mutex<File>>,
    path: PathBuf,
    vocabulary: usize,
    tokens: usize,
    time: usize,
    stride: usize,
}

impl TokenFile {
    /// Writes ids below `vocabulary` to a file, in one step: whoever reads it finds the old one or all of the new one.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id beyond the vocabulary, with its position, or no vocabulary; [`Error::Io`] when the file cannot be
    /// written.
    pub fn write(
        path: impl AsRef<Path>,
        vocabulary: usize,
        ids: impl IntoIterator<Item = u32>,
    ) -> Result<()> {
        let path = path.as_ref();
        let width = width(vocabulary)?;
        let mut file = cairn_files::AtomicFile::create(path)?;
        for (position, id) in ids.into_iter().enumerate() {
            check(id, position, vocabulary).map_err(|message| Error::argument("TokenFile", message))?;
            file.write_all(&id.to_le_bytes()[..width]).map_err(Error::io("write", path))?;
        }
        Ok(file.commit()?)
    }

    /// Opens a file of ids below `vocabulary`, as one window.
    ///
    /// # Errors
    /// [`Error::Format`] for a file whose length is no number of ids; [`Error::Empty`] for fewer than two; [`Error::Argument`] for no
    /// vocabulary; [`Error::Io`] when it cannot be read.
    pub fn open(path: impl AsRef<Path>, vocabulary: usize) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let width = width(vocabulary)?;
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        if !length.is_multiple_of(width as u64) {
            let message = format!("{length} bytes are no number of ids of {width} bytes");
            return Err(Error::format(&path, message));
        }
        let tokens = usize::try_from(length / width as u64).unwrap_or(usize::MAX);
        if tokens < 2 {
            return Err(Error::Empty { what: "TokenFile" });
        }
        let file = Arc::new(Mutex::new(file));
        Ok(TokenFile { file, path, vocabulary, tokens, time: tokens - 1, stride: tokens - 1 })
    }

    /// Windows of `time` tokens, one every `stride` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] for a window or stride of 0, or a file that is shorter than a window and one.
    pub fn windows(self, time: usize, stride: usize) -> Result<Self> {
        if time == 0 || stride == 0 {
            return Err(Error::argument("TokenFile", "windows and strides have at least 1 token"));
        }
        if time >= self.tokens {
            let message =
                format!("{} tokens are too few for a window of {time} and the token after it", self.tokens);
            return Err(Error::argument("TokenFile", message));
        }
        Ok(TokenFile { time, stride, ..self })
    }

    /// The number of ids in the file.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// So many ids from a position on.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] where the file does not have them; [`Error::Format`] for an id beyond the vocabulary, with its
    /// position; [`Error::Io`] when the file cannot be read, was cut since it was opened, or memory does not hold the ids.
    pub fn read(&self, start: usize, count: usize) -> Result<Vec<u32>> {
        if start.checked_add(count).is_none_or(|end| end > self.tokens) {
            return Err(Error::IndexOutOfRange { index: start.saturating_add(count), len: self.tokens });
        }
        let width = width(self.vocabulary)?;
        let mut ids = self.room(count)?;
        let mut part = [0; PART];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let place = SeekFrom::Start(start as u64 * width as u64);
        file.seek(place).map_err(Error::io("read", &self.path))?;
        while ids.len() < count {
            let bytes = &mut part[..PART.min((count - ids.len()) * width)];
            file.read_exact(bytes).map_err(Error::io("read", &self.path))?;
            for bytes in bytes.chunks_exact(width) {
                let id = bytes.iter().rev().fold(0, |id, &byte| id << 8 | u32::from(byte));
                let checked = check(id, start + ids.len(), self.vocabulary);
                checked.map_err(|message| Error::format(&self.path, message))?;
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Room for so many ids: files are larger than memory.
    fn room(&self, count: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let refused = |_| Error::io("read", &self.path)(io::ErrorKind::OutOfMemory.into());
        ids.try_reserve_exact(count).map_err(refused)?;
        Ok(ids)
    }
}

impl Dataset for TokenFile {
    type Input = Tensor<u32>;
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        // A window and the token after it.
        (self.tokens - self.time - 1) / self.stride + 1
    }

    fn batch(&self, indices: &[usize]) -> Result<(Tensor<u32>, Tensor<u32>)> {
        check_indices(indices, self.len())?;
        let count = indices.len().saturating_mul(self.time);
        let (mut now, mut next) = (self.room(count)?, self.room(count)?);
        for &index in indices {
            let ids = self.read(index * self.stride, self.time + 1)?;
            now.extend_from_slice(&ids[..self.time]);
            next.extend_from_slice(&ids[1..]);
        }
        let shape = [indices.len(), self.time];
        Ok((Tensor::from_vec(now, shape)?, Tensor::from_vec(next, shape)?))
    }
}

/// The bytes of an id.
fn width(vocabulary: usize) -> Result<usize> {
    match vocabulary {
        0 => Err(Error::argument("TokenFile", "the vocabulary must have at least 1 token")),
        size if size <= SHORT => Ok(2),
        _ => Ok(4),
    }
}

fn check(id: u32, position: usize, vocabulary: usize) -> std::result::Result<(), String> {
    match (id as usize) < vocabulary {
        true => Ok(()),
        false => Err(format!("id {id} at position {position} is outside the vocabulary of {vocabulary}")),
    }
}
