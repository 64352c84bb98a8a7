//! How alike two users or two items are, by the ratings they have in common.
//!
//! One pass over the ratings of all who share a rating with x gives all sums of one row; rows are independent tasks. Sums
//! are in double precision and in the order of the matrix. Definitions are Surprise's.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::ids::Idx;
use crate::data::sparse::Csr;
use crate::{Result, check};

/// A measure of similarity over common ratings; 0 for pairs with fewer than the least support.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Similarity {
    /// Σ r s / √(Σ r² Σ s²).
    Cosine,
    /// 1 / (mean squared difference + 1). The default, as in Surprise.
    #[default]
    Msd,
    /// Correlation about the means over the common ratings.
    Pearson,
    /// Correlation about the baseline, times (n - 1) / (n - 1 + shrinkage) for n common ratings.
    PearsonBaseline {
        /// 100 by custom.
        shrinkage: f32,
    },
}

impl Similarity {
    /// Correlation about the baseline with a shrinkage of 100.
    pub const PEARSON_BASELINE: Self = Self::PearsonBaseline { shrinkage: 100.0 };

    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::PearsonBaseline { shrinkage } => check::not_negative("shrinkage", shrinkage),
            _ => Ok(()),
        }
    }

    /// All similarities of rows, n x n; each with itself is 1. `across` is the transpose of `rows`; for
    /// [`PearsonBaseline`](Self::PearsonBaseline) both hold ratings less the baseline.
    pub(super) fn matrix<R: Idx, C: Idx>(
        self,
        rows: &Csr<R, C>,
        across: &Csr<C, R>,
        min_support: u32,
    ) -> Vec<f32> {
        let n = rows.n_rows();
        let mut out = vec![0.0; n * n];
        out.par_chunks_mut(n.max(1)).enumerate().for_each_init(
            || vec![Sums::default(); n],
            |sums, (x, out)| {
                let (columns, values) = rows.row(R::from_u32(x as u32));
                self.row(columns, values, across, min_support, sums, out);
                out[x] = 1.0;
            },
        );
        out
    }

    /// Similarities of one row, given by its entries, with all rows.
    pub(super) fn row<R: Idx, C: Idx>(
        self,
        columns: &[C],
        values: &[f32],
        across: &Csr<C, R>,
        min_support: u32,
        sums: &mut [Sums],
        out: &mut [f32],
    ) {
        sums.fill(Sums::default());
        for (&column, &value) in columns.iter().zip(values) {
            let (others, theirs) = across.row(column);
            for (other, &their) in others.iter().zip(theirs) {
                sums[other.at()].add(f64::from(value), f64::from(their));
            }
        }
        for (out, sums) in out.iter_mut().zip(&*sums) {
            *out = if sums.n < min_support.max(1) { 0.0 } else { self.of(sums) as f32 };
        }
    }

    fn of(self, s: &Sums) -> f64 {
        let n = f64::from(s.n);
        // Where a norm vanishes there is no direction to compare.
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        match self {
            Self::Cosine => ratio(s.xy, (s.xx * s.yy).sqrt()),
            Self::Msd => 1.0 / ((s.xx + s.yy - 2.0 * s.xy) / n + 1.0),
            Self::Pearson => {
                let spread = (n * s.xx - s.x * s.x) * (n * s.yy - s.y * s.y);
                ratio(n * s.xy - s.x * s.y, spread.sqrt())
            }
            Self::PearsonBaseline { shrinkage } => {
                let shrunk = ratio(n - 1.0, n - 1.0 + f64::from(shrinkage));
                shrunk * ratio(s.xy, (s.xx * s.yy).sqrt())
            }
        }
    }
}

/// Sums over the common ratings of a pair.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    n: u32,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.yy += y * y;
        self.xy += x * y;
    }
}
