//! The plan of memory: what grows faster than the data is counted before it is taken, and refused above a stated limit.
//!
//! The log itself is in proportion to the data and needs no plan. Tables of all pairs do, and so do lists of neighbours when many
//! are asked for, and vectors when long ones are.

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::{Error, Result};

/// Bytes a model may take in training unless told otherwise: 8 GiB.
pub(crate) const LIMIT: u64 = 8 << 30;

/// [`LIMIT`], for settings that come from a file.
pub(crate) fn limit() -> u64 {
    LIMIT
}

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

/// Most bytes of `vectors` vectors of so many factors, of which training has `copies`, and of the square matrices of factors by
/// factors that are solved.
pub(crate) fn of_factors(vectors: usize, factors: usize, copies: u64) -> u64 {
    // With the biases, and rounded up to whole registers.
    let width = (factors as u64).saturating_add(18);
    let table = width.saturating_mul(vectors as u64).saturating_mul(copies.saturating_mul(4));
    table.saturating_add(width.saturating_mul(width).saturating_mul(16))
}

/// That vectors of so many factors for the users and items of a matrix fit into a limit.
pub(crate) fn check_factors<R: Idx, C: Idx>(
    matrix: &Csr<R, C>,
    factors: usize,
    copies: u64,
    limit: u64,
) -> Result<()> {
    check_vectors(matrix.n_rows() + matrix.n_cols(), factors, copies, limit)
}

/// As [`check_factors`], for so many users and items together.
pub(crate) fn check_vectors(vectors: usize, factors: usize, copies: u64, limit: u64) -> Result<()> {
    let what = || format!("{vectors} vectors of `factors` = {factors} (see `memory_limit`)");
    check(what, of_factors(vectors, factors, copies), limit)
}

/// A table of zeros; `Err` where the system has no memory for it.
pub(crate) fn zeros(n: usize, width: usize) -> Result<Vec<f32>> {
    let needed = (n as u64).saturating_mul(width as u64).saturating_mul(4);
    let refused = || Error::Memory { what: format!("{n} vectors of {width} numbers"), needed, limit: 0 };
    let mut table = Vec::new();
    let length = n.checked_mul(width).ok_or_else(refused)?;
    table.try_reserve_exact(length).map_err(|_| refused())?;
    table.resize(length, 0.0);
    Ok(table)
}

/// `Err` if more is needed than the limit allows, or more than can be counted. `what` is made only then.
pub(crate) fn check(what: impl FnOnce() -> String, needed: u64, limit: u64) -> Result<()> {
    if needed > limit || needed == u64::MAX {
        Err(Error::Memory { what: what(), needed, limit })
    } else {
        Ok(())
    }
}
