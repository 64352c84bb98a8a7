//! Normalisation of columns: statistics over all rows, and the maps that use them.
//!
//! A column is a channel; rows are all pixels of all images in batch normalisation, those of one item of the batch in group
//! normalisation, which combines the sums of a group's channels and does an item at a time, while it is in the cache. Sums are
//! taken over chunks of fixed size, each in the element type, and the chunks' sums are added in order in f64, so that long
//! columns lose nothing and the threads do not matter.
//! The variance is the mean of squared differences from the mean, in a second pass: the difference of two large sums would
//! cancel.

use crate::Float;
use crate::cpu::{Isa, Kernel, dispatch, lanes, threads};

/// Rows that are summed in one go, in the element type.
const CHUNK: usize = 256;

/// For each column the sums over rows of `N` functions of an element of each operand and the column. `add` adds those of a row to
/// what it is given, the columns of each function one after the other.
fn sums<T: Float, const N: usize>(
    x: &[T],
    g: &[T],
    columns: usize,
    add: impl Fn(&[T], &[T], &mut [T]) + Sync,
) -> [Vec<f64>; N] {
    let mut totals = [const { Vec::new() }; N];
    totals.iter_mut().for_each(|total| total.resize(columns, 0.0));
    if columns == 0 || x.is_empty() {
        return totals;
    }
    let chunk = CHUNK * columns;
    let mut parts = vec![T::ZERO; x.len().div_ceil(chunk) * N * columns];
    threads::split_units(&mut parts, N * columns, N * chunk, |first, parts| {
        for (i, part) in parts.chunks_exact_mut(N * columns).enumerate() {
            let start = (first + i) * chunk;
            let end = x.len().min(start + chunk);
            dispatch(Rows { x: &x[start..end], g: &g[start..end], columns, sums: part, add: &add });
        }
        false
    });
    for part in parts.chunks_exact(N * columns) {
        for (total, part) in totals.iter_mut().zip(part.chunks_exact(columns)) {
            total.iter_mut().zip(part).for_each(|(t, p)| *t += p.to_f64());
        }
    }
    totals
}

struct Rows<'a, T, F> {
    x: &'a [T],
    g: &'a [T],
    columns: usize,
    sums: &'a mut [T],
    add: &'a F,
}

impl<T: Float, F: Fn(&[T], &[T], &mut [T])> Kernel for Rows<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let columns = self.columns;
        for (x, g) in self.x.chunks_exact(columns).zip(self.g.chunks_exact(columns)) {
            (self.add)(x, g, self.sums);
        }
    }
}

/// The sum of each column.
fn column_sums<T: Float>(x: &[T], columns: usize) -> Vec<f64> {
    let [sum] = sums(x, x, columns, |x, _, sum| sum.iter_mut().zip(x).for_each(|(s, &x)| *s += x));
    sum
}

/// Mean and (biased) variance of each column.
pub(crate) fn moments<T: Float>(x: &[T], columns: usize) -> [Vec<T>; 2] {
    let rows = (x.len() / columns.max(1)).max(1) as f64;
    let sum = column_sums(x, columns);
    let mean: Vec<T> = sum.iter().map(|s| T::from_f64(s / rows)).collect();
    let [squares, left] = deviations(x, &mean);
    let variance = squares.iter().zip(&left).map(|(&s, &l)| corrected_variance(s, l, rows));
    let variance = variance.collect();
    [mean, variance]
}

/// For each column the sum of squared differences from a mean, and of the differences.
fn deviations<T: Float>(x: &[T], mean: &[T]) -> [Vec<f64>; 2] {
    sums(x, x, mean.len(), |x, _, sums| {
        let (squares, left) = sums.split_at_mut(x.len());
        for c in 0..squares.len() {
            let d = x[c] - mean[c];
            squares[c] += d * d;
            left[c] += d;
        }
    })
}

/// The variance of `count` elements. The mean was rounded; what is left of the sum of differences corrects for it.
fn corrected_variance<T: Float>(squares: f64, left: f64, count: f64) -> T {
    T::from_f64((squares - left * left / count).max(0.0) / count)
}

/// For each column the sum of `g`, of `g · (x - mean)`, and of `x - mean`, which is not 0 where the mean was rounded.
fn gradient_sums<T: Float>(x: &[T], g: &[T], mean: &[T]) -> [Vec<f64>; 3] {
    sums(x, g, mean.len(), |x, g, sums| {
        let (sum, rest) = sums.split_at_mut(x.len());
        let (product, left) = rest.split_at_mut(x.len());
        for c in 0..sum.len() {
            let d = x[c] - mean[c];
            sum[c] += g[c];
            product[c] += g[c] * d;
            left[c] += d;
        }
    })
}

/// For each column the sum of `g`, and of `g · (x - mean)`, as if the mean had not been rounded: by what is left of the sum of
/// differences.
pub(crate) fn column_gradient_sums<T: Float>(x: &[T], g: &[T], mean: &[T]) -> [Vec<f64>; 2] {
    let [sum, mut product, left] = gradient_sums(x, g, mean);
    let rows = (x.len() / mean.len().max(1)).max(1) as f64;
    for (product, (sum, left)) in product.iter_mut().zip(sum.iter().zip(left)) {
        *product -= sum * left / rows;
    }
    [sum, product]
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

/// The sizes of group normalisation.
#[derive(Clone, Copy)]
pub(crate) struct Groups {
    pub(crate) channels: usize,
    /// Groups of neighbouring channels, which divide them.
    pub(crate) groups: usize,
    /// Elements of one item of the batch.
    pub(crate) item: usize,
}

impl Groups {
    /// Channels of a group.
    fn width(self) -> usize {
        self.channels / self.groups
    }

    /// Elements of a group of one item.
    fn count(self) -> f64 {
        (self.item / self.groups).max(1) as f64
    }

    /// The sum over each group's channels.
    fn sum(self, channels: &[f64]) -> impl Iterator<Item = f64> {
        channels.chunks_exact(self.width()).map(|group| group.iter().sum())
    }

    /// A value of each group, for each of its channels.
    fn spread<T: Copy>(self, groups: &[T]) -> Vec<T> {
        groups.iter().flat_map(|&value| std::iter::repeat_n(value, self.width())).collect()
    }
}

/// Group normalisation of `x`, `[batch, …, channels]`, with the mean and variance of each group of each item beside it.
pub(crate) fn group_normalize<T: Float>(
    x: &[T],
    sizes: Groups,
    [scale, shift]: [&[T]; 2],
    epsilon: f64,
    out: &mut [T],
    [mean, variance]: [&mut [T]; 2],
) {
    let Groups { channels, groups, item } = sizes;
    if out.is_empty() {
        return;
    }
    threads::split_all(
        [out, mean, variance],
        [item, groups, groups],
        x.len() / item,
        |i, [out, mean, variance]| {
            let x = &x[i * item..][..item];
            let sum = column_sums(x, channels);
            mean.iter_mut()
                .zip(sizes.sum(&sum))
                .for_each(|(mean, sum)| *mean = T::from_f64(sum / sizes.count()));
            let mean = sizes.spread(mean);
            let [squares, left] = deviations(x, &mean);
            let parts = sizes.sum(&squares).zip(sizes.sum(&left));
            variance
                .iter_mut()
                .zip(parts)
                .for_each(|(v, (s, l))| *v = corrected_variance(s, l, sizes.count()));
            let factor = |(v, s): (T, &T)| T::from_f64(s.to_f64() / (v.to_f64() + epsilon).sqrt());
            let factor: Vec<T> = sizes.spread(variance).into_iter().zip(scale).map(factor).collect();
            normalize(x, [&mean, &factor, shift], out);
        },
    );
}

/// The gradient of group normalisation's input, and returned, those of scale and shift.
pub(crate) fn group_gradient<T: Float>(
    x: &[T],
    g: &[T],
    sizes: Groups,
    [mean, variance, scale]: [&[T]; 3],
    epsilon: f64,
    out: &mut [T],
) -> [Vec<T>; 2] {
    let Groups { channels, groups, item } = sizes;
    let mut totals = [vec![0.0; channels], vec![0.0; channels]];
    if !out.is_empty() {
        let batch = x.len() / item;
        // The sums of scale and shift by item, added in the order of the items.
        let mut parts = vec![0.0; batch * 2 * channels];
        threads::split_two(out, &mut parts, (item, 2 * channels), batch, |i, out, parts| {
            let (x, g) = (&x[i * item..][..item], &g[i * item..][..item]);
            let statistics = i * groups..(i + 1) * groups;
            let mean = sizes.spread(&mean[statistics.clone()]);
            let inverse = variance[statistics].iter().map(|v| 1.0 / (v.to_f64() + epsilon).sqrt());
            let inverse = sizes.spread(&inverse.collect::<Vec<f64>>());
            let [sum, mut product, left] = gradient_sums(x, g, &mean);
            // As in `column_gradient_sums`; a group has one mean.
            let left = sizes.spread(&sizes.sum(&left).map(|left| left / sizes.count()).collect::<Vec<f64>>());
            product
                .iter_mut()
                .zip(sum.iter().zip(left))
                .for_each(|(product, (sum, left))| *product -= sum * left);
            // dL/dx = (γ g - mean(γ g) - (x - m) / s² · mean(γ g (x - m))) / s, s² = variance + epsilon
            let weighted = |sums: &[f64]| -> Vec<f64> {
                let weighted: Vec<f64> = sums.iter().zip(scale).map(|(s, w)| s * w.to_f64()).collect();
                sizes.spread(&sizes.sum(&weighted).map(|sum| sum / sizes.count()).collect::<Vec<f64>>())
            };
            let narrow = |x: f64| T::from_f64(x);
            let a: Vec<T> = weighted(&sum).into_iter().map(narrow).collect();
            let b: Vec<T> = weighted(&product).iter().zip(&inverse).map(|(b, i)| narrow(b * i * i)).collect();
            for (c, (sum, product)) in sum.iter().zip(&product).enumerate() {
                parts[c] = product * inverse[c];
                parts[channels + c] = *sum;
            }
            let inverse: Vec<T> = inverse.into_iter().map(narrow).collect();
            let f = |x: T, g: T, c: usize| (g * scale[c] - a[c] - (x - mean[c]) * b[c]) * inverse[c];
            dispatch(Columns { x, g, out, f, columns: channels });
        });
        for part in parts.chunks_exact(2 * channels) {
            let (scale, shift) = part.split_at(channels);
            for (total, part) in totals.iter_mut().zip([scale, shift]) {
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        }
    }
    totals.map(|total| total.into_iter().map(T::from_f64).collect())
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

/// Elements of a run of rows that one task normalises.
const RUN: usize = 1 << 14;

/// Rows that one task normalises: a function of their length alone, so that sums over them do not depend on the threads.
fn run_of_rows(len: usize) -> usize {
    (RUN / len.max(1)).max(1)
}

/// The sum of a row in a fixed order.
#[inline(always)]
fn sum<T: Float>(row: &[T], load: impl Fn(T) -> T) -> T {
    lanes::fold(row, T::ZERO, load, |a, b| a + b)
}

/// Layer normalisation: each row of `x`, as long as `scale`, brought to mean 0 and variance 1, then `out = x · scale + shift`.
/// The mean and 1 / sqrt(variance + epsilon) of each row go beside it. Two passes over a row, which stays in the cache.
pub(crate) fn layer_normalize<T: Float>(
    x: &[T],
    [scale, shift]: [&[T]; 2],
    epsilon: f64,
    out: &mut [T],
    [mean, inverse]: [&mut [T]; 2],
) {
    let len = scale.len();
    if out.is_empty() {
        return;
    }
    let (rows, epsilon) = (run_of_rows(len), T::from_f64(epsilon));
    let runs = (out.len() / len).div_ceil(rows);
    threads::split_all([out, mean, inverse], [rows * len, rows, rows], runs, |i, [out, mean, inverse]| {
        let x = &x[i * rows * len..][..out.len()];
        dispatch(LayerRows { x, scale, shift, epsilon, out, mean, inverse });
    });
}

/// As [`layer_normalize`] of the sum of `x` and `y`, which is written beside it while it is in the cache.
pub(crate) fn add_layer_normalize<T: Float>(
    [x, y]: [&[T]; 2],
    [scale, shift]: [&[T]; 2],
    epsilon: f64,
    [added, out]: [&mut [T]; 2],
    [mean, inverse]: [&mut [T]; 2],
) {
    let len = scale.len();
    if out.is_empty() {
        return;
    }
    let (rows, epsilon) = (run_of_rows(len), T::from_f64(epsilon));
    let runs = (out.len() / len).div_ceil(rows);
    let sizes = [rows * len, rows * len, rows, rows];
    threads::split_all([added, out, mean, inverse], sizes, runs, |i, [added, out, mean, inverse]| {
        let of_run = i * rows * len..i * rows * len + out.len();
        dispatch(Added { x: &x[of_run.clone()], y: &y[of_run], out: &mut *added });
        dispatch(LayerRows { x: added, scale, shift, epsilon, out, mean, inverse });
    });
}

/// `out = x + y`
struct Added<'a, T> {
    x: &'a [T],
    y: &'a [T],
    out: &'a mut [T],
}

impl<T: Float> Kernel for Added<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        for (out, (&x, &y)) in self.out.iter_mut().zip(self.x.iter().zip(self.y)) {
            *out = x + y;
        }
    }
}

struct LayerRows<'a, T> {
    x: &'a [T],
    scale: &'a [T],
    shift: &'a [T],
    epsilon: T,
    out: &'a mut [T],
    mean: &'a mut [T],
    inverse: &'a mut [T],
}

impl<T: Float> Kernel for LayerRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (len, count) = (self.scale.len(), T::from_f64(self.scale.len() as f64));
        let rows = self.x.chunks_exact(len).zip(self.out.chunks_exact_mut(len));
        for ((x, out), (mean, inverse)) in rows.zip(self.mean.iter_mut().zip(self.inverse)) {
            // Divided: the mean of equal numbers is that number.
            let m = sum(x, |x| x) / count;
            let variance = sum(x, |x| (x - m) * (x - m)) / count;
            let i = T::ONE / (variance + self.epsilon).sqrt();
            for c in 0..len {
                out[c] = (x[c] - m) * i * self.scale[c] + self.shift[c];
            }
            (*mean, *inverse) = (m, i);
        }
    }
}

/// The gradient of [`layer_normalize`]'s input, and returned, those of scale and shift.
pub(crate) fn layer_gradient<T: Float>(
    x: &[T],
    g: &[T],
    [mean, inverse, scale]: [&[T]; 3],
    out: &mut [T],
) -> [Vec<T>; 2] {
    let len = scale.len();
    let rows = run_of_rows(len);
    let runs = (out.len() / len.max(1)).div_ceil(rows);
    // The sums for scale and shift of each run of rows, added in order.
    let mut parts = vec![T::ZERO; runs * 2 * len];
    threads::split_two(out, &mut parts, (rows * len, 2 * len), runs, |i, out, parts| {
        let elements = i * rows * len..i * rows * len + out.len();
        let statistics = i * rows..i * rows + out.len() / len;
        let (x, g, mean) = (&x[elements.clone()], &g[elements], &mean[statistics.clone()]);
        dispatch(LayerGradient { x, g, mean, inverse: &inverse[statistics], scale, out, parts });
    });
    let mut totals = vec![0.0; 2 * len];
    for part in parts.chunks_exact((2 * len).max(1)) {
        totals.iter_mut().zip(part).for_each(|(total, part)| *total += part.to_f64());
    }
    let narrow = |sums: &[f64]| sums.iter().map(|&sum| T::from_f64(sum)).collect();
    [narrow(&totals[..len]), narrow(&totals[len..])]
}

struct LayerGradient<'a, T> {
    x: &'a [T],
    g: &'a [T],
    mean: &'a [T],
    inverse: &'a [T],
    scale: &'a [T],
    out: &'a mut [T],
    parts: &'a mut [T],
}

impl<T: Float> Kernel for LayerGradient<'_, T> {
    type Output = ();
    /// With y = (x - m) i and h = g · scale, dL/dx = i (h - mean(h) - y mean(h y)).
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (len, share) = (self.scale.len(), T::from_f64(1.0 / self.scale.len() as f64));
        let (of_scale, of_shift) = self.parts.split_at_mut(len);
        let rows = self.x.chunks_exact(len).zip(self.g.chunks_exact(len)).zip(self.out.chunks_exact_mut(len));
        for (((x, g), out), (&m, &i)) in rows.zip(self.mean.iter().zip(self.inverse)) {
            // First h, and then h y, take the place of the result.
            for c in 0..len {
                out[c] = g[c] * self.scale[c];
            }
            let a = sum(out, |h| h) * share;
            for c in 0..len {
                out[c] *= (x[c] - m) * i;
            }
            let b = sum(out, |hy| hy) * share;
            for c in 0..len {
                let y = (x[c] - m) * i;
                of_scale[c] += g[c] * y;
                of_shift[c] += g[c];
                out[c] = (g[c] * self.scale[c] - a - y * b) * i;
            }
        }
    }
}

/// Root mean square normalisation: each row of `x`, as long as `scale`, divided by the root of the mean of its squares, then
/// multiplied by `scale`. 1 / sqrt(mean of squares + epsilon) of each row goes beside it.
pub(crate) fn rms_normalize<T: Float>(x: &[T], scale: &[T], epsilon: f64, out: &mut [T], inverse: &mut [T]) {
    let len = scale.len();
    if out.is_empty() {
        return;
    }
    let (rows, epsilon) = (run_of_rows(len), T::from_f64(epsilon));
    let runs = (out.len() / len).div_ceil(rows);
    threads::split_all([out, inverse], [rows * len, rows], runs, |i, [out, inverse]| {
        dispatch(RmsRows { x: &x[i * rows * len..][..out.len()], scale, epsilon, out, inverse });
    });
}

/// As [`rms_normalize`] of the sum of `x` and `y`, which is written beside it while it is in the cache.
pub(crate) fn add_rms_normalize<T: Float>(
    [x, y]: [&[T]; 2],
    scale: &[T],
    epsilon: f64,
    [added, out]: [&mut [T]; 2],
    inverse: &mut [T],
) {
    let len = scale.len();
    if out.is_empty() {
        return;
    }
    let (rows, epsilon) = (run_of_rows(len), T::from_f64(epsilon));
    let runs = (out.len() / len).div_ceil(rows);
    threads::split_all(
        [added, out, inverse],
        [rows * len, rows * len, rows],
        runs,
        |i, [added, out, inverse]| {
            let of_run = i * rows * len..i * rows * len + out.len();
            dispatch(Added { x: &x[of_run.clone()], y: &y[of_run], out: &mut *added });
            dispatch(RmsRows { x: added, scale, epsilon, out, inverse });
        },
    );
}

struct RmsRows<'a, T> {
    x: &'a [T],
    scale: &'a [T],
    epsilon: T,
    out: &'a mut [T],
    inverse: &'a mut [T],
}

impl<T: Float> Kernel for RmsRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (len, share) = (self.scale.len(), T::from_f64(1.0 / self.scale.len() as f64));
        let rows = self.x.chunks_exact(len).zip(self.out.chunks_exact_mut(len));
        for ((x, out), inverse) in rows.zip(self.inverse) {
            let i = T::ONE / (sum(x, |x| x * x) * share + self.epsilon).sqrt();
            for c in 0..len {
                out[c] = x[c] * i * self.scale[c];
            }
            *inverse = i;
        }
    }
}

/// The gradient of [`rms_normalize`]'s input, and returned, that of scale.
pub(crate) fn rms_gradient<T: Float>(x: &[T], g: &[T], [inverse, scale]: [&[T]; 2], out: &mut [T]) -> Vec<T> {
    let len = scale.len();
    let rows = run_of_rows(len);
    let runs = (out.len() / len.max(1)).div_ceil(rows);
    let mut parts = vec![T::ZERO; runs * len];
    threads::split_two(out, &mut parts, (rows * len, len), runs, |i, out, of_scale| {
        let elements = i * rows * len..i * rows * len + out.len();
        let inverse = &inverse[i * rows..i * rows + out.len() / len];
        dispatch(RmsGradient { x: &x[elements.clone()], g: &g[elements], inverse, scale, out, of_scale });
    });
    let mut totals = vec![0.0; len];
    for part in parts.chunks_exact(len.max(1)) {
        totals.iter_mut().zip(part).for_each(|(total, part)| *total += part.to_f64());
    }
    totals.into_iter().map(T::from_f64).collect()
}

struct RmsGradient<'a, T> {
    x: &'a [T],
    g: &'a [T],
    inverse: &'a [T],
    scale: &'a [T],
    out: &'a mut [T],
    of_scale: &'a mut [T],
}

impl<T: Float> Kernel for RmsGradient<'_, T> {
    type Output = ();
    /// With y = x i and h = g · scale, dL/dx = i (h - y mean(h y)).
    #[inline(always)]
    fn run<S: Isa>(self) {
        let (len, share) = (self.scale.len(), T::from_f64(1.0 / self.scale.len() as f64));
        let rows = self.x.chunks_exact(len).zip(self.g.chunks_exact(len)).zip(self.out.chunks_exact_mut(len));
        for (((x, g), out), &i) in rows.zip(self.inverse) {
            // h y takes the place of the result before it is summed.
            for c in 0..len {
                out[c] = g[c] * self.scale[c] * (x[c] * i);
            }
            let b = sum(out, |hy| hy) * share;
            for c in 0..len {
                let y = x[c] * i;
                self.of_scale[c] += g[c] * y;
                out[c] = (g[c] * self.scale[c] - y * b) * i;
            }
        }
    }
}
