//! Elements and rows from and to positions that indices name.
//!
//! Data is `[matrices, size, columns]`, and indices, already checked, name positions along the middle axis. Reads are divided
//! among threads by what is written. Additions to named positions, which may repeat, are divided by matrices or by columns, so
//! that every sum is added up in the order of the indices, by one thread.

pub(crate) mod mask;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::cpu::{Isa, Kernel, dispatch, fetch, threads};
use crate::{Element, Float, Number};

/// Elements of the next row that are called for, at most: the processor sees by then that more follow.
const FETCHED: usize = 1 << 10;
/// The least columns of a block for elements that are added one by one: a few cache lines.
const NARROW: usize = 64;
/// The same for whole rows, which are the faster the longer they are.
const WIDE: usize = 512;

/// The place in `indices` of the first that is not below `size`.
pub(crate) fn first_outside(indices: &[u32], size: usize) -> Option<usize> {
    // No index is as large as that.
    let size = u32::try_from(size).ok()?;
    let found = AtomicBool::new(false);
    let blocks = indices.len().div_ceil(threads::GRAIN);
    threads::each(blocks, |i| {
        let end = ((i + 1) * threads::GRAIN).min(indices.len());
        if dispatch(Outside { indices: &indices[i * threads::GRAIN..end], size }) {
            found.store(true, Relaxed);
        }
    });
    found.into_inner().then(|| indices.iter().position(|&index| index >= size)).flatten()
}

/// Whether any index is not below `size`; looks at all of them, which vectorises.
struct Outside<'a> {
    indices: &'a [u32],
    size: u32,
}

impl Kernel for Outside<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        self.indices.iter().fold(false, |any, &index| any | (index >= self.size))
    }
}

/// `out[m, i, c] = x[m, indices[i], c]` for `x` of `[matrices, size, columns]`.
pub(crate) fn select<T: Element>(x: &[T], (size, columns): (usize, usize), indices: &[u32], out: &mut [T]) {
    if columns == 1 {
        return pick_runs(x, size, indices.len(), |_| indices, out);
    }
    // Rows lie apart, and few of them in a cache: an element costs more than an addition.
    threads::split_units(out, columns, columns.saturating_mul(2), |first, out| {
        // Counted on, since a division costs as much as copying a short row.
        let (mut matrix, mut i) = (first / indices.len(), first % indices.len());
        for out in out.chunks_exact_mut(columns) {
            let here = matrix;
            let row = indices[i] as usize;
            i += 1;
            if i == indices.len() {
                (matrix, i) = (matrix + 1, 0);
            } else {
                fetch::lines(x, (matrix * size + indices[i] as usize) * columns, columns.min(FETCHED));
            }
            out.copy_from_slice(&x[(here * size + row) * columns..][..columns]);
        }
        false
    });
}

/// `out[m, i, c] = x[m, index[m, i, c], c]` for `x` of `[matrices, size, columns]` and `index` of `[matrices, len, columns]`.
pub(crate) fn gather<T: Element>(
    x: &[T],
    (size, len, columns): (usize, usize, usize),
    index: &[u32],
    out: &mut [T],
) {
    if columns == 1 {
        return pick_runs(x, size, len, |m| &index[m * len..][..len], out);
    }
    threads::split_units(out, columns, columns.saturating_mul(2), |first, out| {
        let index = &index[first * columns..][..out.len()];
        for (row, (out, index)) in out.chunks_exact_mut(columns).zip(index.chunks_exact(columns)).enumerate()
        {
            let matrix = &x[(first + row) / len * size * columns..][..size * columns];
            for (column, (o, &i)) in out.iter_mut().zip(index).enumerate() {
                *o = matrix[i as usize * columns + column];
            }
        }
        false
    });
}

/// `out[m, i] = x[m, positions(m)[i]]`, where `x` has runs of `size` elements and `out` of `len`.
fn pick_runs<'a, T: Element>(
    x: &[T],
    size: usize,
    len: usize,
    positions: impl Fn(usize) -> &'a [u32] + Sync,
    out: &mut [T],
) {
    let pick = |run: &[T], positions: &[u32], out: &mut [T]| {
        out.iter_mut().zip(positions).for_each(|(o, &place)| *o = run[place as usize]);
    };
    // A single run is cut anywhere, others between runs.
    let unit = if len == out.len() { 1 } else { len };
    threads::split_units(out, unit, unit.saturating_mul(2), |first, out| {
        if unit < len {
            pick(x, &positions(0)[first..][..out.len()], out);
            return false;
        }
        for (m, out) in out.chunks_exact_mut(len).enumerate() {
            pick(&x[(first + m) * size..][..size], positions(first + m), out);
        }
        false
    });
}

/// `out[m, index[m, i, c], c] += values[m, i, c]` for `out` of `[matrices, size, columns]`, and `index` and `values` of
/// `[matrices, len, columns]`; returns whether a sum did not fit.
pub(crate) fn scatter_add<T: Number>(
    out: &mut [T],
    (size, len, columns): (usize, usize, usize),
    index: &[u32],
    values: &[T],
) -> bool {
    let (before, after) = (size * columns, len * columns);
    if out.is_empty() || index.is_empty() {
        return false;
    }
    if columns == 1 {
        return threads::split_units(out, size, len.saturating_mul(4), |first, out| {
            let mut overflow = false;
            for (m, out) in out.chunks_exact_mut(size).enumerate() {
                let named = (first + m) * len..(first + m + 1) * len;
                for (&place, &x) in index[named.clone()].iter().zip(&values[named]) {
                    out[place as usize] = out[place as usize].add(x, &mut overflow);
                }
            }
            overflow
        });
    }
    // Few matrices are divided by columns, many one by one.
    let width = if out.len() < 4 * before { block_width(columns, after, NARROW) } else { columns };
    let add = |matrix: usize, first: usize, mut out: threads::Columns<'_, T>| {
        let mut overflow = false;
        for row in 0..len {
            let start = matrix * after + row * columns + first;
            let positions = &index[start..][..out.width()];
            for (column, (&place, &x)) in positions.iter().zip(&values[start..]).enumerate() {
                let o = out.at(place as usize, column);
                *o = o.add(x, &mut overflow);
            }
        }
        overflow
    };
    threads::split_units(out, before, after.saturating_mul(4), |first, out| {
        out.chunks_exact_mut(before).enumerate().fold(false, |overflow, (m, out)| {
            overflow | threads::split_columns(out, columns, width, |column, out| add(first + m, column, out))
        })
    })
}

/// Row `indices[i]` of `out` plus row `i` of `rows`; returns whether a sum did not fit.
pub(crate) fn add_rows<T: Number>(out: &mut [T], columns: usize, indices: &[u32], rows: &[T]) -> bool {
    threads::split_columns(out, columns, block_width(columns, rows.len(), WIDE), |first, out| {
        dispatch(AddRows { out, columns, first, indices, rows })
    })
}

/// Columns of a block, so that it is worth a thread.
fn block_width(columns: usize, elements: usize, least: usize) -> usize {
    let blocks = (elements / threads::GRAIN).clamp(1, columns.div_ceil(least));
    columns.div_ceil(blocks).next_multiple_of(64)
}

struct AddRows<'a, T> {
    out: threads::Columns<'a, T>,
    columns: usize,
    first: usize,
    indices: &'a [u32],
    rows: &'a [T],
}

impl<T: Number> Kernel for AddRows<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(mut self) -> bool {
        let mut overflow = false;
        for (&index, row) in self.indices.iter().zip(self.rows.chunks_exact(self.columns)) {
            for (o, &x) in self.out.row(index as usize).iter_mut().zip(&row[self.first..]) {
                *o = o.add(x, &mut overflow);
            }
        }
        overflow
    }
}

/// Row `k` of `out` is the sum of the rows of `data`, of `len` elements, that `order[ends[k - 1]..ends[k]]` names, in that
/// order.
pub(crate) fn sum_rows<T: Float>(data: &[T], len: usize, order: &[u32], ends: &[u32], out: &mut [T]) {
    let cost = len * order.len().div_ceil(ends.len().max(1));
    threads::split_units(out, len, cost, |first, out| {
        for (k, out) in out.chunks_exact_mut(len).enumerate() {
            let begin = if first + k == 0 { 0 } else { ends[first + k - 1] as usize };
            let mut members = order[begin..ends[first + k] as usize].iter();
            match members.next() {
                Some(&i) => out.copy_from_slice(&data[i as usize * len..][..len]),
                None => out.fill(T::ZERO),
            }
            for &i in members {
                let from = &data[i as usize * len..][..len];
                out.iter_mut().zip(from).for_each(|(o, &x)| *o += x);
            }
        }
        false
    });
}
