//! Ranking runs of elements by integer keys.
//!
//! An element and its place become one integer, key above place, so that an unstable sort of plain integers, the fastest
//! there is, gives the stable order, and the same for any number of threads. For a few of many, a run is instead scanned
//! for elements above the least of those held so far; nearly all blocks hold none, and finding that out vectorises.

use rayon::prelude::*;

use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Element, Number};

/// A run of at least this length is sorted by several threads.
const PARALLEL: usize = 1 << 16;
/// Up to so many are found by scanning.
const FEW: usize = 128;

/// For each run of `len`: the places of its first `take` elements in order.
pub(crate) fn rank<T: Number>(x: &[T], len: usize, take: usize, descending: bool, out: &mut [u32]) {
    if descending && take <= FEW && take < len / 8 {
        return threads_over(out, take, len, |first, out| {
            dispatch(Few { x: &x[first * len..][..out.len() / take * len], len, take, out });
        });
    }
    let cost = len.saturating_mul(2 * (len.max(2).ilog2() as usize));
    threads_over(out, take, cost, |first, out| {
        let mut narrow: Vec<u64> = Vec::new();
        let mut wide: Vec<u128> = Vec::new();
        for (i, out) in out.chunks_exact_mut(take).enumerate() {
            let run = &x[(first + i) * len..][..len];
            if size_of::<T::Key>() <= 4 {
                let pack =
                    |(place, x): (usize, &T)| u64::from(x.rank_key(descending) as u32) << 32 | place as u64;
                sort_packed(&mut narrow, run.iter().enumerate().map(pack), take);
                out.iter_mut().zip(&narrow).for_each(|(o, &packed)| *o = packed as u32);
            } else {
                let pack = |(place, x): (usize, &T)| u128::from(x.rank_key(descending)) << 32 | place as u128;
                sort_packed(&mut wide, run.iter().enumerate().map(pack), take);
                out.iter_mut().zip(&wide).for_each(|(o, &packed)| *o = packed as u32);
            }
        }
    });
}

/// `split_units` for work that reports no fault.
fn threads_over<T: Send>(out: &mut [T], unit: usize, cost: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    threads::split_units(out, unit, cost, |first, out| {
        task(first, out);
        false
    });
}

/// Fills `keys` and sorts it, its first `take` at least.
fn sort_packed<K: Ord + Copy + Send>(keys: &mut Vec<K>, packed: impl Iterator<Item = K>, take: usize) {
    keys.clear();
    keys.extend(packed);
    if take < keys.len() {
        if take > 0 {
            keys.select_nth_unstable(take - 1);
        }
        keys.truncate(take);
    }
    if keys.len() >= PARALLEL && threads::num_threads() > 1 {
        keys.par_sort_unstable();
    } else {
        keys.sort_unstable();
    }
}

/// The places of the `take` largest of each run, in descending order.
struct Few<'a, T> {
    x: &'a [T],
    len: usize,
    take: usize,
    out: &'a mut [u32],
}

impl<T: Number> Kernel for Few<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        const BLOCK: usize = 128;
        let Few { x, len, take, out } = self;
        let mut held: Vec<(T::Key, u32)> = Vec::with_capacity(take + 1);
        for (run, out) in x.chunks_exact(len).zip(out.chunks_exact_mut(take)) {
            held.clear();
            for (place, x) in run[..take].iter().enumerate() {
                insert(&mut held, x.key(), place);
            }
            for (b, block) in run[take..].chunks(BLOCK).enumerate() {
                let least = held[take - 1].0;
                let above: u32 = block.iter().map(|x| u32::from(x.key() > least)).sum();
                if above == 0 {
                    continue;
                }
                for (i, x) in block.iter().enumerate() {
                    if x.key() > held[take - 1].0 {
                        held.pop();
                        insert(&mut held, x.key(), take + b * BLOCK + i);
                    }
                }
            }
            for (o, &(_, place)) in out.iter_mut().zip(&held) {
                *o = place;
            }
        }
    }
}

/// Into a descending list, behind equals, which came first.
fn insert<K: Ord>(held: &mut Vec<(K, u32)>, key: K, place: usize) {
    let at = held.partition_point(|(other, _)| *other >= key);
    held.insert(at, (key, place as u32));
}

/// `out` = the elements of each run of `len` at `take` places.
pub(crate) fn pick<T: Element>(x: &[T], len: usize, take: usize, places: &[u32], out: &mut [T]) {
    let unit = if take == out.len() { 1 } else { take };
    threads_over(out, unit, unit.saturating_mul(2), |first, out| {
        let places = &places[first * unit..][..out.len()];
        if unit == take {
            for (i, (out, places)) in out.chunks_exact_mut(take).zip(places.chunks_exact(take)).enumerate() {
                let run = &x[(first + i) * len..][..len];
                out.iter_mut().zip(places).for_each(|(o, &place)| *o = run[place as usize]);
            }
        } else {
            out.iter_mut().zip(places).for_each(|(o, &place)| *o = x[place as usize]);
        }
    });
}
