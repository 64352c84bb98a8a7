//! Lists from the cells of users.
//!
//! A task takes a block of users and visits, cell by cell, those of its users whose list the cell may better: one matrix
//! product for all of them, or one pass over the cell for the few. The product only preselects. What it finds to come within
//! rounding of a user's k-th best score is scored again by one fixed sum. So a list is exactly the best of the cells
//! visited, and does not depend on who else is in the block, in which order cells are visited, or on the number of
//! threads.
//!
//! Cells are visited in rounds, the nearest first, so that the bound is high when the many come. A user whose list is short
//! when the wanted number of cells is done goes on until it is full or no cell is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::data::ids::ItemIdx;
use crate::linalg::rows;
use crate::serve::ann::cells::{Cells, norm, pad_to};
use crate::serve::ranks::Ranks;
use crate::serve::top_k::ScoredItem;

/// Users of a block at most: many, so that several of them meet in a cell.
const USERS: usize = 1024;
/// Scores of centroids that a block holds at most.
const RANKED: usize = 1 << 20;
/// Cells of the first round; each further round ends at four times as many.
const FIRST: usize = 8;
/// Users in a cell for whom a matrix product is worth its packing.
const FEW: usize = 16;
/// Scores compared at once.
const LANES: usize = 16;

/// Somebody who wants a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) vector: &'a [f32],
    /// Items that are out for this user alone, ascending.
    pub(super) out: &'a [ItemIdx],
}

/// The `k` best items of the `probes` nearest cells for each query, of more where fewer than `k` qualify there; without those
/// that `allowed` refuses.
pub(super) fn best(
    (cells, ranks): (&Cells, &Ranks),
    queries: &[Query<'_>],
    k: usize,
    probes: usize,
    allowed: &(dyn Fn(ItemIdx) -> bool + Sync),
) -> Vec<Vec<ScoredItem>> {
    // Lists do not depend on the blocks, so these may depend on the number of threads.
    let share = queries.len().div_ceil(2 * rayon::current_num_threads());
    let block = share.min(RANKED / cells.len().max(1)).clamp(1, USERS);
    queries
        .par_chunks(block)
        .flat_map_iter(|queries| Block::new((cells, ranks), queries, k, allowed).lists(probes))
        .collect()
}

struct Block<'a> {
    cells: &'a Cells,
    ranks: &'a Ranks,
    k: usize,
    allowed: &'a (dyn Fn(ItemIdx) -> bool + Sync),
    users: Vec<User<'a>>,
    /// Of all users, padded.
    vectors: Vec<f32>,
    /// Of the users that visit a cell, and the products of the cell with them.
    gathered: Vec<f32>,
    products: Vec<f32>,
}

/// One user of a block.
struct User<'a> {
    out: &'a [ItemIdx],
    norm: f32,
    /// Cells with the inner products of their centroids; the nearest come first, as far as rounds have gone.
    ranked: Vec<(f32, u32)>,
    list: BinaryHeap<Reverse<ScoredItem>>,
    /// The k-th best score, or -∞ while there are fewer.
    worst: f32,
}

/// The users who visit cell c are `by_cell[starts[c]..starts[c + 1]]`.
struct Visitors {
    starts: Vec<usize>,
    by_cell: Vec<u32>,
}

impl<'a> Block<'a> {
    fn new(
        (cells, ranks): (&'a Cells, &'a Ranks),
        queries: &[Query<'a>],
        k: usize,
        allowed: &'a (dyn Fn(ItemIdx) -> bool + Sync),
    ) -> Self {
        let mut vectors = Vec::with_capacity(queries.len() * cells.width);
        queries.iter().for_each(|query| pad_to(&mut vectors, query.vector, cells.width));
        let nearness = nearness(cells, &vectors);
        let users = (queries.iter().enumerate())
            .map(|(n, query)| User {
                out: query.out,
                norm: norm(query.vector) as f32,
                ranked: nearness[n * cells.len()..][..cells.len()].iter().copied().zip(0..).collect(),
                list: BinaryHeap::new(),
                worst: f32::NEG_INFINITY,
            })
            .collect();
        Self { cells, ranks, k, allowed, users, vectors, gathered: Vec::new(), products: Vec::new() }
    }

    fn lists(mut self, probes: usize) -> Vec<Vec<ScoredItem>> {
        let n_cells = self.cells.len();
        let (mut done, mut end) = (0, FIRST.min(probes));
        while done < n_cells {
            end = end.min(n_cells);
            let visitors = self.visitors(done..end, done >= probes);
            if visitors.by_cell.is_empty() {
                break;
            }
            for cell in 0..n_cells {
                let visitors = &visitors.by_cell[visitors.starts[cell]..visitors.starts[cell + 1]];
                if !visitors.is_empty() {
                    self.visit(cell, visitors);
                }
            }
            done = end;
            end = if done < probes { (4 * done).min(probes) } else { 4 * done };
        }
        let ranks = self.ranks;
        let entries = |user: User<'_>| user.list.into_iter().map(|Reverse(entry)| entry);
        self.users.into_iter().map(|user| ranks.list(entries(user))).collect()
    }

    /// Who visits which cell in the round of the cells that are `positions` in the order of nearness.
    fn visitors(&mut self, positions: Range<usize>, only_short: bool) -> Visitors {
        let mut starts = vec![0; self.cells.len() + 1];
        let mut visiting = Vec::new();
        for (n, user) in self.users.iter_mut().enumerate() {
            if !only_short || user.list.len() < self.k {
                user.rank(positions.clone());
                visiting.push(n as u32);
                user.ranked[positions.clone()].iter().for_each(|&(_, cell)| starts[cell as usize + 1] += 1);
            }
        }
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut next = starts.clone();
        let mut by_cell = vec![0; visiting.len() * positions.len()];
        for &n in &visiting {
            for &(_, cell) in &self.users[n as usize].ranked[positions.clone()] {
                by_cell[next[cell as usize]] = n;
                next[cell as usize] += 1;
            }
        }
        Visitors { starts, by_cell }
    }

    /// Offers the items of a cell to those who visit it.
    fn visit(&mut self, cell: usize, visitors: &[u32]) {
        let (cells, width) = (self.cells, self.cells.width);
        let range = cells.starts[cell]..cells.starts[cell + 1];
        let norms = &cells.norms[range.clone()];
        // Twice what two orders of one sum can differ by, and what is lost where products vanish.
        let slack =
            |user: &User<'_>| 2.0 * width as f32 * f32::EPSILON * user.norm * norms[0] + f32::MIN_POSITIVE;
        let mut interested = Vec::with_capacity(visitors.len());
        let mut reach = 0;
        for &n in visitors {
            let user = &self.users[n as usize];
            let limit = user.worst - slack(user);
            let own = norms.partition_point(|norm| !below(norm * user.norm, limit));
            if own > 0 {
                interested.push((n as usize, own));
                reach = reach.max(own);
            }
        }
        let start = range.start;
        if interested.len() < FEW {
            for (n, own) in interested {
                self.products.clear();
                self.products.resize(own, 0.0);
                let rows = &cells.vectors[start * width..][..own * width];
                rows::add_row_products(rows, &self.vectors[n * width..][..width], &mut self.products);
                self.rescore(n, start, 0, own, slack(&self.users[n]));
            }
            return;
        }
        self.gathered.clear();
        for &(n, _) in &interested {
            self.gathered.extend_from_slice(&self.vectors[n * width..][..width]);
        }
        let rows = &cells.vectors[start * width..][..reach * width];
        multiply(rows, &self.gathered, width, &mut self.products);
        for (at, (n, own)) in interested.into_iter().enumerate() {
            self.rescore(n, start, at * reach, own, slack(&self.users[n]));
        }
    }

    /// Scores again, for user `n`, those of the `own` items from `start` whose products, from `from`, may be enough.
    fn rescore(&mut self, n: usize, start: usize, from: usize, own: usize, slack: f32) {
        let Self { cells, ranks, k, allowed, users, vectors, products, .. } = self;
        let user = &mut users[n];
        let vector = &vectors[n * cells.width..][..cells.width];
        for (lane, products) in products[from..from + own].chunks(LANES).enumerate() {
            let limit = user.worst - slack;
            if products.iter().fold(false, |any, &product| any | !below(product, limit)) {
                for (at, &product) in products.iter().enumerate() {
                    if !below(product, user.worst - slack) {
                        user.offer((*cells, *ranks), start + lane * LANES + at, vector, *k, *allowed);
                    }
                }
            }
        }
    }
}

impl User<'_> {
    /// Brings the cells that are `positions` in the order of nearness there, if those before them are; ties by number.
    fn rank(&mut self, positions: Range<usize>) {
        if positions.end < self.ranked.len() {
            let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            self.ranked[positions.start..].select_nth_unstable_by(positions.len() - 1, nearer);
        }
    }

    fn offer(
        &mut self,
        (cells, ranks): (&Cells, &Ranks),
        position: usize,
        vector: &[f32],
        k: usize,
        allowed: &(dyn Fn(ItemIdx) -> bool + Sync),
    ) {
        let item = cells.items[position];
        let score = rows::dot(&cells.vectors[position * cells.width..][..cells.width], vector);
        let entry = ranks.entry(item, score);
        let full = self.list.len() == k;
        if !score.is_finite() || (full && self.list.peek().is_some_and(|worst| entry <= worst.0)) {
            return;
        }
        if self.out.binary_search(&item).is_ok() || !allowed(item) {
            return;
        }
        self.list.push(Reverse(entry));
        if full {
            self.list.pop();
        }
        if self.list.len() == k {
            self.worst = self.list.peek().map_or(f32::NEG_INFINITY, |worst| worst.0.score);
        }
    }
}

/// Whether a product is certainly not enough. One that is no number may be: its sum in another order may be a number.
#[inline(always)]
fn below(product: f32, limit: f32) -> bool {
    product < limit
}

/// Inner products of each of `vectors` with all centroids, vectors x cells; a sum's order is the same whatever the block, since it
/// decides which cells are visited.
fn nearness(cells: &Cells, vectors: &[f32]) -> Vec<f32> {
    const ROWS: usize = 64;
    let (width, n_cells) = (cells.width, cells.len());
    let mut out = vec![0.0; vectors.len() / width * n_cells];
    for (chunk, rows) in cells.centroids.chunks(ROWS * width).enumerate() {
        let n = rows.len() / width;
        for (vector, out) in vectors.chunks_exact(width).zip(out.chunks_exact_mut(n_cells)) {
            rows::add_row_products(rows, vector, &mut out[chunk * ROWS..][..n]);
        }
    }
    out
}

/// Inner products of `rows` with each of `queries`: `out` is queries x rows, row-major.
fn multiply(rows: &[f32], queries: &[f32], width: usize, out: &mut Vec<f32>) {
    let (m, n) = (rows.len() / width, queries.len() / width);
    out.clear();
    out.resize(m * n, 0.0);
    let rows = MatRef::from_column_major_slice(rows, width, m);
    let queries = MatRef::from_column_major_slice(queries, width, n);
    let out = MatMut::from_column_major_slice_mut(out, m, n);
    matmul(out, Accum::Replace, rows.transpose(), queries, 1.0, Par::Seq);
}
