//! Copies whose rows have a few elements: pairs, colours, the ends of a broadcast.
//!
//! Here the loop over rows has to be the fast one. Where the storage is dense along it, a row takes one element from each of
//! a few runs, and the whole is an interleaving of these runs, which vectorises for a number of runs known to the compiler.

use super::{at, prefix};
use crate::Element;
use crate::cpu::nest::Nest;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::layout::Layout;

/// The most elements of a short row.
pub(crate) const MOST: usize = 4;

/// Copies the elements of a view of at least two axes, whose last is short, into `out` in row-major order.
pub(super) fn gather<T: Element>(storage: &[T], view: &Layout, out: &mut [T]) {
    let last = view.shape.rank() - 1;
    let (rows, len) = (view.shape[last - 1], view.shape[last]);
    let (down, along) = (view.strides[last - 1], view.strides[last]);
    let planes = Nest::new([&prefix(view, last - 1)]);
    threads::split_units(out, len, len, |first, mut out| {
        let mut row = first;
        while !out.is_empty() {
            let (plane, within) = (row / rows, row % rows);
            let count = (rows - within).min(out.len() / len);
            let (here, rest) = out.split_at_mut(count * len);
            let start = at(&planes, plane).wrapping_add_signed(within as isize * down);
            match len {
                2 => columns::<T, 2>(storage, start, down, along, here),
                3 => columns::<T, 3>(storage, start, down, along, here),
                4 => columns::<T, 4>(storage, start, down, along, here),
                _ => columns::<T, 1>(storage, start, down, along, here),
            }
            (row, out) = (row + count, rest);
        }
        false
    });
}

/// `out[r][c] = storage[start + r down + c along]` for rows of `N`.
fn columns<T: Element, const N: usize>(
    storage: &[T],
    start: usize,
    down: isize,
    along: isize,
    out: &mut [T],
) {
    let column = |c: usize| start.wrapping_add_signed(c as isize * along);
    let (rows, _) = out.as_chunks_mut::<N>();
    if down == 1 {
        let runs = std::array::from_fn(|c| &storage[column(c)..][..rows.len()]);
        return interleave::<T, N>(runs, rows);
    }
    for (r, row) in rows.iter_mut().enumerate() {
        let shift = r as isize * down;
        *row = std::array::from_fn(|c| storage[column(c).wrapping_add_signed(shift)]);
    }
}

/// `out[r][c] = runs[c][r]`; all runs are as long as `out`.
pub(crate) fn interleave<T: Element, const N: usize>(runs: [&[T]; N], out: &mut [[T; N]]) {
    struct Interleave<'a, T, const N: usize>([&'a [T]; N], &'a mut [[T; N]]);
    impl<T: Element, const N: usize> Kernel for Interleave<'_, T, N> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            let runs = self.0.map(|run| &run[..self.1.len()]);
            for (r, row) in self.1.iter_mut().enumerate() {
                *row = std::array::from_fn(|c| runs[c][r]);
            }
        }
    }
    dispatch(Interleave(runs, out));
}
