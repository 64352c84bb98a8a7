//! Gated activations: a(gate) · up, forward and backward in one pass each.

use crate::Float;
use crate::cpu::{Isa, Kernel, dispatch, threads};
use crate::ops::gated::Gate;

/// Simple operations an element is worth.
const COST: usize = 12;

/// Rows of elements side by side, `step` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) start: usize,
    pub(crate) step: isize,
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    fn row(&self, i: usize, len: usize) -> &'a [T] {
        &self.data[self.start.wrapping_add_signed(i as isize * self.step)..][..len]
    }
}

/// An activation with its slope, which share most of their work.
trait Activation: Copy + Send + Sync {
    fn at<S: Isa, T: Float>(x: T) -> T;
    fn with_slope<S: Isa, T: Float>(x: T) -> [T; 2];
}

macro_rules! activations {
    ($($name:ident: <$s:ident, $t:ident>|$x:ident| $value:expr, $both:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        impl Activation for $name {
            #[inline(always)]
            fn at<$s: Isa, $t: Float>($x: $t) -> $t {
                $value
            }
            #[inline(always)]
            fn with_slope<$s: Isa, $t: Float>($x: $t) -> [$t; 2] {
                $both
            }
        }
    )*};
}

/// √(2/π)
const ROOT: f64 = 0.797_884_560_802_865_4;
/// The cubic term of the tanh approximation.
const CUBIC: f64 = 0.044_715;

/// 0 in place of the ∞ · 0 that products make of -∞.
#[inline(always)]
fn unless_lowest<T: Float>(x: T, value: T) -> T {
    if x == T::NEG_INFINITY { T::ZERO } else { value }
}

activations! {
    Relu: <S, T>|x| if x < T::ZERO { T::ZERO } else { x }, {
        // Not a number stays so.
        let slope = if x > T::ZERO { T::ONE } else if x <= T::ZERO { T::ZERO } else { x };
        [if x < T::ZERO { T::ZERO } else { x }, slope]
    };
    Sigmoid: <S, T>|x| x.sigmoid::<S>(), {
        let s = x.sigmoid::<S>();
        [s, s * (T::ONE - s)]
    };
    Silu: <S, T>|x| unless_lowest(x, x * x.sigmoid::<S>()), {
        let s = x.sigmoid::<S>();
        let value = x * s;
        [unless_lowest(x, value), unless_lowest(x, s + value * (T::ONE - s))]
    };
    Gelu: <S, T>|x| unless_lowest(x, x * x.normal_cdf::<S>()), {
        let share = x.normal_cdf::<S>();
        let density = T::from_f64(0.398_942_280_401_432_7) * (T::from_f64(-0.5) * x * x).exp_nonpositive::<S>();
        [unless_lowest(x, x * share), unless_lowest(x, share + x * density)]
    };
    GeluTanh: <S, T>|x| {
        let inner = T::from_f64(ROOT) * (x + T::from_f64(CUBIC) * x * x * x);
        unless_lowest(x, T::from_f64(0.5) * x * (T::ONE + inner.tanh::<S>()))
    }, {
        let square = x * x;
        let t = (T::from_f64(ROOT) * (x + T::from_f64(CUBIC) * square * x)).tanh::<S>();
        let slope = T::from_f64(ROOT) * (T::ONE + T::from_f64(3.0 * CUBIC) * square);
        let (half, one) = (T::from_f64(0.5), T::ONE + t);
        [
            unless_lowest(x, half * x * one),
            unless_lowest(x, half * (one + x * (T::ONE - t * t) * slope)),
        ]
    };
}

/// Calls a function with the activation of a gate.
macro_rules! with_activation {
    ($gate:expr, $function:ident($($argument:expr),*)) => {
        match $gate {
            Gate::Relu => $function(Relu, $($argument),*),
            Gate::Sigmoid => $function(Sigmoid, $($argument),*),
            Gate::Silu => $function(Silu, $($argument),*),
            Gate::Gelu => $function(Gelu, $($argument),*),
            Gate::GeluTanh => $function(GeluTanh, $($argument),*),
        }
    };
}

/// `out = a(gate) · up`, rows of `len`.
pub(crate) fn forward<T: Float>(kind: Gate, operands: [Rows<'_, T>; 2], len: usize, out: &mut [T]) {
    fn of<A: Activation, T: Float>(_: A, [gate, up]: [Rows<'_, T>; 2], len: usize, out: &mut [T]) {
        threads::split_units(out, len, len.saturating_mul(COST), |first, out| {
            dispatch(Forward::<T, A> { gate, up, first, len, out, of: std::marker::PhantomData });
            false
        });
    }
    with_activation!(kind, of(operands, len, out));
}

struct Forward<'a, T, A> {
    gate: Rows<'a, T>,
    up: Rows<'a, T>,
    first: usize,
    len: usize,
    out: &'a mut [T],
    of: std::marker::PhantomData<A>,
}

impl<T: Float, A: Activation> Kernel for Forward<'_, T, A> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        for (i, out) in self.out.chunks_exact_mut(self.len).enumerate() {
            let (gate, up) = (self.gate.row(self.first + i, self.len), self.up.row(self.first + i, self.len));
            for ((out, &x), &up) in out.iter_mut().zip(gate).zip(up) {
                *out = A::at::<S, T>(x) * up;
            }
        }
    }
}

/// The gradients of gate and up, from that of the result, `g` in row-major order.
pub(crate) fn backward<T: Float>(
    kind: Gate,
    operands: [Rows<'_, T>; 2],
    g: &[T],
    len: usize,
    out: [&mut [T]; 2],
) {
    fn of<A: Activation, T: Float>(
        _: A,
        [gate, up]: [Rows<'_, T>; 2],
        g: &[T],
        len: usize,
        out: [&mut [T]; 2],
    ) {
        let some = (threads::GRAIN / len.saturating_mul(2 * COST).max(1)).max(1);
        let pieces = (out[0].len() / len.max(1)).div_ceil(some);
        threads::split_all(out, [some * len; 2], pieces, |piece, [of_gate, of_up]| {
            let first = piece * some;
            let g = &g[first * len..][..of_gate.len()];
            let out = of_gate.chunks_exact_mut(len).zip(of_up.chunks_exact_mut(len));
            dispatch(Backward::<T, A, _> { gate, up, g, first, len, out, of: std::marker::PhantomData });
        });
    }
    with_activation!(kind, of(operands, g, len, out));
}

/// As [`backward`], into rows that hold the gradient of the gate and then that of up.
pub(crate) fn backward_packed<T: Float>(
    kind: Gate,
    operands: [Rows<'_, T>; 2],
    g: &[T],
    len: usize,
    out: &mut [T],
) {
    fn of<A: Activation, T: Float>(_: A, [gate, up]: [Rows<'_, T>; 2], g: &[T], len: usize, out: &mut [T]) {
        threads::split_units(out, 2 * len, len.saturating_mul(2 * COST), |first, out| {
            let g = &g[first * len..][..out.len() / 2];
            let out = out.chunks_exact_mut(2 * len).map(|row| row.split_at_mut(len));
            dispatch(Backward::<T, A, _> { gate, up, g, first, len, out, of: std::marker::PhantomData });
            false
        });
    }
    with_activation!(kind, of(operands, g, len, out));
}

/// Rows from number `first` on; `out` gives for each where its gradients go.
struct Backward<'a, T, A, O> {
    gate: Rows<'a, T>,
    up: Rows<'a, T>,
    g: &'a [T],
    first: usize,
    len: usize,
    out: O,
    of: std::marker::PhantomData<A>,
}

impl<'o, T: Float, A: Activation, O: Iterator<Item = (&'o mut [T], &'o mut [T])>> Kernel
    for Backward<'_, T, A, O>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self) {
        let len = self.len;
        for (i, ((of_gate, of_up), g)) in self.out.zip(self.g.chunks_exact(len)).enumerate() {
            let (gate, up) = (self.gate.row(self.first + i, len), self.up.row(self.first + i, len));
            let (of_gate, of_up) = (&mut of_gate[..len], &mut of_up[..len]);
            for c in 0..len {
                let [value, slope] = A::with_slope::<S, T>(gate[c]);
                of_up[c] = g[c] * value;
                of_gate[c] = g[c] * up[c] * slope;
            }
        }
    }
}
