//! The k best of a row of scores, under a strict contract.
//!
//! A score that is not finite marks an item that is no candidate: that is how seen and barred items are taken out, and a
//! model that produced NaN cannot smuggle it into a list. Equal scores go by item index here, so a list is a function of the
//! scores alone; lists of models have an order of ties that does not depend on the numbering (`ranks`). Most of a row is below the k-th best found so far: whole vectors are compared with it at a time and
//! only those with something above it are looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::data::ids::ItemIdx;

/// An item of a list, by index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredItem {
    /// The item.
    pub item: ItemIdx,
    /// Its score; comparable within one list only.
    pub score: f32,
}

impl Eq for ScoredItem {}

impl Ord for ScoredItem {
    /// Better is greater: the higher score, then the lower index.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.item.cmp(&self.item))
    }
}

impl PartialOrd for ScoredItem {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Scores compared at once.
const LANES: usize = 32;

/// The `k` best of `scores`, best first; fewer if fewer are finite. Position is item index.
pub fn top_k(scores: &[f32], k: usize) -> Vec<ScoredItem> {
    // Negative zero and zero compare equal to a caller but not to `total_cmp`.
    let mut list = best(scores, k, |at| ScoredItem { item: ItemIdx(at as u32), score: scores[at] + 0.0 });
    list.sort_unstable_by(|a, b| b.cmp(a));
    list
}

/// The `k` best entries of those with a finite score, in no order; what is better is for the entries to say.
pub(crate) fn best(scores: &[f32], k: usize, entry: impl Fn(usize) -> ScoredItem) -> Vec<ScoredItem> {
    let mut heap = BinaryHeap::with_capacity(k.min(scores.len()) + 1);
    let mut at = 0;
    while at < scores.len() && heap.len() < k {
        if scores[at].is_finite() {
            heap.push(Reverse(entry(at)));
        }
        at += 1;
    }
    let Some(&Reverse(worst)) = heap.peek() else { return Vec::new() };
    let mut threshold = worst.score;
    // Not compiled for longer registers: with these, such loops of compares and branches were measured a third slower.
    let mut offer = |at: usize, threshold: &mut f32| {
        if scores[at] >= *threshold && scores[at].is_finite() {
            let entry = Reverse(entry(at));
            let mut worst = heap.peek_mut().expect("the heap holds k items");
            if entry >= *worst {
                return;
            }
            *worst = entry;
            drop(worst);
            *threshold = heap.peek().expect("the heap holds k items").0.score;
        }
    };
    while at + LANES <= scores.len() {
        let lanes: &[f32; LANES] = scores[at..at + LANES].try_into().expect("a slice of LANES");
        let mut any = false;
        for &score in lanes {
            any |= score >= threshold;
        }
        if any {
            (at..at + LANES).for_each(|at| offer(at, &mut threshold));
        }
        at += LANES;
    }
    (at..scores.len()).for_each(|at| offer(at, &mut threshold));
    heap.into_iter().map(|Reverse(entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(scores: &[f32], k: usize) -> Vec<(u32, f32)> {
        let mut all: Vec<(u32, f32)> =
            scores.iter().enumerate().filter(|(_, s)| s.is_finite()).map(|(i, &s)| (i as u32, s)).collect();
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
        all.truncate(k);
        all
    }

    fn score() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => (-3_i32..3).prop_map(|n| n as f32), // many ties
            1 => Just(-0.0),
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            4 => -1.0_f32..1.0,
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_sorting(scores in prop::collection::vec(score(), 0..200), k in 0_usize..60) {
            let got: Vec<(u32, f32)> = top_k(&scores, k).iter().map(|e| (e.item.0, e.score)).collect();
            prop_assert_eq!(got, naive(&scores, k));
        }
    }
}
