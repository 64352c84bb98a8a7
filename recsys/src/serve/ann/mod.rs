//! An approximate nearest-neighbour (ANN) index of the items, for models that score by inner products.
//!
//! The exact list of one user needs the scores of all items, which is a pass over the whole table of their vectors: 14 MB
//! at 27 thousand items and 128 factors, 91 MB at 178 thousand. The index looks at the items near the user alone: an
//! inverted file (Jégou, Douze & Schmid, PAMI 2011) of cells by k-means, of which a list visits as many as it is told to.
//!
//! Only which items are looked at is approximate. All the rest is as in [`Fitted`]: scores are true inner products, the best
//! come first, ties go as in every list, nothing barred or seen gets in, and a list is shorter than k only if fewer items qualify,
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

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::filter::Filter;
use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::models::factors::Factors;
use crate::recommender::Recommender;
use crate::serve::fitted::Fitted;
use crate::serve::top_k::ScoredItem;
use crate::{Error, Result, check};

use cells::Cells;
use lists::Query;

/// Cells that a list visits unless it is told otherwise: 0.95 of the exact lists and more, see the table in the README.
const PROBES: usize = 100;

/// Settings of an ANN index, see [`Fitted::with_index`]. By default 2 √n cells for n items, of which a list visits 100, and
/// seed 0.
#[doc(alias = "faiss")]
#[doc(alias = "annoy")]
#[doc(alias = "hnsw")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnSettings {
    cells: Option<usize>,
    probes: Option<usize>,
    seed: u64,
}

impl AnnSettings {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cells that the items are parted into; fewer if there are fewer items, or fewer different ones.
    #[doc(alias = "nlist")]
    #[must_use]
    pub fn cells(mut self, cells: usize) -> Self {
        self.cells = Some(cells);
        self
    }

    /// Cells that a list visits, see [`Fitted::with_probes`].
    #[doc(alias = "nprobe")]
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

/// The ANN index that a model makes its lists with. It has a copy of the item vectors of its own.
#[derive(Debug, Clone)]
pub struct AnnIndex {
    cells: Arc<Cells>,
    probes: usize,
}

impl AnnIndex {
    /// Cells there are.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Cells that a list visits.
    pub fn probes(&self) -> usize {
        self.probes
    }
}

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    /// The same model with lists by an ANN index of its items. It shares model, ids and history with this one; similar items,
    /// scores and explanations stay exact. The same model and settings give the same index, to the bit, for any number of
    /// threads.
    ///
    /// ```
    /// use cairn_recsys::{Als, AnnSettings, Estimator, Filter, synthetic};
    /// let log = synthetic::planted_groups(200, 300, 4, 12, 0.1, 0)?;
    /// let model = Als::new().factors(16).fit(&log)?;
    /// let fast = model.with_index(AnnSettings::new().cells(30).probes(6))?;
    /// let list = fast.recommend(&7, 10, &Filter::unseen())?;
    /// assert_eq!(list.len(), 10);
    ///
    /// // What share of the exact lists is found, and what it is with a wider search.
    /// let sample: Vec<u32> = (0..50).collect();
    /// let narrow = fast.recall(&sample, 10, &Filter::unseen())?;
    /// let wide = fast.with_probes(30)?;
    /// assert_eq!(wide.recall(&sample, 10, &Filter::unseen())?, 1.0);
    /// assert!(narrow > 0.5);
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model that does not score by inner products, [`Error::Parameter`] for 0 cells or
    /// probes, and [`Error::Shape`] for a model whose vectors are not one for each user and item.
    pub fn with_index(&self, settings: AnnSettings) -> Result<Self> {
        let AnnSettings { cells, probes, seed } = settings;
        check::at_least_one("cells", cells.unwrap_or(1))?;
        let probes = probes.unwrap_or(PROBES);
        check::at_least_one("probes", probes)?;
        let vectors = &self.vectors()?.items;
        let cells = cells.unwrap_or_else(|| 2 * vectors.len().isqrt().max(1));
        let cells = Arc::new(Cells::build(vectors, |item| self.knows_item(item), cells, seed));
        Ok(self.indexed_by(Some(AnnIndex { cells, probes })))
    }

    /// The same model and index with lists that visit `probes` cells: more find more of the exact list in more time, all of
    /// them find all. [`recall`](Self::recall) says how much.
    ///
    /// # Errors
    /// [`Error::Parameter`] for 0; [`Error::Unsupported`] without an index.
    pub fn with_probes(&self, probes: usize) -> Result<Self> {
        check::at_least_one("probes", probes)?;
        let Some(AnnIndex { cells, .. }) = self.index().cloned() else {
            return Err(Error::Unsupported {
                model: self.model().name(),
                operation: "probes without an index",
            });
        };
        Ok(self.indexed_by(Some(AnnIndex { cells, probes })))
    }

    /// The share of the exact lists' items that lists by the index have, for a sample of users: the mean over those who have
    /// an exact list. 1 if nobody has, and without an index.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0; [`Error::Empty`] without users.
    pub fn recall(&self, users: &[U], k: usize, filter: &Filter<'_, I>) -> Result<f64> {
        if users.is_empty() {
            return Err(Error::Empty { what: "the sample of users" });
        }
        let users = users.iter().map(|user| self.catalog().user(user)).collect::<Result<Vec<_>>>()?;
        let found = self.recommend_indices(&users, k, filter)?;
        let exact = self.indexed_by(None).recommend_indices(&users, k, filter)?;
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

    /// Lists of users of the catalogue by the index.
    pub(super) fn nearest_of_users(
        &self,
        index: &AnnIndex,
        users: &[UserIdx],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Vec<ScoredItem>>> {
        let vectors = &self.vectors()?.users;
        let query = |&user: &UserIdx| Query {
            vector: vectors.get(user.at()),
            out: if filter.is_unseen() { self.seen().row(user).0 } else { &[] },
        };
        let queries: Vec<Query<'_>> = users.iter().map(query).collect();
        Ok(self.nearest(index, &queries, k, filter))
    }

    /// The list of a history by the index, for somebody who met the items in `met`.
    pub(super) fn nearest_of_history(
        &self,
        index: &AnnIndex,
        (items, values): (&[ItemIdx], &[f32]),
        met: &[ItemIdx],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<ScoredItem>> {
        let vector = self.model().fold_in_vector(items, values)?;
        let dim = self.vectors()?.items.dim();
        if vector.len() != dim {
            return Err(Error::Shape {
                what: "the vector of a new user",
                expected: dim.to_string(),
                found: vector.len().to_string(),
            });
        }
        let mut out: Vec<ItemIdx> = if filter.is_unseen() { met.to_vec() } else { Vec::new() };
        out.sort_unstable();
        let lists = self.nearest(index, &[Query { vector: &vector, out: &out }], k, filter);
        let mut list = lists.into_iter().next().unwrap_or_default();
        let allowed = |item: &ItemIdx| {
            out.binary_search(item).is_err() && filter.allows(self.catalog().items.id(*item))
        };
        self.append_strangers(&mut list, k, &vector, self.strangers_in_order().filter(allowed));
        Ok(list)
    }

    /// Lists without the items of which the model knows nothing. The caller's conditions are asked of the items that would enter a list,
    /// not of the whole catalogue.
    fn nearest(
        &self,
        index: &AnnIndex,
        queries: &[Query<'_>],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Vec<Vec<ScoredItem>> {
        let items = &self.catalog().items;
        let allowed = |item: ItemIdx| self.knows_item(item) && filter.allows(items.id(item));
        lists::best((&index.cells, self.ranks()), queries, k, index.probes, &allowed)
    }

    /// The vectors of the model, one for each user and item.
    fn vectors(&self) -> Result<&Factors> {
        let name = self.model().name();
        let factors = self
            .model()
            .inner_product()
            .ok_or(Error::Unsupported { model: name, operation: "an index of its items" })?;
        let Factors { users, items } = factors;
        let expected = (self.seen().n_rows(), self.seen().n_cols(), items.dim());
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
}
