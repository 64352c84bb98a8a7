//! A matrix in a slice as faer's view of it.

use faer::MatRef;

use crate::cpu::matmul::Mat;

/// The elements of a `rows` x `columns` matrix within `data`, as faer's view.
pub(crate) fn view<T>(
    data: &[T],
    offset: usize,
    (rows, columns): (usize, usize),
    (row_step, column_step): (isize, isize),
) -> MatRef<'_, T> {
    if rows == 0 || columns == 0 {
        // SAFETY: there is no element to be read.
        return unsafe { MatRef::from_raw_parts(data.as_ptr(), rows, columns, 1, 1) };
    }
    let mat = Mat { data, offset, row_step, column_step };
    assert!(mat.fits(rows, columns), "a matrix lies outside its storage");
    // SAFETY: all elements lie within `data`, whose lifetime the view has.
    unsafe { MatRef::from_raw_parts(data.as_ptr().add(offset), rows, columns, row_step, column_step) }
}
