//! The one entry for matrix products; every product in the workspace that runs on tensors comes through here.
//!
//! The engine is the `gemm` crate, faer's own, with its AVX-512 kernels: it takes any strides, so transposed operands
//! are not copied, and packs panels for the cache. Another engine (lower precision, a matrix unit, a second device)
//! would be chosen in this file.
//!
//! Results do not depend on the number of threads: the engine divides rows and columns among threads, never the inner
//! dimension. `tests/threads.rs` holds it to that.

use rayon::prelude::*;

use crate::Float;
use crate::cpu::threads;

/// Products of fewer multiply-adds than this stay on one thread.
const PARALLEL_MIN: usize = 1 << 20;

/// A matrix somewhere in a slice.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub(crate) data: &'a [T],
    /// Position of element (0, 0).
    pub(crate) offset: usize,
    pub(crate) row_step: isize,
    pub(crate) column_step: isize,
}

impl<T> Mat<'_, T> {
    /// Whether all elements of a `rows` x `columns` matrix lie within `data`.
    fn fits(&self, rows: usize, columns: usize) -> bool {
        let reach = |size: usize, step: isize| (size as isize - 1).checked_mul(step);
        let corner = |r: isize, c: isize| {
            let at = (self.offset as isize).checked_add(r)?.checked_add(c)?;
            (0..self.data.len() as isize).contains(&at).then_some(())
        };
        let (Some(r), Some(c)) = (reach(rows, self.row_step), reach(columns, self.column_step)) else {
            return false;
        };
        [(0, 0), (r, 0), (0, c), (r, c)].into_iter().all(|(r, c)| corner(r, c).is_some())
    }
}

/// `out = a b`, or `out += a b`, with `out` row-major: `a` is m x k, `b` is k x n.
pub(crate) fn gemm<T: Float>(
    (m, k, n): (usize, usize, usize),
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    out: &mut [T],
    accumulate: bool,
) {
    assert_eq!(out.len(), m * n, "output of a matrix product");
    if out.is_empty() {
        return;
    }
    if k == 0 {
        if !accumulate {
            out.fill(T::ZERO);
        }
        return;
    }
    assert!(a.fits(m, k) && b.fits(k, n), "operands of a matrix product lie outside their storage");
    let work = m.saturating_mul(k).saturating_mul(n);
    let parallelism = if work < PARALLEL_MIN || threads::num_threads() == 1 {
        gemm::Parallelism::None
    } else {
        gemm::Parallelism::Rayon(0)
    };
    // SAFETY: `fits` has checked that every element of `a` (m x k) and `b` (k x n) lies within its slice; `out` holds
    // m x n elements in row-major order and is borrowed mutably, so it overlaps neither. `T` is f32 or f64, which the
    // engine supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            a.data.as_ptr().add(a.offset),
            a.column_step,
            a.row_step,
            b.data.as_ptr().add(b.offset),
            b.column_step,
            b.row_step,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// One product for each piece of `out`; `operands` gives those of piece `i`. Small products are spread over threads
/// whole, large ones are split within.
pub(crate) fn batched<'a, T: Float>(
    (m, k, n): (usize, usize, usize),
    operands: impl Fn(usize) -> (Mat<'a, T>, Mat<'a, T>) + Sync,
    out: &mut [T],
) {
    if out.is_empty() {
        return;
    }
    let one = |i: usize, out: &mut [T]| {
        let (a, b) = operands(i);
        gemm((m, k, n), a, b, out, false);
    };
    let work = m.saturating_mul(k).saturating_mul(n);
    if work >= PARALLEL_MIN || threads::num_threads() == 1 {
        out.chunks_exact_mut(m * n).enumerate().for_each(|(i, out)| one(i, out));
    } else {
        let together = (PARALLEL_MIN / 4 / work.max(1)).max(1);
        out.par_chunks_mut(m * n * together).enumerate().for_each(|(i, out)| {
            out.chunks_exact_mut(m * n).enumerate().for_each(|(j, out)| one(i * together + j, out));
        });
    }
}
