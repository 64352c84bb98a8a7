//! How alike two users, or two items, are by the training log alone: the answer where a model has none of its own.
//!
//! Popularity, item-to-item weights or biases say nothing about two users; that they met the same items does. The measure is
//! the cosine of their rows (of two items: of their columns), values counted, which needs no setting. What has nothing
//! in common is no candidate (NaN), so a list is not filled up with strangers.

use rayon::prelude::*;

use crate::data::ids::Idx;
use crate::data::sparse::Csr;

/// Cosine of `row` with every row that has a column in common with it; NaN for the others.
pub(crate) fn rows<R: Idx, C: Idx>(matrix: &Csr<R, C>, row: R, out: &mut [f32]) {
    let mut profile = vec![f32::NAN; matrix.n_cols()];
    let (columns, values) = matrix.row(row);
    columns.iter().zip(values).for_each(|(c, &v)| profile[c.at()] = v);
    let own = squares(values);
    out.par_iter_mut().with_min_len(256).enumerate().for_each(|(other, out)| {
        let (columns, values) = matrix.row(R::from_u32(other as u32));
        let mut dot = Dot::default();
        for (c, &v) in columns.iter().zip(values).filter(|(c, _)| !profile[c.at()].is_nan()) {
            dot.add(v, profile[c.at()]);
        }
        *out = dot.cosine(own, squares(values));
    });
}

/// Cosine of `column` with every column that has a row in common with it; NaN for the others.
pub(crate) fn columns<R: Idx, C: Idx>(matrix: &Csr<R, C>, column: C, out: &mut [f32]) {
    let mut dots = vec![Dot::default(); matrix.n_cols()];
    for row in matrix.row_indices() {
        if let Some(value) = matrix.get(row, column) {
            let (columns, values) = matrix.row(row);
            columns.iter().zip(values).for_each(|(c, &v)| dots[c.at()].add(value, v));
        }
    }
    let mut norms = vec![0.0_f64; matrix.n_cols()];
    matrix.columns().iter().zip(matrix.values()).for_each(|(c, &v)| norms[c.at()] += f64::from(v).powi(2));
    for ((out, dot), &norm) in out.iter_mut().zip(dots).zip(&norms) {
        *out = dot.cosine(norms[column.at()], norm);
    }
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum()
}

/// A sum of products, and whether there were any.
#[derive(Clone, Copy, Default)]
struct Dot {
    sum: f64,
    common: bool,
}

impl Dot {
    fn add(&mut self, a: f32, b: f32) {
        self.sum += f64::from(a) * f64::from(b);
        self.common = true;
    }

    /// `a` and `b` are squared norms. Without a direction, as rows of zeros are, there is nothing to compare.
    fn cosine(self, a: f64, b: f64) -> f32 {
        let norms = (a * b).sqrt();
        if self.common && norms > 0.0 { (self.sum / norms) as f32 } else { f32::NAN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ids::{ItemIdx, UserIdx};

    #[test]
    fn rows_and_columns_agree_with_the_dense_cosine() {
        let entries = (0..40_u32).flat_map(|u| (0..25_u32).map(move |i| (u, i)));
        let entries = entries.filter(|(u, i)| (u * 7 + i * 13 + u * i) % 9 == 0);
        let entries = entries.map(|(u, i)| (UserIdx(u), ItemIdx(i), ((u + 2 * i) % 5) as f32 - 1.0));
        let matrix = Csr::from_entries(41, 26, entries).unwrap();
        let dense = |u: u32| -> Vec<Option<f32>> {
            (0..26).map(|i| matrix.get(UserIdx(u), ItemIdx(i))).collect::<Vec<_>>()
        };
        let (mut some, mut none) = (0, 0);
        for u in 0..41 {
            let mut got = vec![0.0; 41];
            rows(&matrix, UserIdx(u), &mut got);
            let mut transposed = vec![0.0; 41];
            columns(&matrix.transpose(), UserIdx(u), &mut transposed);
            for v in 0..41 {
                let (a, b) = (dense(u), dense(v));
                let common = a.iter().zip(&b).any(|(a, b)| a.is_some() && b.is_some());
                let dot = |a: &[Option<f32>], b: &[Option<f32>]| {
                    a.iter().zip(b).map(|(a, b)| a.unwrap_or(0.0) * b.unwrap_or(0.0)).sum::<f32>()
                };
                let want = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
                for got in [got[v as usize], transposed[v as usize]] {
                    if common && want.is_finite() {
                        assert!((got - want).abs() < 1e-6, "{u} {v}: {got} for {want}");
                        some += 1;
                    } else {
                        assert!(got.is_nan());
                        none += 1;
                    }
                }
            }
        }
        assert!(some > 100 && none > 100, "both kinds are met: {some}, {none}");
    }
}
