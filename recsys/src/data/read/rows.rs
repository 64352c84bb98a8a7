//! Rows of fields from text. The csv crate reads one-byte separators; what it does not know, such as `::`, is cut here.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use crate::{Error, Result};

/// No line of a log is longer; a file without line ends must not fill the memory.
const LONGEST: u64 = 1 << 20;

/// Hands each row to `f` with its line, from 1, until `f` says to stop: the fields, or why there are none. Empty lines are
/// passed over.
///
/// # Errors
/// [`Error::Io`], and [`Error::Parameter`] for an empty separator.
pub(super) fn for_each(
    reader: impl Read,
    separator: &str,
    quotes: bool,
    path: &Path,
    f: impl FnMut(u64, Result<&[&str], String>) -> bool,
) -> Result<()> {
    match separator.as_bytes() {
        [] => Err(Error::parameter("separator", "\"\"", "at least one character")),
        &[byte] => by_csv(reader, byte, quotes, path, f),
        _ => by_line(reader, separator, path, f),
    }
}

fn by_csv(
    reader: impl Read,
    separator: u8,
    quotes: bool,
    path: &Path,
    mut f: impl FnMut(u64, Result<&[&str], String>) -> bool,
) -> Result<()> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .quoting(quotes)
        .has_headers(false)
        .flexible(true)
        .from_reader(reader);
    let mut record = csv::ByteRecord::new();
    let mut first = true;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                let reason = error.to_string();
                return Err(match error.into_kind() {
                    csv::ErrorKind::Io(source) => Error::Io { path: path.to_owned(), source },
                    _ => Error::Io { path: path.to_owned(), source: std::io::Error::other(reason) },
                });
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Result<Vec<&str>, _> = record
            .iter()
            .enumerate()
            .map(|(n, field)| std::str::from_utf8(if first && n == 0 { without_mark(field) } else { field }))
            .collect();
        first = false;
        let go_on = match &fields {
            Ok(fields) => f(line, Ok(fields)),
            Err(_) => f(line, Err("not UTF-8".to_owned())),
        };
        if !go_on {
            return Ok(());
        }
    }
}

/// Programs on Windows put a byte order mark before the text.
fn without_mark(field: &[u8]) -> &[u8] {
    field.strip_prefix(b"\xef\xbb\xbf").unwrap_or(field)
}

fn by_line(
    reader: impl Read,
    separator: &str,
    path: &Path,
    mut f: impl FnMut(u64, Result<&[&str], String>) -> bool,
) -> Result<()> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let n = (&mut reader).take(LONGEST).read_until(b'\n', &mut bytes).map_err(io)?;
        if n == 0 {
            break;
        }
        if n as u64 == LONGEST && bytes.last() != Some(&b'\n') {
            let reason = format!("line {line} is longer than {LONGEST} bytes");
            return Err(io(std::io::Error::new(ErrorKind::InvalidData, reason)));
        }
        let text = if line == 1 { without_mark(&bytes) } else { &bytes };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            continue;
        }
        let go_on = match std::str::from_utf8(text) {
            Ok(text) => f(line, Ok(&text.split(separator).collect::<Vec<_>>())),
            Err(_) => f(line, Err("not UTF-8".to_owned())),
        };
        if !go_on {
            break;
        }
    }
    Ok(())
}
