//! Text as rows of fields: CSV, TSV, `::` and any other separator, with or without quotes, a row at a time.
//!
//! Quotes are those of RFC 4180 (a doubled one stands for itself, line ends may lie between them) and go with every separator. A
//! row has the number of the line it begins in, whatever ends lines and however many are empty. No row is longer than a
//! mebibyte: a quote that is never closed must not swallow a file, nor a file without line ends the memory.

use std::io::{self, BufRead, ErrorKind};
use std::ops::Range;

/// No row is longer.
const LONGEST: usize = 1 << 20;

/// How a text holds rows. All is public and has no invariants; begin with [`separated_by`](Self::separated_by).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFormat {
    /// What is between fields. Where it is blank (spaces, but not a tab), any run of spaces and tabs is one separator, and those at
    /// the beginning of a line are none.
    pub separator: String,
    /// Whether a field that begins with `"` ends with the next one.
    pub quotes: bool,
    /// Lines that begin with this are passed over.
    pub comment: Option<String>,
    /// Whether bytes are characters of ISO-8859-1 (Latin-1) rather than UTF-8.
    pub latin1: bool,
}

impl RowFormat {
    /// Fields with quotes, apart by this, in UTF-8, and no comments.
    ///
    /// ```
    /// use cairn_files::{RowFormat, Rows};
    /// let text = "\"User-ID\";\"ISBN\"\r\n\r\n\"a;b\";\"the \"\"third\"\"\"\r\n";
    /// let mut rows = Rows::new(text.as_bytes(), RowFormat::separated_by(";"));
    /// assert_eq!(rows.next_row()?.unwrap().fields().unwrap(), ["User-ID", "ISBN"]);
    /// let row = rows.next_row()?.unwrap();
    /// assert_eq!((row.line(), row.fields().unwrap()), (3, vec!["a;b", "the \"third\""]));
    /// assert!(rows.next_row()?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn separated_by(separator: impl Into<String>) -> Self {
        RowFormat { separator: separator.into(), quotes: true, comment: None, latin1: false }
    }

    /// Whether runs of blanks are what is between fields.
    fn blanks(&self) -> bool {
        self.separator.bytes().all(|byte| byte == b' ')
    }
}

/// The rows of a text, without empty lines and comments.
#[derive(Debug)]
pub struct Rows<R> {
    reader: R,
    format: RowFormat,
    /// Lines read.
    lines: u64,
    /// Whether the last line read had an end.
    ended: bool,
    line: Vec<u8>,
    row: Cutter,
}

impl<R: BufRead> Rows<R> {
    /// Of this text. An empty separator is taken for blanks.
    pub fn new(reader: R, format: RowFormat) -> Self {
        Rows { reader, format, lines: 0, ended: true, line: Vec::new(), row: Cutter::default() }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// What the reader says; `InvalidData` with the line for a row longer than a mebibyte, and for text in UTF-16.
    pub fn next_row(&mut self) -> io::Result<Option<Row<'_>>> {
        loop {
            if !self.read_line()? {
                return Ok(None);
            }
            let comment = self.format.comment.as_ref().filter(|sign| !sign.is_empty());
            let skipped = comment.is_some_and(|sign| self.line.starts_with(sign.as_bytes()));
            if !skipped && !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        let first = self.lines;
        self.row.clear();
        self.row.feed(&self.line, &self.format);
        while self.row.within_quotes() {
            if !self.read_line()? {
                return Ok(Some(Row { line: first, cut: Err("the quote that opens here is never closed") }));
            }
            if self.row.bytes.len() + self.line.len() > LONGEST {
                let message =
                    format!("the quote that opens in line {first} is not closed within {LONGEST} bytes");
                return Err(io::Error::new(ErrorKind::InvalidData, message));
            }
            self.row.bytes.push(b'\n');
            self.row.feed(&self.line, &self.format);
        }
        self.row.end();
        Ok(Some(Row { line: first, cut: Ok(&self.row) }))
    }

    /// Whether the last line read had an end. One that has none may have been cut.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Reads a line, without its end; whether there was one.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let mut limited = io::Read::take(&mut self.reader, LONGEST as u64);
        let read = limited.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(false);
        }
        self.lines += 1;
        self.ended = self.line.pop_if(|byte| *byte == b'\n').is_some();
        if !self.ended && read == LONGEST {
            let message = format!("line {} is longer than {LONGEST} bytes", self.lines);
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        self.line.pop_if(|byte| *byte == b'\r');
        if self.lines == 1 {
            self.begin()?;
        }
        if self.format.latin1 && !self.line.is_ascii() {
            let text: String = self.line.iter().copied().map(char::from).collect();
            self.line = text.into_bytes();
        }
        Ok(true)
    }

    /// Programs on Windows put a byte order mark before the text.
    fn begin(&mut self) -> io::Result<()> {
        if self.line.starts_with(b"\xff\xfe") || self.line.starts_with(b"\xfe\xff") {
            return Err(io::Error::new(ErrorKind::InvalidData, "the text is in UTF-16; save it as UTF-8"));
        }
        if self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        Ok(())
    }
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    line: u64,
    cut: Result<&'a Cutter, &'static str>,
}

impl<'a> Row<'a> {
    /// The line it begins in, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Its fields.
    ///
    /// # Errors
    /// Why there are none: a quote that is never closed, text that is not UTF-8.
    pub fn fields(&self) -> Result<Vec<&'a str>, &'static str> {
        let row = self.cut?;
        let field = |range: &Range<usize>| std::str::from_utf8(&row.bytes[range.clone()]);
        let fields: Result<Vec<&str>, _> = row.fields.iter().map(field).collect();
        fields.map_err(|_| "not UTF-8")
    }
}

/// Cuts a row into fields. Its bytes are those of the fields, one after the other, without what is between them.
#[derive(Debug, Default)]
struct Cutter {
    bytes: Vec<u8>,
    fields: Vec<Range<usize>>,
    start: usize,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a field.
    #[default]
    Start,
    /// In a field without quotes, or behind the quote that closes it.
    Plain,
    /// Between quotes.
    Quoted,
}

impl Cutter {
    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        (self.start, self.state) = (0, State::Start);
    }

    fn within_quotes(&self) -> bool {
        self.state == State::Quoted
    }

    fn end(&mut self) {
        self.fields.push(self.start..self.bytes.len());
        (self.start, self.state) = (self.bytes.len(), State::Start);
    }

    /// Goes on with a line.
    fn feed(&mut self, mut line: &[u8], format: &RowFormat) {
        let blanks = format.blanks();
        if blanks && self.state != State::Quoted {
            line = line.trim_ascii();
        }
        let quotes = format.quotes && (self.within_quotes() || line.contains(&b'"'));
        while !line.is_empty() {
            if self.state == State::Quoted {
                line = self.quoted(line);
            } else if quotes && self.state == State::Start && line[0] == b'"' {
                self.state = State::Quoted;
                line = &line[1..];
            } else {
                let (end, next) = separator(line, format.separator.as_bytes(), blanks);
                self.bytes.extend_from_slice(&line[..end]);
                self.state = State::Plain;
                match next {
                    None => break,
                    Some(next) => {
                        self.end();
                        line = &line[next..];
                    }
                }
            }
        }
    }

    /// Takes what is between quotes; what is left of the line behind them.
    fn quoted<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let Some(at) = line.iter().position(|&byte| byte == b'"') else {
            self.bytes.extend_from_slice(line);
            return &[];
        };
        self.bytes.extend_from_slice(&line[..at]);
        if line.get(at + 1) == Some(&b'"') {
            self.bytes.push(b'"');
            return &line[at + 2..];
        }
        self.state = State::Plain;
        &line[at + 1..]
    }
}

/// Where the next separator begins, or the line ends, and where it ends.
fn separator(line: &[u8], separator: &[u8], blanks: bool) -> (usize, Option<usize>) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let found = match separator {
        _ if blanks => {
            let begin = line.iter().position(is_blank);
            begin.map(|at| (at, at + line[at..].iter().take_while(|byte| is_blank(byte)).count()))
        }
        &[byte] => line.iter().position(|&other| other == byte).map(|at| (at, at + 1)),
        _ => line.windows(separator.len()).position(|w| w == separator).map(|at| (at, at + separator.len())),
    };
    found.map_or((line.len(), None), |(begin, end)| (begin, Some(end)))
}
