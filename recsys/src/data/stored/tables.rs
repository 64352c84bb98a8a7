//! What a log on disk has besides entries: where rows begin, and the ids.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use super::rows::ENTRY;
use super::write::Out;
use crate::{Error, Result};

pub(super) const MAGIC: [u8; 8] = *b"CAIRNLOG";
/// Bytes at the end.
const TAIL: usize = 48;

/// What a file has besides entries.
pub(super) struct Tables {
    pub(super) users: Vec<usize>,
    pub(super) items: Vec<usize>,
    pub(super) ids: Vec<u8>,
}

impl Tables {
    pub(super) fn write(&self, out: &mut Out<'_>) -> Result<()> {
        let mut sum = crc32fast::Hasher::new();
        for table in [&self.users, &self.items] {
            for part in table.chunks(1024) {
                let bytes: Vec<u8> = part.iter().flat_map(|&at| (at as u64).to_le_bytes()).collect();
                sum.update(&bytes);
                out.put(&bytes)?;
            }
        }
        sum.update(&self.ids);
        out.put(&self.ids)?;
        let (users, items) = (self.users.len() - 1, self.items.len() - 1);
        let entries = self.users[users];
        let words =
            [entries as u64, users as u64, items as u64, self.ids.len() as u64, sum.finalize().into()];
        words.iter().try_for_each(|word| out.put(&word.to_le_bytes()))?;
        out.put(&MAGIC)
    }

    pub(super) fn read(file: &mut File, path: &Path) -> Result<Self> {
        let bad = |reason: &str| Error::ModelFile { path: path.to_owned(), reason: reason.to_owned() };
        let length = file.metadata().map_err(io(path))?.len();
        let mut ends = [0; MAGIC.len() + TAIL];
        if length < ends.len() as u64 {
            return Err(bad("this is no stored log"));
        }
        file.read_exact(&mut ends[..MAGIC.len()]).map_err(io(path))?;
        file.seek(SeekFrom::End(-(TAIL as i64))).map_err(io(path))?;
        file.read_exact(&mut ends[MAGIC.len()..]).map_err(io(path))?;
        if ends[..8] != MAGIC {
            return Err(bad("this is no stored log"));
        }
        if ends[MAGIC.len() + TAIL - 8..] != MAGIC {
            return Err(bad("the file ends too early (truncated?)"));
        }
        let [entries, users, items, ids, sum] = [0, 1, 2, 3, 4].map(|n| long(&ends[MAGIC.len() + 8 * n..]));
        // Whatever the numbers are, what is allocated below is no longer than the file.
        let tables = u128::from(users) * 8 + u128::from(items) * 8 + 16 + u128::from(ids);
        let whole = u128::from(entries) * 2 * ENTRY as u128 + tables + ends.len() as u128;
        if whole != u128::from(length) {
            return Err(bad(&format!("the parts make {whole} bytes, the file has {length}")));
        }
        file.seek(SeekFrom::End(-(TAIL as i64) - tables as i64)).map_err(io(path))?;
        let too_large = |_| Error::Memory {
            what: "the tables of a stored log".to_owned(),
            needed: tables as u64,
            limit: 0,
        };
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(tables).unwrap_or(usize::MAX)).map_err(too_large)?;
        std::io::Read::by_ref(file).take(tables as u64).read_to_end(&mut bytes).map_err(io(path))?;
        if u64::from(crc32fast::hash(&bytes)) != sum {
            return Err(bad("the tables are damaged: their sum is another"));
        }
        let (users, rest) = bytes.split_at(8 * (users as usize + 1));
        let (items, ids) = rest.split_at(8 * (items as usize + 1));
        let table = |bytes: &[u8]| bytes.chunks_exact(8).map(|at| long(at) as usize).collect::<Vec<_>>();
        let (users, items) = (table(users), table(items));
        let sound =
            |table: &[usize]| table[0] == 0 && table.is_sorted() && table.last() == Some(&(entries as usize));
        if !sound(&users) || !sound(&items) {
            return Err(bad("the rows are not one after the other"));
        }
        if entries == 0 {
            return Err(Error::Empty { what: "the interaction log" });
        }
        Ok(Tables { users, items, ids: ids.to_vec() })
    }
}

pub(super) fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn long(bytes: &[u8]) -> u64 {
    u64::from(word(bytes)) | u64::from(word(&bytes[4..])) << 32
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}
