//! Dot products of many rows with one vector: a matrix times a column, a row times a transpose, two vectors.
//!
//! The engine packs panels of both operands, which for one column costs far more than the product, bound by reading the
//! matrix once. Here a row is read in order, each register of it against one of the vector, into eight sums that do not wait
//! for each other; rows longer than a block are summed block by block, as a balanced tree, which also keeps errors small.
//!
//! What is added to what depends on the length alone, so that a row's result is the same however many rows and threads
//! there are.

use crate::Float;
use crate::cpu::{Isa, Kernel, Vector, dispatch, reduce, threads};

/// Elements of a row that are summed in one go.
const BLOCK: usize = 1 << 13;
/// Sums that do not wait for each other.
const CHAINS: usize = 8;
/// No register has more lanes.
const MOST_LANES: usize = 16;

/// `out[i] = row i · x`, or `out[i] += …`; row `i` are the `x.len()` elements of `rows` from `i * row_step` on.
pub(crate) fn dots<T: Float>(rows: &[T], row_step: usize, x: &[T], out: &mut [T], accumulate: bool) {
    let row = |i: usize| &rows[i * row_step..][..x.len()];
    let set = |out: &mut T, dot: T| *out = if accumulate { *out + dot } else { dot };
    if x.len() > BLOCK {
        let mut partial = vec![T::ZERO; x.len().div_ceil(BLOCK)];
        for (i, out) in out.iter_mut().enumerate() {
            threads::split_units(&mut partial, 1, BLOCK, |first, partial| {
                for (b, partial) in partial.iter_mut().enumerate() {
                    let block = (first + b) * BLOCK..((first + b + 1) * BLOCK).min(x.len());
                    *partial = dispatch(Dot(&row(i)[block.clone()], &x[block]));
                }
                false
            });
            set(out, reduce::tree(&partial, reduce::Add, &mut false));
        }
        return;
    }
    // A multiply-add of a row read in order costs less than an operation of its own on an element.
    threads::split_units(out, 1, (x.len() / 2).max(1), |first, out| {
        dispatch(Rows { row: |i| row(first + i), x, out, set });
        false
    });
}

/// Short rows, one after the other.
struct Rows<'a, T, R, F> {
    row: R,
    x: &'a [T],
    out: &'a mut [T],
    set: F,
}

impl<'a, T: Float, R: Fn(usize) -> &'a [T], F: Fn(&mut T, T)> Kernel for Rows<'a, T, R, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        for (i, out) in self.out.iter_mut().enumerate() {
            (self.set)(out, Dot((self.row)(i), self.x).run::<S>());
        }
    }
}

/// Sum of products of two slices of one length.
struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Float> Kernel for Dot<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Isa>(self) -> T {
        let Dot(a, b) = self;
        assert_eq!(a.len(), b.len(), "operands of a dot product");
        let lanes = <T::Vector<S> as Vector<T>>::LANES;
        let mut sums = [T::Vector::<S>::splat(T::ZERO); CHAINS];
        let mut step = |sum: usize, at: usize| {
            // SAFETY: the loops below stop where a register would reach beyond the slices, which are equally long.
            let (a, b) = unsafe {
                (T::Vector::<S>::read(a.as_ptr().add(at)), T::Vector::<S>::read(b.as_ptr().add(at)))
            };
            sums[sum] = a.mul_add(b, sums[sum]);
        };
        let mut at = 0;
        while at + CHAINS * lanes <= a.len() {
            for chain in 0..CHAINS {
                step(chain, at + chain * lanes);
            }
            at += CHAINS * lanes;
        }
        let mut chain = 0;
        while at + lanes <= a.len() {
            step(chain, at);
            (at, chain) = (at + lanes, chain + 1);
        }
        let rest = a[at..].iter().zip(&b[at..]).fold(T::ZERO, |sum, (&a, &b)| a.fma::<S>(b, sum));
        let [p, q, r, s, t, u, v, w] = sums;
        let sum = (p.add(q).add(r.add(s))).add(t.add(u).add(v.add(w)));
        let mut array = [T::ZERO; MOST_LANES];
        // SAFETY: the array has as many elements as the widest register.
        unsafe { sum.write(array.as_mut_ptr()) };
        let mut width = lanes;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                array[i] += array[i + width];
            }
        }
        array[0] + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, so that sums are exact in any order.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn lengths_and_steps_of_all_kinds_agree_with_the_definition() {
        let lengths = (0..70).chain([127, 128, 129, 300, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17]);
        for k in lengths {
            for (m, gap) in [(1, 0), (3, 0), (5, 2)] {
                let (rows, x) = (numbers(m * (k + gap), 1), numbers(k, 2));
                let exact = |i: usize| {
                    rows[i * (k + gap)..][..k].iter().zip(&x).map(|(a, b)| f64::from(a * b)).sum::<f64>()
                };
                let mut out = vec![7.0; m];
                dots(&rows, k + gap, &x, &mut out, true);
                assert!((0..m).all(|i| f64::from(out[i]) == 7.0 + exact(i)), "{m} rows of {k}");
                dots(&rows, k + gap, &x, &mut out, false);
                assert!((0..m).all(|i| f64::from(out[i]) == exact(i)), "{m} rows of {k}");
                let double = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
                let mut out = vec![f64::NAN; m];
                dots(&double(&rows), k + gap, &double(&x), &mut out, false);
                assert!((0..m).all(|i| out[i] == exact(i)), "{m} rows of {k} in f64");
            }
        }
    }

    #[test]
    fn a_long_sum_loses_little() {
        // A million thirds, where a single running sum in f32 is off by three thousandths. Registers of four lanes lose the most.
        let (x, third) = (vec![1.0f32; 1 << 20], vec![1.0f32 / 3.0; 1 << 20]);
        let mut out = [0.0];
        dots(&x, 0, &third, &mut out, false);
        let exact = f64::from(third[0]) * x.len() as f64;
        assert!((f64::from(out[0]) / exact - 1.0).abs() < 1e-6, "{} for {exact}", out[0]);
    }
}
