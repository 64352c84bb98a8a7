//! In what order items of equal score are listed, and what somebody is shown of whom nothing is known.
//!
//! Ties are common: a user without rows scores everything alike, and models of neighbours know nothing of most of the catalogue.
//! By index they would go by who came first in the log, and a figure of an evaluation would change with the order of its rows. So
//! they go by popularity, the number of users who met an item, and then by a hash of the id: whoever numbers the items
//! otherwise gets the same lists.

use std::hash::{Hash, Hasher};

use crate::data::ids::{FxHasher, Idx, ItemIdx};
use crate::data::sparse::UserItems;
use crate::serve::top_k::ScoredItem;

/// The order of items of equal score.
#[derive(Debug)]
pub(crate) struct Ranks {
    /// The place of each item in the order.
    places: Vec<u32>,
    /// The items in the order.
    order: Vec<ItemIdx>,
    /// How many users met each item.
    counts: Vec<u32>,
}

impl Ranks {
    /// By the training matrix and the ids of its items.
    pub(crate) fn new<I: Hash>(seen: &UserItems, ids: &[I]) -> Self {
        let mut counts = vec![0_u32; seen.n_cols()];
        seen.columns().iter().for_each(|item| counts[item.at()] += 1);
        Self::of_counts(counts, ids)
    }

    /// By the numbers of users who met each item.
    pub(crate) fn of_counts<I: Hash>(counts: Vec<u32>, ids: &[I]) -> Self {
        let hash = |id: &I| {
            let mut hasher = FxHasher::default();
            id.hash(&mut hasher);
            hasher.finish()
        };
        let hashes: Vec<u64> = ids.iter().map(hash).collect();
        let mut order: Vec<ItemIdx> = (0..counts.len() as u32).map(ItemIdx).collect();
        order.sort_by_key(|item| (std::cmp::Reverse(counts[item.at()]), hashes[item.at()]));
        let mut places = vec![0; counts.len()];
        order.iter().zip(0..).for_each(|(item, place)| places[item.at()] = place);
        Self { places, order, counts }
    }

    /// Whether anybody met an item.
    pub(crate) fn is_met(&self, item: ItemIdx) -> bool {
        self.counts[item.at()] > 0
    }

    /// The place of an item among those of equal score.
    pub(crate) fn place(&self, item: ItemIdx) -> u32 {
        self.places[item.at()]
    }

    /// An entry that compares as its item does: with the place of the item instead of the item.
    pub(crate) fn entry(&self, item: ItemIdx, score: f32) -> ScoredItem {
        // Negative zero and zero compare equal to a caller but not to `total_cmp`.
        ScoredItem { item: ItemIdx(self.places[item.at()]), score: score + 0.0 }
    }

    /// Entries with their items again, best first.
    pub(crate) fn list(&self, entries: impl IntoIterator<Item = ScoredItem>) -> Vec<ScoredItem> {
        let mut list: Vec<ScoredItem> = entries.into_iter().collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.iter_mut().for_each(|entry| entry.item = self.order[entry.item.at()]);
        list
    }

    /// The `k` best of a row of scores, by the contract of [`top_k`](crate::serve::top_k::top_k()) but for ties.
    pub(crate) fn top_k(&self, scores: &[f32], k: usize) -> Vec<ScoredItem> {
        self.list(crate::serve::top_k::best(scores, k, |at| self.entry(ItemIdx(at as u32), scores[at])))
    }

    /// Scores by popularity.
    pub(crate) fn popularity(&self, scores: &mut [f32]) {
        scores.iter_mut().zip(&self.counts).for_each(|(score, &count)| *score = count as f32);
    }

    /// The `k` most popular items that `allowed` lets pass, with their counts.
    pub(crate) fn most_popular(&self, k: usize, allowed: impl Fn(ItemIdx) -> bool) -> Vec<ScoredItem> {
        let items = self.order.iter().copied().filter(|&item| allowed(item)).take(k);
        items.map(|item| ScoredItem { item, score: self.counts[item.at()] as f32 }).collect()
    }
}
