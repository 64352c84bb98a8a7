//! Elements and positions that a mask names.
//!
//! How many there are is counted block by block, which says where each block's belong in the result; then threads fill in
//! blocks of their own. Within a block nothing branches: every element is written where the next one kept belongs, and only
//! those kept move that place on.

use crate::Element;
use crate::cpu::{Isa, Kernel, dispatch, threads};

/// Elements of a block.
const BLOCK: usize = 1 << 13;
/// Elements that are moved together at a time.
const PART: usize = 1 << 9;

/// For each block of the mask, how many are true in it and all blocks before.
pub(crate) fn totals(mask: &[bool]) -> Vec<usize> {
    let mut totals = vec![0; mask.len().div_ceil(BLOCK)];
    threads::split_units(&mut totals, 1, BLOCK, |first, totals| {
        for (i, total) in totals.iter_mut().enumerate() {
            *total = dispatch(Count(block(mask, first + i)));
        }
        false
    });
    let mut sum = 0;
    for total in &mut totals {
        sum += *total;
        *total = sum;
    }
    totals
}

fn block<T>(of: &[T], i: usize) -> &[T] {
    &of[i * BLOCK..((i + 1) * BLOCK).min(of.len())]
}

struct Count<'a>(&'a [bool]);
impl Kernel for Count<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Isa>(self) -> usize {
        self.0.iter().map(|&x| u32::from(x)).sum::<u32>() as usize
    }
}

/// `out` = the elements of `x` where the mask is true; `totals` are the mask's.
pub(crate) fn compress<T: Element>(x: &[T], mask: &[bool], totals: &[usize], out: &mut [T]) {
    threads::split_at(out, totals, |i, mut out| {
        for (x, mask) in block(x, i).chunks(PART).zip(block(mask, i).chunks(PART)) {
            let mut part = [T::default(); PART];
            let count = keep(x.iter().copied(), mask, &mut part);
            let (here, rest) = out.split_at_mut(count);
            here.copy_from_slice(&part[..count]);
            out = rest;
        }
    });
}

/// The items where the mask is true, to the beginning of `part`; returns how many.
#[inline(always)]
fn keep<T>(items: impl Iterator<Item = T>, mask: &[bool], part: &mut [T; PART]) -> usize {
    let mut count = 0;
    for (item, &kept) in items.zip(mask) {
        // At most as many as elements before this one, of which there are fewer than PART.
        part[count & (PART - 1)] = item;
        count += usize::from(kept);
    }
    count
}

/// The multi-indices, over `shape`, of the positions where the mask is true, one row of `out` for each; `totals` are the mask's.
pub(crate) fn positions(mask: &[bool], shape: &[usize], totals: &[usize], out: &mut [i64]) {
    let Some((&len, leading)) = shape.split_last() else { return };
    let ends: Vec<usize> = totals.iter().map(|total| total * shape.len()).collect();
    threads::split_at(out, &ends, |i, out| {
        let mut rows = Rows::at(leading, len, i * BLOCK);
        let mut out = out.chunks_exact_mut(shape.len());
        for (p, mask) in block(mask, i).chunks(PART).enumerate() {
            let mut part = [0u32; PART];
            let count = keep(0u32.., mask, &mut part);
            for (&place, out) in part[..count].iter().zip(&mut out) {
                let column = rows.advance_to(i * BLOCK + p * PART + place as usize);
                let (last, index) = out.split_last_mut().expect("the shape has a last axis");
                index.copy_from_slice(&rows.index);
                *last = column as i64;
            }
        }
    });
}

/// The row that a position lies in: counted on from one position to the next, as divisions cost far more.
struct Rows<'a> {
    leading: &'a [usize],
    len: usize,
    /// Where the row begins.
    start: usize,
    /// The row's index over the leading axes.
    index: Vec<i64>,
}

impl<'a> Rows<'a> {
    fn at(leading: &'a [usize], len: usize, position: usize) -> Self {
        let mut row = position / len;
        let start = row * len;
        let mut index = vec![0; leading.len()];
        for (at, &size) in index.iter_mut().zip(leading).rev() {
            *at = (row % size) as i64;
            row /= size;
        }
        Rows { leading, len, start, index }
    }

    /// Moves on to the row of `position`; returns the place within it.
    fn advance_to(&mut self, position: usize) -> usize {
        while position - self.start >= self.len {
            self.start += self.len;
            for (at, &size) in self.index.iter_mut().zip(self.leading).rev() {
                *at += 1;
                if (*at as usize) < size {
                    break;
                }
                *at = 0;
            }
        }
        position - self.start
    }
}
