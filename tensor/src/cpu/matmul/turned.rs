//! One row times a matrix that lies by columns: a table of tokens that is also the layer over the vocabulary.
//!
//! Each sum has to be one chain of additions, as in products of many rows ([`super`]), so columns cannot be summed as they lie, a register
//! of one at a time. Strips of them are turned into memory that stays in the cache, and multiplied there as any row is: the matrix is read
//! once, and nothing of its size is written.

use crate::Float;
use crate::cpu::transpose::{self, TILE};
use crate::cpu::{Isa, Kernel, dispatch, threads};

use super::{DEPTH, Mat, PIECE, depths, row};

/// The columns of a strip.
pub(super) const WIDTH: usize = 64;

/// `out = x b`, or `out += x b`; the elements of a column of `b` lie side by side, and columns are `column_step`, not negative, apart.
pub(super) fn product<T: Float>(x: &[T], b: Mat<'_, T>, out: &mut [T], accumulate: bool) {
    let (data, step) = (&b.data[b.offset..], b.column_step.unsigned_abs());
    let pieces = (x.len().saturating_mul(out.len()) / PIECE).clamp(1, 8);
    let size = out.len().div_ceil(pieces).next_multiple_of(WIDTH);
    threads::split_units(out, size, size.saturating_mul(x.len()) / 32, |first, out| {
        dispatch(Strips { x, data: &data[first * size * step..], step, out, accumulate });
        false
    });
}

struct Strips<'a, T> {
    x: &'a [T],
    data: &'a [T],
    step: usize,
    out: &'a mut [T],
    accumulate: bool,
}

impl<T: Float> Kernel for Strips<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Isa>(self) {
        let k = self.x.len();
        let mut strip = vec![T::ZERO; WIDTH * k.min(DEPTH)];
        for (i, out) in self.out.chunks_mut(WIDTH).enumerate() {
            let columns = &self.data[i * WIDTH * self.step..];
            for (start, len) in depths(k) {
                turn::<S, T>(&columns[start..], self.step, (len, out.len()), &mut strip);
                row::gemv(&self.x[start..start + len], &strip, WIDTH, out, self.accumulate || start > 0);
            }
        }
    }
}

/// `strip[r WIDTH + c] = from[c step + r]` for so many rows and columns.
#[inline(always)]
fn turn<S: Isa, T: Float>(from: &[T], step: usize, (rows, columns): (usize, usize), strip: &mut [T]) {
    for c in (0..columns).step_by(TILE) {
        for r in (0..rows).step_by(TILE) {
            if c + TILE <= columns && r + TILE <= rows {
                let out = &mut strip[r * WIDTH + c..];
                transpose::tile::<S, T>(from, c * step + r, step as isize, out, WIDTH);
                continue;
            }
            for c in c..columns.min(c + TILE) {
                for r in r..rows.min(r + TILE) {
                    strip[r * WIDTH + c] = from[c * step + r];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_bits_that_it_has_among_others() {
        let number = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 997.0 - 0.5;
        for (k, n) in [(3, 64), (16, 65), (40, 200), (513, 100), (600, 1000), (1030, 77)] {
            for gap in [0, 5] {
                let step = k + gap;
                let data: Vec<f32> = (0..n * step).map(number).collect();
                let x: Vec<f32> = (0..k).map(|i| number(i + 3)).collect();
                let b = Mat { data: &data, offset: 0, row_step: 1, column_step: step as isize };
                for accumulate in [false, true] {
                    let mut out: Vec<f32> = (0..n).map(number).collect();
                    let mut expected = out.repeat(2);
                    let a = Mat { data: &x, offset: 0, row_step: 0, column_step: 1 };
                    super::super::product((2, k, n), a, b, &mut expected, accumulate);
                    product(&x, b, &mut out, accumulate);
                    assert_eq!(out, expected[..n], "{k} x {n}, columns {step} apart");
                }
            }
        }
    }
}
