//! Word vectors in the formats of word2vec's own code, which gensim and others read and write.
//!
//! Both begin with a line `words size`, which text may lack, as GloVe's has none. As text each further line is a word and its
//! numbers, apart by spaces or tabs; a word may hold spaces, since the numbers are counted from the end. In binary a word and a
//! space are followed by its values as little-endian `f32`, and maybe a line end.
//!
//! A heading is a claim: memory is taken for what the file can hold at its length, not for what it says.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use cairn_files::{AtomicFile, Budget};
use cairn_tensor::Tensor;

use super::WordVectors;
use crate::{Error, Result};

/// A longer word is a sign of another kind of file.
const MAX_WORD: u64 = 1 << 16;
/// A longer line, too, where no heading says how long they are.
const MAX_LINE: u64 = 1 << 20;

impl WordVectors {
    /// Writes the vectors as text, in one step. A link is replaced by the file, not followed.
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

    /// Writes the vectors in binary, in one step, a link in its place replaced, not followed. A quarter of the size of the text, and exact too.
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
        line: impl Fn(&mut AtomicFile, &str, &[f32]) -> std::io::Result<()>,
    ) -> Result<()> {
        let bad = |word: &&String| word.is_empty() || word.contains(char::is_whitespace);
        if let Some(word) = self.words().iter().find(bad) {
            return Err(Error::WordVectors(format!(
                "`{}` is empty or holds white space",
                word.escape_debug()
            )));
        }
        let mut file = AtomicFile::create(path).map_err(cairn_datasets::Error::from)?;
        let write = |file: &mut AtomicFile| {
            writeln!(file, "{} {}", self.len(), self.size())?;
            let values = self.vectors().as_slice().unwrap_or_default();
            let mut rows = self.words().iter().zip(values.chunks_exact(self.size().max(1)));
            rows.try_for_each(|(word, row)| line(file, word, row))
        };
        write(&mut file).map_err(io("write", path))?;
        Ok(file.commit().map_err(cairn_datasets::Error::from)?)
    }

    /// Reads vectors from text, with a heading or, as GloVe's, without: a first line of two numbers is one.
    ///
    /// # Errors
    /// [`Error::Data`] with the line of what does not read, when there are not as many vectors as the heading says, or the file
    /// cannot be read; as [`new`](Self::new).
    #[doc(alias("load_word2vec_format", "glove"))]
    pub fn load_text(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        let first = reader.line(1)?.ok_or_else(|| fault(path, Some(1), "the file is empty"))?;
        // A component takes a space and a digit at least.
        let heading = if is_heading(&first) { Some(reader.heading(&first, 2)?) } else { None };
        let mut table = Table::new(path, heading.map(|(_, size)| size), reader.len);
        if heading.is_none() {
            table.add(1, &first)?;
        }
        let mut number = 2;
        while let Some(line) = reader.line(number)? {
            let blank = line.trim().is_empty();
            let full = heading.is_some_and(|(count, _)| table.words.len() == count);
            if full && !blank {
                return Err(fault(path, Some(number), "more vectors than the heading says"));
            }
            if !blank {
                table.add(number, &line)?;
            }
            number += 1;
        }
        if let Some((count, _)) = heading
            && table.words.len() < count
        {
            let message = format!(
                "the file ends too early: {} of the {count} vectors that the heading says (truncated?); \
                 without the heading what is there reads",
                table.words.len()
            );
            return Err(fault(path, Some(number), &message));
        }
        if heading.is_some() && reader.unfinished {
            return Err(fault(
                path,
                Some(number - 1),
                "the line has no end, so its last number may be cut; add a line end if it is whole",
            ));
        }
        let shape = [table.words.len(), table.size.unwrap_or(0)];
        Self::new(table.words, &Tensor::from_vec(table.values, shape)?)
    }

    /// Reads vectors from binary.
    ///
    /// # Errors
    /// [`Error::Data`] when the file cannot be read or is not in this format; as [`new`](Self::new).
    pub fn load_binary(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut reader = Reader::open(path)?;
        let first = reader.line(1)?.ok_or_else(|| fault(path, Some(1), "the file is empty"))?;
        let (count, size) = reader.heading(&first, 4)?;
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

/// Whether a first line is two numbers.
fn is_heading(line: &str) -> bool {
    line.split_whitespace().count() == 2 && line.split_whitespace().all(|field| field.parse::<f64>().is_ok())
}

/// Words and vectors of the lines of a text.
struct Table<'a> {
    path: &'a Path,
    /// Components of a vector: what the heading says, or the first line has.
    size: Option<usize>,
    words: Vec<String>,
    values: Vec<f32>,
    budget: Budget,
}

impl<'a> Table<'a> {
    fn new(path: &'a Path, size: Option<usize>, length: u64) -> Self {
        Table { path, size, words: Vec::new(), values: Vec::new(), budget: Budget::of_length(length) }
    }

    /// Adds a line: the last fields are the components, what is before them is the word.
    fn add(&mut self, number: usize, line: &str) -> Result<()> {
        let fault = |message: &str| fault(self.path, Some(number), message);
        let line = line.trim_end_matches([' ', '\t', '\n', '\r']);
        let mut rest = line;
        let mut row = Vec::new();
        while self.size.is_none_or(|size| row.len() < size) {
            let field = rest.rsplit([' ', '\t']).next().unwrap_or_default();
            let Ok(component) = field.parse::<f32>() else { break };
            let before = rest[..rest.len() - field.len()].trim_end_matches([' ', '\t']);
            if before.is_empty() {
                break;
            }
            row.push(component);
            rest = before;
        }
        let size = *self.size.get_or_insert(row.len());
        if size == 0 {
            return Err(fault("neither the numbers of words and components nor a word and its vector"));
        }
        if row.len() < size {
            let missing = rest.contains([' ', '\t']);
            return Err(if missing {
                fault(&format!("a component of the {size} is not a number"))
            } else {
                fault(&format!("{} components, not {size}", row.len()))
            });
        }
        if rest.starts_with([' ', '\t']) {
            return Err(fault("no word"));
        }
        // The word twice, a place in the list and in the table; the components as they come and at length 1, with room to grow.
        let bytes = 200 + 2 * rest.len() + 16 * size;
        self.budget.take(bytes as u64).map_err(|e| fault(&e.to_string()))?;
        self.words.push(rest.to_owned());
        self.values.extend(row.into_iter().rev());
        Ok(())
    }
}

struct Reader<'a> {
    path: &'a Path,
    inner: BufReader<File>,
    len: u64,
    /// The longest line that is read.
    limit: u64,
    /// Whether the last line read has no end.
    unfinished: bool,
}

impl<'a> Reader<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(io("open", path))?;
        let len = file.metadata().map_err(io("open", path))?.len();
        // Without a heading a line may be long.
        Ok(Reader { path, inner: BufReader::new(file), len, limit: MAX_LINE, unfinished: false })
    }

    /// Numbers of words and components, which the file is long enough for if a component takes `least` bytes.
    fn heading(&mut self, line: &str, least: u64) -> Result<(usize, usize)> {
        let wrong = || fault(self.path, Some(1), "not the numbers of words and components");
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
        self.unfinished = bytes.last() != Some(&b'\n');
        if number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
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
