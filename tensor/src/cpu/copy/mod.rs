//! Gathering the elements of a strided view into row-major order.
//!
//! | file | what |
//! |---|---|
//! | [`plane`] | transposes: where the storage is dense along another axis than the last |
//! | [`short`] | rows of a few elements, in which the loop over rows has to be the fast one |
//!
//! Everything else is row by row, here: in order, one element repeated, backwards, or with a step.

mod plane;
pub(crate) mod short;

use crate::Element;
use crate::cpu::nest::Nest;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::layout::Layout;
use plane::Plane;

/// Copies the view's elements into `out` in row-major order.
pub(crate) fn gather<T: Element>(storage: &[T], view: &Layout, out: &mut [T]) {
    debug_assert_eq!(out.len(), view.shape.count());
    let nest = Nest::new([view]);
    let (len, [step]) = (nest.row_len(), nest.row_steps());
    if len <= short::MOST && len < out.len() {
        return short::gather(storage, &nest.layout(), out);
    }
    if step.unsigned_abs() > 1 && len > 1 {
        // With axes merged that continue one another, planes are as large as they can be.
        let merged = nest.layout();
        if let Some(plane) = Plane::of(&merged) {
            return plane.gather(storage, &merged, out);
        }
    }
    // A single row is cut anywhere, others between rows.
    let unit = if len == out.len() { 1 } else { len.max(1) };
    threads::split_units(out, unit, unit, |first, out| {
        let (first_row, skip, len) = if unit == 1 { (0, first, out.len()) } else { (first, 0, len) };
        let mut rows = nest.rows_from(first_row);
        for out in out.chunks_exact_mut(len) {
            let [start] = rows.advance();
            let start = start.wrapping_add_signed(skip as isize * step);
            match step {
                1 => out.copy_from_slice(&storage[start..start + len]),
                0 => out.fill(storage[start]),
                _ => dispatch(Stepping { storage, start, step, out }),
            }
        }
        false
    });
}

/// `out[i] = storage[start + i step]`.
struct Stepping<'a, T> {
    storage: &'a [T],
    start: usize,
    step: isize,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Stepping<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Stepping { storage, start, step, out } = self;
        match step {
            -1 => {
                let from = &storage[start + 1 - out.len()..=start];
                out.iter_mut().zip(from.iter().rev()).for_each(|(o, &x)| *o = x);
            }
            // Whole pairs, which vectorises; the last element may have no neighbour.
            2 => {
                let (pairs, _) = storage[start..].as_chunks::<2>();
                let (last, rest) = out.split_last_mut().expect("rows are not empty");
                rest.iter_mut().zip(pairs).for_each(|(o, pair)| *o = pair[0]);
                *last = storage[start + 2 * rest.len()];
            }
            _ if step > 0 => {
                let from = storage[start..].iter().step_by(step.unsigned_abs());
                out.iter_mut().zip(from).for_each(|(o, &x)| *o = x);
            }
            _ => {
                let from = storage[..=start].iter().rev().step_by(step.unsigned_abs());
                out.iter_mut().zip(from).for_each(|(o, &x)| *o = x);
            }
        }
    }
}

/// The position of element number `index` in row-major order of a nest's shape.
pub(super) fn at(nest: &Nest<1>, index: usize) -> usize {
    let [start] = nest.rows_from(index / nest.row_len()).advance();
    start.wrapping_add_signed((index % nest.row_len()) as isize * nest.row_steps()[0])
}

/// The axes before `axis`, with the view's offset.
pub(super) fn prefix(view: &Layout, axis: usize) -> Layout {
    Layout { shape: view.shape[..axis].into(), strides: view.strides[..axis].into(), offset: view.offset }
}

/// The axes between `axis` and the last one, counted from 0.
pub(super) fn middle(view: &Layout, axis: usize) -> Layout {
    let last = view.shape.rank() - 1;
    Layout {
        shape: view.shape[axis + 1..last].into(),
        strides: view.strides[axis + 1..last].into(),
        offset: 0,
    }
}
