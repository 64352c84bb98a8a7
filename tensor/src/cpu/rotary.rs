//! Rotary positions: pairs of elements of each head turned by the angle of their row's position.

use crate::Float;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::ops::rotary::Pairs;

/// What is turned: `[batch, time, heads, size]`, wherever it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) start: usize,
    pub(crate) strides: [isize; 4],
    pub(crate) shape: [usize; 4],
}

/// Where in the tables the angles of a row of time stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Positions<'a> {
    /// Time `t` of every sequence has position `start + t`.
    From(usize),
    /// One for each sequence and time.
    Each(&'a [u32]),
}

/// Cosines and sines, `[positions, pairs]` each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables<'a, T> {
    pub(crate) cos: &'a [T],
    pub(crate) sin: &'a [T],
    pub(crate) pairs: usize,
    pub(crate) layout: Pairs,
}

/// Turns the first `2 · pairs` elements of each head, backwards if `back`; the others stay.
pub(crate) fn rotate<T: Float>(
    x: Heads<'_, T>,
    tables: Tables<'_, T>,
    positions: Positions<'_>,
    back: bool,
    out: &mut [T],
) {
    let [_, _, heads, size] = x.shape;
    let row = heads * size;
    threads::split_units(out, row, 2 * row, |first, out| {
        dispatch(Rotate { x, tables, positions, back, first, out });
        false
    });
}

struct Rotate<'a, T> {
    x: Heads<'a, T>,
    tables: Tables<'a, T>,
    positions: Positions<'a>,
    back: bool,
    first: usize,
    out: &'a mut [T],
}

impl<T: Float> Kernel for Rotate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Rotate { x, tables, positions, back, first, out } = self;
        let [_, time, heads, size] = x.shape;
        let [by_batch, by_time, by_head, by_element] = x.strides;
        let pairs = tables.pairs;
        let sign = if back { -T::ONE } else { T::ONE };
        // The strided case gathers a head first.
        let mut gathered = vec![T::ZERO; if by_element == 1 { 0 } else { size }];
        for (i, out) in out.chunks_exact_mut(heads * size).enumerate() {
            let (batch, step) = ((first + i) / time, (first + i) % time);
            let position = match positions {
                Positions::From(start) => start + step,
                Positions::Each(list) => list[first + i] as usize,
            };
            let cos = &tables.cos[position * pairs..][..pairs];
            let sin = &tables.sin[position * pairs..][..pairs];
            for (head, out) in out.chunks_exact_mut(size).enumerate() {
                let step = batch as isize * by_batch + step as isize * by_time + head as isize * by_head;
                let start = x.start.wrapping_add_signed(step);
                let x = if by_element == 1 {
                    &x.data[start..][..size]
                } else {
                    for (d, to) in gathered.iter_mut().enumerate() {
                        *to = x.data[start.wrapping_add_signed(d as isize * by_element)];
                    }
                    &gathered[..]
                };
                let (x, rest) = x.split_at(2 * pairs);
                let (out, rest_out) = out.split_at_mut(2 * pairs);
                rest_out.copy_from_slice(rest);
                match tables.layout {
                    Pairs::Halves => {
                        let ((a, b), (out_a, out_b)) = (x.split_at(pairs), out.split_at_mut(pairs));
                        for j in 0..pairs {
                            let s = sign * sin[j];
                            out_a[j] = a[j] * cos[j] - b[j] * s;
                            out_b[j] = b[j] * cos[j] + a[j] * s;
                        }
                    }
                    Pairs::Neighbours => {
                        let both = x.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<2>().0);
                        for ((&[a, b], out), (&cos, &sin)) in both.zip(cos.iter().zip(sin)) {
                            let s = sign * sin;
                            *out = [a * cos - b * s, b * cos + a * s];
                        }
                    }
                }
            }
        }
    }
}
