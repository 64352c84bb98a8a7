//! Parts of matrices that are copied: triangles.

use std::ops::Range;

use crate::Element;
use crate::cpu::threads;

/// Copies matrices of `rows` and `columns` with zeros beside the columns that `kept` names for a row, given how many columns
/// there are.
pub(crate) fn keep_columns<T: Element>(
    x: &[T],
    (rows, columns): (usize, usize),
    kept: impl Fn(isize, isize) -> Range<isize> + Sync,
    out: &mut [T],
) {
    threads::split_units(out, columns, columns, |first, out| {
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let Range { start, end } = kept(((first + i) % rows) as isize, columns as isize);
            let (start, end) = (start.unsigned_abs(), end.unsigned_abs());
            out[..start].fill(T::default());
            out[start..end].copy_from_slice(&x[(first + i) * columns..][start..end]);
            out[end..].fill(T::default());
        }
        false
    });
}
