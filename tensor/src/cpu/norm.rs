//! Normalisation of columns, the kernels of batch normalisation: statistics over all rows, and the two maps that use them.
//!
//! A column is a channel; rows are all pixels of all images. Sums are taken over chunks of fixed size, each in the element
//! type, and the chunks' sums are added in order in f64, so that long columns lose nothing and the threads do not matter.
//! The variance is the mean of squared differences from the mean, in a second pass: the difference of two large sums would
//! cancel.

use crate::Float;
use crate::cpu::{Isa, Kernel, dispatch, threads};

/// Rows that are summed in one go, in the element type.
const CHUNK: usize = 256;

/// For each column the sum over rows of `a` and of `b`, which are functions of an element of each operand and the column.
fn sums<T: Float>(
    x: &[T],
    g: &[T],
    columns: usize,
    add: impl Fn(&[T], &[T], &mut [T], &mut [T]) + Sync,
) -> [Vec<f64>; 2] {
    let mut totals = [vec![0.0; columns], vec![0.0; columns]];
    if columns == 0 || x.is_empty() {
        return totals;
    }
    let chunk = CHUNK * columns;
    let mut parts = vec![T::ZERO; x.len().div_ceil(chunk) * 2 * columns];
    threads::split_units(&mut parts, 2 * columns, 2 * chunk, |first, parts| {
        for (i, part) in parts.chunks_exact_mut(2 * columns).enumerate() {
            let start = (first + i) * chunk;
            let end = x.len().min(start + chunk);
            let (a, b) = part.split_at_mut(columns);
            dispatch(Rows { x: &x[start..end], g: &g[start..end], a, b, add: &add });
        }
        false
    });
    for part in parts.chunks_exact(2 * columns) {
        let (a, b) = part.split_at(columns);
        for (total, part) in totals.iter_mut().zip([a, b]) {
            total.iter_mut().zip(part).for_each(|(t, p)| *t += p.to_f64());
        }
    }
    totals
}

struct Rows<'a, T, F> {
    x: &'a [T],
    g: &'a [T],
    a: &'a mut [T],
    b: &'a mut [T],
    add: &'a F,
}

impl<T: Float, F: Fn(&[T], &[T], &mut [T], &mut [T])> Kernel for Rows<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let columns = self.a.len();
        for (x, g) in self.x.chunks_exact(columns).zip(self.g.chunks_exact(columns)) {
            (self.add)(x, g, self.a, self.b);
        }
    }
}

/// Mean and (biased) variance of each column.
pub(crate) fn moments<T: Float>(x: &[T], columns: usize) -> [Vec<T>; 2] {
    let rows = (x.len() / columns.max(1)).max(1) as f64;
    let [sum, _] = sums(x, x, columns, |x, _, sum, _| sum.iter_mut().zip(x).for_each(|(s, &x)| *s += x));
    let mean: Vec<T> = sum.iter().map(|s| T::from_f64(s / rows)).collect();
    let [squares, left] = sums(x, x, columns, |x, _, squares, left| {
        for c in 0..squares.len() {
            let d = x[c] - mean[c];
            squares[c] += d * d;
            left[c] += d;
        }
    });
    // `mean` is rounded; what is left of the sum of differences corrects for it.
    let variance = squares.iter().zip(&left).map(|(s, l)| T::from_f64((s - l * l / rows).max(0.0) / rows));
    [mean.clone(), variance.collect()]
}

/// For each column the sum of `g`, and of `g · (x - mean)`.
pub(crate) fn gradient_sums<T: Float>(x: &[T], g: &[T], mean: &[T]) -> [Vec<f64>; 2] {
    sums(x, g, mean.len(), |x, g, sum, product| {
        for c in 0..sum.len() {
            sum[c] += g[c];
            product[c] += g[c] * (x[c] - mean[c]);
        }
    })
}

/// `out = (x - mean) · scale + shift`, column by column.
pub(crate) fn normalize<T: Float>(x: &[T], [mean, scale, shift]: [&[T]; 3], out: &mut [T]) {
    let columns = mean.len();
    threads::split_units(out, columns, columns, |first, out| {
        let x = &x[first * columns..][..out.len()];
        dispatch(Columns {
            x,
            g: x,
            out,
            f: |x: T, _: T, c: usize| (x - mean[c]) * scale[c] + shift[c],
            columns,
        });
        false
    });
}

/// `out = (g - a - (x - mean) · b) · scale`, column by column.
pub(crate) fn normalize_gradient<T: Float>(x: &[T], g: &[T], [mean, a, b, scale]: [&[T]; 4], out: &mut [T]) {
    let columns = mean.len();
    threads::split_units(out, columns, 2 * columns, |first, out| {
        let range = first * columns..first * columns + out.len();
        let f = |x: T, g: T, c: usize| (g - a[c] - (x - mean[c]) * b[c]) * scale[c];
        dispatch(Columns { x: &x[range.clone()], g: &g[range], out, f, columns });
        false
    });
}

struct Columns<'a, T, F> {
    x: &'a [T],
    g: &'a [T],
    out: &'a mut [T],
    f: F,
    columns: usize,
}

impl<T: Float, F: Fn(T, T, usize) -> T> Kernel for Columns<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let columns = self.columns;
        let rows = self.x.chunks_exact(columns).zip(self.g.chunks_exact(columns));
        for (out, (x, g)) in self.out.chunks_exact_mut(columns).zip(rows) {
            for c in 0..columns {
                out[c] = (self.f)(x[c], g[c], c);
            }
        }
    }
}
