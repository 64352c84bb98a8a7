//! A trained model together with ids and history: what a program keeps and asks.

use std::borrow::{Borrow, Cow};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use cairn_processes::Communicator;
use rayon::prelude::*;

use crate::by_rank::{by_rank, sum_of};
use crate::data::filter::Filter;
use crate::data::ids::{Id, Idx, ItemIdx, UserIdx};
use crate::data::interactions::Catalog;
use crate::data::sparse::UserItems;
use crate::models::factors::dot;
use crate::recommender::Recommender;
use crate::serve::ann::AnnIndex;
use crate::serve::exact::{USERS, best_by_inner_product};
use crate::serve::file::{AnyModel, Saved};
use crate::serve::ranks::Ranks;
use crate::serve::similar;
use crate::serve::top_k::{ScoredItem, top_k};
use crate::{Error, Result};

/// Scores held by one task: 16 MB at most. Fewer users at a time would repack the item table too often for the product,
/// more would fall out of the cache before the selection.
const SCORES_PER_TASK: usize = 1 << 22;

/// An id with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<T> {
    /// The caller's id.
    pub id: T,
    /// Higher is better. Comparable within one list only.
    pub score: f32,
}

/// A model `M` with the caller's ids `U`, `I` and the training matrix. Cheap to clone and to share between threads;
/// all methods take `&self`.
///
/// Lists keep a strict contract: never an item the filter bars, never an item twice, never a NaN; best first, equal scores
/// by popularity in training and then in an order that depends on the ids alone, not on the order of the log; fewer than k entries
/// only when fewer items qualify. A user of the catalogue of whom the model knows nothing, having neither training rows nor features that
/// it learned of, gets the most popular items, scored by the number of users who met them; items of which it knows nothing come last: see
/// [`Recommender`]. Lists are the exact lists, unless the model was
/// given an index for large catalogues, [`with_index`](Self::with_index), which keeps that contract but looks at the items near a
/// user alone.
///
/// `M` may be a type of its own, or [`dyn AnyModel`](AnyModel) for a model whose type is known only when the program runs:
/// [`boxed`](Self::boxed), [`load_any`](Self::load_any).
#[derive(Debug)]
pub struct Fitted<M: ?Sized, U = u32, I = u32> {
    model: Arc<M>,
    catalog: Catalog<U, I>,
    seen: Arc<UserItems>,
    ranks: Arc<Ranks>,
    /// The items of which the model knows nothing, ascending.
    strangers: Arc<[ItemIdx]>,
    /// The same in the order of ties.
    strangers_in_order: Arc<[ItemIdx]>,
    index: Option<AnnIndex>,
}

/// Shares model, ids and history with the original.
impl<M: ?Sized, U: Clone, I: Clone> Clone for Fitted<M, U, I> {
    fn clone(&self) -> Self {
        Self {
            model: Arc::clone(&self.model),
            catalog: self.catalog.clone(),
            seen: Arc::clone(&self.seen),
            ranks: Arc::clone(&self.ranks),
            strangers: Arc::clone(&self.strangers),
            strangers_in_order: Arc::clone(&self.strangers_in_order),
            index: self.index.clone(),
        }
    }
}

impl<M: Recommender, U: Id, I: Id> Fitted<M, U, I> {
    /// Joins a model with the ids and the matrix it was trained on.
    ///
    /// # Errors
    /// [`Error::Shape`] if they disagree about the number of users or items.
    pub fn new(model: M, catalog: Catalog<U, I>, seen: UserItems) -> Result<Self> {
        Self::shared(Arc::new(model), catalog, seen)
    }

    /// The same with the model's type erased, to keep different models in one list. It can do all that it could: nothing is
    /// forwarded by hand, calls go through the trait's own table.
    ///
    /// ```
    /// use cairn_recsys::{AnyModel, Ease, Estimator, Filter, Fitted, TopPop, synthetic};
    /// let log = synthetic::planted_groups(60, 40, 4, 8, 0.1, 0)?;
    /// let models: Vec<Fitted<dyn AnyModel>> =
    ///     vec![TopPop::new().fit(&log)?.boxed(), Ease::new(10.0).fit(&log)?.boxed()];
    /// for model in &models {
    ///     let list = model.recommend(&7, 3, &Filter::unseen())?;
    ///     println!("{}: {list:?}", model.model().name());
    /// }
    /// # use cairn_recsys::Recommender;
    /// # Ok::<(), cairn_recsys::Error>(())
    /// ```
    #[must_use]
    pub fn boxed(self) -> Fitted<dyn AnyModel, U, I>
    where
        M: Saved,
    {
        Fitted {
            model: self.model,
            catalog: self.catalog,
            seen: self.seen,
            ranks: self.ranks,
            strangers: self.strangers,
            strangers_in_order: self.strangers_in_order,
            index: self.index,
        }
    }
}

impl<M: Recommender + ?Sized, U: Id, I: Id> Fitted<M, U, I> {
    pub(super) fn shared(model: Arc<M>, catalog: Catalog<U, I>, seen: UserItems) -> Result<Self> {
        let shape = (catalog.users.len(), catalog.items.len());
        for found in [(seen.n_rows(), seen.n_cols()), (model.n_users(), model.n_items())] {
            if found != shape {
                return Err(Error::Shape {
                    what: "users and items of model, catalogue and matrix",
                    expected: format!("{shape:?}"),
                    found: format!("{found:?}"),
                });
            }
        }
        let ranks = Arc::new(Ranks::new(&seen, catalog.items.ids()));
        let items = (0..shape.1 as u32).map(ItemIdx);
        let strangers: Arc<[ItemIdx]> =
            items.filter(|&item| !model.knows_item(item, ranks.is_met(item))).collect();
        let mut in_order = strangers.to_vec();
        in_order.sort_unstable_by_key(|&item| ranks.place(item));
        let strangers_in_order = in_order.into();
        Ok(Self { model, catalog, seen: Arc::new(seen), ranks, strangers, strangers_in_order, index: None })
    }

    /// The model itself.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The id maps.
    pub fn catalog(&self) -> &Catalog<U, I> {
        &self.catalog
    }

    /// The training matrix.
    pub fn seen(&self) -> &UserItems {
        &self.seen
    }

    /// The ANN index that lists are made with, if there is one: see [`with_index`](Self::with_index).
    pub fn index(&self) -> Option<&AnnIndex> {
        self.index.as_ref()
    }

    /// The order of items of equal score.
    pub(crate) fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Whether the model knows anything of a user.
    pub(crate) fn knows_user(&self, user: UserIdx) -> bool {
        self.model.knows_user(user, self.seen.row_len(user) > 0)
    }

    /// Whether the model knows anything of an item.
    pub(super) fn knows_item(&self, item: ItemIdx) -> bool {
        self.strangers.binary_search(&item).is_err()
    }

    /// Whether an item says anything of who met it.
    pub(crate) fn reads_item(&self, item: ItemIdx) -> bool {
        self.model.reads_item(item, self.ranks.is_met(item))
    }

    pub(super) fn indexed_by(&self, index: Option<AnnIndex>) -> Self {
        Self { index, ..self.clone() }
    }

    /// The `k` best items for one user.
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
        let user = self.catalog.user(user)?;
        let lists = self.recommend_indices(&[user], k, filter)?;
        Ok(self.with_ids(&lists[0]))
    }

    /// The `k` best items for each of many users, in their order; scored in blocks and in parallel.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0.
    pub fn recommend_many(
        &self,
        users: &[U],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Vec<Scored<I>>>> {
        let users = users.iter().map(|user| self.catalog.user(user)).collect::<Result<Vec<_>>>()?;
        let lists = self.recommend_indices(&users, k, filter)?;
        Ok(lists.iter().map(|list| self.with_ids(list)).collect())
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
        if let Some(user) = users.iter().find(|user| user.at() >= self.seen.n_rows()) {
            return Err(Error::UnknownUser(format!("{user:?}")));
        }
        let mut lists = if let Some(index) = &self.index {
            self.nearest_of_users(index, users, k, filter)?
        } else {
            let barred = filter.barred(&self.catalog.items);
            if let Some(factors) = self.model.inner_product() {
                let seen = filter.is_unseen().then_some(self.seen.as_ref());
                best_by_inner_product((factors, &self.ranks), users, k, seen, &self.with_strangers(&barred))
            } else {
                return self.score_blocks(users, |user, scores| {
                    if filter.is_unseen() {
                        bar(scores, self.seen.row(user).0);
                    }
                    bar(scores, &barred);
                    if self.knows_user(user) { self.best_of(scores, k) } else { self.ranks.top_k(scores, k) }
                });
            }
        };
        // The caller's conditions are asked once for all users, and only where a list needs it.
        let allowed = |item: ItemIdx| filter.allows(self.catalog.items.id(item));
        let all_known = users.iter().all(|&user| self.knows_user(user));
        let popular = if all_known { Vec::new() } else { self.ranks.most_popular(k, allowed) };
        let none_short =
            users.iter().zip(&lists).all(|(&user, list)| list.len() >= k || !self.knows_user(user));
        let strangers: Vec<ItemIdx> = if none_short {
            Vec::new()
        } else {
            self.strangers_in_order().filter(|&item| allowed(item)).collect()
        };
        users.par_iter().zip(&mut lists).for_each(|(&user, list)| {
            if !self.knows_user(user) {
                list.clone_from(&popular);
            } else if let Some(factors) = self.model.inner_product() {
                let met = |item: ItemIdx| filter.is_unseen() && self.seen.get(user, item).is_some();
                let strangers = strangers.iter().copied().filter(|&item| !met(item));
                self.append_strangers(list, k, factors.users.get(user.at()), strangers);
            }
        });
        Ok(lists)
    }

    /// Items that are barred, with those of which the model knows nothing; ascending.
    fn with_strangers<'a>(&'a self, barred: &'a [ItemIdx]) -> Cow<'a, [ItemIdx]> {
        if self.strangers.is_empty() {
            return Cow::Borrowed(barred);
        }
        if barred.is_empty() {
            return Cow::Borrowed(&self.strangers[..]);
        }
        let mut all = [barred, &self.strangers[..]].concat();
        // Both ascend already, and a stable sort merges what does.
        all.sort();
        all.dedup();
        Cow::Owned(all)
    }

    /// The items of which the model knows nothing, in the order of ties.
    pub(super) fn strangers_in_order(&self) -> impl Iterator<Item = ItemIdx> {
        self.strangers_in_order.iter().copied()
    }

    /// Fills a list that was made without them up with some of the [strangers](Self::strangers_in_order), in their order, as far as their
    /// products with the user's vector are numbers.
    pub(super) fn append_strangers(
        &self,
        list: &mut Vec<ScoredItem>,
        k: usize,
        vector: &[f32],
        strangers: impl Iterator<Item = ItemIdx>,
    ) {
        let Some(factors) = self.model.inner_product() else { return };
        let scored = |item: ItemIdx| dot(vector, factors.items.get(item.at())).is_finite();
        append(list, k, strangers.filter(|&item| scored(item)));
    }

    /// The `k` best of a row of scores, behind them the items of which the model knows nothing.
    fn best_of(&self, scores: &mut [f32], k: usize) -> Vec<ScoredItem> {
        let strangers = self.take_strangers(scores);
        let mut list = self.ranks.top_k(scores, k);
        append(&mut list, k, strangers.into_iter());
        list
    }

    /// Marks the items of which the model knows nothing as no candidates; those that were some, in the order of ties.
    fn take_strangers(&self, scores: &mut [f32]) -> Vec<ItemIdx> {
        let strangers = self.strangers_in_order().filter(|item| scores[item.at()].is_finite()).collect();
        bar(scores, &self.strangers);
        strangers
    }

    /// Puts the items of which the model knows nothing below all others.
    fn sink_strangers(&self, scores: &mut [f32]) {
        let strangers = self.take_strangers(scores);
        if !strangers.is_empty() {
            let known = scores.iter().copied().filter(|score| score.is_finite());
            let score = known.reduce(f32::min).map_or(0.0, below);
            strangers.iter().for_each(|item| scores[item.at()] = score);
        }
    }

    /// As [`recommend_many`](Self::recommend_many), together with other processes, which have the same model: each makes the lists of some of the
    /// users. They are the same on all, with the same bits at any number of them.
    ///
    /// # Errors
    /// As there, of any process on all of them; [`Error::Processes`] says of which.
    pub fn recommend_many_on(
        &self,
        users: &[U],
        k: usize,
        filter: &Filter<'_, I>,
        processes: &dyn Communicator,
    ) -> Result<Vec<Vec<Scored<I>>>> {
        let known: Result<Vec<UserIdx>> = users.iter().map(|user| self.catalog.user(user)).collect();
        let (indices, rows) = match known {
            Ok(indices) => (indices, Ok(users.len())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let facts = || vec![("the number of entries", k.to_string()), ("the model", self.fact())];
        let lists = by_rank(processes, "lists", facts, rows, self.users_of_task(), |own| {
            self.recommend_indices(&indices[own], k, filter)
        })?;
        Ok(lists.iter().map(|list: &Vec<ScoredItem>| self.with_ids(list)).collect())
    }

    /// Name and training log, by which processes compare theirs.
    pub(crate) fn fact(&self) -> String {
        format!("{} of {}", self.model.name(), sum_of(&self.seen))
    }

    /// Users whose lists are made together.
    pub(crate) fn users_of_task(&self) -> usize {
        match self.model.inner_product() {
            Some(_) if self.index.is_none() => USERS,
            _ => self.users_scored_together(),
        }
    }

    /// Users that are scored together.
    pub(crate) fn users_scored_together(&self) -> usize {
        (SCORES_PER_TASK / self.seen.n_cols().max(1)).clamp(1, 128)
    }

    /// As [`score_blocks`](Self::score_blocks), with the items of which the model knows nothing below all others, for an evaluation, which
    /// ranks by scores alone.
    pub(crate) fn rank_blocks<T: Send>(
        &self,
        users: &[UserIdx],
        f: impl Fn(UserIdx, &mut [f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        self.score_blocks(users, |user, scores| {
            if self.knows_user(user) {
                self.sink_strangers(scores);
            }
            f(user, scores)
        })
    }

    /// Scores users in blocks, those of whom the model knows nothing by popularity, and hands each one's scores to `f`; results in the
    /// order of `users`.
    fn score_blocks<T: Send>(
        &self,
        users: &[UserIdx],
        f: impl Fn(UserIdx, &mut [f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        let n_items = self.seen.n_cols();
        let blocks = users
            .par_chunks(self.users_scored_together())
            .map(|users| {
                let mut scores = vec![0.0; users.len() * n_items];
                self.model.score_users(&self.seen, users, &mut scores)?;
                let each = |(&user, row): (&UserIdx, &mut [f32])| {
                    if !self.knows_user(user) {
                        self.ranks.popularity(row);
                    }
                    f(user, row)
                };
                Ok(users.iter().zip(scores.chunks_mut(n_items)).map(each).collect())
            })
            .collect::<Result<Vec<Vec<T>>>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }

    /// The score of one item for one user: the model's own number, also where it [knows](Recommender) nothing of one of them.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::UnknownItem`].
    pub fn score<Q: Eq + Hash + Debug + ?Sized, P: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        item: &P,
    ) -> Result<f32>
    where
        U: Borrow<Q>,
        I: Borrow<P>,
    {
        let (user, item) = (self.catalog.user(user)?, self.catalog.item(item)?);
        let mut scores = vec![0.0; self.seen.n_cols()];
        self.model.score_users(&self.seen, &[user], &mut scores)?;
        Ok(scores[item.at()])
    }

    /// The `k` best items for somebody the model has never met, from a list of (item, value). With
    /// [`Filter::unseen`] the items of the list are left out. To a model that knows order the list is what was met, first met first.
    ///
    /// # Errors
    /// [`Error::UnknownItem`], [`Error::DuplicateId`] for an item named twice (see [`recommend_session`](Self::recommend_session)), [`Error::InvalidValue`] for a value that is
    /// not finite, [`Error::Empty`] for an empty list, and [`Error::Unsupported`] if the model has no fold-in.
    #[doc(alias = "recalculate_user")]
    #[doc(alias = "fold_in")]
    pub fn recommend_for(
        &self,
        history: &[(I, f32)],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        check_k(k)?;
        let (items, values) = self.history(history)?;
        self.best_of_history(&items, &values, k, filter)
    }

    /// The list for a history as [`Recommender::score_history`] takes it.
    pub(super) fn best_of_history(
        &self,
        items: &[ItemIdx],
        values: &[f32],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Result<Vec<Scored<I>>> {
        let (read, weights) = self.read(items, values);
        // Who met nothing that was learned of is as little known as who met nothing.
        if read.is_empty() {
            let mut out = if filter.is_unseen() { items.to_vec() } else { Vec::new() };
            out.sort_unstable();
            let allowed = |item: ItemIdx| {
                out.binary_search(&item).is_err() && filter.allows(self.catalog.items.id(item))
            };
            return Ok(self.with_ids(&self.ranks.most_popular(k, allowed)));
        }
        if let Some(index) = &self.index {
            let history = (&read[..], &weights[..]);
            return Ok(self.with_ids(&self.nearest_of_history(index, history, items, k, filter)?));
        }
        let scores = self.scores_by(|out| self.model.score_history(&self.seen, &read, &weights, out))?;
        Ok(self.list_of_scores(scores, items, k, filter))
    }

    /// The items of a history that say something, with their values.
    pub(super) fn read(&self, items: &[ItemIdx], values: &[f32]) -> (Vec<ItemIdx>, Vec<f32>) {
        let rows = items.iter().copied().zip(values.iter().copied());
        rows.filter(|&(item, _)| self.reads_item(item)).unzip()
    }

    /// The scores of all items that `score` writes, its error with the caller's ids.
    pub(super) fn scores_by(&self, score: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<Vec<f32>> {
        let mut scores = vec![0.0; self.seen.n_cols()];
        score(&mut scores).map_err(|error| error.named(|_| None, |item| self.item_name(item)))?;
        Ok(scores)
    }

    /// The scores by which a history is ranked in an evaluation; by popularity where it says nothing.
    pub(crate) fn ranked_history(&self, items: &[ItemIdx], values: &[f32]) -> Result<Vec<f32>> {
        let (read, weights) = self.read(items, values);
        if read.is_empty() {
            let mut scores = vec![0.0; self.seen.n_cols()];
            self.ranks.popularity(&mut scores);
            return Ok(scores);
        }
        let mut scores = self.scores_by(|out| self.model.score_history(&self.seen, &read, &weights, out))?;
        self.sink_strangers(&mut scores);
        Ok(scores)
    }

    /// The list that scores make for somebody who met the items in `out`.
    pub(crate) fn list_of_scores(
        &self,
        mut scores: Vec<f32>,
        out: &[ItemIdx],
        k: usize,
        filter: &Filter<'_, I>,
    ) -> Vec<Scored<I>> {
        if filter.is_unseen() {
            bar(&mut scores, out);
        }
        bar(&mut scores, &filter.barred(&self.catalog.items));
        self.with_ids(&self.best_of(&mut scores, k))
    }

    /// A history by ids as indices with values, ascending unless the model knows order.
    fn history(&self, history: &[(I, f32)]) -> Result<(Vec<ItemIdx>, Vec<f32>)> {
        if history.is_empty() {
            return Err(Error::Empty { what: "the history to fold in" });
        }
        let mut rows = Vec::with_capacity(history.len());
        for (id, value) in history {
            if !value.is_finite() {
                return Err(Error::InvalidValue {
                    what: "history to fold in",
                    at: format!("item {id:?}"),
                    value: f64::from(*value),
                    expected: "finite",
                    entry: None,
                });
            }
            rows.push((self.catalog.item(id)?, *value));
        }
        let mut ascending = rows.clone();
        ascending.sort_unstable_by_key(|&(item, _)| item);
        if let Some(pair) = ascending.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let id = format!("{:?}", self.catalog.items.id(pair[0].0));
            return Err(Error::DuplicateId { kind: ItemIdx::KIND, id });
        }
        let rows = if self.model.knows_order() { rows } else { ascending };
        Ok(rows.into_iter().unzip())
    }

    /// The `k` items most similar to `item`, itself left out; fewer if the measure knows fewer. Similarity is the model's
    /// own, where it has one; else it is that of the training log: the cosine of the two items' columns. An item of which the model
    /// [knows](Recommender) nothing is like none.
    ///
    /// # Errors
    /// [`Error::UnknownItem`]; [`Error::Parameter`] for a `k` of 0.
    #[doc(alias = "get_neighbors")]
    pub fn similar_items<P: Eq + Hash + Debug + ?Sized>(&self, item: &P, k: usize) -> Result<Vec<Scored<I>>>
    where
        I: Borrow<P>,
    {
        check_k(k)?;
        let item = self.catalog.item(item)?;
        if !self.knows_item(item) {
            return Ok(Vec::new());
        }
        let mut scores = vec![0.0; self.seen.n_cols()];
        match self.model.item_similarity(item, &mut scores) {
            Err(Error::Unsupported { .. }) => similar::columns(&self.seen, item, &mut scores),
            answer => answer?,
        }
        bar(&mut scores, &self.strangers);
        scores[item.at()] = f32::NAN;
        Ok(self.with_ids(&self.ranks.top_k(&scores, k)))
    }

    /// The `k` users most similar to `user`, the user left out; fewer if the measure knows fewer; equal ones in the order of their
    /// first rows. Similarity is the model's
    /// own, where it has one; else it is that of the training log: the cosine of the two users' rows. A user of whom the model
    /// [knows](Recommender) nothing is like nobody.
    ///
    /// # Errors
    /// [`Error::UnknownUser`]; [`Error::Parameter`] for a `k` of 0.
    pub fn similar_users<Q: Eq + Hash + Debug + ?Sized>(&self, user: &Q, k: usize) -> Result<Vec<Scored<U>>>
    where
        U: Borrow<Q>,
    {
        check_k(k)?;
        let user = self.catalog.user(user)?;
        if !self.knows_user(user) {
            return Ok(Vec::new());
        }
        let mut scores = vec![0.0; self.seen.n_rows()];
        match self.model.user_similarity(user, &mut scores) {
            Err(Error::Unsupported { .. }) => similar::rows(&self.seen, user, &mut scores),
            answer => answer?,
        }
        let others = (0..).map(UserIdx).zip(&mut scores);
        others.filter(|(other, _)| !self.knows_user(*other)).for_each(|(_, score)| *score = f32::NAN);
        scores[user.at()] = f32::NAN;
        let best = top_k(&scores, k);
        Ok(best
            .iter()
            .map(|e| Scored { id: self.catalog.users.id(UserIdx(e.item.0)).clone(), score: e.score })
            .collect())
    }

    /// Why `item` has its score for `user`: every item of the user's history with its share of the score, largest first.
    ///
    /// # Errors
    /// [`Error::UnknownUser`], [`Error::UnknownItem`], and [`Error::Unsupported`] if the model has no such account.
    pub fn explain<Q: Eq + Hash + Debug + ?Sized, P: Eq + Hash + Debug + ?Sized>(
        &self,
        user: &Q,
        item: &P,
    ) -> Result<Vec<Scored<I>>>
    where
        U: Borrow<Q>,
        I: Borrow<P>,
    {
        let (items, values) = self.seen.row(self.catalog.user(user)?);
        let shares = self.model.contributions(items, values, self.catalog.item(item)?)?;
        let mut list: Vec<ScoredItem> =
            items.iter().zip(shares).map(|(&item, score)| ScoredItem { item, score }).collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        Ok(self.with_ids(&list))
    }

    /// An item's id for messages.
    fn item_name(&self, item: u32) -> Option<String> {
        self.catalog.items.ids().get(item as usize).map(|id| format!("{id:?}"))
    }

    pub(super) fn with_ids(&self, list: &[ScoredItem]) -> Vec<Scored<I>> {
        list.iter()
            .map(|entry| Scored { id: self.catalog.items.id(entry.item).clone(), score: entry.score })
            .collect()
    }
}

pub(crate) fn check_k(k: usize) -> Result<()> {
    if k == 0 { Err(Error::parameter("k", 0, "at least 1")) } else { Ok(()) }
}

/// The next score down, which is a number.
fn below(score: f32) -> f32 {
    score.next_down().max(f32::MIN)
}

/// Fills a list up with these items, in their order and with one score below those before.
fn append(list: &mut Vec<ScoredItem>, k: usize, items: impl Iterator<Item = ItemIdx>) {
    let score = list.last().map_or(0.0, |entry| below(entry.score));
    let free = k.saturating_sub(list.len());
    list.extend(items.take(free).map(|item| ScoredItem { item, score }));
}

/// Marks items as no candidates.
fn bar(scores: &mut [f32], items: &[ItemIdx]) {
    for item in items {
        scores[item.at()] = f32::NAN;
    }
}
