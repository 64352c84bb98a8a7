//! The types a tensor can hold, as three nested traits: [`Element`] can be stored and moved, [`Number`] can be
//! calculated with, [`Float`] is what models are trained in.
//!
//! The traits are sealed: kernels rely on what is promised here (sizes, which bit patterns are valid). A new type is added
//! here and in the list of `any.rs`.
//!
//! # Integer arithmetic
//! Integers neither wrap nor saturate: an operation whose result does not fit, or that divides by zero, returns
//! [`Error::IntegerOverflow`](crate::Error::IntegerOverflow). The check is a flag carried along the loop, so it costs
//! little and does not stop vectorisation. A conversion into an integer type that does not hold the value is an error too:
//! [`Error::DoesNotFit`](crate::Error::DoesNotFit).

use std::fmt::{Debug, Display};

use crate::cpu::compiled::{self, Kernels};
use crate::cpu::halves;
use crate::cpu::{Isa, Vector};
use crate::cpu::{math, math64};
use crate::{AnyTensor, DType, Tensor};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for i8 {}
    impl Sealed for i16 {}
    impl Sealed for i32 {}
    impl Sealed for i64 {}
    impl Sealed for u32 {}
    impl Sealed for u8 {}
    impl Sealed for bool {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

/// A type that a [`Tensor`](crate::Tensor) can hold.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + Debug + Display + Send + Sync + 'static
{
    /// The type's name.
    const DTYPE: DType;
    /// Whether every bit pattern is a value of the type, so that recycled memory need not be cleared.
    #[doc(hidden)]
    const ANY_BITS: bool;
    /// The tensor as one whose element type is known at run time.
    #[doc(hidden)]
    fn into_any(tensor: Tensor<Self>) -> AnyTensor;

    /// The nearest `f64`; `true` is 1.
    fn to_f64(self) -> f64;
    /// The value nearest to `x`; for integers truncated towards zero and held within the type's range, NaN as 0.
    fn from_f64(x: f64) -> Self;
    /// The value nearest to `x`, held within the type's range.
    #[doc(hidden)]
    fn from_i64(x: i64) -> Self;
    /// Whether `x`, truncated towards zero, is a value of the type; floats hold everything, if only as the nearest or infinity.
    #[doc(hidden)]
    #[inline(always)]
    fn holds_f64(x: f64) -> bool {
        let _ = x;
        true
    }
    /// Whether `x` is a value of the type, if it is one of integers.
    #[doc(hidden)]
    #[inline(always)]
    fn holds_i64(x: i64) -> bool {
        let _ = x;
        true
    }
    /// The type's name in `.npy` headers, without the byte order.
    #[doc(hidden)]
    const NPY: Option<&'static str>;
    /// Appends the value's bytes, the least significant first.
    #[doc(hidden)]
    fn push_bytes(self, out: &mut Vec<u8>);
    /// The value of as many bytes as the type has, the most significant first or last; `None` if they are none.
    #[doc(hidden)]
    fn from_bytes(bytes: &[u8], big_endian: bool) -> Option<Self>;
    /// The value as an integer, for the types that are whole numbers (`false` and `true` are 0 and 1).
    #[doc(hidden)]
    fn whole(self) -> Option<i64>;
    /// The value as an `f32`, for the floats that are no larger.
    #[doc(hidden)]
    #[inline(always)]
    fn single(self) -> Option<f32> {
        None
    }
    /// As [`from_f64`](Self::from_f64).
    #[doc(hidden)]
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        Self::from_f64(x.into())
    }
    /// The value in another type: integers go there without the detour through `f64`, which would round them, and small
    /// floats without it, which takes longer.
    #[doc(hidden)]
    #[inline(always)]
    fn cast<O: Element>(self) -> O {
        match (self.whole(), self.single()) {
            (Some(x), _) => O::from_i64(x),
            (None, Some(x)) => O::from_f32(x),
            (None, None) => O::from_f64(self.to_f64()),
        }
    }
    /// Whether [`cast`](Self::cast) gives this value, truncated where the other type has no fractions.
    #[doc(hidden)]
    #[inline(always)]
    fn fits<O: Element>(self) -> bool {
        match self.whole() {
            Some(x) => O::holds_i64(x),
            None => O::holds_f64(self.to_f64()),
        }
    }
}

/// The byte order of a type with `to_le_bytes` and the like.
macro_rules! bytes {
    ($npy:expr) => {
        const NPY: Option<&'static str> = $npy;
        fn push_bytes(self, out: &mut Vec<u8>) {
            out.extend(self.to_le_bytes());
        }
        fn from_bytes(bytes: &[u8], big_endian: bool) -> Option<Self> {
            let bytes = bytes.try_into().ok()?;
            Some(if big_endian { Self::from_be_bytes(bytes) } else { Self::from_le_bytes(bytes) })
        }
    };
}

/// What values an integer type holds. Both bounds are exact in `f64`: the least value, and the one after the largest.
macro_rules! bounded {
    () => {
        #[inline(always)]
        fn holds_f64(x: f64) -> bool {
            let (least, after) = (Self::MIN as f64, (Self::MAX / 2 + 1) as f64 * 2.0);
            // Not by `trunc`, for which old instruction sets have no instruction: what is above least - 1 truncates into the range.
            // False for NaN.
            (x >= least || x > least - 1.0) && x < after
        }
        #[inline(always)]
        fn holds_i64(x: i64) -> bool {
            Self::from_i64(x).whole() == Some(x)
        }
    };
}

macro_rules! element {
    ($($t:ty => $dtype:ident, $npy:literal, $from_f64:expr, $from_i64:expr, $whole:expr, $single:expr $(, $integer:ident)?;)*) => {$(
        impl Element for $t {
            bytes!(Some($npy));
            $($integer!();)?
            const DTYPE: DType = DType::$dtype;
            const ANY_BITS: bool = true;
            fn into_any(tensor: Tensor<Self>) -> AnyTensor {
                AnyTensor::$dtype(tensor)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from_f64(x)
            }
            #[inline(always)]
            fn from_i64(x: i64) -> Self {
                $from_i64(x)
            }
            #[inline(always)]
            fn whole(self) -> Option<i64> {
                $whole(self)
            }
            #[inline(always)]
            fn single(self) -> Option<f32> {
                $single(self)
            }
        }
    )*};
}
element! {
    f32 => F32, "f4", |x| x as f32, |x| x as f32, |_| None, Some;
    f64 => F64, "f8", |x| x, |x| x as f64, |_| None, |_| None;
    i8 => I8, "i1", |x| x as i8, |x: i64| x.clamp(i8::MIN.into(), i8::MAX.into()) as i8, |x| Some(i64::from(x)), |_| None, bounded;
    i16 => I16, "i2", |x| x as i16, |x: i64| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16, |x| Some(i64::from(x)), |_| None, bounded;
    i32 => I32, "i4", |x| x as i32, |x: i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32, |x| Some(i64::from(x)), |_| None, bounded;
    i64 => I64, "i8", math64::to_i64, |x| x, Some, |_| None, bounded;
    u32 => U32, "u4", math64::to_u32, |x: i64| x.clamp(0, u32::MAX.into()) as u32, |x| Some(i64::from(x)), |_| None, bounded;
    u8 => U8, "u1", math64::to_u8, |x: i64| x.clamp(0, u8::MAX.into()) as u8, |x| Some(i64::from(x)), |_| None, bounded;
}

/// Half-precision types: stored, moved and converted, but not calculated with. Half of the memory of `f32` for weights
/// and caches; `cast` to `f32` for arithmetic.
macro_rules! half_precision {
    ($($t:ty => $dtype:ident, $npy:expr, $to:path, $from:path;)*) => {$(
        impl Element for $t {
            bytes!($npy);
            const DTYPE: DType = DType::$dtype;
            const ANY_BITS: bool = true;
            fn into_any(tensor: Tensor<Self>) -> AnyTensor {
                AnyTensor::$dtype(tensor)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to(self).into()
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(halves::to_odd(x))
            }
            #[inline(always)]
            fn from_i64(x: i64) -> Self {
                Self::from_f64(x as f64)
            }
            #[inline(always)]
            fn whole(self) -> Option<i64> {
                None
            }
            #[inline(always)]
            fn single(self) -> Option<f32> {
                Some($to(self))
            }
            #[inline(always)]
            fn from_f32(x: f32) -> Self {
                $from(x)
            }
        }
    )*};
}
half_precision! {
    half::f16 => F16, Some("f2"), halves::from_f16, halves::to_f16;
    // NumPy knows no bfloat16.
    half::bf16 => BF16, None, halves::from_bf16, halves::to_bf16;
}

impl Element for bool {
    const NPY: Option<&'static str> = Some("b1");
    fn push_bytes(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
    fn from_bytes(bytes: &[u8], _: bool) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
    const DTYPE: DType = DType::Bool;
    const ANY_BITS: bool = false;
    fn into_any(tensor: Tensor<Self>) -> AnyTensor {
        AnyTensor::Bool(tensor)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x != 0.0
    }
    #[inline(always)]
    fn from_i64(x: i64) -> Self {
        x != 0
    }
    #[inline(always)]
    fn whole(self) -> Option<i64> {
        Some(self.into())
    }
}

/// An element that can be calculated with. The hidden methods set `overflow` when the result does not fit.
pub trait Number: Element {
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// The value that no other is below: minus infinity for floats.
    const LOWEST: Self;
    /// The value that no other is above: infinity for floats.
    const HIGHEST: Self;
    #[doc(hidden)]
    fn add(self, rhs: Self, overflow: &mut bool) -> Self;
    #[doc(hidden)]
    fn sub(self, rhs: Self, overflow: &mut bool) -> Self;
    #[doc(hidden)]
    fn mul(self, rhs: Self, overflow: &mut bool) -> Self;
    #[doc(hidden)]
    fn div(self, rhs: Self, overflow: &mut bool) -> Self;
    #[doc(hidden)]
    fn neg(self, overflow: &mut bool) -> Self;
    /// The sum of at most 2²⁴ elements and whether it does not fit, for types whose sums are exact in a wider one. However
    /// large the steps on the way, only the result has to fit.
    #[doc(hidden)]
    fn exact_sum(x: &[Self]) -> Option<(Self, bool)>;
    #[doc(hidden)]
    fn abs(self, overflow: &mut bool) -> Self;
    /// Whether the value is not a number; never so for integers.
    fn is_nan(self) -> bool;
    /// An integer that orders as the values do. Zeros of either sign are equal, and all NaN are equal and above all
    /// numbers.
    #[doc(hidden)]
    type Key: Copy + Ord + Send + Sync;
    #[doc(hidden)]
    fn key(self) -> Self::Key;
    /// An unsigned integer that orders as `key` does, or the other way round.
    #[doc(hidden)]
    fn rank_key(self, descending: bool) -> u64;
    /// As `key`, with NaN below all numbers.
    #[doc(hidden)]
    fn low_key(self) -> Self::Key;
    #[doc(hidden)]
    fn from_key(key: Self::Key) -> Self;
    /// The type that running sums and products are kept in: a wider one than `f32`.
    #[doc(hidden)]
    type Running: Number;
    #[doc(hidden)]
    fn widen(self) -> Self::Running;
    #[doc(hidden)]
    fn narrow(running: Self::Running) -> Self;
}

macro_rules! integer {
    ($($t:ty, |$x:ident| $sum:expr;)*) => {$(
        impl Number for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            #[inline(always)]
            #[allow(unused_comparisons)] // the unsigned types are never below 0
            fn add(self, rhs: Self, overflow: &mut bool) -> Self {
                // `overflowing_add` says the same, but does not vectorise.
                let value = self.wrapping_add(rhs);
                *overflow |= if <$t>::MIN < 0 { (self ^ value) & (rhs ^ value) < 0 } else { value < self };
                value
            }
            #[inline(always)]
            #[allow(unused_comparisons)] // as above
            fn sub(self, rhs: Self, overflow: &mut bool) -> Self {
                let value = self.wrapping_sub(rhs);
                *overflow |= if <$t>::MIN < 0 { (self ^ rhs) & (self ^ value) < 0 } else { self < rhs };
                value
            }
            #[inline(always)]
            fn mul(self, rhs: Self, overflow: &mut bool) -> Self {
                let (value, over) = self.overflowing_mul(rhs);
                *overflow |= over;
                value
            }
            #[inline(always)]
            fn div(self, rhs: Self, overflow: &mut bool) -> Self {
                match self.checked_div(rhs) {
                    Some(value) => value,
                    None => {
                        *overflow = true;
                        0
                    }
                }
            }
            #[inline(always)]
            fn neg(self, overflow: &mut bool) -> Self {
                let (value, over) = self.overflowing_neg();
                *overflow |= over;
                value
            }
            #[inline(always)]
            #[allow(unused_comparisons)] // the unsigned types are never below 0
            fn abs(self, overflow: &mut bool) -> Self {
                if self < 0 { Number::neg(self, overflow) } else { self }
            }
            #[inline(always)]
            fn exact_sum($x: &[Self]) -> Option<(Self, bool)> {
                let sum = $sum;
                Some((sum as $t, <$t>::try_from(sum).is_err()))
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
            type Key = $t;
            #[inline(always)]
            fn key(self) -> $t {
                self
            }
            #[inline(always)]
            fn rank_key(self, descending: bool) -> u64 {
                // Signed numbers are shifted up so that the least is 0.
                let key = (self as u64).wrapping_sub(<$t>::MIN as u64);
                if descending { (<$t>::MAX as u64).wrapping_sub(<$t>::MIN as u64) - key } else { key }
            }
            #[inline(always)]
            fn low_key(self) -> $t {
                self
            }
            #[inline(always)]
            fn from_key(key: $t) -> Self {
                key
            }
            type Running = $t;
            #[inline(always)]
            fn widen(self) -> $t {
                self
            }
            #[inline(always)]
            fn narrow(running: $t) -> Self {
                running
            }
        }
    )*};
}
integer! {
    i64, |x| {
        // Halves of 32 bits, of numbers shifted up so that the least is 0: signed 64-bit shifts are rare among instructions.
        let (mut low, mut high) = (0u64, 0u64);
        for &x in x {
            let x = (x as u64) ^ (1 << 63);
            low += x & 0xffff_ffff;
            high += x >> 32;
        }
        i128::from(low) + (i128::from(high) << 32) - ((x.len() as i128) << 63)
    };
    u32, |x| x.iter().fold(0u64, |sum, &x| sum + u64::from(x));
    u8, |x| x.iter().fold(0u32, |sum, &x| sum + u32::from(x));
}

macro_rules! float_number {
    ($($t:ty, $bits:ty, $unsigned:ty, $running:ty;)*) => {$(
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;
            const HIGHEST: Self = <$t>::INFINITY;
            #[inline(always)]
            fn add(self, rhs: Self, _: &mut bool) -> Self {
                self + rhs
            }
            #[inline(always)]
            fn sub(self, rhs: Self, _: &mut bool) -> Self {
                self - rhs
            }
            #[inline(always)]
            fn mul(self, rhs: Self, _: &mut bool) -> Self {
                self * rhs
            }
            #[inline(always)]
            fn div(self, rhs: Self, _: &mut bool) -> Self {
                self / rhs
            }
            #[inline(always)]
            fn neg(self, _: &mut bool) -> Self {
                -self
            }
            #[inline(always)]
            fn abs(self, _: &mut bool) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn exact_sum(_: &[Self]) -> Option<(Self, bool)> {
                None
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
            type Key = $bits;
            #[inline(always)]
            fn key(self) -> $bits {
                // Adding 0 makes -0 into +0.
                let key = <$t>::from_key((self + 0.0).to_bits() as $bits).to_bits() as $bits;
                if <$t>::is_nan(self) { <$bits>::MAX } else { key }
            }
            #[inline(always)]
            fn rank_key(self, descending: bool) -> u64 {
                let key = (self.key() as $unsigned) ^ (1 << (<$bits>::BITS - 1));
                u64::from(if descending { !key } else { key })
            }
            #[inline(always)]
            fn low_key(self) -> $bits {
                // Not by way of `key`: two choices on end would keep the loop from being vectorised.
                let key = <$t>::from_key((self + 0.0).to_bits() as $bits).to_bits() as $bits;
                if <$t>::is_nan(self) { <$bits>::MIN } else { key }
            }
            #[inline(always)]
            fn from_key(key: $bits) -> Self {
                // Of negative numbers, larger magnitudes are less: flip all but the sign. Doing so twice undoes it.
                let bits = key ^ ((key >> (<$bits>::BITS - 1)) as $unsigned >> 1) as $bits;
                <$t>::from_bits(bits as $unsigned)
            }
            type Running = $running;
            #[inline(always)]
            fn widen(self) -> $running {
                self.into()
            }
            #[inline(always)]
            fn narrow(running: $running) -> Self {
                running as $t
            }
        }
    )*};
}
float_number! {
    f32, i32, u32, f64;
    f64, i64, u64, f64;
}

/// `f32` or `f64`: what models are computed in.
///
/// The hidden methods are the kernels' mathematics, one value at a time: branch-free polynomials that vectorise
/// (`cpu/math.rs` and `cpu/math64.rs` state their error); for `f64` the power is the platform's.
pub trait Float:
    Number
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    /// Positive infinity.
    const INFINITY: Self;
    /// Negative infinity.
    const NEG_INFINITY: Self;
    /// Not a number.
    const NAN: Self;
    /// The difference between 1 and the next larger value.
    const EPSILON: Self;

    /// A register of elements.
    #[doc(hidden)]
    type Vector<S: Isa>: Vector<Self>;

    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn magnitude(self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;

    #[doc(hidden)]
    fn kernels() -> &'static Kernels<Self>;

    #[doc(hidden)]
    fn fma<S: Isa>(self, a: Self, b: Self) -> Self;
    #[doc(hidden)]
    fn exp<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn expm1<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn ln<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn ln_1p<S: Isa>(self) -> Self;
    /// `exp` of a number that is not above 0, in fewer steps.
    #[doc(hidden)]
    fn exp_nonpositive<S: Isa>(self) -> Self;
    /// `exp` of a number that is about 0 or below, in the fewest steps: 0 where the number is below -87.
    #[doc(hidden)]
    fn exp_or_zero<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn sigmoid<S: Isa>(self) -> Self;
    /// Whether `sin` and `cos` of the value are computed on a path of their own, and not by `small_sin`, `small_cos`.
    #[doc(hidden)]
    fn is_large_angle(self) -> bool;
    #[doc(hidden)]
    fn small_sin<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn small_cos<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn tanh<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn sin<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn cos<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn erf<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn normal_cdf<S: Isa>(self) -> Self;
    #[doc(hidden)]
    fn floor(self) -> Self;
    #[doc(hidden)]
    fn round(self) -> Self;
    #[doc(hidden)]
    fn pow<S: Isa>(self, exponent: Self) -> Self;
}

macro_rules! float {
    ($t:ident, $register:ident, $math:ident) => {
        impl Float for $t {
            const INFINITY: Self = $t::INFINITY;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const NAN: Self = $t::NAN;
            const EPSILON: Self = $t::EPSILON;
            type Vector<S: Isa> = S::$register;

            fn kernels() -> &'static Kernels<Self> {
                &compiled::$register
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn magnitude(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
            #[inline(always)]
            fn fma<S: Isa>(self, a: Self, b: Self) -> Self {
                // Without the instruction `mul_add` calls a slow, exact routine; two roundings are good enough there.
                if S::FMA { self.mul_add(a, b) } else { self * a + b }
            }
            #[inline(always)]
            fn exp<S: Isa>(self) -> Self {
                $math::exp::<S>(self)
            }
            #[inline(always)]
            fn expm1<S: Isa>(self) -> Self {
                $math::expm1::<S>(self)
            }
            #[inline(always)]
            fn ln<S: Isa>(self) -> Self {
                $math::ln::<S>(self)
            }
            #[inline(always)]
            fn ln_1p<S: Isa>(self) -> Self {
                $math::ln_1p::<S>(self)
            }
            #[inline(always)]
            fn exp_nonpositive<S: Isa>(self) -> Self {
                $math::exp_nonpositive::<S>(self)
            }
            #[inline(always)]
            fn exp_or_zero<S: Isa>(self) -> Self {
                $math::exp_or_zero::<S>(self)
            }
            #[inline(always)]
            fn sigmoid<S: Isa>(self) -> Self {
                $math::sigmoid::<S>(self)
            }
            #[inline(always)]
            fn small_sin<S: Isa>(self) -> Self {
                $math::small_sin::<S>(self)
            }
            #[inline(always)]
            fn small_cos<S: Isa>(self) -> Self {
                $math::small_cos::<S>(self)
            }
            #[inline(always)]
            fn is_large_angle(self) -> bool {
                $math::is_large_angle(self)
            }
            #[inline(always)]
            fn tanh<S: Isa>(self) -> Self {
                $math::tanh::<S>(self)
            }
            #[inline(always)]
            fn sin<S: Isa>(self) -> Self {
                $math::sin::<S>(self)
            }
            #[inline(always)]
            fn cos<S: Isa>(self) -> Self {
                $math::cos::<S>(self)
            }
            #[inline(always)]
            fn erf<S: Isa>(self) -> Self {
                $math::erf::<S>(self)
            }
            #[inline(always)]
            fn normal_cdf<S: Isa>(self) -> Self {
                $math::normal_cdf::<S>(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $t::floor(self)
            }
            #[inline(always)]
            fn round(self) -> Self {
                // Halves to even, as NumPy and PyTorch round.
                $t::round_ties_even(self)
            }
            #[inline(always)]
            fn pow<S: Isa>(self, exponent: Self) -> Self {
                $math::pow::<S>(self, exponent)
            }
        }
    };
}
float!(f32, F32, math);
float!(f64, F64, math64);
