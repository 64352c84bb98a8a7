//! One row times a matrix: what answering a single sample comes down to.
//!
//! The engine packs panels of both operands, which for one row costs more than the product. Here nothing is packed: weights
//! are read once, row by row, each against one element of `x`, while a strip of the output stays in registers.
//!
//! Every column is summed in the same order wherever its strip begins, so that cutting a product into pieces for threads does not
//! change its bits: in one chain of additions, as in products of many rows, or, where an answer is not compared with any of those,
//! in two, of even and of odd rows, which is up to twice as fast.

use crate::Float;
use crate::cpu::{Isa, Kernel, Vector, dispatch};

/// No register has more lanes.
const MOST_LANES: usize = 16;

/// `out += x weight`, or `out = x weight`, by one chain of sums, added to `out` at its end; row `i` of `weight` are the `out.len()`
/// elements from `i * row_step` on.
pub(crate) fn gemv<T: Float>(x: &[T], weight: &[T], row_step: usize, out: &mut [T], accumulate: bool) {
    product::<T, false>(x, weight, row_step, out, accumulate);
}

/// As [`gemv`], by two chains, of which one begins with `out`.
pub(crate) fn quick<T: Float>(x: &[T], weight: &[T], row_step: usize, out: &mut [T], accumulate: bool) {
    product::<T, true>(x, weight, row_step, out, accumulate);
}

fn product<T: Float, const QUICK: bool>(
    x: &[T],
    weight: &[T],
    row_step: usize,
    out: &mut [T],
    accumulate: bool,
) {
    if !accumulate {
        out.fill(T::ZERO);
    }
    let Some(last) = x.len().checked_sub(1) else { return };
    let reach = last.checked_mul(row_step).and_then(|start| start.checked_add(out.len()));
    assert!(reach.is_some_and(|reach| reach <= weight.len()), "rows lie outside the matrix");
    dispatch(Row::<T, QUICK> { x, weight, row_step, out });
}

struct Row<'a, T, const QUICK: bool> {
    x: &'a [T],
    weight: &'a [T],
    row_step: usize,
    out: &'a mut [T],
}

impl<T: Float, const QUICK: bool> Kernel for Row<'_, T, QUICK> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(mut self) {
        let lanes = <T::Vector<S> as Vector<T>>::LANES;
        let columns = self.out.len();
        let mut at = 0;
        // As many chains at a time as hide the latency of an addition, and fit the registers.
        while !QUICK && S::REGISTERS > 16 && at + 8 * lanes <= columns {
            self.strip::<S, 8>(at);
            at += 8 * lanes;
        }
        while at + 4 * lanes <= columns {
            self.strip::<S, 4>(at);
            at += 4 * lanes;
        }
        if at + 2 * lanes <= columns {
            self.strip::<S, 2>(at);
            at += 2 * lanes;
        }
        if at + lanes <= columns {
            self.strip::<S, 1>(at);
            at += lanes;
        }
        if at < columns {
            self.rest::<S>(at);
        }
    }
}

impl<T: Float, const QUICK: bool> Row<'_, T, QUICK> {
    /// `N` registers of columns from `at` on, all of which `out` has.
    #[inline(always)]
    fn strip<S: Isa, const N: usize>(&mut self, at: usize) {
        let lanes = <T::Vector<S> as Vector<T>>::LANES;
        assert!(at + N * lanes <= self.out.len());
        // SAFETY: within `out`, as just checked.
        let start: [T::Vector<S>; N] =
            std::array::from_fn(|i| unsafe { Vector::read(self.out.as_ptr().add(at + i * lanes)) });
        let zero = [T::Vector::<S>::splat(T::ZERO); N];
        let (mut even, mut odd) = if QUICK { (start, zero) } else { (zero, start) };
        let add = |sums: &mut [T::Vector<S>; N], row: usize| {
            let x = T::Vector::<S>::splat(self.x[row]);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: the columns lie within row `row`, which `gemv` has seen to lie within the matrix.
                let weight = unsafe {
                    T::Vector::<S>::read(self.weight.as_ptr().add(row * self.row_step + at + i * lanes))
                };
                *sum = weight.mul_add(x, *sum);
            }
        };
        if QUICK {
            for pair in 0..self.x.len() / 2 {
                add(&mut even, 2 * pair);
                add(&mut odd, 2 * pair + 1);
            }
            if self.x.len() % 2 == 1 {
                add(&mut even, self.x.len() - 1);
            }
        } else {
            (0..self.x.len()).for_each(|row| add(&mut even, row));
        }
        for (i, (even, odd)) in even.into_iter().zip(odd).enumerate() {
            // SAFETY: within `out`, as checked above.
            unsafe { even.add(odd).write(self.out.as_mut_ptr().add(at + i * lanes)) };
        }
    }

    /// The columns from `at` on, fewer than a register has. What a register reads beyond them are the next row's, in lanes
    /// that are not stored; the last rows, behind which there is nothing, are read through a copy.
    #[inline(always)]
    fn rest<S: Isa>(&mut self, at: usize) {
        let lanes = <T::Vector<S> as Vector<T>>::LANES;
        let count = self.out.len() - at;
        assert!(count < lanes && lanes <= MOST_LANES);
        let padded = |from: &[T]| {
            let mut copy = [T::ZERO; MOST_LANES];
            copy[..count].copy_from_slice(&from[..count]);
            copy
        };
        let start = padded(&self.out[at..]);
        // SAFETY: the copy has as many elements as the widest register.
        let start = unsafe { T::Vector::<S>::read(start.as_ptr()) };
        let zero = T::Vector::<S>::splat(T::ZERO);
        let (mut even, mut odd) = if QUICK { (start, zero) } else { (zero, start) };
        for (row, &x) in self.x.iter().enumerate() {
            let from = &self.weight[row * self.row_step + at..];
            let weight = if from.len() >= lanes {
                // SAFETY: a register of elements is there, as just checked.
                unsafe { T::Vector::<S>::read(from.as_ptr()) }
            } else {
                // SAFETY: as for `start`.
                unsafe { T::Vector::<S>::read(padded(from).as_ptr()) }
            };
            let sum = if !QUICK || row % 2 == 0 { &mut even } else { &mut odd };
            *sum = weight.mul_add(T::Vector::<S>::splat(x), *sum);
        }
        let mut sums = [T::ZERO; MOST_LANES];
        // SAFETY: as for `start`.
        unsafe { even.add(odd).write(sums.as_mut_ptr()) };
        self.out[at..].copy_from_slice(&sums[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the sum, element by element; with fused multiply-adds where the kernel has them.
    fn plain(x: &[f64], weight: &[f64], row_step: usize, out: &mut [f64]) {
        for (column, out) in out.iter_mut().enumerate() {
            *out += x.iter().enumerate().map(|(row, x)| x * weight[row * row_step + column]).sum::<f64>();
        }
    }

    /// Small whole numbers, so that sums are exact in any order.
    fn numbers(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 23) as f64 - 11.0).collect()
    }

    #[test]
    fn sizes_of_all_kinds_agree_with_the_definition() {
        let columns = (0..40).chain([47, 48, 63, 64, 65, 79, 100, 128, 131, 200]);
        for n in columns {
            for k in [0usize, 1, 2, 3, 5, 8, 17, 64, 131] {
                for gap in [0, 1, 19] {
                    let row_step = n + gap;
                    let weight = numbers((k * row_step).saturating_sub(gap), 1);
                    let (x, start) = (numbers(k, 2), numbers(n, 3));
                    let mut expected = start.clone();
                    plain(&x, &weight, row_step, &mut expected);
                    let mut out = start.clone();
                    gemv(&x, &weight, row_step, &mut out, true);
                    assert_eq!(out, expected, "{k} x {n}, rows {row_step} apart");
                    let mut out = start.clone();
                    quick(&x, &weight, row_step, &mut out, true);
                    assert_eq!(out, expected, "{k} x {n}, rows {row_step} apart, quickly");

                    let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
                    let mut out = single(&numbers(n, 9));
                    gemv(&single(&x), &single(&weight), row_step, &mut out, false);
                    let fresh: Vec<f64> = expected.iter().zip(&start).map(|(a, b)| a - b).collect();
                    assert_eq!(out, single(&fresh), "{k} x {n} in f32");
                }
            }
        }
    }

    #[test]
    fn a_columns_bits_do_not_depend_on_where_its_strip_begins() {
        let (k, n) = (301, 157);
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 997.0 - 0.5;
        let x: Vec<f32> = (0..k).map(number).collect();
        let weight: Vec<f32> = (0..k * n).map(|i| number(i + 7)).collect();
        let mut whole = vec![0.0; n];
        gemv(&x, &weight, n, &mut whole, false);
        for cut in [1, 5, 16, 48, 100, 156] {
            let mut parts = vec![0.0; n];
            let (left, right) = parts.split_at_mut(cut);
            gemv(&x, &weight, n, left, false);
            gemv(&x, &weight[cut..], n, right, false);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_in_its_column() {
        for n in [3, 10, 33] {
            let mut weight = vec![1.0f32; 4 * n];
            weight[2 * n] = f32::NAN;
            weight[3 * n + 1] = f32::INFINITY;
            let mut out = vec![0.0; n];
            gemv(&[1.0; 4], &weight, n, &mut out, false);
            assert!(
                out[0].is_nan() && out[1] == f32::INFINITY && out[2..].iter().all(|&x| x == 4.0),
                "{out:?}"
            );
        }
    }
}
