//! An approximate index of the items, for models that score by inner products.
//!
//! The exact list of one user needs the scores of all items, which is a pass over the whole table of their vectors: 14 MB
//! at 27 thousand items and 128 factors, 91 MB at 178 thousand. The index looks at the items near the user alone: an
//! inverted file (Jégou, Douze & Schmid, PAMI 2011) of cells by k-means, of which a list visits as many as it is told to.
//!
//! Only which items are looked at is approximate. All the rest is as in [`Fitted`]: scores are true inner products, the best
//! come first, ties go by index, nothing barred or seen gets in, and a list is shorter than k only if fewer items qualify,
//! because a search that has not filled it goes on through the other cells. With as many probes as cells it is exact.
//!
//! In batches the exact lists come from matrix products at the speed of the processor, and a small catalogue does not need
//! the index: at 27 thousand items it makes 1.8 times as many lists a second at a recall of 0.97, and as many at 0.99. It is
//! for one user at a time (20 times as fast there) and for large catalogues; the README has the table.
//!
//! Why it is our own. Graphs (HNSW) were measured first, on the same trained vectors, one user at a time without a filter.
//! At 178 thousand items `hnsw_rs` 0.3.5 found 0.956 of the exact lists in 0.30 ms and 0.992 in 0.95 ms, cells 0.954 in
//! 0.04 ms and 0.987 in 0.09 ms; at 27 thousand 0.990 in 0.14 ms against 0.992 in 0.12 ms. A graph that is to be the same for
//! any number of threads must be built by one: 53 s at 178 thousand items, where cells take 2 s on two. And `hnsw_rs` brings
//! nineteen crates (a logger and memory maps among them), keeps files of its own format, and panics where rounding makes a
//! cosine distance negative (`assert!(dot >= 0.)` in `anndists`), which a crowd of nearly equal vectors brings about.
//! `instant-distance` 0.6.1 is of 2023, fixes the width of a search when it builds, and took 25 s to build and 0.6 ms for 0.985 at
//! 27 thousand items; `hnswlib-rs` 0.10 needs a nightly compiler; `diskann` had three incompatible versions in seven weeks;
//! `arroy` and `hannoy` live in LMDB. Cells are two matrix products and a sort, on what this crate already has.

mod cells;
mod file;
mod k_means;
mod lists;

use std::borrow::Borrow;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::data::filter::Filter;
use crate::data::ids::{Id, Index, ItemIdx, UserIdx};
use crate::models::factors::Factors;
use crate::recommender::Recommender;
use crate::serve::fitted::{Fitted, Scored, check_k};
use crate::serve::top_k::ScoredItem;
use crate::{Error, Result};

use cells::Cells;
use lists::Query;

/// Cells that a list visits unless it is told otherwise: 0.95 of the exact lists and more, see the table in the README.
const PROBES: usize = 100;

/// Settings of an [`ItemIndex`]. By default 2 √n cells for n items, of which a list visits 100, and seed 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexSettings {
    cells: Option<usize>,
    probes: Option<usize>,
    seed: u64,
}

impl IndexSettings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cells that the items are parted into; fewer if there are fewer items, or fewer different ones.
    #[must_use]
    pub fn cells(mut self, cells: usize) -> Self {
        self.cells = Some(cells);
        self
    }

    /// Cells that a list visits, see [`ItemIndex::with_probes`].
    #[must_use]
    pub fn probes(mut self, probes: usize) -> Self {
        self.probes = Some(probes);
        self
    }

    setters! {
        /// Seed of the start of k-means.
        seed(seed: u64);
    }
}

/// An index of a model's items, with the methods of [`Fitted`] that make lists for users.
///
/// `F` is what holds the model: a reference, or an `Arc` in a program that keeps the two together. The index has a copy of
/// the item vectors of its own.
///
/// ```
/// use cairn_recsys::{Als, Filter, Fit, IndexSettings, ItemIndex, synthetic};
/// let log = synthetic::planted_groups(200, 300, 4, 12, 0.1, 0)?;
/// let model = Als::new().factors(16).fit(&log)?;
/// let index = ItemIndex::build(&model, IndexSettings::new().cells(30).probes(6))?;
/// let list = index.recommend(&7, 10, &Filter::unseen())?;
/// assert_eq!(list.len(), 10);
///
/// // What share of the exact lists is found, and what it is with a wider search.
/// let sample: Vec<u32> = (0..50).collect();
/// let narrow = index.recall(&sample, 10, &Filter::unseen())?;
/// let index = index.with_probes(30)?;
/// assert_eq!(index.recall(&sample, 10, &Filter::unseen())?, 1.0);
/// assert!(narrow > 0.5);
/// # Ok::<(), cairn_recsys::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ItemIndex<F> {
    model: F,
    cells: Cells,
    probes: usize,
}

impl<F, M, U, I> ItemIndex<F>
where
    F: Deref<Target = Fitted<M, U, I>>,
    M: Recommender + ?Sized,
    U: Id,
    I: Id,
{
    /// Groups the items of `model`. The same model and settings give the same index, to the bit, for any number of threads.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model that does not score by inner products, [`Error::Parameter`] for 0 cells or
    /// probes, and [`Error::Shape`] for a model whose vectors are not one for each user and item.
    pub fn build(model: F, settings: IndexSettings) -> Result<Self> {
        let IndexSettings { cells, probes, seed } = settings;
        check_some("cells", cells)?;
        check_some("probes", probes)?;
        let vectors = &factors(&model)?.items;
        let cells = cells.unwrap_or_else(|| 2 * vectors.len().isqrt().max(1));
        let cells = Cells::build(vectors, cells, seed);
        Ok(Self { model, cells, probes: probes.unwrap_or(PROBES) })
    }

    /// The model.
    pub fn model(&self) -> &Fitted<M, U, I> {
        &self.model
    }

    /// Cells there are.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Cells that a list visits.
    pub fn probes(&self) -> usize {
        self.probes
    }

    /// The same index with lists that visit `probes` cells: more find more of the exact list in more time, all of them find
    /// all. [`recall`](Self::recall) says how much.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0.
    pub fn with_probes(mut self, probes: usize) -> Result<Self> {
        check_some("probes", Some(probes))?;
        self.probes = probes;
        Ok(self)
    }

    /// Good items for one user, `k` unless fewer qualify: see [`Fitted::recommend`].
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0.
    pub fn recommend<Q: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>>
    where
        U: Borrow<Q>,
    {
        let user = self.model.catalog().user(user)?;
        let lists = self.recommend_indices(&[user], k, filter)?;
        Ok(self.model.with_ids(&lists[0]))
    }

    /// Lists for many users, in their order: see [`Fitted::recommend_many`]. They are those that
    /// [`recommend`](Self::recommend) gives, to the bit.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend).
    pub fn recommend_many(
        &self,
        users: &[U],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Vec<Scored<I>>>> {
        let lists = self.recommend_indices(&self.indices(users)?, k, filter)?;
        Ok(lists.iter().map(|list| self.model.with_ids(list)).collect())
    }

    /// As [`recommend_many`](Self::recommend_many) by index, without the cost of ids.
    ///
    /// # Errors
    /// [`Error::UnknownUser`] for an index out of range; [`Error::Parameter`] for a `k` of 0.
    pub fn recommend_indices(
        &self,
        users: &[UserIdx],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Vec<ScoredItem>>> {
        check_k(k)?;
        let vectors = &factors(&self.model)?.users;
        if let Some(user) = users.iter().find(|user| user.at() >= vectors.len()) {
            return Err(Error::UnknownUser(format!("{user:?}")));
        }
        let query = |&user: &UserIdx| Query {
            vector: vectors.get(user.at()),
            out: if filter.is_unseen() { self.model.seen().row(user).0 } else { &[] },
        };
        let queries: Vec<Query<'_>> = users.iter().map(query).collect();
        Ok(self.best(&queries, k, filter))
    }

    /// A list for somebody the model has never met, from a list of (item, value): see [`Fitted::recommend_for`].
    ///
    /// # Errors
    /// As [`Fitted::recommend_for`].
    pub fn recommend_for(
        &self,
        history: &[(I, f32)],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        let (items, values) = self.model.history(history)?;
        let vector = self.model.model().fold_in_vector(&items, &values)?;
        let dim = factors(&self.model)?.items.dim();
        if vector.len() != dim {
            return Err(Error::Shape {
                what: "the vector of a new user",
                expected: dim.to_string(),
                found: vector.len().to_string(),
            });
        }
        let out: &[ItemIdx] = if filter.is_unseen() { &items } else { &[] };
        let lists = self.best(&[Query { vector: &vector, out }], k, filter);
        Ok(self.model.with_ids(&lists[0]))
    }

    /// The share of the exact lists' items that the index finds, for a sample of users: the mean over those who have an
    /// exact list. 1 if nobody has.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend), and [`Error::Empty`] without users.
    pub fn recall(&self, users: &[U], k: usize, filter: &Filter<'_, I>) -> Result<f64> {
        if users.is_empty() {
            return Err(Error::Empty { what: "the sample of users" });
        }
        let users = self.indices(users)?;
        let found = self.recommend_indices(&users, k, filter)?;
        let exact = self.model.recommend_indices(&users, k, filter)?;
        let share = |(found, exact): (&Vec<ScoredItem>, &Vec<ScoredItem>)| {
            let mut items: Vec<ItemIdx> = found.iter().map(|entry| entry.item).collect();
            items.sort_unstable();
            let hits = exact.iter().filter(|entry| items.binary_search(&entry.item).is_ok()).count();
            hits as f64 / exact.len() as f64
        };
        let shares: Vec<f64> =
            found.iter().zip(&exact).filter(|(_, exact)| !exact.is_empty()).map(share).collect();
        Ok(if shares.is_empty() { 1.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 })
    }

    fn indices(&self, users: &[U]) -> Result<Vec<UserIdx>> {
        users.iter().map(|user| self.model.catalog().user(user)).collect()
    }

    /// The caller's conditions are asked of the items that would enter a list, not of the whole catalogue.
    fn best(&self, queries: &[Query<'_>], k: usize, filter: &Filter<'_, I>) -> Vec<Vec<ScoredItem>> {
        let items = &self.model.catalog().items;
        let allowed = |item: ItemIdx| filter.allows(items.id(item));
        lists::best(&self.cells, queries, k, self.probes, &allowed)
    }
}

/// The vectors of a model, one for each user and item.
fn factors<M: Recommender + ?Sized, U: Id, I: Id>(model: &Fitted<M, U, I>) -> Result<&Factors> {
    let name = model.model().name();
    let factors = model
        .model()
        .inner_product()
        .ok_or(Error::Unsupported { model: name, operation: "an index of its items" })?;
    let Factors { users, items } = factors;
    let expected = (model.seen().n_rows(), model.seen().n_cols(), items.dim());
    let found = (users.len(), items.len(), users.dim());
    if found != expected || items.dim() == 0 {
        return Err(Error::Shape {
            what: "users, items and width of the vectors",
            expected: format!("{expected:?}"),
            found: format!("{found:?}"),
        });
    }
    Ok(factors)
}

fn check_some(name: &'static str, n: Option<usize>) -> Result<()> {
    if n == Some(0) { Err(Error::parameter(name, 0, "at least 1")) } else { Ok(()) }
}
