//! Running folds along an axis.
//!
//! A running sum is a chain in which each step waits for the one before. Along the last axis several rows are therefore
//! done in step, which keeps as many chains going; along other axes whole rows are added to each other, which vectorises.
//!
//! What runs along is of a wider type than `f32`: a million roundings one after the other would show.

use crate::Number;
use crate::cpu::{Isa, Kernel, dispatch, threads};

/// Rows done in step.
const ROWS: usize = 4;

/// What is done from one element to the next.
pub(crate) trait Step<T: Number>: Copy + Send + Sync {
    fn next(self, so_far: T::Running, x: T, overflow: &mut bool) -> T::Running;
}

#[derive(Clone, Copy)]
pub(crate) struct Sum;
impl<T: Number> Step<T> for Sum {
    #[inline(always)]
    fn next(self, so_far: T::Running, x: T, overflow: &mut bool) -> T::Running {
        so_far.add(x.widen(), overflow)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Product;
impl<T: Number> Step<T> for Product {
    #[inline(always)]
    fn next(self, so_far: T::Running, x: T, overflow: &mut bool) -> T::Running {
        so_far.mul(x.widen(), overflow)
    }
}

/// Running folds over the middle axis of `[matrices, len, columns]`; returns whether a result did not fit.
pub(crate) fn scan<T: Number, F: Step<T>>(
    x: &[T],
    len: usize,
    columns: usize,
    out: &mut [T],
    step: F,
) -> bool {
    let matrix = len.saturating_mul(columns);
    threads::split_units(out, matrix, matrix.saturating_mul(2), |first, out| {
        let x = &x[first * matrix..][..out.len()];
        if columns == 1 {
            dispatch(Along { x, len, out, step })
        } else {
            dispatch(Across { x, matrix, columns, out, step })
        }
    })
}

/// Along runs of `len`.
struct Along<'a, T, F> {
    x: &'a [T],
    len: usize,
    out: &'a mut [T],
    step: F,
}

impl<T: Number, F: Step<T>> Kernel for Along<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Along { x, len, out, step } = self;
        let mut overflow = false;
        let whole = x.len() / (ROWS * len) * ROWS * len;
        for (x, out) in x[..whole].chunks_exact(ROWS * len).zip(out[..whole].chunks_exact_mut(ROWS * len)) {
            let ([a, b, c, d], [p, q, r, s]) = (quarters(x, len), quarters_mut(out, len));
            [p[0], q[0], r[0], s[0]] = [a[0], b[0], c[0], d[0]];
            let mut so_far = [a[0], b[0], c[0], d[0]].map(T::widen);
            for i in 1..len {
                let x = [a[i], b[i], c[i], d[i]];
                for row in 0..ROWS {
                    so_far[row] = step.next(so_far[row], x[row], &mut overflow);
                }
                [p[i], q[i], r[i], s[i]] = so_far.map(T::narrow);
            }
        }
        for (x, out) in x[whole..].chunks_exact(len).zip(out[whole..].chunks_exact_mut(len)) {
            let mut so_far = x[0].widen();
            out[0] = x[0];
            for (o, &x) in out[1..].iter_mut().zip(&x[1..]) {
                so_far = step.next(so_far, x, &mut overflow);
                *o = T::narrow(so_far);
            }
        }
        overflow
    }
}

fn quarters<T>(x: &[T], len: usize) -> [&[T]; ROWS] {
    let (ab, cd) = x.split_at(2 * len);
    let ((a, b), (c, d)) = (ab.split_at(len), cd.split_at(len));
    [a, b, c, &d[..len]]
}

fn quarters_mut<T>(x: &mut [T], len: usize) -> [&mut [T]; ROWS] {
    let (ab, cd) = x.split_at_mut(2 * len);
    let ((a, b), (c, d)) = (ab.split_at_mut(len), cd.split_at_mut(len));
    [a, b, c, &mut d[..len]]
}

/// Row after row of each matrix.
struct Across<'a, T, F> {
    x: &'a [T],
    matrix: usize,
    columns: usize,
    out: &'a mut [T],
    step: F,
}

impl<T: Number, F: Step<T>> Kernel for Across<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Across { x, matrix, columns, out, step } = self;
        let mut overflow = false;
        let mut so_far = vec![T::ZERO.widen(); columns];
        for (x, out) in x.chunks_exact(matrix).zip(out.chunks_exact_mut(matrix)) {
            out[..columns].copy_from_slice(&x[..columns]);
            so_far.iter_mut().zip(x).for_each(|(so_far, x)| *so_far = x.widen());
            let rows = x.chunks_exact(columns).zip(out.chunks_exact_mut(columns));
            for (x, out) in rows.skip(1) {
                for ((o, so_far), &x) in out.iter_mut().zip(&mut so_far).zip(x) {
                    *so_far = step.next(*so_far, x, &mut overflow);
                    *o = T::narrow(*so_far);
                }
            }
        }
        overflow
    }
}
