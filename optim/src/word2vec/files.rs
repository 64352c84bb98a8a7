//! Word vectors in the formats of word2vec's own code, which gensim and others read and write.
//!
//! Both begin with a line `words size`. As text each further line is a word and its numbers, apart by spaces; in binary a
//! word and a space are followed by its values as little-endian `f32`, and maybe a line end.
//!
//! A heading is a claim: memory is taken for what the file can hold at its length, not for what it says.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use cairn_tensor::Tensor;

use super::WordVectors;
use crate::{Error, Result};

/// A longer word is a sign of another kind of file.
const MAX_WORD: u64 = 1 << 16;

impl WordVectors {
    /// Writes the vectors as text, in one step.
    ///
    /// # Errors
    /// [`Error::WordVectors`] for words that are empty or hold white space, which the format cannot; [`Error::Data`] when
    /// the file cannot be written.
    pub fn save_text(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save(path.as_ref(), |file, word, row| {
            write!(file, "{word}")?;
            row.iter().try_for_each(|x| write!(file, " {x}"))?;
            writeln!(file)
        })
    }

    /// Writes the vectors in binary, in one step. A quarter of the size of the text, and exact too.
    ///
    /// # Errors
    /// [`Error::WordVectors`] for words that are empty or hold white space; [`Error::Data`] when the file cannot be written.
    pub fn save_binary(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save(path.as_ref(), |file, word, row| {
            write!(file, "{word} ")?;
            row.iter().try_for_each(|x| file.write_all(&x.to_le_bytes()))?;
            writeln!(file)
        })
    }

    fn save(
        &self,
        path: &Path,
        line: impl Fn(&mut BufWriter<File>, &str, &[f32]) -> std::io::Result<()>,
    ) -> Result<()> {
        let bad = |word: &&String| word.is_empty() || word.contains(char::is_whitespace);
        if let Some(word) = self.words().iter().find(bad) {
            return Err(Error::WordVectors(format!(
                "`{}` is empty or holds white space",
                word.escape_debug()
            )));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let write = || {
            let mut file = BufWriter::new(File::create(&temporary)?);
            writeln!(file, "{} {}", self.len(), self.size())?;
            let values = self.vectors().as_slice().unwrap_or_default();
            for (word, row) in self.words().iter().zip(values.chunks_exact(self.size().max(1))) {
                line(&mut file, word, row)?;
            }
            file.into_inner()?.sync_all()
        };
        write().map_err(io("write", &temporary))?;
        fs::rename(&temporary, path).map_err(io("move into place", path))
    }

    /// Reads vectors from text.
    ///
    /// # Errors
    /// [`Error::Data`] with the line of what does not read, or when the file cannot be read; as [`new`](Self::new).
    pub fn load_text(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        // A component takes a space and a digit at least.
        let (count, size) = reader.heading(2)?;
        let (mut words, mut values) = (Vec::new(), Vec::new());
        for line in 2..count + 2 {
            let fault = |message: &str| fault(path, Some(line), message);
            let text = reader.line(line)?.ok_or_else(|| fault("the file ends too early (truncated?)"))?;
            let mut parts = text.trim_end().split(' ');
            let word = parts.next().filter(|word| !word.is_empty()).ok_or_else(|| fault("no word"))?;
            words.push(word.to_owned());
            for part in parts {
                values.push(part.parse::<f32>().map_err(|_| fault("a component is not a number"))?);
            }
            if values.len() != words.len() * size {
                return Err(fault("another number of components than the heading says"));
            }
        }
        if reader.line(count + 2)?.is_some_and(|line| !line.trim().is_empty()) {
            return Err(fault(path, Some(count + 2), "more vectors than the heading says"));
        }
        Self::new(words, &Tensor::from_vec(values, [count, size])?)
    }

    /// Reads vectors from binary.
    ///
    /// # Errors
    /// [`Error::Data`] when the file cannot be read or is not in this format; as [`new`](Self::new).
    pub fn load_binary(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        let (count, size) = reader.heading(4)?;
        let (mut words, mut values) = (Vec::new(), Vec::new());
        let mut row = vec![0; size * 4];
        for _ in 0..count {
            words.push(reader.word()?);
            reader.inner.read_exact(&mut row).map_err(|e| reader_fault(path, e))?;
            let components = row.as_chunks::<4>().0;
            values.extend(components.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        let mut rest = Vec::new();
        reader.inner.take(2).read_to_end(&mut rest).map_err(|e| reader_fault(path, e))?;
        if !matches!(rest.as_slice(), [] | b"\n") {
            return Err(fault(path, None, "more contents than the heading says"));
        }
        Self::new(words, &Tensor::from_vec(values, [count, size])?)
    }
}

struct Reader<'a> {
    path: &'a Path,
    inner: BufReader<File>,
    len: u64,
    /// The longest line that is read.
    limit: u64,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(io("open", path))?;
        let len = file.metadata().map_err(io("open", path))?.len();
        Ok(Reader { path, inner: BufReader::new(file), len, limit: MAX_WORD })
    }

    /// Numbers of words and components, which the file is long enough for if a component takes `least` bytes.
    fn heading(&mut self, least: u64) -> Result<(usize, usize)> {
        let wrong = || fault(self.path, Some(1), "not the numbers of words and components");
        let line = self.line(1)?.ok_or_else(|| fault(self.path, Some(1), "the file is empty"))?;
        let numbers: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let &[count, size] = numbers.as_slice() else { return Err(wrong()) };
        if line.split_whitespace().count() != 2 || size == 0 {
            return Err(wrong());
        }
        let row = size.checked_mul(least).and_then(|bytes| bytes.checked_add(1));
        let whole = row.and_then(|row| row.checked_mul(count.max(1)));
        if whole.is_none_or(|bytes| count > 0 && bytes > self.len || size > u64::from(u32::MAX)) {
            let message = format!("{count} vectors of {size} components do not fit into {} bytes", self.len);
            return Err(fault(self.path, Some(1), &message));
        }
        self.limit = MAX_WORD + size * 64;
        // Both are below the length of a file, or 0.
        Ok((count as usize, size as usize))
    }

    /// The next line; `None` at the end.
    fn line(&mut self, number: usize) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        let mut limited = self.inner.by_ref().take(self.limit);
        limited.read_until(b'\n', &mut bytes).map_err(|e| reader_fault(self.path, e))?;
        if bytes.len() as u64 == self.limit && bytes.last() != Some(&b'\n') {
            return Err(fault(self.path, Some(number), "the line is too long"));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| fault(self.path, Some(number), "not UTF-8"))
    }

    /// A word up to the space after it; line ends before it belong to the row before.
    fn word(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut limited = self.inner.by_ref().take(MAX_WORD);
        limited.read_until(b' ', &mut bytes).map_err(|e| reader_fault(self.path, e))?;
        if bytes.pop() != Some(b' ') {
            return Err(fault(
                self.path,
                None,
                "the file ends too early (truncated?), or a word is too long",
            ));
        }
        let word = String::from_utf8(bytes).map_err(|_| fault(self.path, None, "a word is not UTF-8"))?;
        match word.trim_start_matches('\n') {
            "" => Err(fault(self.path, None, "a word is empty")),
            word => Ok(word.to_owned()),
        }
    }
}

fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + 'a {
    move |source| cairn_datasets::Error::Io { action, path: path.to_owned(), source }.into()
}

fn reader_fault(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::UnexpectedEof => fault(path, None, "the file ends too early (truncated?)"),
        _ => io("read", path)(source),
    }
}

fn fault(path: &Path, line: Option<usize>, message: &str) -> Error {
    cairn_datasets::Error::Format { path: path.to_owned(), line, message: message.to_owned() }.into()
}
