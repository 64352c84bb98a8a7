//! Top-k lists for models that score by inner products: a blocked matrix product that is never written out.
//!
//! A task takes a block of users and goes through the catalogue a tile of items at a time. The scores of a tile lie item by
//! item, so one item's scores for all users of the block are compared at once with the users' k-th best so far; only what
//! is above it is looked at, and only then is it asked whether the user has met the item. Nothing is transposed, and the
//! scores stay in the second-level cache.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cairn_tensor::kernel::vectorize;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, Par};
use rayon::prelude::*;

use crate::data::ids::{Idx, ItemIdx, UserIdx};
use crate::data::sparse::UserItems;
use crate::models::factors::Factors;
use crate::serve::ranks::Ranks;
use crate::serve::top_k::ScoredItem;

/// Users of a task: enough that the product with a tile is bound by arithmetic, and a multiple of the engine's 96 rows.
pub(crate) const USERS: usize = 192;
/// Items of a tile.
const ITEMS: usize = 512;

/// The `k` best items for each of `users`, by the same contract as [`Ranks::top_k`]; without the items in `barred` (ascending) and, where `seen` is given, without those in the user's row.
pub(crate) fn best_by_inner_product(
    (factors, ranks): (&Factors, &Ranks),
    users: &[UserIdx],
    k: usize,
    seen: Option<&UserItems>,
    barred: &[ItemIdx],
) -> Vec<Vec<ScoredItem>> {
    users.par_chunks(USERS).flat_map_iter(|users| block((factors, ranks), users, k, seen, barred)).collect()
}

fn block(
    (factors, ranks): (&Factors, &Ranks),
    users: &[UserIdx],
    k: usize,
    seen: Option<&UserItems>,
    barred: &[ItemIdx],
) -> Vec<Vec<ScoredItem>> {
    let items = factors.items.as_mat();
    let n_users = users.len();
    let queries = Mat::from_fn(n_users, factors.users.dim(), |u, f| factors.users.get(users[u].at())[f]);
    let mut scores = vec![0.0_f32; n_users * ITEMS];
    let mut lists: Vec<BinaryHeap<Reverse<ScoredItem>>> = vec![BinaryHeap::new(); n_users];
    // What an item must reach.
    let mut thresholds = vec![f32::NEG_INFINITY; n_users];
    let mut offer = |item: ItemIdx, user: usize, score: f32, thresholds: &mut [f32]| {
        let list = &mut lists[user];
        let entry = Reverse(ranks.entry(item, score));
        let late = list.len() == k && list.peek().is_some_and(|worst| entry >= *worst);
        let met = || seen.is_some_and(|seen| seen.row(users[user]).0.binary_search(&item).is_ok());
        if !score.is_finite() || late || barred.binary_search(&item).is_ok() || met() {
            return;
        }
        list.push(entry);
        if list.len() > k {
            list.pop();
        }
        if list.len() == k {
            thresholds[user] = list.peek().map_or(f32::NEG_INFINITY, |worst| worst.0.score);
        }
    };
    for start in (0..items.ncols()).step_by(ITEMS) {
        let n = ITEMS.min(items.ncols() - start);
        let tile = MatMut::from_column_major_slice_mut(&mut scores[..n_users * n], n_users, n);
        matmul(tile, Accum::Replace, &queries, items.subcols(start, n), 1.0, Par::Seq);
        for (item, scores) in (start..).zip(scores[..n_users * n].chunks_exact(n_users)) {
            if any_above(scores, &thresholds) {
                for (user, &score) in scores.iter().enumerate() {
                    if score >= thresholds[user] {
                        offer(ItemIdx(item as u32), user, score, &mut thresholds);
                    }
                }
            }
        }
    }
    lists.into_iter().map(|list| ranks.list(list.into_iter().map(|Reverse(entry)| entry))).collect()
}

fn any_above(scores: &[f32], thresholds: &[f32]) -> bool {
    vectorize(
        #[inline(always)]
        || {
            let (scores, rest) = scores.as_chunks::<16>();
            let (limits, limits_rest) = thresholds.as_chunks::<16>();
            let mut any = false;
            for (scores, limits) in scores.iter().zip(limits) {
                for (score, limit) in scores.iter().zip(limits) {
                    any |= score >= limit;
                }
            }
            for (score, limit) in rest.iter().zip(limits_rest) {
                any |= score >= limit;
            }
            any
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sparse::Csr;
    use crate::models::factors::Vectors;

    /// Small whole numbers, so that every order of summation gives the same scores and ties are many.
    #[test]
    fn agrees_with_scoring_everything() {
        let table = |n: usize, dim: usize, salt: usize| {
            let mut vectors = Vectors::zeros(n, dim).unwrap();
            for (at, x) in vectors.as_mut_slice().iter_mut().enumerate() {
                *x = ((at * 7919 + salt) % 5) as f32 - 2.0;
            }
            vectors
        };
        for (n_users, n_items, k) in [(1, 3, 5), (130, 1100, 10), (5, 600, 600)] {
            let factors = Factors { users: table(n_users, 7, 1), items: table(n_items, 7, 3) };
            let entries = (0..n_users).flat_map(|u| (0..n_items).map(move |i| (u, i)));
            let entries = entries.filter(|(u, i)| (u * 31 + i * 17) % 4 == 0);
            let entries = entries.map(|(u, i)| (UserIdx(u as u32), ItemIdx(i as u32), 1.0));
            let seen: UserItems = Csr::from_entries(n_users, n_items, entries).unwrap();
            let barred: Vec<ItemIdx> = (0..n_items as u32).step_by(9).map(ItemIdx).collect();
            let users: Vec<UserIdx> = seen.row_indices().collect();
            let ids: Vec<u32> = (0..n_items as u32).collect();
            let ranks = Ranks::new(&seen, &ids);
            let got = best_by_inner_product((&factors, &ranks), &users, k, Some(&seen), &barred);
            for (&user, got) in users.iter().zip(got) {
                let mut scores = vec![0.0; n_items];
                factors.score_users(&[user], &mut scores);
                for item in seen.row(user).0.iter().chain(&barred) {
                    scores[item.at()] = f32::NAN;
                }
                assert_eq!(got, ranks.top_k(&scores, k));
            }
        }
    }
}
