//! The items in cells: what the index holds and how it is made.
//!
//! The item with the largest inner product is the nearest one after every item vector x has got one entry more,
//! √(M² - |x|²) with M the largest length, and every user vector a 0 (Bachrach et al., RecSys 2014): all items then lie on
//! one sphere. There they are grouped by k-means. The cells of a user are those whose centroids have the largest inner
//! products with the user's vector.
//!
//! Within a cell items go by length, the longest first: |x·u| ≤ |x| |u|, so the rest of a cell can be left out as soon as
//! that is below the k-th best score, at no loss.

use std::fmt;

use crate::data::ids::ItemIdx;
use crate::linalg::rows::padded;
use crate::models::factors::Vectors;
use crate::serve::ann::k_means::{by_cell, k_means};

/// Rounds of k-means. At 27 thousand items 25 of them add 0.003 to the recall, and take three times as long.
const ROUNDS: usize = 8;

/// Items by cell. Vectors are padded with zeros to whole registers.
#[derive(Clone)]
pub(super) struct Cells {
    /// Floats a vector takes.
    pub(super) width: usize,
    /// Centroids without their additional entry.
    pub(super) centroids: Vec<f32>,
    /// Where the items of a cell begin in the following; one entry more than cells.
    pub(super) starts: Vec<usize>,
    pub(super) items: Vec<ItemIdx>,
    /// Lengths of the vectors; descending within a cell.
    pub(super) norms: Vec<f32>,
    pub(super) vectors: Vec<f32>,
}

impl fmt::Debug for Cells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("cells", &self.len()).field("items", &self.items.len()).finish()
    }
}

impl Cells {
    /// At most `n_cells` cells. Items that are not `known` come last in lists whatever their vectors are, and are left out. So are those
    /// whose vectors are not finite, which have no score for anybody.
    pub(super) fn build(
        vectors: &Vectors,
        known: impl Fn(ItemIdx) -> bool,
        n_cells: usize,
        seed: u64,
    ) -> Self {
        let norms: Vec<f64> = (0..vectors.len()).map(|item| norm(vectors.get(item))).collect();
        let kept: Vec<u32> = (0..vectors.len() as u32)
            .filter(|&item| norms[item as usize].is_finite() && known(ItemIdx(item)))
            .collect();
        let longest = kept.iter().map(|&item| norms[item as usize]).fold(0.0, f64::max);
        let scale = if longest > 0.0 { longest.recip() } else { 0.0 };
        let dim = vectors.dim();
        let mut points = Vec::with_capacity(kept.len() * (dim + 1));
        for &item in &kept {
            points.extend(vectors.get(item as usize).iter().map(|&x| (f64::from(x) * scale) as f32));
            let length = norms[item as usize] * scale;
            points.push((1.0 - length * length).max(0.0).sqrt() as f32);
        }
        let k = n_cells.min(kept.len());
        let (centroids, nearest) = k_means(&points, dim + 1, k, ROUNDS, seed);
        drop(points);
        let mut members = by_cell(&nearest, k);
        members.iter_mut().flatten().for_each(|at| *at = kept[*at as usize]);
        let norm_of = |item: u32| norms[item as usize];
        for members in &mut members {
            members.sort_by(|&a, &b| norm_of(b).total_cmp(&norm_of(a)));
        }
        let width = padded(dim);
        let mut cells = Self {
            width,
            centroids: Vec::new(),
            starts: vec![0],
            items: Vec::with_capacity(kept.len()),
            norms: Vec::with_capacity(kept.len()),
            vectors: Vec::with_capacity(kept.len() * width),
        };
        for (members, centroid) in members.iter().zip(centroids.chunks_exact(dim + 1)) {
            if members.is_empty() {
                continue;
            }
            pad_to(&mut cells.centroids, &centroid[..dim], width);
            for &item in members {
                cells.items.push(ItemIdx(item));
                cells.norms.push(norm_of(item) as f32);
                pad_to(&mut cells.vectors, vectors.get(item as usize), width);
            }
            cells.starts.push(cells.items.len());
        }
        cells
    }

    /// How many cells there are; none is empty.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

/// Appends `vector` and zeros up to `width`.
pub(super) fn pad_to(out: &mut Vec<f32>, vector: &[f32], width: usize) {
    let end = out.len() + width;
    out.extend_from_slice(vector);
    out.resize(end, 0.0);
}

/// In double precision, where no square of an f32 overflows or vanishes.
pub(super) fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}
