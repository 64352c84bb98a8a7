//! Folding over axes: sums, products, extrema.
//!
//! Two loop shapes cover everything. Where the folded axes end the storage order, each output folds a contiguous run
//! ([`runs`]); where they come before, whole rows are folded into an output row ([`columns`]). Any other view is first
//! gathered so that the folded axes come last.
//!
//! Sums are accurate and reproducible: long runs and tall matrices are cut into blocks whose size depends on the shape
//! alone, blocks are folded in short chains (see [`lanes`](super::lanes)) and combined as a balanced tree. The error grows
//! with the logarithm of the length, not the length, and no step depends on the number of threads.

use crate::cpu::{Isa, Kernel, dispatch, lanes, threads};
use crate::{Element, Float, Number};

/// Elements of a run folded in one go before results are combined as a tree.
const BLOCK: usize = 1 << 13;

/// An associative operation with a neutral element, on values derived from the elements.
pub(crate) trait Fold<T: Element>: Copy + Send + Sync {
    fn neutral(self) -> T;
    fn join<S: Isa>(self, a: T, b: T, overflow: &mut bool) -> T;
    /// What is folded, for an element: its square for a sum of squares.
    #[inline(always)]
    fn load<S: Isa>(self, x: T) -> T {
        x
    }
    /// All elements of a run.
    #[inline(always)]
    fn run<S: Isa>(self, x: &[T], overflow: &mut bool) -> T {
        lanes::fold(x, self.neutral(), |x| self.load::<S>(x), |a, b| self.join::<S>(a, b, overflow))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Add;
impl<T: Number> Fold<T> for Add {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, overflow: &mut bool) -> T {
        a.add(b, overflow)
    }
    #[inline(always)]
    fn run<S: Isa>(self, x: &[T], overflow: &mut bool) -> T {
        match T::exact_sum(x) {
            Some((sum, over)) => {
                *overflow |= over;
                sum
            }
            None => lanes::fold(x, T::ZERO, |x| x, |a, b| a.add(b, overflow)),
        }
    }
}

/// Sum of squared differences from a centre.
#[derive(Clone, Copy)]
pub(crate) struct AddSquares<T>(pub(crate) T);
impl<T: Float> Fold<T> for AddSquares<T> {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
        a + b
    }
    #[inline(always)]
    fn load<S: Isa>(self, x: T) -> T {
        let d = x - self.0;
        d * d
    }
}

/// Sum of the elements times 0.
#[derive(Clone, Copy)]
pub(crate) struct AddNothing;
impl<T: Float> Fold<T> for AddNothing {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
        a + b
    }
    #[inline(always)]
    fn load<S: Isa>(self, x: T) -> T {
        x * T::ZERO
    }
}

/// Sum of differences from a centre.
#[derive(Clone, Copy)]
struct AddDifferences<T>(T);
impl<T: Float> Fold<T> for AddDifferences<T> {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ZERO
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
        a + b
    }
    #[inline(always)]
    fn load<S: Isa>(self, x: T) -> T {
        x - self.0
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Mul;
impl<T: Number> Fold<T> for Mul {
    #[inline(always)]
    fn neutral(self) -> T {
        T::ONE
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, overflow: &mut bool) -> T {
        a.mul(b, overflow)
    }
}

macro_rules! extremum {
    ($(#[$doc:meta])* $name:ident, $neutral:ident, $better:tt, |$x:ident| $key:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name;
        impl<T: Number> Fold<T> for $name {
            #[inline(always)]
            fn neutral(self) -> T {
                T::$neutral
            }
            #[inline(always)]
            fn join<S: Isa>(self, a: T, b: T, _: &mut bool) -> T {
                let best = if a $better b { a } else { b };
                if a.is_nan() { a } else { best }
            }
            // On integer keys: the compiler knows how to find an extremum of integers in vectors, while for floats the
            // rule for NaN stands in its way.
            #[inline(always)]
            fn run<S: Isa>(self, x: &[T], _: &mut bool) -> T {
                let mut best = T::$neutral.key();
                for &$x in x {
                    let key = $key;
                    best = if key $better best { key } else { best };
                }
                T::from_key(best)
            }
        }
    };
}
extremum! {
    /// The larger; NaN if either is.
    Max, LOWEST, >, |x| x.key()
}
extremum! {
    /// The smaller; NaN if either is.
    Min, HIGHEST, <, |x| x.low_key()
}

/// Whether any is true.
#[derive(Clone, Copy)]
pub(crate) struct Any;
impl Fold<bool> for Any {
    #[inline(always)]
    fn neutral(self) -> bool {
        false
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: bool, b: bool, _: &mut bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn run<S: Isa>(self, x: &[bool], _: &mut bool) -> bool {
        x.iter().fold(Fold::<bool>::neutral(self), |a, &b| a | b)
    }
}

/// Whether all are true.
#[derive(Clone, Copy)]
pub(crate) struct All;
impl Fold<bool> for All {
    #[inline(always)]
    fn neutral(self) -> bool {
        true
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: bool, b: bool, _: &mut bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn run<S: Isa>(self, x: &[bool], _: &mut bool) -> bool {
        x.iter().fold(Fold::<bool>::neutral(self), |a, &b| a & b)
    }
}

/// `out[i]` = fold of `x[i * len ..][.. len]`, all runs of one length.
pub(crate) fn runs<T: Element, F: Fold<T>>(x: &[T], len: usize, out: &mut [T], fold: F) -> bool {
    if out.len() == 1 && len > 2 * BLOCK {
        let mut partial = vec![fold.neutral(); len.div_ceil(BLOCK)];
        let mut overflow = threads::split_units(&mut partial, 1, BLOCK, |first, partial| {
            let end = ((first + partial.len()) * BLOCK).min(len);
            dispatch(Blocks { x: &x[first * BLOCK..end], out: partial, fold })
        });
        out[0] = tree(&partial, fold, &mut overflow);
        return overflow;
    }
    threads::split_units(out, 1, len.max(1), |first, out| {
        if len > BLOCK {
            let mut overflow = false;
            let mut partial = vec![fold.neutral(); len.div_ceil(BLOCK)];
            for (i, o) in out.iter_mut().enumerate() {
                let x = &x[(first + i) * len..][..len];
                overflow |= dispatch(Blocks { x, out: &mut partial, fold });
                *o = tree(&partial, fold, &mut overflow);
            }
            return overflow;
        }
        dispatch(Runs { x: &x[first * len..][..out.len() * len], len, out, fold })
    })
}

/// Folds a balanced tree over the values.
pub(crate) fn tree<T: Element, F: Fold<T>>(values: &[T], fold: F, overflow: &mut bool) -> T {
    match values {
        [] => fold.neutral(),
        [one] => *one,
        _ => {
            let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
            let (left, right) = (tree(left, fold, overflow), tree(right, fold, overflow));
            fold.join::<super::isa::Baseline>(left, right, overflow)
        }
    }
}

/// Each run of `len` to one value.
struct Runs<'a, T, F> {
    x: &'a [T],
    len: usize,
    out: &'a mut [T],
    fold: F,
}

impl<T: Element, F: Fold<T>> Kernel for Runs<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Runs { x, len, out, fold } = self;
        let mut overflow = false;
        for (i, o) in out.iter_mut().enumerate() {
            *o = fold.run::<S>(&x[i * len..][..len], &mut overflow);
        }
        overflow
    }
}

/// Each block of one long run to one value.
struct Blocks<'a, T, F> {
    x: &'a [T],
    out: &'a mut [T],
    fold: F,
}

impl<T: Element, F: Fold<T>> Kernel for Blocks<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let mut overflow = false;
        for (o, x) in self.out.iter_mut().zip(self.x.chunks(BLOCK)) {
            *o = self.fold.run::<S>(x, &mut overflow);
        }
        overflow
    }
}

/// Columns folded together, so that accumulators stay in the first-level cache.
const STRIPE: usize = 1 << 10;
/// Rows folded one after the other, in fours, before results are combined.
const ROWS: usize = 64;

/// For each matrix `[rows, columns]` of `x`: `out[j]` = fold over `i` of `x[i, j]`.
pub(crate) fn columns<T: Element, F: Fold<T>>(
    x: &[T],
    rows: usize,
    columns: usize,
    out: &mut [T],
    fold: F,
) -> bool {
    if out.is_empty() {
        return false;
    }
    if columns == out.len() {
        return one_matrix(x, rows, columns, out, fold);
    }
    threads::split_units(out, columns, columns.saturating_mul(rows), |first, out| {
        let mut overflow = false;
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let x = &x[(first + i) * rows * columns..][..rows * columns];
            overflow |= stripes(x, columns, 0, out, fold);
        }
        overflow
    })
}

/// A single matrix: split among threads by rows if it is tall, by columns if it is wide.
fn one_matrix<T: Element, F: Fold<T>>(x: &[T], rows: usize, columns: usize, out: &mut [T], fold: F) -> bool {
    let tall = (2 * threads::GRAIN / columns).next_power_of_two().max(ROWS);
    if rows < 2 * tall {
        return threads::split_units(out, STRIPE, rows.saturating_mul(STRIPE), |first, out| {
            stripes(x, columns, first * STRIPE, out, fold)
        });
    }
    // Blocks of a size that depends on the shape alone, each to one row; then those rows.
    let mut partial = vec![fold.neutral(); rows.div_ceil(tall) * columns];
    let overflow = threads::split_units(&mut partial, columns, tall * columns, |first, out| {
        let mut overflow = false;
        for (i, out) in out.chunks_exact_mut(columns).enumerate() {
            let start = (first + i) * tall;
            let x = &x[start * columns..(start + tall).min(rows) * columns];
            overflow |= stripes(x, columns, 0, out, fold);
        }
        overflow
    });
    overflow | stripes(&partial, columns, 0, out, Joined(fold))
}

/// A fold of values that have been loaded already.
#[derive(Clone, Copy)]
struct Joined<F>(F);
impl<T: Element, F: Fold<T>> Fold<T> for Joined<F> {
    #[inline(always)]
    fn neutral(self) -> T {
        self.0.neutral()
    }
    #[inline(always)]
    fn join<S: Isa>(self, a: T, b: T, overflow: &mut bool) -> T {
        self.0.join::<S>(a, b, overflow)
    }
}

/// Folds columns `first..first + out.len()` of a matrix, stripe by stripe.
fn stripes<T: Element, F: Fold<T>>(x: &[T], columns: usize, first: usize, out: &mut [T], fold: F) -> bool {
    let mut overflow = false;
    for (i, out) in out.chunks_mut(STRIPE).enumerate() {
        stripe(x, columns, first + i * STRIPE, out, fold, &mut overflow);
    }
    overflow
}

/// Blocks of rows, combined as a tree by halving.
fn stripe<T: Element, F: Fold<T>>(
    x: &[T],
    columns: usize,
    first: usize,
    out: &mut [T],
    fold: F,
    overflow: &mut bool,
) {
    let rows = x.len() / columns;
    if rows <= ROWS {
        out.fill(fold.neutral());
        *overflow |= dispatch(Stripe { x, columns, first, out, fold });
        return;
    }
    let half = rows.next_power_of_two() / 2;
    let (top, bottom) = x.split_at(half * columns);
    stripe(top, columns, first, out, fold, overflow);
    let mut other = vec![fold.neutral(); out.len()];
    stripe(bottom, columns, first, &mut other, fold, overflow);
    *overflow |= dispatch(Stripe { x: &other, columns: out.len(), first: 0, out, fold: Joined(fold) });
}

struct Stripe<'a, T, F> {
    x: &'a [T],
    columns: usize,
    first: usize,
    out: &'a mut [T],
    fold: F,
}

impl<T: Element, F: Fold<T>> Kernel for Stripe<'_, T, F> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Isa>(self) -> bool {
        let Stripe { x, columns, first, out, fold } = self;
        let mut overflow = false;
        let len = out.len();
        // Four rows at a time: the accumulators are read and written a quarter as often, and chains are shorter.
        let fours = x.chunks_exact(4 * columns);
        for row in fours.remainder().chunks_exact(columns) {
            for (o, &x) in out.iter_mut().zip(&row[first..]) {
                *o = fold.join::<S>(*o, fold.load::<S>(x), &mut overflow);
            }
        }
        for four in fours {
            let row = |i: usize| &four[i * columns + first..][..len];
            let (a, b, c, d) = (row(0), row(1), row(2), row(3));
            for j in 0..len {
                let load = |x| fold.load::<S>(x);
                let (a, b, c, d) = (load(a[j]), load(b[j]), load(c[j]), load(d[j]));
                let (ab, cd) = (fold.join::<S>(a, b, &mut overflow), fold.join::<S>(c, d, &mut overflow));
                let sum = fold.join::<S>(ab, cd, &mut overflow);
                out[j] = fold.join::<S>(out[j], sum, &mut overflow);
            }
        }
        overflow
    }
}

/// The sum of squared distances from the mean, given that from the rounded mean, and the sum of distances, which would be 0 had
/// the mean not been rounded.
#[inline(always)]
fn spread<T: Float>(squares: T, left: T, count: T) -> T {
    let corrected = squares - left * left / count;
    // NaN stays.
    if corrected < T::ZERO { T::ZERO } else { corrected }
}

/// Mean squared distance from the mean of each run, with `correction` subtracted from the number of values.
pub(crate) fn variance<T: Float>(x: &[T], len: usize, correction: f64, out: &mut [T]) {
    let (count, divisor) = (T::from_f64(len as f64), T::from_f64((len as f64 - correction).max(0.0)));
    if len > BLOCK {
        for (i, o) in out.iter_mut().enumerate() {
            let x = &x[i * len..][..len];
            let mut sum = [T::ZERO];
            runs(x, len, &mut sum, Add);
            let mean = sum[0] / count;
            runs(x, len, &mut sum, AddDifferences(mean));
            let left = sum[0];
            runs(x, len, &mut sum, AddSquares(mean));
            *o = spread(sum[0], left, count) / divisor;
        }
        return;
    }
    struct Rows<'a, T> {
        x: &'a [T],
        len: usize,
        count: T,
        divisor: T,
        out: &'a mut [T],
    }
    impl<T: Float> Kernel for Rows<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            for (i, o) in self.out.iter_mut().enumerate() {
                let x = &self.x[i * self.len..][..self.len];
                let mean = Fold::run::<S>(Add, x, &mut false) / self.count;
                let left = Fold::run::<S>(AddDifferences(mean), x, &mut false);
                let squares = Fold::run::<S>(AddSquares(mean), x, &mut false);
                *o = spread(squares, left, self.count) / self.divisor;
            }
        }
    }
    threads::split_units(out, 1, len.saturating_mul(2), |first, out| {
        dispatch(Rows { x: &x[first * len..][..out.len() * len], len, count, divisor, out });
        false
    });
}

/// Where the first value stands in each run that equals the run's extremum; the first NaN if there is one.
pub(crate) fn arg_best<T: Number>(x: &[T], len: usize, out: &mut [u32], fold: impl Fold<T>) {
    struct Rows<'a, T, F> {
        x: &'a [T],
        len: usize,
        out: &'a mut [u32],
        fold: F,
    }
    impl<T: Number, F: Fold<T>> Kernel for Rows<'_, T, F> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            for (i, o) in self.out.iter_mut().enumerate() {
                let x = &self.x[i * self.len..][..self.len];
                let best = self.fold.run::<S>(x, &mut false);
                let is_best = |x: T| if best.is_nan() { x.is_nan() } else { x == best };
                // Blocks without an early stop vectorise; only the one with the find is searched one by one.
                let holds = |block: &&[T]| block.iter().map(|&x| u32::from(is_best(x))).sum::<u32>() > 0;
                let block = x.chunks(64).take_while(|block| !holds(block)).count();
                let within = x[block * 64..].iter().position(|&x| is_best(x)).unwrap_or(0);
                *o = (block * 64 + within) as u32;
            }
        }
    }
    threads::split_units(out, 1, len.saturating_mul(2), |first, out| {
        dispatch(Rows { x: &x[first * len..][..out.len() * len], len, out, fold });
        false
    });
}
