//! Reading files as they come, packed or not: what [`cairn_files::unpack`] does, with this crate's errors; text in two
//! encodings; archives without unpacking them to disk.
//!
//! Each reader has a limit of its own on the bytes, counted after unpacking, that no real file comes near, and a [`Budget`] of the
//! memory that it makes of them.

use std::io::{self, BufRead, Read};
use std::path::Path;

use cairn_files::{Budget, read_limited, unpack};
use tar::{Archive, Entry};

use crate::error::{Error, Result};

/// Names in archives are shorter, and so are the notes about them.
const LONGEST_NAME: u64 = 1 << 16;

/// Opens a file of at most `limit` bytes, counted after unpacking, that are in memory so many times.
pub(crate) fn open(path: &Path, limit: u64, copies: u64) -> Result<Box<dyn BufRead>> {
    Ok(unpack::open(path, limit.min(Budget::of_file(path)?.left() / copies.max(1)))?)
}

/// All of a text in UTF-8 of at most `limit` bytes, counted after unpacking, and what may still be made of it.
pub(crate) fn text(path: &Path, limit: u64) -> Result<(String, Budget)> {
    let (bytes, budget) = bytes(path, limit)?;
    Ok((utf8(bytes, path)?, budget))
}

/// As [`text`] in ISO-8859-1, in which every byte is the character of that number.
pub(crate) fn latin1(path: &Path, limit: u64) -> Result<(String, Budget)> {
    let (bytes, mut budget) = bytes(path, limit)?;
    budget.take(bytes.len() as u64).map_err(error(path))?;
    Ok((bytes.into_iter().map(char::from).collect(), budget))
}

fn bytes(path: &Path, limit: u64) -> Result<(Vec<u8>, Budget)> {
    let mut budget = Budget::of_file(path)?;
    // A vector that grows has room to spare, and is there twice for a moment.
    let mut bytes = unpack::read(path, limit.min(budget.left() / 3))?;
    bytes.shrink_to_fit();
    budget.take(bytes.len() as u64).map_err(error(path))?;
    Ok((bytes, budget))
}

/// All that a reader gives, at most `limit` bytes in UTF-8; `path` is for messages.
pub(crate) fn text_from(reader: impl Read, path: &Path, limit: u64) -> Result<String> {
    utf8(read_limited(reader, limit).map_err(error(path))?, path)
}

/// Counts what becomes of a text: a value of type `T` in a list that grows, and `strings` texts with so many bytes in all.
pub(crate) fn count<T>(budget: &mut Budget, path: &Path, strings: usize, bytes: usize) -> Result<()> {
    // Each allocation takes some bytes more than were asked for.
    budget.take((2 * size_of::<T>() + 16 * strings + bytes) as u64).map_err(error(path))
}

/// A file of an archive.
pub(crate) type Member<'a> = Entry<'a, Box<dyn BufRead>>;

/// Goes through a tar archive of at most `limit` bytes, compressed or not. `each` is given the path of each member within it,
/// with `/` between folders whoever made it, the same below the archive's own path for messages, and the member.
pub(crate) fn each_member(
    path: &Path,
    limit: u64,
    mut each: impl FnMut(&str, &Path, &mut Member<'_>) -> Result<()>,
) -> Result<()> {
    let mut archive = Archive::new(unpack::open(path, limit)?);
    // A name that stands in a member of its own before the one it is of. Read here and not by the crate, which would read one of
    // any length.
    let mut long: Option<Vec<u8>> = None;
    for member in archive.entries().map_err(error(path))?.raw(true) {
        let mut member = member.map_err(error(path))?;
        let kind = member.header().entry_type();
        if kind.is_gnu_longname() {
            let mut name = read_limited(&mut member, LONGEST_NAME).map_err(error(path))?;
            name.pop_if(|last| *last == 0);
            long = Some(name);
        } else if kind.is_pax_local_extensions() {
            let notes = read_limited(&mut member, LONGEST_NAME).map_err(error(path))?;
            long = pax_path(&notes).or(long);
        } else if !kind.is_gnu_longlink() && !kind.is_pax_global_extensions() {
            let name = long.take().unwrap_or_else(|| member.path_bytes().into_owned());
            let name = String::from_utf8_lossy(&name).replace('\\', "/");
            each(name.trim_start_matches("./"), &path.join(&name), &mut member)?;
        }
    }
    // Reading on to the end makes gzip compare its checksum; nothing but padding should be left.
    io::copy(&mut archive.into_inner().take(1 << 20), &mut io::sink()).map_err(error(path))?;
    Ok(())
}

/// The path among the notes of POSIX's extended header: lines of a length, a key and a value.
fn pax_path(notes: &[u8]) -> Option<Vec<u8>> {
    let mut lines = notes.split(|&byte| byte == b'\n');
    let value = |line: &[u8]| {
        let after = line.iter().position(|&byte| byte == b' ')? + 1;
        line[after..].strip_prefix(b"path=").map(<[u8]>::to_vec)
    };
    lines.find_map(value)
}

/// What a failed read means, for `map_err`.
pub(crate) fn error(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| cairn_files::Error::reading(path, source).into()
}

fn utf8(mut bytes: Vec<u8>, path: &Path) -> Result<String> {
    // Programs on Windows put a byte order mark before the text.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|e| {
        if e.as_bytes().starts_with(b"\xff\xfe") || e.as_bytes().starts_with(b"\xfe\xff") {
            return Error::line(path, 1, "the text is in UTF-16; save it as UTF-8");
        }
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        Error::line(path, line, "not UTF-8")
    })
}
