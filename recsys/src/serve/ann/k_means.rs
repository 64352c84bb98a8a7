//! k-means by Lloyd's iterations, for the cells of the index.
//!
//! Points are assigned by one matrix product over fixed chunks of them: |p - c|² = |p|² - 2 (p·c - |c|²/2), so the nearest
//! centroid has the largest p·c - |c|²/2, which is an inner product once a 1 is put behind every point. A centroid is the mean of its
//! points, added in their order by one task. Both are the same bits for any number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand::SeedableRng;
use rand::seq::index;
use rand_pcg::Pcg64;
use rayon::prelude::*;

/// Points that one product assigns.
const CHUNK: usize = 256;
/// Points a cell that the iterations look at; the others are only assigned in the end (as FAISS has it).
const SAMPLE: usize = 256;

/// `k` centroids (one after another, of `width` floats, like the points) and the nearest of each point.
pub(super) fn k_means(
    points: &[f32],
    width: usize,
    k: usize,
    rounds: usize,
    seed: u64,
) -> (Vec<f32>, Vec<u32>) {
    let n = points.len() / width;
    let mut rng = Pcg64::seed_from_u64(seed);
    // In random order, so that the first k are a fair start.
    let sample = index::sample(&mut rng, n, n.min(k * SAMPLE));
    let sample: Vec<f32> =
        sample.iter().flat_map(|at| &points[at * width..(at + 1) * width]).copied().collect();
    let mut centroids = sample[..k * width].to_vec();
    for _ in 0..rounds {
        let nearest = assign(&sample, &centroids, width);
        let members = by_cell(&nearest, k);
        move_to_means(&sample, &members, &mut centroids, width);
        fill_empty(&members, &mut centroids, width);
    }
    let nearest = assign(points, &centroids, width);
    (centroids, nearest)
}

/// The nearest centroid of every point; of equally near ones the first.
fn assign(points: &[f32], centroids: &[f32], width: usize) -> Vec<u32> {
    let k = centroids.len() / width;
    // (width + 1) x k: below each centroid c is -|c|²/2.
    let mut table = Vec::with_capacity(k * (width + 1));
    for centroid in centroids.chunks_exact(width) {
        table.extend_from_slice(centroid);
        table.push(-0.5 * centroid.iter().map(|x| x * x).sum::<f32>());
    }
    let table = MatRef::from_column_major_slice(&table, width + 1, k);
    points
        .par_chunks(CHUNK * width)
        .flat_map_iter(|points| {
            let n = points.len() / width;
            let mut queries = Vec::with_capacity(n * (width + 1));
            for point in points.chunks_exact(width) {
                queries.extend_from_slice(point);
                queries.push(1.0);
            }
            let mut scores = vec![0.0; n * k];
            let out = MatMut::from_column_major_slice_mut(&mut scores, k, n);
            let queries = MatRef::from_column_major_slice(&queries, width + 1, n);
            matmul(out, Accum::Replace, table.transpose(), queries, 1.0, Par::Seq);
            scores.chunks_exact(k).map(first_largest).collect::<Vec<_>>()
        })
        .collect()
}

fn first_largest(scores: &[f32]) -> u32 {
    let mut best = (f32::NEG_INFINITY, 0);
    for (at, &score) in scores.iter().enumerate() {
        if score > best.0 {
            best = (score, at);
        }
    }
    best.1 as u32
}

/// The points of every cell, ascending.
pub(super) fn by_cell(nearest: &[u32], k: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); k];
    for (point, &cell) in nearest.iter().enumerate() {
        members[cell as usize].push(point as u32);
    }
    members
}

fn move_to_means(points: &[f32], members: &[Vec<u32>], centroids: &mut [f32], width: usize) {
    centroids.par_chunks_exact_mut(width).zip(members).filter(|(_, members)| !members.is_empty()).for_each(
        |(centroid, members)| {
            let mut sums = vec![0.0_f64; width];
            for &point in members {
                let point = &points[point as usize * width..][..width];
                sums.iter_mut().zip(point).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            let n = members.len() as f64;
            centroid.iter_mut().zip(&sums).for_each(|(c, sum)| *c = (sum / n) as f32);
        },
    );
}

/// A centroid without points goes beside that of the largest cell, a hair to either side of it, so that the next assignment
/// parts the cell. Of points that are all equal nothing can be parted: such a cell stays empty, which does no harm.
fn fill_empty(members: &[Vec<u32>], centroids: &mut [f32], width: usize) {
    let mut sizes: Vec<usize> = members.iter().map(Vec::len).collect();
    for empty in 0..sizes.len() {
        if sizes[empty] > 0 {
            continue;
        }
        let Some((largest, &size)) =
            sizes.iter().enumerate().max_by_key(|&(at, size)| (size, usize::MAX - at))
        else {
            return;
        };
        for at in 0..width {
            let x = centroids[largest * width + at];
            let hair = if at % 2 == 0 { x / 1024.0 } else { -x / 1024.0 };
            centroids[largest * width + at] = x + hair;
            centroids[empty * width + at] = x - hair;
        }
        (sizes[largest], sizes[empty]) = (size - size / 2, size / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squared(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    /// Points around the corners of a square: every cell is one corner, and every point is in the nearest cell.
    #[test]
    fn finds_groups() {
        let mut points = Vec::new();
        for n in 0..400_usize {
            let (x, y) = ((n % 2) as f32, (n / 2 % 2) as f32);
            points.extend([x + (n * 37 % 19) as f32 / 200.0, y + (n * 53 % 23) as f32 / 200.0]);
        }
        let (centroids, nearest) = k_means(&points, 2, 4, 10, 1);
        for (n, point) in points.chunks(2).enumerate() {
            let own = squared(point, &centroids[nearest[n] as usize * 2..][..2]);
            assert!(centroids.chunks(2).all(|c| own <= squared(point, c) + 1e-6));
            assert_eq!(nearest[n], nearest[n % 4], "point {n}");
        }
    }

    #[test]
    fn more_cells_than_different_points() {
        let points = [1.0_f32, 2.0].repeat(50);
        let (centroids, nearest) = k_means(&points, 2, 20, 5, 0);
        assert_eq!((centroids.len(), nearest.len()), (40, 50));
        assert!(nearest.iter().all(|&cell| cell == nearest[0]));
        assert!(centroids.iter().all(|c| c.is_finite()));
    }
}
