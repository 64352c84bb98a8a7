//! Co-occurrence: rows of XᵀX for a sparse X, one item at a time, from both orientations.

use std::ops::Range;

use rayon::prelude::*;

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::serve::top_k::top_k;

/// A row of the Gram matrix with the columns it touches.
pub(crate) struct GramRow<C> {
    /// One sum for each column; zero where not touched.
    pub(crate) sums: Vec<f32>,
    /// Columns with a sum, in no order.
    pub(crate) touched: Vec<C>,
    mark: Vec<bool>,
}

impl<C: Idx> GramRow<C> {
    pub(crate) fn new(n: usize) -> Self {
        Self { sums: vec![0.0; n], touched: Vec::new(), mark: vec![false; n] }
    }

    pub(crate) fn add(&mut self, column: C, value: f32) {
        if !self.mark[column.at()] {
            self.mark[column.at()] = true;
            self.touched.push(column);
        }
        self.sums[column.at()] += value;
    }

    pub(crate) fn clear(&mut self) {
        for column in self.touched.drain(..) {
            self.sums[column.at()] = 0.0;
            self.mark[column.at()] = false;
        }
    }

    /// `left[item] · right`: with `left` = Xᵀ and `right` = X the item's row of XᵀX.
    pub(crate) fn fill<R: Idx>(&mut self, left: &Csr<C, R>, right: &Csr<R, C>, item: C) {
        self.clear();
        let (rows, values) = left.row(item);
        for (&row, &value) in rows.iter().zip(values) {
            let (columns, others) = right.row(row);
            for (&column, &other) in columns.iter().zip(others) {
                self.add(column, value * other);
            }
        }
    }
}

/// For every row of the product `left right` the `k` best columns other than itself, after `adjust(row, column, sum)`;
/// only positive ones. Parallel over fixed chunks of rows.
pub(crate) fn best_of_product<R: Idx, C: Idx>(
    left: &Csr<C, R>,
    right: &Csr<R, C>,
    k: usize,
    adjust: impl Fn(C, C, f32) -> f32 + Sync,
) -> Csr<C, C> {
    let n = left.n_rows();
    from_rows(n, best_of_rows(left, right, 0..n, k, adjust))
}

/// As [`best_of_product`], for some of the rows.
pub(crate) fn best_of_rows<R: Idx, C: Idx>(
    left: &Csr<C, R>,
    right: &Csr<R, C>,
    rows: Range<usize>,
    k: usize,
    adjust: impl Fn(C, C, f32) -> f32 + Sync,
) -> Vec<Vec<(C, f32)>> {
    const ROWS: usize = 64;
    let n = left.n_rows();
    (0..rows.len().div_ceil(ROWS))
        .into_par_iter()
        .flat_map_iter(|chunk| {
            let mut row = GramRow::new(n);
            let mut scores = Vec::new();
            let mut lists = Vec::with_capacity(ROWS);
            let start = rows.start + chunk * ROWS;
            for item in (start..(start + ROWS).min(rows.end)).map(|i| C::from_u32(i as u32)) {
                row.fill(left, right, item);
                row.touched.sort_unstable();
                scores.clear();
                scores.extend(row.touched.iter().map(|&other| {
                    let score = adjust(item, other, row.sums[other.at()]);
                    if other != item && score > 0.0 { score } else { f32::NAN }
                }));
                let mut best: Vec<(C, f32)> =
                    top_k(&scores, k).iter().map(|e| (row.touched[e.item.at()], e.score)).collect();
                best.sort_unstable_by_key(|&(column, _)| column);
                lists.push(best);
            }
            lists
        })
        .collect()
}

/// A matrix from rows with ascending columns.
pub(crate) fn from_rows<R: Idx, C: Idx>(n_cols: usize, rows: Vec<Vec<(C, f32)>>) -> Csr<R, C> {
    let mut offsets = vec![0];
    offsets.extend(rows.iter().scan(0, |sum, row| {
        *sum += row.len();
        Some(*sum)
    }));
    let (columns, values) = rows.into_iter().flatten().unzip();
    Csr::from_parts(n_cols, offsets, columns, values)
}
