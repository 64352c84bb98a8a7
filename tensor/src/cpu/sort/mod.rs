//! Ranking runs of elements by integer keys.
//!
//! An element and its place become one integer, key above place, so that an unstable sort of plain integers, the fastest
//! there is, gives the stable order, and the same for any number of threads. Long runs whose keys fit into 32 bits are sorted
//! digit by digit instead (see [`radix`]). For a few of many, a run is instead scanned
//! for elements above the least of those held so far; nearly all blocks hold none, and finding that out vectorises.

mod radix;

use rayon::prelude::*;

use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::{Element, Number};

/// A run of at least this length, of keys within 32 bits, is sorted digit by digit.
const RADIX: usize = 1 << 12;
/// A run of at least this length is sorted by several threads.
const PARALLEL: usize = 1 << 16;
/// The most that are found by scanning.
const FEW: usize = 128;

/// For each run of `len`: the positions of its first `take` elements in order.
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
            let keys = || run.iter().map(|x| x.rank_key(descending));
            if let Some(least) = least_of_narrow::<T>(keys()) {
                let pack = |(place, key): (usize, u64)| (key - least) << 32 | place as u64;
                let words = keys().enumerate().map(pack);
                if take == len && len >= RADIX && digit_by_digit(words.clone(), out) {
                    continue;
                }
                narrow.clear();
                narrow.extend(words);
                sort_first(&mut narrow, take);
                out.iter_mut().zip(&narrow).for_each(|(o, &packed)| *o = packed as u32);
            } else {
                wide.clear();
                wide.extend(keys().enumerate().map(|(place, key)| u128::from(key) << 32 | place as u128));
                sort_first(&mut wide, take);
                out.iter_mut().zip(&wide).for_each(|(o, &packed)| *o = packed as u32);
            }
        }
    });
}

/// The lower halves of words in the order of their upper halves; false when there is no memory for it.
fn digit_by_digit(words: impl Iterator<Item = u64>, out: &mut [u32]) -> bool {
    let (Ok(mut room), Ok(mut spare)) = (radix::Words::new(out.len()), radix::Words::new(out.len())) else {
        return false;
    };
    room.as_mut().iter_mut().zip(words).for_each(|(room, word)| *room = word);
    let sorted = radix::sort(room.as_mut(), spare.as_mut());
    out.iter_mut().zip(sorted).for_each(|(o, &word)| *o = word as u32);
    true
}

/// The least key, if all keys lie within 32 bits of it: always for types of 32 bits, often for small numbers in larger ones.
fn least_of_narrow<T: Number>(keys: impl Iterator<Item = u64>) -> Option<u64> {
    if size_of::<T::Key>() <= 4 {
        return Some(0);
    }
    let (least, most) = keys.fold((u64::MAX, 0), |(least, most), key| (least.min(key), most.max(key)));
    (most.saturating_sub(least) <= u32::MAX.into()).then_some(least)
}

/// `split_units` for work that reports no overflow.
fn threads_over<T: Send>(out: &mut [T], unit: usize, cost: usize, task: impl Fn(usize, &mut [T]) + Sync) {
    threads::split_units(out, unit, cost, |first, out| {
        task(first, out);
        false
    });
}

/// Sorts, the first `take` at least, and keeps those.
fn sort_first<K: Ord + Copy + Send>(keys: &mut Vec<K>, take: usize) {
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

/// The positions of the `take` largest of each run, in descending order.
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

/// `out` = the elements of each run of `len` at `take` positions.
pub(crate) fn pick<T: Element>(x: &[T], len: usize, take: usize, positions: &[u32], out: &mut [T]) {
    let unit = if take == out.len() { 1 } else { take };
    threads_over(out, unit, unit.saturating_mul(2), |first, out| {
        let positions = &positions[first * unit..][..out.len()];
        if unit == take {
            for (i, (out, positions)) in
                out.chunks_exact_mut(take).zip(positions.chunks_exact(take)).enumerate()
            {
                let run = &x[(first + i) * len..][..len];
                out.iter_mut().zip(positions).for_each(|(o, &place)| *o = run[place as usize]);
            }
        } else {
            out.iter_mut().zip(positions).for_each(|(o, &place)| *o = x[place as usize]);
        }
    });
}
