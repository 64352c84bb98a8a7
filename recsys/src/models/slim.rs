//! SLIM: sparse linear method (Ning & Karypis, ICDM 2011).
//!
//! For each item the elastic net that predicts its column from all others, weights not negative: minimise
//! ½|xⱼ - X w|² + ½ l2 |w|² + l1 |w|₁. Coordinate descent on the Gram matrix; since neither the counts nor the weights are
//! negative, only items that occur together with the target more than l1 times can ever get a weight, which leaves few
//! coordinates to visit.

use cairn_processes::{Alone, Communicator};
use cairn_tensor::kernel::vectorize;
use rayon::prelude::*;

use crate::by_rank::{by_rank, sum_of};
use crate::data::ids::{Id, Idx, ItemIdx};
use crate::data::interactions::Interactions;
use crate::data::sparse::{Csr, UserItems};
use crate::estimator::{Estimator, fitted};
use crate::linalg::gram::{GramRow, from_rows};
use crate::models::item_item::{ItemItemKind, ItemItemModel, Weights};
use crate::serve::fitted::Fitted;
use crate::{Result, check, memory};

/// Settings of SLIM. Defaults: l1 = 1, l2 = 100, at most 100 epochs, to a change below 1e-3. Interactions count as ones,
/// whatever their value: leave out those that are dislikes by [`Interactions::at_least`](crate::Interactions::at_least).
#[doc(alias = "SLIMElastic")]
#[derive(Debug, Clone, PartialEq)]
pub struct Slim {
    l1: f32,
    l2: f32,
    max_epochs: usize,
    tolerance: f32,
    memory_limit: u64,
}

impl Default for Slim {
    fn default() -> Self {
        Self { l1: 1.0, l2: 100.0, max_epochs: 100, tolerance: 1e-3, memory_limit: memory::LIMIT }
    }
}

impl Slim {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Weight of |w|: more makes the weights sparser.
        l1(l1: f32);
        /// Weight of |w|².
        l2(l2: f32);
        /// Most passes over the coordinates of an item.
        #[doc(alias = "max_iter")]
        max_epochs(epochs: usize);
        /// Passes end when no weight changes by more than this.
        tolerance(tolerance: f32);
        /// Most bytes the Gram matrix may take; default 8 GiB.
        memory_limit(bytes: u64);
    }

    /// Bytes that the Gram matrix of that many items takes.
    pub fn memory_needed(n_items: usize) -> u64 {
        memory::of_pairs(n_items, 4)
    }

    /// One item's weights from the others. After a sweep over all candidates those with a weight are settled among
    /// themselves; it ends when a sweep over all changes nothing more.
    fn column(&self, gram: &[f32], n: usize, target: usize) -> Vec<(ItemIdx, f32)> {
        let goal = &gram[target * n..(target + 1) * n];
        let candidates: Vec<usize> = (0..n).filter(|&i| i != target && goal[i] > self.l1).collect();
        let mut weights = vec![0.0_f32; n];
        // What the current weights already explain of each co-occurrence with the target: Gram times weights.
        let mut explained = vec![0.0_f32; n];
        let mut sweep = |over: &[usize], weights: &mut [f32]| {
            let mut largest = 0.0_f32;
            for &i in over {
                let row = &gram[i * n..(i + 1) * n];
                let free = goal[i] - (explained[i] - row[i] * weights[i]);
                let next = ((free - self.l1) / (row[i] + self.l2)).max(0.0);
                let change = next - weights[i];
                if change != 0.0 {
                    weights[i] = next;
                    largest = largest.max(change.abs());
                    vectorize(
                        #[inline(always)]
                        || explained.iter_mut().zip(row).for_each(|(e, &g)| *e += change * g),
                    );
                }
            }
            largest
        };
        let mut left = self.max_epochs;
        while left > 0 {
            left -= 1;
            if sweep(&candidates, &mut weights) <= self.tolerance {
                break;
            }
            let active: Vec<usize> = candidates.iter().copied().filter(|&i| weights[i] > 0.0).collect();
            while left > 0 {
                left -= 1;
                if sweep(&active, &mut weights) <= self.tolerance {
                    break;
                }
            }
        }
        candidates.iter().filter(|&&i| weights[i] > 0.0).map(|&i| (ItemIdx(i as u32), weights[i])).collect()
    }
}

impl Estimator for Slim {
    type Model = ItemItemModel;

    fn fit_matrix(&self, matrix: &UserItems) -> Result<ItemItemModel> {
        self.fit_matrix_on(matrix, &Alone)
    }
}

impl Slim {
    /// As [`fit`](Estimator::fit), together with other processes, which have the same settings and the same log: each finds the weights of
    /// some of the items. The model is the same on all, with the same bits at any number of them.
    ///
    /// # Errors
    /// As [`fit`](Estimator::fit), of any process on all of them; [`Error::Processes`](crate::Error::Processes) says of which.
    pub fn fit_on<U: Id, I: Id>(
        &self,
        log: &Interactions<U, I>,
        processes: &dyn Communicator,
    ) -> Result<Fitted<ItemItemModel, U, I>> {
        fitted(log, |matrix| self.fit_matrix_on(matrix, processes))
    }

    /// As [`fit_on`](Self::fit_on), on a matrix of users by items.
    ///
    /// # Errors
    /// As there.
    pub fn fit_matrix_on(&self, matrix: &UserItems, processes: &dyn Communicator) -> Result<ItemItemModel> {
        let n = matrix.n_cols();
        let rows = self.check(matrix).map(|()| n);
        let facts = || vec![("the settings", format!("{self:?}")), ("the matrix", sum_of(matrix))];
        let columns = by_rank(processes, "SLIM", facts, rows, 1, |own| {
            let gram = gram(matrix);
            Ok(own.into_par_iter().map(|target| self.column(&gram, n, target)).collect())
        })?;
        let weights: Csr<ItemIdx, ItemIdx> = from_rows::<ItemIdx, ItemIdx>(n, columns).transpose();
        Ok(ItemItemModel {
            kind: ItemItemKind::Slim,
            n_users: matrix.n_rows(),
            n_items: n,
            binary: true,
            weights: Weights::Sparse(weights),
            inverse: None,
        })
    }

    fn check(&self, matrix: &UserItems) -> Result<()> {
        for (name, value) in [("l1", self.l1), ("l2", self.l2), ("tolerance", self.tolerance)] {
            check::not_negative(name, value)?;
        }
        check::not_empty(matrix)?;
        let n = matrix.n_cols();
        memory::check(|| format!("SLIM on {n} items"), Self::memory_needed(n), self.memory_limit)
    }
}

/// How many users met both items of each pair, row-major.
fn gram(matrix: &UserItems) -> Vec<f32> {
    let (n, ones) = (matrix.n_cols(), matrix.map_values(|_, _, _| 1.0));
    let transpose = ones.transpose();
    let mut gram = vec![0.0_f32; n * n];
    gram.par_chunks_mut(n * 32).enumerate().for_each(|(chunk, rows)| {
        let mut row = GramRow::<ItemIdx>::new(n);
        for (i, out) in rows.chunks_mut(n).enumerate() {
            row.fill(&transpose, &ones, ItemIdx((chunk * 32 + i) as u32));
            row.touched.iter().for_each(|j| out[j.at()] = row.sums[j.at()]);
        }
    });
    gram
}
