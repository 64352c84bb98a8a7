//! Maps over one, two or three operands of any strides, and updates in place.
//!
//! An operation is a type with an inlined method for one element ([`Unary`], [`Binary`]); the loops here are
//! compiled for each operation and instruction set. A loop has four forms for the inner axis (both in order, one repeated,
//! both repeated, anything else), which is what broadcasting comes down to.

use std::hint::select_unpredictable;

use crate::cpu::nest::Nest;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::layout::Layout;
use crate::{Element, Float};

/// One element to one element.
pub(crate) trait Unary<A, O>: Copy + Send + Sync {
    /// Cost in simple operations, which decides when threads pay.
    const COST: usize = 1;
    fn at<S: Isa>(self, x: A, overflow: &mut bool) -> O;
    /// Elements that stand in order.
    #[inline(always)]
    fn slice<S: Isa>(self, x: &[A], out: &mut [O], overflow: &mut bool)
    where
        A: Copy,
    {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = self.at::<S>(x, overflow);
        }
    }
}

/// `out = common(x)`, but `rare(x)` in blocks that have an element for which `is_rare` holds. `rare` gives the same where
/// it does not, but branches, which would keep the whole loop from being vectorised.
#[inline(always)]
pub(crate) fn in_blocks<A: Copy, O>(
    x: &[A],
    out: &mut [O],
    is_rare: impl Fn(A) -> bool,
    common: impl Fn(A) -> O,
    rare: impl Fn(A) -> O,
) {
    const BLOCK: usize = 128;
    for (x, out) in x.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        if x.iter().fold(false, |any, &x| any | is_rare(x)) {
            out.iter_mut().zip(x).for_each(|(o, &x)| *o = rare(x));
        } else {
            out.iter_mut().zip(x).for_each(|(o, &x)| *o = common(x));
        }
    }
}

/// Two elements to one.
pub(crate) trait Binary<A, O>: Copy + Send + Sync {
    const COST: usize = 1;
    fn at<S: Isa>(self, a: A, b: A, overflow: &mut bool) -> O;
}

/// A closure as an operation, for maps that callers write.
#[derive(Clone, Copy)]
pub(crate) struct Closure<F>(pub(crate) F);
impl<A, O, F: Fn(A) -> O + Copy + Send + Sync> Unary<A, O> for Closure<F> {
    const COST: usize = 4;
    #[inline(always)]
    fn at<S: Isa>(self, x: A, _: &mut bool) -> O {
        self.0(x)
    }
}

/// `out = f(x)` in row-major order; returns whether any element reported an overflow.
pub(crate) fn map<A: Element, O: Element, F: Unary<A, O>>(
    (x, layout): (&[A], &Layout),
    out: &mut [O],
    f: F,
) -> bool {
    let nest = Nest::new([layout]);
    let len = nest.row_len();
    // A single long row is split anywhere; otherwise between rows.
    let unit = if len == out.len() { 1 } else { len };
    threads::split_units(out, unit, unit.saturating_mul(F::COST), |first, out| {
        dispatch(Map { x, nest: &nest, unit, first, out, f })
    })
}

struct Map<'a, A, O, F> {
    x: &'a [A],
    nest: &'a Nest<1>,
    unit: usize,
    first: usize,
    out: &'a mut [O],
    f: F,
}

impl<A: Element, O: Element, F: Unary<A, O>> Kernel for Map<'_, A, O, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Map { x, nest, unit, first, out, f } = self;
        let [step] = nest.row_steps();
        let single = unit == 1 && nest.row_len() != 1;
        let (first_row, skip, len) = if single { (0, first, out.len()) } else { (first, 0, nest.row_len()) };
        let mut rows = nest.rows_from(first_row);
        let mut overflow = false;
        for out in out.chunks_exact_mut(len) {
            let [start] = rows.advance();
            let start = start.wrapping_add_signed(skip as isize * step);
            match step {
                1 => f.slice::<S>(&x[start..start + len], out, &mut overflow),
                0 => out.fill(f.at::<S>(x[start], &mut overflow)),
                _ => {
                    for (i, o) in out.iter_mut().enumerate() {
                        *o = f.at::<S>(x[start.wrapping_add_signed(i as isize * step)], &mut overflow);
                    }
                }
            }
        }
        overflow
    }
}

/// `out = f(a, b)` in row-major order, both operands already broadcast to one shape.
pub(crate) fn zip<A: Element, O: Element, F: Binary<A, O>>(
    (a, a_layout): (&[A], &Layout),
    (b, b_layout): (&[A], &Layout),
    out: &mut [O],
    f: F,
) -> bool {
    let nest = Nest::new([a_layout, b_layout]);
    let len = nest.row_len();
    let unit = if len == out.len() { 1 } else { len };
    threads::split_units(out, unit, unit.saturating_mul(F::COST), |first, out| {
        dispatch(Zip { a, b, nest: &nest, unit, first, out, f })
    })
}

struct Zip<'a, A, O, F> {
    a: &'a [A],
    b: &'a [A],
    nest: &'a Nest<2>,
    unit: usize,
    first: usize,
    out: &'a mut [O],
    f: F,
}

impl<A: Element, O: Element, F: Binary<A, O>> Kernel for Zip<'_, A, O, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Zip { a, b, nest, unit, first, out, f } = self;
        let [a_step, b_step] = nest.row_steps();
        let single = unit == 1 && nest.row_len() != 1;
        let (first_row, skip, len) = if single { (0, first, out.len()) } else { (first, 0, nest.row_len()) };
        let mut rows = nest.rows_from(first_row);
        let mut overflow = false;
        for out in out.chunks_exact_mut(len) {
            let [i, j] = rows.advance();
            let i = i.wrapping_add_signed(skip as isize * a_step);
            let j = j.wrapping_add_signed(skip as isize * b_step);
            match (a_step, b_step) {
                (1, 1) => {
                    for ((o, &x), &y) in out.iter_mut().zip(&a[i..i + len]).zip(&b[j..j + len]) {
                        *o = f.at::<S>(x, y, &mut overflow);
                    }
                }
                (1, 0) => {
                    let y = b[j];
                    for (o, &x) in out.iter_mut().zip(&a[i..i + len]) {
                        *o = f.at::<S>(x, y, &mut overflow);
                    }
                }
                (0, 1) => {
                    let x = a[i];
                    for (o, &y) in out.iter_mut().zip(&b[j..j + len]) {
                        *o = f.at::<S>(x, y, &mut overflow);
                    }
                }
                _ => {
                    for (k, o) in out.iter_mut().enumerate() {
                        let k = k as isize;
                        let x = a[i.wrapping_add_signed(k * a_step)];
                        let y = b[j.wrapping_add_signed(k * b_step)];
                        *o = f.at::<S>(x, y, &mut overflow);
                    }
                }
            }
        }
        overflow
    }
}

/// `out = f(out, b)` for slices of equal length.
pub(crate) fn update<T: Element, F: Binary<T, T>>(out: &mut [T], b: &[T], f: F) -> bool {
    assert_eq!(out.len(), b.len());
    threads::split_units(out, 1, F::COST, |first, out| {
        let b = &b[first..first + out.len()];
        dispatch(Update { out, b, f })
    })
}

struct Update<'a, T, F> {
    out: &'a mut [T],
    b: &'a [T],
    f: F,
}

impl<T: Element, F: Binary<T, T>> Kernel for Update<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let mut overflow = false;
        for (o, &b) in self.out.iter_mut().zip(self.b) {
            *o = self.f.at::<S>(*o, b, &mut overflow);
        }
        overflow
    }
}

/// `out = f(out)`.
pub(crate) fn change<T: Element, F: Unary<T, T>>(out: &mut [T], f: F) -> bool {
    threads::split_units(out, 1, F::COST, |_, out| dispatch(Change { out, f }))
}

struct Change<'a, T, F> {
    out: &'a mut [T],
    f: F,
}

impl<T: Element, F: Unary<T, T>> Kernel for Change<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let mut overflow = false;
        for x in self.out.iter_mut() {
            *x = self.f.at::<S>(*x, &mut overflow);
        }
        overflow
    }
}

/// `out = if condition { a } else { b }`, all three broadcast to one shape.
pub(crate) fn select<T: Element>(
    (condition, c_layout): (&[bool], &Layout),
    (a, a_layout): (&[T], &Layout),
    (b, b_layout): (&[T], &Layout),
    out: &mut [T],
) {
    let nest = Nest::new([c_layout, a_layout, b_layout]);
    let len = nest.row_len();
    let unit = if len == out.len() { 1 } else { len };
    threads::split_units(out, unit, unit, |first, out| {
        dispatch(Select { condition, a, b, nest: &nest, unit, first, out });
        false
    });
}

struct Select<'a, T> {
    condition: &'a [bool],
    a: &'a [T],
    b: &'a [T],
    nest: &'a Nest<3>,
    unit: usize,
    first: usize,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Select<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let Select { condition, a, b, nest, unit, first, out } = self;
        let steps = nest.row_steps();
        let single = unit == 1 && nest.row_len() != 1;
        let (first_row, skip, len) = if single { (0, first, out.len()) } else { (first, 0, nest.row_len()) };
        let mut rows = nest.rows_from(first_row);
        for out in out.chunks_exact_mut(len) {
            let [c, i, j] = rows.advance();
            let on = |start: usize, step: isize| start.wrapping_add_signed(skip as isize * step);
            let (c, i, j) = (on(c, steps[0]), on(i, steps[1]), on(j, steps[2]));
            match steps {
                [1, 1, 1] => choose(&condition[c..][..len], &a[i..], &b[j..], out, |x| x, |y| y),
                [1, 1, 0] => {
                    let y = b[j];
                    choose(&condition[c..][..len], &a[i..], &a[i..], out, |x| x, |_| y);
                }
                [1, 0, 1] => {
                    let x = a[i];
                    choose(&condition[c..][..len], &b[j..], &b[j..], out, |_| x, |y| y);
                }
                _ => {
                    for (k, o) in out.iter_mut().enumerate() {
                        let at = |start: usize, step: isize| start.wrapping_add_signed(k as isize * step);
                        let (x, y) = (a[at(i, steps[1])], b[at(j, steps[2])]);
                        *o = select_unpredictable(condition[at(c, steps[0])], x, y);
                    }
                }
            }
        }
    }
}

/// `out = if mask { x · scale } else { 0 }` for slices of equal length.
pub(crate) fn masked_scale<T: Float>(mask: &[bool], x: &[T], scale: T, out: &mut [T]) {
    struct MaskedScale<'a, T> {
        mask: &'a [bool],
        x: &'a [T],
        scale: T,
        out: &'a mut [T],
    }
    impl<T: Float> Kernel for MaskedScale<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            choose(self.mask, self.x, self.x, self.out, |x| x * self.scale, |_| T::ZERO);
        }
    }
    assert_eq!((mask.len(), x.len()), (out.len(), out.len()));
    threads::split_units(out, 1, 1, |first, out| {
        let (mask, x) = (&mask[first..first + out.len()], &x[first..first + out.len()]);
        dispatch(MaskedScale { mask, x, scale, out });
        false
    });
}

/// `out = if c { of_a(a) } else { of_b(b) }` for elements in order. An `if` would become a choice between two addresses, and
/// the loop one of single loads: [`select_unpredictable`] chooses between values, which vectorises.
#[inline(always)]
fn choose<T: Element>(
    condition: &[bool],
    a: &[T],
    b: &[T],
    out: &mut [T],
    of_a: impl Fn(T) -> T,
    of_b: impl Fn(T) -> T,
) {
    for (((o, &c), &x), &y) in out.iter_mut().zip(condition).zip(a).zip(b) {
        *o = select_unpredictable(c, of_a(x), of_b(y));
    }
}
