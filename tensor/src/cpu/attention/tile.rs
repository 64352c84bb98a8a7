//! The small product that all of attention is made of: rows of sums kept in registers.
//!
//! Scores, weighted values and the gradients are five products of blocks that lie in the nearest caches, too small for an engine
//! that packs its operands for every call. In each the right operand has rows that registers read, and the left one is
//! read an element at a time, in whichever direction it lies, so that no block of scores is ever transposed.
//!
//! Each sum runs over the inner index in ascending order from what was there, whatever the tile: a row has the same bits
//! alone and among others.

use crate::Float;
use crate::cpu::{Isa, Kernel, Vector, dispatch};

/// A left operand whose element (r, k) is `data[r row + k step]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row: usize,
    pub(super) step: usize,
}

/// Rows of whole registers, `row` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, T> {
    pub(super) data: &'a [T],
    pub(super) row: usize,
}

/// Where the sums go: rows of whole registers, `row` elements apart. They begin with what is there, or with 0.
pub(super) struct Sums<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) row: usize,
    pub(super) accumulate: bool,
}

/// `out[r][c] (+)= Σ_k left(r, k) right[k][c]` for `rows` rows and `columns` columns, a multiple of 16, over `inner` terms.
pub(super) fn product<T: Float>(
    [rows, columns, inner]: [usize; 3],
    left: Left<'_, T>,
    right: Right<'_, T>,
    out: Sums<'_, T>,
) {
    if rows == 0 || columns == 0 || inner == 0 && out.accumulate {
        return;
    }
    dispatch(Product { rows, columns, inner, left, right, out });
}

/// The rows of the largest tile for sums of so many columns: pieces of as many rows take it alone.
pub(super) fn height<T: Float>(columns: usize) -> usize {
    struct Height<T>(usize, std::marker::PhantomData<T>);
    impl<T: Float> Kernel for Height<T> {
        type Output = usize;
        #[inline(always)]
        fn run<S: Isa>(self) -> usize {
            match (S::REGISTERS >= 32, widest::<S>(self.0 / T::Vector::<S>::LANES)) {
                (true, 4) => 6,
                (true, 3) => 8,
                (false, 2) => 6,
                _ => 12,
            }
        }
    }
    dispatch(Height(columns, std::marker::PhantomData::<T>))
}

/// The registers side by side in a tile, for sums of `registers` in all: even parts of at most four, or two where there are
/// sixteen registers.
#[inline(always)]
fn widest<S: Isa>(registers: usize) -> usize {
    let most = if S::REGISTERS >= 32 { 4 } else { 2 };
    registers.div_ceil(registers.div_ceil(most).max(1))
}

struct Product<'a, T> {
    rows: usize,
    columns: usize,
    inner: usize,
    left: Left<'a, T>,
    right: Right<'a, T>,
    out: Sums<'a, T>,
}

impl<T: Float> Kernel for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Product { rows, columns, inner, left, right, out } = self;
        let lanes = T::Vector::<S>::LANES;
        assert!(columns.is_multiple_of(lanes), "columns of a product");
        if inner > 0 {
            assert!((rows - 1) * left.row + (inner - 1) * left.step < left.data.len(), "left of a product");
            assert!((inner - 1) * right.row + columns <= right.data.len(), "right of a product");
        }
        assert!((rows - 1) * out.row + columns <= out.data.len(), "sums of a product");
        let registers = columns / lanes;
        let width = widest::<S>(registers);
        let mut first = 0;
        while first < registers {
            let strip = Strip {
                rows,
                inner,
                left: (left.data.as_ptr(), left.row, left.step),
                right: (right.data.as_ptr().wrapping_add(first * lanes), right.row),
                out: (out.data.as_mut_ptr().wrapping_add(first * lanes), out.row),
            };
            let width = width.min(registers - first);
            // SAFETY: the lengths have just been checked, and the strip's registers lie within the columns.
            unsafe {
                match (width, out.accumulate) {
                    (4, true) => strip.run::<S, 4, true>(),
                    (4, false) => strip.run::<S, 4, false>(),
                    (3, true) => strip.run::<S, 3, true>(),
                    (3, false) => strip.run::<S, 3, false>(),
                    (2, true) => strip.run::<S, 2, true>(),
                    (2, false) => strip.run::<S, 2, false>(),
                    (_, true) => strip.run::<S, 1, true>(),
                    (_, false) => strip.run::<S, 1, false>(),
                }
            }
            first += width;
        }
    }
}

/// A few registers' width of the sums.
#[derive(Clone, Copy)]
struct Strip<T> {
    rows: usize,
    inner: usize,
    /// Start, steps from row to row and from term to term.
    left: (*const T, usize, usize),
    /// Start, step from row to row.
    right: (*const T, usize),
    out: (*mut T, usize),
}

impl<T: Float> Strip<T> {
    /// # Safety
    /// All operands hold what `rows`, `inner` and the width of `N` registers ask for.
    #[inline(always)]
    unsafe fn run<S: Isa, const N: usize, const ACCUMULATE: bool>(self) {
        macro_rules! tiles {
            ($large:literal, $middle:literal) => {{
                let mut row = 0;
                while row < self.rows {
                    let left = self.rows - row;
                    // SAFETY: as the caller promises; `left` bounds the rows.
                    row += unsafe {
                        match left {
                            1 => self.tile::<S, 1, N, ACCUMULATE>(row, 1),
                            _ if left <= $middle => self.tile::<S, $middle, N, ACCUMULATE>(row, left),
                            _ => self.tile::<S, $large, N, ACCUMULATE>(row, left.min($large)),
                        }
                    };
                }
            }};
        }
        match (S::REGISTERS >= 32, N) {
            (true, 4) => tiles!(6, 3),
            (true, 3) => tiles!(8, 4),
            (false, 2) => tiles!(6, 3),
            _ => tiles!(12, 4),
        }
    }

    /// `rows` rows from row `first` on, at most `M`; how many there were.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    #[inline(always)]
    unsafe fn tile<S: Isa, const M: usize, const N: usize, const ACCUMULATE: bool>(
        self,
        first: usize,
        rows: usize,
    ) -> usize {
        let lanes = T::Vector::<S>::LANES;
        let (start, row_step, step) = self.left;
        // Missing rows repeat the last one, and write the same sums again.
        let mut rows_of_left = [start; M];
        let mut rows_of_out = [self.out.0; M];
        for r in 0..M {
            let row = first + r.min(rows - 1);
            rows_of_left[r] = start.wrapping_add(row * row_step);
            rows_of_out[r] = self.out.0.wrapping_add(row * self.out.1);
        }
        let mut sums = [[T::Vector::<S>::splat(T::ZERO); N]; M];
        if ACCUMULATE {
            for r in 0..M {
                for j in 0..N {
                    // SAFETY: the caller promises rows of `N` registers.
                    sums[r][j] = unsafe { T::Vector::<S>::read(rows_of_out[r].add(j * lanes)) };
                }
            }
        }
        let mut right = self.right.0;
        let mut at = 0;
        for _ in 0..self.inner {
            // SAFETY: the caller promises `inner` rows of `N` registers, and `inner` elements for each row of the left.
            unsafe {
                let mut b = [T::Vector::<S>::splat(T::ZERO); N];
                for j in 0..N {
                    b[j] = T::Vector::<S>::read(right.add(j * lanes));
                }
                for r in 0..M {
                    let a = T::Vector::<S>::splat(*rows_of_left[r].add(at));
                    for j in 0..N {
                        sums[r][j] = a.mul_add(b[j], sums[r][j]);
                    }
                }
            }
            right = right.wrapping_add(self.right.1);
            at += step;
        }
        for r in 0..M {
            for j in 0..N {
                // SAFETY: as above.
                unsafe { sums[r][j].write(rows_of_out[r].add(j * lanes)) };
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_summed_in_order() {
        let value = |i: usize| ((i * 7919) % 23) as f64 - 11.0;
        let left: Vec<f64> = (0..40 * 40).map(value).collect();
        let right: Vec<f64> = (0..40 * 160).map(|i| value(i + 5)).collect();
        for columns in (16..=160).step_by(16) {
            for rows in (0..14).chain([19, 39]) {
                for (inner, row, step) in [(0, 40, 1), (1, 1, 40), (17, 40, 1), (33, 1, 40)] {
                    for accumulate in [false, true] {
                        let mut out = vec![3.0; 40 * 160];
                        let sums = Sums { data: &mut out, row: 160, accumulate };
                        let left = Left { data: &left, row, step };
                        product([rows, columns, inner], left, Right { data: &right, row: 160 }, sums);
                        for r in 0..40 {
                            for c in 0..160 {
                                let terms =
                                    (0..inner).map(|k| left.data[r * row + k * step] * right[k * 160 + c]);
                                let begin = if accumulate { 3.0 } else { 0.0 };
                                let want =
                                    if r < rows && c < columns { begin + terms.sum::<f64>() } else { 3.0 };
                                assert_eq!(out[r * 160 + c], want, "{rows} {columns} {inner} at {r} {c}");
                            }
                        }
                    }
                }
            }
        }
    }
}
