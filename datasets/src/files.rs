//! Reading files as they come, packed or not: what [`cairn_files::unpack`] does, with this crate's errors; text in two
//! encodings; archives without unpacking them to disk.

use std::io::{self, BufRead, Read};
use std::path::Path;

use cairn_files::unpack;
use tar::{Archive, Entry};

use crate::error::{Error, Result};

/// Opens a file of at most `limit` bytes, counted after unpacking. Of the archives and tables read here none comes near.
pub(crate) fn open(path: &Path, limit: u64) -> Result<Box<dyn BufRead>> {
    Ok(unpack::open(path, limit)?)
}

/// All of a text in UTF-8 of at most `limit` bytes, counted after unpacking.
pub(crate) fn text(path: &Path, limit: u64) -> Result<String> {
    utf8(unpack::read(path, limit)?, path)
}

/// All of a text in ISO-8859-1, in which every byte is the character of that number.
pub(crate) fn latin1(path: &Path, limit: u64) -> Result<String> {
    Ok(unpack::read(path, limit)?.into_iter().map(char::from).collect())
}

/// All that a reader gives, at most `limit` bytes in UTF-8; `path` is for messages.
pub(crate) fn text_from(reader: impl Read, path: &Path, limit: u64) -> Result<String> {
    utf8(cairn_files::read_limited(reader, limit).map_err(error(path))?, path)
}

/// A file of an archive.
pub(crate) type Member<'a> = Entry<'a, Box<dyn BufRead>>;

/// Goes through a tar archive of at most `limit` bytes, compressed or not. `each` is given the path of each member within it,
/// the same below the archive's own path for messages, and the member.
pub(crate) fn each_member(
    path: &Path,
    limit: u64,
    mut each: impl FnMut(&str, &Path, &mut Member<'_>) -> Result<()>,
) -> Result<()> {
    let mut archive = Archive::new(open(path, limit)?);
    for member in archive.entries().map_err(error(path))? {
        let mut member = member.map_err(error(path))?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        each(name.trim_start_matches("./"), &path.join(&name), &mut member)?;
    }
    // Reading on to the end makes gzip compare its checksum; nothing but padding should be left.
    io::copy(&mut archive.into_inner().take(1 << 20), &mut io::sink()).map_err(error(path))?;
    Ok(())
}

/// What a failed read means, for `map_err`.
pub(crate) fn error(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |source| cairn_files::Error::reading(path, source).into()
}

fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        Error::line(path, line, "not UTF-8")
    })
}
