//! A log on disk, for models of which the vectors fit into memory and the log does not.
//!
//! ALS goes through the users' rows and then through the items', sweep after sweep, and each row is used once and forgotten. So both
//! matrices lie in a file, a sweep reads it from one end to the other, and what memory holds are ids, the beginnings of rows and
//! vectors. The system keeps what it reads of a file in memory that nobody else needs: a log that is a little too large costs little.
//! A file written and read by position, rather than mapped: a mapped file that is cut by somebody else ends the program.
//!
//! The file is made in one pass over the log, in whatever order that comes, by a [sort](sort) in parts. Little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CAIRNLOG` |
//! | 8 for each interaction | the users' rows, one after the other: item and value of each entry, items ascending |
//! | 8 for each interaction | the items' rows: user and value |
//! | 8 for each user, and 8 | where each user's row begins, in entries, and their number |
//! | 8 for each item, and 8 | the same of the items' rows |
//! | n | the ids, with the names of their types, in bincode |
//! | 48 | interactions, users, items, n, the CRC-32 of all between the entries and this, `CAIRNLOG` |

mod rows;
mod sort;
mod tables;
mod write;

use std::borrow::Borrow;
use std::fmt::Debug;
use std::fs::File;
use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cairn_files::container;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::rows::{ENTRY, Source};
use self::tables::{MAGIC, Tables, io};
use crate::data::filter::Filter;
use crate::data::ids::{Id, IdMap, Idx, ItemIdx, UserIdx};
use crate::data::interactions::{Catalog, Duplicates, Interactions, Rating};
use crate::data::sparse::{Csr, UserItems};
use crate::models::factors::FactorModel;
use crate::serve::exact::best_by_inner_product;
use crate::serve::file::id_type;
use crate::serve::fitted::{Scored, check_k};
use crate::serve::ranks::Ranks;
use crate::{Error, Result};

pub(crate) use self::rows::StoredRows;
pub use self::write::StoredWriter;

/// A log of interactions in a file: what [`Interactions`] is, but in memory there are its ids alone, and 8 bytes for each of them.
/// [`Als::fit_stored`](crate::Als::fit_stored) and [`Bpr::fit_stored`](crate::Bpr::fit_stored) train on it as in
/// memory. Times are used to settle repeats and are not kept.
///
/// It takes 16 bytes of disk for an interaction, where in memory a log has 20 and its matrices 16 more. It is made by a
/// [`StoredWriter`], or from a text by [`LogReader::store`](crate::read::LogReader::store).
///
/// ```
/// use cairn_recsys::{Als, Duplicates, Filter, StoredInteractions};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("plays.log");
/// let rows = [("ann", "tea"), ("ann", "milk"), ("bob", "tea"), ("bob", "milk"), ("bob", "rusk"), ("cy", "nails"), ("cy", "glue")];
/// let rows = rows.map(|(user, item)| (user.to_owned(), item.to_owned()));
/// let log = StoredInteractions::write(&path, rows, Duplicates::Sum)?; // or `open`, once it is there
/// let model = Als::new().factors(4).fit_stored(&log)?;
/// let lists = log.recommend_many(&model, &["ann".to_owned()], 1, &Filter::unseen())?;
/// assert_eq!(lists[0][0].id, "rusk");
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StoredInteractions<U = u32, I = u32> {
    catalog: Catalog<U, I>,
    pub(crate) by_user: StoredRows<UserIdx, ItemIdx>,
    pub(crate) by_item: StoredRows<ItemIdx, UserIdx>,
    ranks: Arc<Ranks>,
}

impl<U: Id, I: Id> StoredInteractions<U, I> {
    /// Writes a log into a file, in one step, and opens it. To read rows that may fail, or with more memory: [`StoredWriter`].
    ///
    /// # Errors
    /// As [`StoredWriter::add`] and [`StoredWriter::finish`].
    pub fn write<R: Into<Rating<U, I>>>(
        path: impl AsRef<Path>,
        rows: impl IntoIterator<Item = R>,
        policy: Duplicates,
    ) -> Result<Self>
    where
        U: Serialize,
        I: Serialize,
    {
        let mut writer = StoredWriter::create(path, policy)?;
        rows.into_iter().try_for_each(|row| writer.add(row))?;
        writer.finish()
    }

    /// Opens a file, with the same types of ids as it was written. Rows are read, and checked, when they are used.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::ModelFile`] for a file that is none, is cut, has damaged tables or ids of other types.
    pub fn open(path: impl AsRef<Path>) -> Result<Self>
    where
        U: DeserializeOwned,
        I: DeserializeOwned,
    {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(io(path))?;
        let tables = Tables::read(&mut file, path)?;
        let bad = |reason: String| Error::ModelFile { path: path.to_owned(), reason };
        let mut payload = &tables.ids[..];
        let ids: Result<Catalog<U, I>, String> = (|| {
            let (users, items): (String, String) = container::take(&mut payload)?;
            for (kind, found, wanted) in [("user", users, id_type::<U>()), ("item", items, id_type::<I>())] {
                if found != wanted {
                    return Err(format!("the {kind} ids of the file are of type {found}, not {wanted}"));
                }
            }
            let (users, items): (Vec<U>, Vec<I>) = container::take(&mut payload)?;
            if (users.len() + 1, items.len() + 1) != (tables.users.len(), tables.items.len()) {
                return Err("there are not as many ids as rows".to_owned());
            }
            Ok(Catalog {
                users: Arc::new(IdMap::from_ids(users).map_err(|e| e.to_string())?),
                items: Arc::new(IdMap::from_ids(items).map_err(|e| e.to_string())?),
            })
        })();
        Ok(Self::of(file, path, ids.map_err(bad)?, tables))
    }

    fn of(file: File, path: &Path, catalog: Catalog<U, I>, tables: Tables) -> Self {
        let source = Arc::new(Source { path: path.to_owned(), file: Mutex::new(file) });
        let counts = tables.items.windows(2).map(|at| u32::try_from(at[1] - at[0]).unwrap_or(u32::MAX));
        let ranks = Arc::new(Ranks::of_counts(counts.collect(), catalog.items.ids()));
        let start = MAGIC.len() as u64;
        let second = start + (tables.users.last().copied().unwrap_or(0) * ENTRY) as u64;
        let (users, items) = (catalog.users.len(), catalog.items.len());
        let by_user = StoredRows::new(Arc::clone(&source), start, items, tables.users);
        let by_item = StoredRows::new(source, second, users, tables.items);
        StoredInteractions { catalog, by_user, by_item, ranks }
    }

    /// The id maps.
    pub fn catalog(&self) -> &Catalog<U, I> {
        &self.catalog
    }

    /// Number of interactions, of which there is one at most for a user and an item.
    pub fn len(&self) -> usize {
        self.by_user.nnz()
    }

    /// Never: a log without rows is not written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of users.
    pub fn n_users(&self) -> usize {
        self.catalog.users.len()
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.catalog.items.len()
    }

    /// What somebody has met, with values.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::Io`], [`Error::ModelFile`] for damaged rows.
    pub fn history<Q: Eq + Hash + Debug + ?Sized>(&self, user: &Q) -> Result<Vec<(I, f32)>>
    where
        U: Borrow<Q>,
    {
        let row = self.catalog.user(user)?.at();
        let part = self.by_user.read(row..row + 1)?;
        let entries = part.entries().map(|(_, item, value)| (self.catalog.items.id(item).clone(), value));
        Ok(entries.collect())
    }

    /// All of it in memory, for [`Fitted::new`](crate::Fitted::new) where there is room.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::ModelFile`] for damaged rows.
    pub fn user_items(&self) -> Result<UserItems> {
        self.by_user.read(0..self.n_users())
    }

    /// The `k` best items for each of these users, in their order, by the contract of [`Fitted`](crate::Fitted). Their histories are
    /// read, those of no one else.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::Parameter`] for a `k` of 0, [`Error::Shape`] for a model of another number of users or items,
    /// [`Error::Io`], [`Error::ModelFile`] for damaged rows.
    pub fn recommend_many(
        &self,
        model: &impl FactorModel,
        users: &[U],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Vec<Scored<I>>>> {
        check_k(k)?;
        let factors = model.factors();
        let (found, own) = ((factors.users.len(), factors.items.len()), (self.n_users(), self.n_items()));
        if found != own {
            let (expected, found) = (format!("{own:?}"), format!("{found:?}"));
            return Err(Error::Shape { what: "users and items of model and log", expected, found });
        }
        let asked = users.iter().map(|user| self.catalog.user(user)).collect::<Result<Vec<_>>>()?;
        let seen = filter.is_unseen().then(|| self.rows_of(&asked)).transpose()?;
        let barred = filter.barred(&self.catalog.items);
        let lists = best_by_inner_product((factors, &self.ranks), &asked, k, seen.as_ref(), &barred);
        let named = |list: Vec<crate::ScoredItem>| {
            let id = |item: ItemIdx| self.catalog.items.id(item).clone();
            list.iter().map(|entry| Scored { id: id(entry.item), score: entry.score }).collect()
        };
        Ok(lists.into_iter().map(named).collect())
    }

    /// The matrix in which these users have their rows and all others none.
    fn rows_of(&self, users: &[UserIdx]) -> Result<UserItems> {
        let mut sorted = users.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for user in sorted {
            offsets.resize(user.at() + 1, columns.len());
            let part = self.by_user.read(user.at()..user.at() + 1)?;
            columns.extend_from_slice(part.columns());
            values.extend_from_slice(part.values());
        }
        offsets.resize(self.n_users() + 1, columns.len());
        Ok(Csr::from_parts(self.n_items(), offsets, columns, values))
    }
}

impl<U: Id, I: Id> Interactions<U, I> {
    /// Writes the log into a file, see [`StoredInteractions`].
    ///
    /// # Errors
    /// As [`StoredInteractions::write`].
    pub fn store(&self, path: impl AsRef<Path>) -> Result<StoredInteractions<U, I>>
    where
        U: Serialize,
        I: Serialize,
    {
        StoredInteractions::write(path, self.ratings(), Duplicates::Error)
    }
}
