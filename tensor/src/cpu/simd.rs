//! One vector register, for the kernels that are built of register tiles.
//!
//! Most kernels are loops that the compiler vectorises. A tile of accumulators that must stay in registers over a long
//! sum is not left to chance: it is written with [`Vector`], whose operations are single instructions. The element type
//! and the instruction set name the register: [`Float::Vector<S>`](crate::Float).

use super::isa::sealed::Sealed;

/// A vector register of [`LANES`](Self::LANES) elements of `T`, `f32` or `f64`.
///
/// The type follows from the instruction set that a [`Kernel`](crate::kernel::Kernel) is compiled for: `S::F32` and
/// `S::F64` of its [`Isa`](crate::kernel::Isa). Each operation is one instruction, or a few. Elements come and go as arrays
/// of a register's length, into which [`chunks`](Self::chunks) cuts a slice, so that no index is checked in a loop.
///
/// Closures over registers are not compiled for the instruction set, unless they are marked `#[inline(always)]`.
pub trait Vector<T: Copy>: Copy + Send + Sync + Sealed {
    /// Elements in a register.
    const LANES: usize;

    /// `[T; LANES]`.
    type Array: Copy
        + Default
        + std::ops::IndexMut<usize, Output = T>
        + AsRef<[T]>
        + AsMut<[T]>
        + Send
        + Sync
        + 'static;

    /// A slice as arrays of a register's length, and what is left over.
    fn chunks(x: &[T]) -> (&[Self::Array], &[T]);

    /// As [`chunks`](Self::chunks), for writing.
    fn chunks_mut(x: &mut [T]) -> (&mut [Self::Array], &mut [T]);

    /// All lanes equal.
    fn splat(x: T) -> Self;

    /// The elements of an array.
    fn load(from: &Self::Array) -> Self;

    /// Writes the elements to an array.
    fn store(self, to: &mut Self::Array);

    /// The elements as an array.
    #[inline(always)]
    fn to_array(self) -> Self::Array {
        let mut array = Self::Array::default();
        self.store(&mut array);
        array
    }

    /// `LANES` elements from `from` on, at any alignment.
    ///
    /// # Safety
    /// They can be read.
    #[doc(hidden)]
    unsafe fn read(from: *const T) -> Self;

    /// Writes `LANES` elements from `to` on, at any alignment.
    ///
    /// # Safety
    /// They can be written.
    #[doc(hidden)]
    unsafe fn write(self, to: *mut T);

    /// `self * factor + addend`, rounded once where the processor can.
    #[must_use]
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// The sum.
    #[must_use]
    fn add(self, other: Self) -> Self;

    /// The difference.
    #[must_use]
    fn sub(self, other: Self) -> Self;

    /// The product.
    #[must_use]
    fn mul(self, other: Self) -> Self;

    /// The greater of each lane and zero; NaN stays.
    #[must_use]
    fn relu(self) -> Self;

    /// The greater of each lane; that of `other` where one of the two is NaN.
    #[doc(hidden)]
    #[must_use]
    fn greater(self, other: Self) -> Self;

    /// The sum of all lanes: the upper half is added to the lower until one is left.
    #[must_use]
    fn sum(self) -> T;

    /// The sums of four registers at a time, which takes little longer than that of one: within each four lanes the first is
    /// added to the second and the third to the fourth, then both, then the fours in order.
    #[must_use]
    fn sum_four(registers: [Self; 4]) -> [T; 4];

    /// Each lane of `values` in the first result where `self` equals `other` or is NaN, and else in the second; 0 in the
    /// other one.
    #[doc(hidden)]
    #[must_use]
    fn split_where_equal(self, other: Self, values: Self) -> [Self; 2];
}

/// What is alike for all registers: arrays of their length.
macro_rules! arrays {
    ($t:ty, $lanes:literal) => {
        const LANES: usize = $lanes;
        type Array = [$t; $lanes];
        #[inline(always)]
        fn chunks(x: &[$t]) -> (&[Self::Array], &[$t]) {
            x.as_chunks()
        }
        #[inline(always)]
        fn chunks_mut(x: &mut [$t]) -> (&mut [Self::Array], &mut [$t]) {
            x.as_chunks_mut()
        }
        #[inline(always)]
        fn load(from: &Self::Array) -> Self {
            // SAFETY: the array has as many elements.
            unsafe { Self::read(from.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, to: &mut Self::Array) {
            // SAFETY: the array has as many elements.
            unsafe { self.write(to.as_mut_ptr()) }
        }
        #[inline(always)]
        fn sum(self) -> $t {
            let mut lanes = [0.0; $lanes];
            self.store(&mut lanes);
            let mut half = $lanes / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] += lanes[i + half];
                }
                half /= 2;
            }
            lanes[0]
        }
    };
}

/// `sum_four` of elements in arrays, for registers without an instruction that helps.
macro_rules! sum_four_by_lanes {
    ($t:ty, $lanes:literal) => {
        #[inline(always)]
        fn sum_four(registers: [Self; 4]) -> [$t; 4] {
            let mut out = [0.0; 4];
            for k in 0..4 {
                let mut x = [0.0; $lanes];
                registers[k].store(&mut x);
                let (fours, rest) = x.as_chunks::<4>();
                for (n, four) in fours.iter().enumerate() {
                    let sum = (four[0] + four[1]) + (four[2] + four[3]);
                    out[k] = if n == 0 { sum } else { out[k] + sum };
                }
                for &x in rest {
                    out[k] += x;
                }
            }
            out
        }
    };
}

/// A register of a target that has none of its own here, and of what the compiler makes of it.
#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable<T, const N: usize>([T; N]);
#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
impl<T, const N: usize> Sealed for Portable<T, N> {}

#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
macro_rules! portable {
    ($t:ty, $lanes:literal) => {
        impl Vector<$t> for Portable<$t, $lanes> {
            arrays!($t, $lanes);
            sum_four_by_lanes!($t, $lanes);
            #[inline(always)]
            fn splat(x: $t) -> Self {
                Portable([x; $lanes])
            }
            #[inline(always)]
            unsafe fn read(from: *const $t) -> Self {
                // SAFETY: as the caller promises.
                Portable(unsafe { from.cast::<[$t; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn write(self, to: *mut $t) {
                // SAFETY: as the caller promises.
                unsafe { to.cast::<[$t; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                let fused = cfg!(target_feature = "fma");
                Portable(std::array::from_fn(|i| {
                    // Where it is no instruction, `mul_add` is a slow function.
                    if fused {
                        self.0[i].mul_add(factor.0[i], addend.0[i])
                    } else {
                        self.0[i] * factor.0[i] + addend.0[i]
                    }
                }))
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] + other.0[i]))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] - other.0[i]))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                Portable(std::array::from_fn(|i| self.0[i] * other.0[i]))
            }
            #[inline(always)]
            fn relu(self) -> Self {
                Portable(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
            }
            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                Portable(std::array::from_fn(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }))
            }
            #[inline(always)]
            fn split_where_equal(self, other: Self, values: Self) -> [Self; 2] {
                let mut parts = [[0.0; $lanes]; 2];
                for i in 0..$lanes {
                    let hit = self.0[i] == other.0[i] || self.0[i].is_nan();
                    parts[usize::from(!hit)][i] = values.0[i];
                }
                parts.map(Portable)
            }
        }
    };
}
#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
mod baseline {
    use super::{Portable, Vector};

    pub(crate) type F32 = Portable<f32, 4>;
    pub(crate) type F64 = Portable<f64, 2>;
    portable!(f32, 4);
    portable!(f64, 2);
}

/// NEON, which every 64-bit Arm processor has. Plain arrays do not do: of a third of the convolutions' tiles the
/// compiler makes scalar multiply-adds, with sums on the stack.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod baseline {
    use std::arch::aarch64::*;

    use super::{Sealed, Vector};

    macro_rules! register {
        ($name:ident, $register:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $sub:ident, $mul:ident, $equal:ident, $negative:ident, $choose:ident, $above:ident) => {
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name($register);

            impl Sealed for $name {}

            impl Vector<$t> for $name {
                arrays!($t, $lanes);
                sum_four_by_lanes!($t, $lanes);
                #[inline(always)]
                fn splat(x: $t) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $set1(x) })
                }
                #[inline(always)]
                unsafe fn read(from: *const $t) -> Self {
                    // SAFETY: as above, and the caller promises the elements.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn write(self, to: *mut $t) {
                    // SAFETY: as above, and the caller promises the elements.
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                fn mul_add(self, factor: Self, addend: Self) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $fma(addend.0, self.0, factor.0) })
                }
                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $add(self.0, other.0) })
                }
                #[inline(always)]
                fn sub(self, other: Self) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $sub(self.0, other.0) })
                }
                #[inline(always)]
                fn mul(self, other: Self) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $mul(self.0, other.0) })
                }
                #[inline(always)]
                fn relu(self) -> Self {
                    // The maximum would make +0 of -0.
                    // SAFETY: the target has the instructions.
                    Self(unsafe { $choose($negative(self.0), $set1(0.0), self.0) })
                }
                #[inline(always)]
                fn greater(self, other: Self) -> Self {
                    // The maximum would be NaN where one of the two is.
                    // SAFETY: the target has the instructions.
                    Self(unsafe { $choose($above(self.0, other.0), self.0, other.0) })
                }
                #[inline(always)]
                fn split_where_equal(self, other: Self, values: Self) -> [Self; 2] {
                    // SAFETY: the target has the instructions.
                    unsafe {
                        let zero = $set1(0.0);
                        let (equal, number) = ($equal(self.0, other.0), $equal(self.0, self.0));
                        let hit = $choose(number, $choose(equal, values.0, zero), values.0);
                        let miss = $choose(number, $choose(equal, zero, values.0), zero);
                        [Self(hit), Self(miss)]
                    }
                }
            }
        };
    }
    register!(
        F32,
        float32x4_t,
        f32,
        4,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vfmaq_f32,
        vaddq_f32,
        vsubq_f32,
        vmulq_f32,
        vceqq_f32,
        vcltzq_f32,
        vbslq_f32,
        vcgtq_f32
    );
    register!(
        F64,
        float64x2_t,
        f64,
        2,
        vdupq_n_f64,
        vld1q_f64,
        vst1q_f64,
        vfmaq_f64,
        vaddq_f64,
        vsubq_f64,
        vmulq_f64,
        vceqq_f64,
        vcltzq_f64,
        vbslq_f64,
        vcgtq_f64
    );
}
pub(crate) use baseline::{F32 as BaselineF32, F64 as BaselineF64};

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::{Sealed, Vector};

    macro_rules! register {
        ($name:ident, $register:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $fma:ident, $max:ident, $zero:ident, $add:ident, $sub:ident, $mul:ident, $split:expr, $($sum_four:tt)*) => {
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name($register);

            impl Sealed for $name {}

            // Values of this type are made only inside kernels that `isa::dispatch` has chosen for a processor with
            // these instructions: the type is named by the markers of `isa` alone.
            impl Vector<$t> for $name {
                arrays!($t, $lanes);
                $($sum_four)*
                #[inline(always)]
                fn splat(x: $t) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $set1(x) })
                }
                #[inline(always)]
                unsafe fn read(from: *const $t) -> Self {
                    // SAFETY: as above, and the caller promises the elements.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn write(self, to: *mut $t) {
                    // SAFETY: as above, and the caller promises the elements.
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                fn mul_add(self, factor: Self, addend: Self) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $fma(self.0, factor.0, addend.0) })
                }
                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $add(self.0, other.0) })
                }
                #[inline(always)]
                fn sub(self, other: Self) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $sub(self.0, other.0) })
                }
                #[inline(always)]
                fn mul(self, other: Self) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $mul(self.0, other.0) })
                }
                #[inline(always)]
                fn relu(self) -> Self {
                    // `max` gives its second operand where one is NaN.
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $max($zero(), self.0) })
                }
                #[inline(always)]
                fn greater(self, other: Self) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $max(self.0, other.0) })
                }
                #[inline(always)]
                fn split_where_equal(self, other: Self, values: Self) -> [Self; 2] {
                    // SAFETY: the processor has the instructions, see above.
                    unsafe { $split(self.0, other.0, values.0) }.map(Self)
                }
            }
        };
    }

    /// `split_where_equal` by a mask of bits.
    macro_rules! split_by_bits {
        ($register:ty, $compare:ident, $move:ident) => {{
            #[inline(always)]
            unsafe fn split(x: $register, y: $register, values: $register) -> [$register; 2] {
                // SAFETY: the caller has seen that the processor has the instructions.
                unsafe {
                    let hit = $compare::<_CMP_EQ_OQ>(x, y) | $compare::<_CMP_UNORD_Q>(x, x);
                    [$move(hit, values), $move(!hit, values)]
                }
            }
            split
        }};
    }

    /// `split_where_equal` by a mask of lanes.
    macro_rules! split_by_lanes {
        ($register:ty, $compare:ident, $or:ident, $and:ident, $andnot:ident) => {{
            #[inline(always)]
            unsafe fn split(x: $register, y: $register, values: $register) -> [$register; 2] {
                // SAFETY: the caller has seen that the processor has the instructions.
                unsafe {
                    let hit = $or($compare::<_CMP_EQ_OQ>(x, y), $compare::<_CMP_UNORD_Q>(x, x));
                    [$and(hit, values), $andnot(hit, values)]
                }
            }
            split
        }};
    }

    /// `sum_four`: the registers transposed in fours of lanes while their neighbours are added.
    macro_rules! sum_four_by_shuffles {
        ($lanes:literal, $shuffle:ident, $add:ident) => {
            #[inline(always)]
            fn sum_four([a, b, c, d]: [Self; 4]) -> [f32; 4] {
                // The even and the odd lanes of both operands' fours.
                const EVEN: i32 = 0b10_00_10_00;
                const ODD: i32 = 0b11_01_11_01;
                // SAFETY: the processor has the instructions, see above.
                let sums = Self(unsafe {
                    let ab = $add($shuffle::<EVEN>(a.0, b.0), $shuffle::<ODD>(a.0, b.0));
                    let cd = $add($shuffle::<EVEN>(c.0, d.0), $shuffle::<ODD>(c.0, d.0));
                    $add($shuffle::<EVEN>(ab, cd), $shuffle::<ODD>(ab, cd))
                });
                let mut lanes = [0.0; $lanes];
                sums.store(&mut lanes);
                let (fours, _) = lanes.as_chunks::<4>();
                let mut out = fours[0];
                for four in &fours[1..] {
                    for k in 0..4 {
                        out[k] += four[k];
                    }
                }
                out
            }
        };
    }

    register!(
        F32x16,
        __m512,
        f32,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps,
        _mm512_setzero_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        split_by_bits!(__m512, _mm512_cmp_ps_mask, _mm512_maskz_mov_ps),
        sum_four_by_shuffles!(16, _mm512_shuffle_ps, _mm512_add_ps);
    );
    register!(
        F64x8,
        __m512d,
        f64,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_max_pd,
        _mm512_setzero_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_mul_pd,
        split_by_bits!(__m512d, _mm512_cmp_pd_mask, _mm512_maskz_mov_pd),
        sum_four_by_lanes!(f64, 8);
    );
    register!(
        F32x8,
        __m256,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        _mm256_setzero_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        split_by_lanes!(__m256, _mm256_cmp_ps, _mm256_or_ps, _mm256_and_ps, _mm256_andnot_ps),
        sum_four_by_shuffles!(8, _mm256_shuffle_ps, _mm256_add_ps);
    );
    register!(
        F64x4,
        __m256d,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_max_pd,
        _mm256_setzero_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_mul_pd,
        split_by_lanes!(__m256d, _mm256_cmp_pd, _mm256_or_pd, _mm256_and_pd, _mm256_andnot_pd),
        sum_four_by_lanes!(f64, 4);
    );
}
