//! How a log on disk is made: rows in any order, sorted and settled.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_files::{AtomicFile, container};
use serde::Serialize;

use super::StoredInteractions;
use super::rows::ENTRY;
use super::sort::{Record, Sorter};
use super::tables::{MAGIC, Tables, io, long, word};
use crate::data::ids::{Id, IdMap, ItemIdx, UserIdx};
use crate::data::interactions::{Catalog, Duplicates, Rating};
use crate::serve::file::id_type;
use crate::{Error, Result};

/// Bytes of memory for sorting unless told otherwise: 512 MiB.
const MEMORY: u64 = 512 << 20;

/// Writes a log into a file, a row at a time, in any order, with little memory: that for sorting, and that of the ids.
///
/// ```
/// use cairn_recsys::{Duplicates, StoredInteractions, StoredWriter};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("plays.log");
/// let mut writer = StoredWriter::<u32, u64>::create(&path, Duplicates::Sum)?.memory(1 << 30);
/// for (user, item, plays) in [(7, 1, 2.0), (9, 1, 1.0), (7, 1, 3.0)] {
///     writer.add((user, item, plays))?;
/// }
/// writer.finish()?;
/// let log = StoredInteractions::<u32, u64>::open(&path)?;
/// assert_eq!(log.history(&7)?, [(1, 5.0)]);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
pub struct StoredWriter<U = u32, I = u32> {
    path: PathBuf,
    file: AtomicFile,
    policy: Duplicates,
    memory: u64,
    users: IdMap<U, UserIdx>,
    items: IdMap<I, ItemIdx>,
    events: Option<Sorter<Event>>,
    rows: u64,
}

impl<U, I> fmt::Debug for StoredWriter<U, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredWriter")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl<U: Id, I: Id> StoredWriter<U, I> {
    /// Begins a file of this name, which is there once it is finished.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, policy: Duplicates) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = AtomicFile::create(&path)?;
        let (users, items) = (IdMap::default(), IdMap::default());
        Ok(StoredWriter { path, file, policy, memory: MEMORY, users, items, events: None, rows: 0 })
    }

    /// Bytes of memory for sorting, 512 MiB by default. What does not fit is laid down beside the file. To be said before the first row.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        StoredWriter { memory: bytes, ..self }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a value that is not finite, [`Error::TooMany`] users or items, [`Error::Io`] for a full disk,
    /// [`Error::Memory`].
    pub fn add(&mut self, row: impl Into<Rating<U, I>>) -> Result<()> {
        let Rating { user, item, value, timestamp } = row.into();
        if !value.is_finite() {
            return Err(Error::InvalidValue {
                what: "interactions",
                at: format!("row {} (user {user:?}, item {item:?})", self.rows),
                value: f64::from(value),
                expected: "finite",
                entry: None,
            });
        }
        let (user, item) = (self.users.insert(user)?.0, self.items.insert(item)?.0);
        let event = Event { user, item, row: self.rows, timestamp, value: value.to_bits() };
        self.rows += 1;
        let (folder, memory) = (folder(&self.path), self.memory);
        self.events.get_or_insert_with(|| Sorter::new(folder, memory)).add(event)
    }

    /// Settles repeats, writes the rest of the file and opens it.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, [`Error::DuplicateInteraction`] under [`Duplicates::Error`], [`Error::InvalidValue`] for a sum
    /// that is not finite, [`Error::Io`], [`Error::Memory`], [`Error::ModelFile`] if an id refuses to be written.
    pub fn finish(self) -> Result<StoredInteractions<U, I>>
    where
        U: Serialize,
        I: Serialize,
    {
        let StoredWriter { path, file, policy, memory, users, items, events, .. } = self;
        let Some(events) = events else { return Err(Error::Empty { what: "the interaction log" }) };
        let catalog = Catalog { users: Arc::new(users), items: Arc::new(items) };
        let mut out = Out { file, path: &path };
        out.put(&MAGIC)?;
        let mut by_item = Sorter::new(folder(&path), memory);
        let mut user_counts = vec![0; catalog.users.len()];
        for entry in (Settled { events: events.sorted()?, next: None, policy, catalog: &catalog }) {
            let (user, item, value) = entry?;
            out.entry(item, value)?;
            user_counts[user as usize] += 1;
            by_item.add(Entry { item, user, value: value.to_bits() })?;
        }
        let mut item_counts = vec![0; catalog.items.len()];
        for entry in by_item.sorted()? {
            let Entry { item, user, value } = entry?;
            out.entry(user, f32::from_bits(value))?;
            item_counts[item as usize] += 1;
        }
        let mut ids = Vec::new();
        let types = (id_type::<U>(), id_type::<I>());
        container::append(&mut ids, &(types, (catalog.users.ids(), catalog.items.ids())))
            .map_err(|reason| Error::ModelFile { path: path.clone(), reason })?;
        let tables = Tables { users: offsets(&user_counts), items: offsets(&item_counts), ids };
        tables.write(&mut out)?;
        out.file.commit()?;
        let file = File::open(&path).map_err(io(&path))?;
        Ok(StoredInteractions::of(file, &path, catalog, tables))
    }
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn offsets(counts: &[usize]) -> Vec<usize> {
    let mut sum = 0;
    let ends = counts.iter().map(|count| {
        sum += count;
        sum
    });
    std::iter::once(0).chain(ends).collect()
}

/// The file as it is written.
pub(super) struct Out<'a> {
    file: AtomicFile,
    path: &'a Path,
}

impl Out<'_> {
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io(self.path))
    }

    fn entry(&mut self, column: u32, value: f32) -> Result<()> {
        let mut bytes = [0; ENTRY];
        bytes[..4].copy_from_slice(&column.to_le_bytes());
        bytes[4..].copy_from_slice(&value.to_le_bytes());
        self.put(&bytes)
    }
}

/// The rows of a log, one for a user and an item: what [`Interactions`] does with repeats.
struct Settled<'a, U, I, E: Iterator<Item = Result<Event>>> {
    events: E,
    next: Option<Event>,
    policy: Duplicates,
    catalog: &'a Catalog<U, I>,
}

impl<U: Id, I: Id, E: Iterator<Item = Result<Event>>> Settled<'_, U, I, E> {
    /// One of two rows of the same user and item, of which `next` is the later in the log.
    fn settle(&self, event: Event, next: Event) -> Result<Event> {
        let [value, other] = [event, next].map(|event| f32::from_bits(event.value));
        // Of equal times the later row is kept.
        let later = if next.timestamp >= event.timestamp { next } else { event };
        let value = match self.policy {
            Duplicates::Last => return Ok(later),
            Duplicates::Sum => value + other,
            Duplicates::Max => value.max(other),
            Duplicates::Error => {
                return Err(Error::DuplicateInteraction {
                    user: format!("{:?}", self.catalog.users.id(UserIdx(event.user))),
                    item: format!("{:?}", self.catalog.items.id(ItemIdx(event.item))),
                    first: event.row as usize,
                    second: next.row as usize,
                });
            }
        };
        Ok(Event { value: value.to_bits(), ..later })
    }

    fn take(&mut self) -> Result<Option<(u32, u32, f32)>> {
        let Some(mut event) = self.next.take().map(Ok).or_else(|| self.events.next()).transpose()? else {
            return Ok(None);
        };
        while let Some(next) = self.events.next().transpose()? {
            if (next.user, next.item) != (event.user, event.item) {
                self.next = Some(next);
                break;
            }
            event = self.settle(event, next)?;
        }
        let value = f32::from_bits(event.value);
        if !value.is_finite() {
            let (user, item) =
                (self.catalog.users.id(UserIdx(event.user)), self.catalog.items.id(ItemIdx(event.item)));
            return Err(Error::InvalidValue {
                what: "interactions after adding up repeats",
                at: format!("user {user:?}, item {item:?}"),
                value: f64::from(value),
                expected: "finite",
                entry: None,
            });
        }
        Ok(Some((event.user, event.item, value)))
    }
}

impl<U: Id, I: Id, E: Iterator<Item = Result<Event>>> Iterator for Settled<'_, U, I, E> {
    type Item = Result<(u32, u32, f32)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take().transpose()
    }
}

/// A row of the log. In their order repeats are side by side, first met first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    user: u32,
    item: u32,
    row: u64,
    timestamp: i64,
    value: u32,
}

impl Record for Event {
    const BYTES: usize = 28;

    fn write(&self, to: &mut [u8]) {
        to[..4].copy_from_slice(&self.user.to_le_bytes());
        to[4..8].copy_from_slice(&self.item.to_le_bytes());
        to[8..16].copy_from_slice(&self.row.to_le_bytes());
        to[16..24].copy_from_slice(&self.timestamp.to_le_bytes());
        to[24..].copy_from_slice(&self.value.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        let row = long(&from[8..]);
        Event {
            user: word(from),
            item: word(&from[4..]),
            row,
            timestamp: long(&from[16..]) as i64,
            value: word(&from[24..]),
        }
    }
}

/// An entry of the items' rows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    item: u32,
    user: u32,
    value: u32,
}

impl Record for Entry {
    const BYTES: usize = 12;

    fn write(&self, to: &mut [u8]) {
        to[..4].copy_from_slice(&self.item.to_le_bytes());
        to[4..8].copy_from_slice(&self.user.to_le_bytes());
        to[8..].copy_from_slice(&self.value.to_le_bytes());
    }

    fn read(from: &[u8]) -> Self {
        Entry { item: word(from), user: word(&from[4..]), value: word(&from[8..]) }
    }
}
