//! What lists are like besides being right: do they reach the catalogue, or repeat the charts?

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use rayon::prelude::*;

use crate::data::ids::{FxHasher, Idx, ItemIdx};
use crate::data::sparse::{ItemUsers, UserItems};
use crate::serve::top_k::ScoredItem;

/// Properties of all lists together at one cut-off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListQuality {
    /// Share of the catalogue that appears in any list.
    pub coverage: f64,
    /// Gini coefficient of how often items appear, over the whole catalogue: 0 if all appear equally often, near 1 if a
    /// few take all ranks.
    pub gini: f64,
    /// Mean of -log2 of an item's share of users in training: how far from the charts the lists are. Items nobody met
    /// count as met by one.
    pub novelty: f64,
    /// Mean over lists of 1 - cosine between the audiences (in training) of two items of the list. 0 for lists of one.
    pub diversity: f64,
}

impl ListQuality {
    pub(super) fn of(lists: &[Vec<ScoredItem>], k: usize, seen: &UserItems, audiences: &ItemUsers) -> Self {
        let n_items = seen.n_cols();
        let mut counts = vec![0_u64; n_items];
        let mut surprise = 0.0;
        let mut entries = 0_u64;
        for entry in lists.iter().flat_map(|list| list.iter().take(k)) {
            counts[entry.item.at()] += 1;
            entries += 1;
            let share = audiences.row_len(entry.item).max(1) as f64 / seen.n_rows() as f64;
            surprise -= share.log2();
        }
        let spreads: Vec<f64> = lists
            .par_iter()
            .map_init(Overlaps::default, |overlaps, list| {
                spread(&list[..k.min(list.len())], audiences, overlaps)
            })
            .collect();
        Self {
            coverage: counts.iter().filter(|&&n| n > 0).count() as f64 / n_items as f64,
            gini: gini(&mut counts),
            novelty: if entries == 0 { 0.0 } else { surprise / entries as f64 },
            diversity: spreads.iter().sum::<f64>() / lists.len().max(1) as f64,
        }
    }
}

/// Cosines of pairs of items met so far.
type Overlaps = HashMap<(ItemIdx, ItemIdx), f64, BuildHasherDefault<FxHasher>>;

/// Mean dissimilarity of the pairs of a list. Pairs come back from list to list: what was computed is kept.
fn spread(list: &[ScoredItem], audiences: &ItemUsers, overlaps: &mut Overlaps) -> f64 {
    let mut sum = 0.0;
    for (n, a) in list.iter().enumerate() {
        for b in &list[..n] {
            let pair = (a.item.min(b.item), a.item.max(b.item));
            sum += 1.0 - *overlaps.entry(pair).or_insert_with(|| cosine(audiences, pair.0, pair.1));
        }
    }
    let pairs = list.len() * list.len().saturating_sub(1) / 2;
    if pairs == 0 { 0.0 } else { sum / pairs as f64 }
}

/// Cosine of two audiences as sets.
fn cosine(audiences: &ItemUsers, a: ItemIdx, b: ItemIdx) -> f64 {
    let (a, b) = (audiences.row(a).0, audiences.row(b).0);
    let (mut i, mut j, mut both) = (0, 0, 0_u64);
    while i < a.len() && j < b.len() {
        both += u64::from(a[i] == b[j]);
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    if both == 0 { 0.0 } else { both as f64 / (a.len() as f64 * b.len() as f64).sqrt() }
}

/// Gini coefficient; sorts the counts.
fn gini(counts: &mut [u64]) -> f64 {
    counts.sort_unstable();
    let n = counts.len() as f64;
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let weighted: f64 =
        counts.iter().zip(1..).map(|(&c, rank)| (2.0 * f64::from(rank) - n - 1.0) * c as f64).sum();
    weighted / (n * total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::UserIdx;
    use crate::data::sparse::Csr;

    #[test]
    fn worked_by_hand() {
        // Users 0 and 1 met item 0; user 1 met item 1; nobody items 2 and 3.
        let entries = [(0, 0), (1, 0), (1, 1)].map(|(u, i)| (UserIdx(u), ItemIdx(i), 1.0));
        let seen = Csr::from_entries(4, 4, entries).unwrap();
        let list =
            |items: &[u32]| items.iter().map(|&i| ScoredItem { item: ItemIdx(i), score: 0.0 }).collect();
        let lists: Vec<Vec<ScoredItem>> = vec![list(&[0, 1]), list(&[0, 2])];
        let quality = ListQuality::of(&lists, 2, &seen, &seen.transpose());
        assert_eq!(quality.coverage, 0.75);
        assert_eq!(quality.novelty, (1.0 + 2.0 + 1.0 + 2.0) / 4.0);
        // Counts 0, 1, 1, 2: (-3*0 - 1*1 + 1*1 + 3*2) / (4 * 4).
        assert_eq!(quality.gini, 6.0 / 16.0);
        let overlap = 1.0 / 2.0_f64.sqrt();
        assert!((quality.diversity - ((1.0 - overlap) + 1.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn gini_at_its_ends() {
        assert_eq!(gini(&mut [3, 3, 3]), 0.0);
        assert_eq!(gini(&mut [0, 0, 0, 8]), 0.75);
        assert_eq!(gini(&mut [0, 0]), 0.0);
    }
}
