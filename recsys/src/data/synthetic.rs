//! Generated interactions: with the skew of real logs for speed, with planted groups for checks.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::weighted::WeightedAliasIndex;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use crate::data::ids::{ItemIdx, UserIdx};
use crate::data::sparse::{Csr, UserItems};
use crate::{Error, Interactions, Rating, Result, memory};

/// A matrix with popularity by a power law, as the logs of film sites have it: user `u` makes draws in proportion to
/// `(u + 10)^-0.7`, item `i` is drawn with probability in proportion to `(i + 10)^-0.9`, values are 1 to 5. Repeated draws
/// count once, so there are fewer entries than `draws`. Rows are generated in parallel, each from its own seed.
///
/// # Errors
/// [`Error::Parameter`] without users or items.
pub fn power_law(n_users: usize, n_items: usize, draws: usize, seed: u64) -> Result<UserItems> {
    if n_users == 0 || n_items == 0 {
        return Err(Error::parameter("users and items", format!("{n_users}, {n_items}"), "at least 1 each"));
    }
    let needed = [n_users, n_items, draws].map(|n| n as u64).into_iter().fold(0, u64::saturating_add);
    let needed = needed.saturating_mul(16);
    memory::check(|| "a generated log".to_owned(), needed, memory::LIMIT)?;
    let share = |n: usize, exponent: f64| (n as f64 + 10.0).powf(-exponent);
    let total: f64 = (0..n_users).map(|u| share(u, 0.7)).sum();
    let items = WeightedAliasIndex::new((0..n_items).map(|i| share(i, 0.9)).collect())
        .map_err(|e| Error::parameter("items", n_items, e.to_string()))?;
    let rows: Vec<Vec<(ItemIdx, f32)>> = (0..n_users)
        .into_par_iter()
        .map(|u| {
            let mut rng = Pcg64::seed_from_u64(seed ^ (u as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let n = (draws as f64 * share(u, 0.7) / total).round() as usize;
            let mut row: Vec<u32> = (0..n).map(|_| rng.sample(&items) as u32).collect();
            row.sort_unstable();
            row.dedup();
            row.into_iter().map(|i| (ItemIdx(i), rng.random_range(1..6_u32) as f32)).collect()
        })
        .collect();
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |sum, row| {
        *sum += row.len();
        Some(*sum)
    }));
    let (columns, values) = rows.into_iter().flatten().unzip();
    Ok(Csr::from_parts(n_items, offsets, columns, values))
}

/// That there is room for so many rows, and for the lists of all items that they are drawn from.
fn check_memory(rows: u64, n_items: u32) -> Result<()> {
    let needed = rows.saturating_mul(64).saturating_add(u64::from(n_items) * 20);
    memory::check(|| "a generated log".to_owned(), needed, memory::LIMIT)
}

/// A log in which user `u` and item `i` belong to groups `u % groups` and `i % groups`: a user meets `per_user` distinct
/// items, each of their own group with probability `1 - noise`. A model that learns anything recommends within the group.
/// Times follow the order of the draws.
///
/// # Errors
/// [`Error::Parameter`] for no groups, fewer items than `groups`, or `noise` outside 0 to 1; [`Error::Memory`] for more rows or items
/// than there is room for.
pub fn planted_groups(
    n_users: u32,
    n_items: u32,
    groups: u32,
    per_user: usize,
    noise: f64,
    seed: u64,
) -> Result<Interactions> {
    if groups == 0 || n_items < groups {
        return Err(Error::parameter("groups", groups, format!("1 to {n_items}, the number of items")));
    }
    if !(0.0..=1.0).contains(&noise) {
        return Err(Error::parameter("noise", noise, "0 to 1"));
    }
    let most = per_user.min(n_items as usize) as u64;
    check_memory(u64::from(n_users).saturating_mul(most), n_items)?;
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut rows = Vec::new();
    for user in 0..n_users {
        let (mut own, mut other): (Vec<u32>, Vec<u32>) =
            (0..n_items).partition(|i| i % groups == user % groups);
        own.shuffle(&mut rng);
        other.shuffle(&mut rng);
        for time in 0..per_user.min(n_items as usize) {
            let from = if rng.random_bool(noise) { &mut other } else { &mut own };
            if let Some(item) = from.pop() {
                rows.push(Rating::new(user, item, rng.random_range(1..6_u32) as f32, time as i64));
            }
        }
    }
    Interactions::from_ratings(rows)
}

/// How many items may follow an item in [`walks`].
const FOLLOWERS: u32 = 3;

/// A log in which order says what comes next: each item has three that may follow it, and a user walks from item to item,
/// `per_user` of them, with probability `noise` to any other. Nobody meets an item twice; whoever has met all that may follow goes
/// anywhere. Times follow the walk.
///
/// # Errors
/// [`Error::Parameter`] for fewer than four items, or `noise` outside 0 to 1; [`Error::Memory`] for more rows or items
/// than there is room for.
pub fn walks(n_users: u32, n_items: u32, per_user: usize, noise: f64, seed: u64) -> Result<Interactions> {
    if n_items <= FOLLOWERS {
        return Err(Error::parameter("items", n_items, "at least 4"));
    }
    if !(0.0..=1.0).contains(&noise) {
        return Err(Error::parameter("noise", noise, "0 to 1"));
    }
    let most = per_user.min(n_items as usize);
    check_memory(u64::from(n_users).saturating_mul(most as u64), n_items)?;
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut order: Vec<u32> = (0..n_items).collect();
    let followers: Vec<Vec<u32>> = (0..FOLLOWERS)
        .map(|_| {
            order.shuffle(&mut rng);
            order.clone()
        })
        .collect();
    let mut rows = Vec::new();
    for user in 0..n_users {
        let mut met = vec![false; n_items as usize];
        let mut item = rng.random_range(0..n_items);
        for time in 0..most {
            met[item as usize] = true;
            rows.push(Rating::new(user, item, 1.0, time as i64));
            if time + 1 == most {
                break;
            }
            let next = followers.iter().map(|follower| follower[item as usize]);
            let open: Vec<u32> = next.filter(|&next| !met[next as usize]).collect();
            item = if open.is_empty() || rng.random_bool(noise) {
                // Somebody who has met all but one would draw for long: walk on from a random place.
                let start = rng.random_range(0..n_items);
                let others = (0..n_items).map(|step| (start + step) % n_items);
                others.into_iter().find(|&other| !met[other as usize]).unwrap_or(start)
            } else {
                open[rng.random_range(0..open.len())]
            };
        }
    }
    Interactions::from_ratings(rows)
}

/// The matrix as a log whose ids are the indices.
///
/// # Errors
/// [`Error::Empty`] for a matrix without entries.
pub fn to_log(matrix: &UserItems) -> Result<Interactions> {
    let rows = matrix.entries().map(|(UserIdx(u), ItemIdx(i), v)| (u, i, v));
    Interactions::from_ratings(rows)
}
