//! Draws of items that somebody did not meet.
//!
//! Most people met few of many items: one of all is drawn, and drawn again where it was met. Of somebody who met almost everything that would
//! take about as many draws as there are items, for every step of a training. So the draws in vain are counted, and after [`TRIES`] of them
//! an item is drawn by its rank among those that were not met. Each of these is as likely either way.

use rand::RngExt;
#[cfg(test)]
use rand_pcg::Pcg64Mcg;

use crate::data::ids::{Idx, ItemIdx};

/// Draws in vain, at most. Who met nine items in ten gets there once in a million times.
const TRIES: usize = 128;

/// The first of some draws that was not met; none after [`TRIES`] in vain.
#[inline(always)]
pub(crate) fn tried(mut draw: impl FnMut() -> ItemIdx, is_met: impl Fn(ItemIdx) -> bool) -> Option<ItemIdx> {
    (0..TRIES).map(|_| draw()).find(|&item| !is_met(item))
}

/// One of so many items that is not among those met, which are in order, each once, and not all.
#[cfg(feature = "neural")]
pub(crate) fn other(met: &[ItemIdx], n_items: usize, rng: &mut impl RngExt) -> ItemIdx {
    let any = || ItemIdx(rng.random_range(0..n_items as u32));
    let other = tried(any, |item| met.binary_search(&item).is_ok());
    other.unwrap_or_else(|| Pool::All(n_items).unmet(met, rng))
}

/// What is drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pool<'a> {
    /// So many items, from the first on.
    All(usize),
    /// Some items, in order.
    These(&'a [ItemIdx]),
}

impl Pool<'_> {
    /// One of the items that are not among those met, which are of the pool, in order, each once, and not all. At once, however few are left.
    pub(crate) fn unmet(self, met: &[ItemIdx], rng: &mut impl RngExt) -> ItemIdx {
        self.of_rank(met, rng.random_range(0..self.len() - met.len()))
    }

    fn len(self) -> usize {
        match self {
            Self::All(n) => n,
            Self::These(items) => items.len(),
        }
    }

    /// How many items come before one.
    fn place(self, item: ItemIdx) -> usize {
        match self {
            Self::All(_) => item.at(),
            Self::These(items) => items.partition_point(|&other| other < item),
        }
    }

    /// The item that so many others not among those met come before.
    fn of_rank(self, met: &[ItemIdx], rank: usize) -> ItemIdx {
        let (mut low, mut high) = (0, met.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            // Before an item that was met there are as many others as its place in the pool is above its place here.
            if self.place(met[middle]).saturating_sub(middle) <= rank {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match self {
            Self::All(_) => ItemIdx((rank + low) as u32),
            Self::These(items) => items[rank + low],
        }
    }
}

/// How often a generator was asked between two states of it.
///
/// # Panics
/// For 10,000 times and more: of the last of many items a draw until it is found would take as many as there are.
#[cfg(test)]
pub(crate) fn draws(mut before: Pcg64Mcg, after: &Pcg64Mcg) -> usize {
    let reached = |_: &usize| {
        let reached = before == *after;
        before.advance(1);
        reached
    };
    (0..10_000).find(reached).expect("few draws")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn draws_end_with_the_first_that_was_not_met_and_with_so_many_in_vain() {
        let draws = Cell::new(0);
        let next = || {
            draws.set(draws.get() + 1);
            ItemIdx(draws.get())
        };
        assert_eq!((tried(next, |item| item.0 < 7), draws.get()), (Some(ItemIdx(7)), 7));
        draws.set(0);
        assert_eq!((tried(next, |_| true), draws.get()), (None, TRIES as u32));
    }

    #[cfg(feature = "neural")]
    #[test]
    fn the_last_item_of_many_is_found_in_few_draws() {
        let met: Vec<ItemIdx> = (0..200_000).filter(|&item| item != 77_777).map(ItemIdx).collect();
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        for _ in 0..100 {
            let before = rng.clone();
            assert_eq!(other(&met, 200_000, &mut rng), ItemIdx(77_777));
            assert!(draws(before, &rng) < 3 * TRIES);
        }
    }

    proptest! {
        #[test]
        fn every_rank_is_another_item_that_was_not_met(
            items in prop::collection::btree_map(0_u32..60, (any::<bool>(), any::<bool>()), 1..60),
        ) {
            let some = |keep: &dyn Fn((bool, bool)) -> bool| -> Vec<ItemIdx> {
                items.iter().filter(|(_, kind)| keep(**kind)).map(|(&item, _)| ItemIdx(item)).collect()
            };
            let (pool, met) = (some(&|kind| kind.0), some(&|kind| kind.0 && kind.1));
            let left = some(&|kind| kind.0 && !kind.1);
            let found: Vec<ItemIdx> = (0..left.len()).map(|rank| Pool::These(&pool).of_rank(&met, rank)).collect();
            prop_assert_eq!(found, left);
            let left: Vec<ItemIdx> = (0..60).map(ItemIdx).filter(|item| !met.contains(item)).collect();
            let found: Vec<ItemIdx> = (0..left.len()).map(|rank| Pool::All(60).of_rank(&met, rank)).collect();
            prop_assert_eq!(&found, &left);
            let drawn = Pool::All(60).unmet(&met, &mut Pcg64Mcg::seed_from_u64(items.len() as u64));
            prop_assert!(left.contains(&drawn));
        }
    }
}
