//! The plan of memory: what grows faster than the data is counted before it is taken, and refused above a stated limit.
//!
//! Vectors of users and items, and the log itself, are in proportion to the data and need no plan. Tables of all pairs do, and
//! so do lists of neighbours when many are asked for.

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::{Error, Result};

/// Bytes a model may take in training unless told otherwise: 8 GiB.
pub(crate) const LIMIT: u64 = 8 << 30;

/// Bytes of a table of all pairs of `n`, with `cell` bytes for each.
pub(crate) fn of_pairs(n: usize, cell: u64) -> u64 {
    (n as u64).saturating_mul(n as u64).saturating_mul(cell)
}

/// Most bytes of the `k` best columns of each row of the product `left right`: no row has more than its factors can fill.
/// They are there twice for a moment, as lists and as a matrix.
pub(crate) fn of_neighbours<R: Idx, C: Idx>(left: &Csr<C, R>, right: &Csr<R, C>, k: usize) -> u64 {
    let of_row = |row: C| {
        let others = left.row(row).0.iter().map(|&r| right.row_len(r) as u64 - 1).sum::<u64>();
        others.min(k as u64).min(right.n_cols() as u64)
    };
    left.row_indices().map(of_row).sum::<u64>().saturating_mul(2 * 8)
}

/// `Err` if more is needed than the limit allows. `what` is made only then.
pub(crate) fn check(what: impl FnOnce() -> String, needed: u64, limit: u64) -> Result<()> {
    if needed > limit { Err(Error::Memory { what: what(), needed, limit }) } else { Ok(()) }
}
