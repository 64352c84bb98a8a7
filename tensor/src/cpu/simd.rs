//! One vector register, for the kernels that are built of register tiles.
//!
//! Most kernels are loops that the compiler vectorises. A tile of accumulators that must stay in registers over a long
//! sum is not left to chance: it is written with [`Vector`], whose operations are single instructions. The element type
//! and the instruction set name the register: [`Float::Vector<S>`](crate::Float).

/// A register of `LANES` elements of `T`.
#[doc(hidden)]
pub trait Vector<T: Copy>: Copy + Send + Sync {
    /// Elements in a register.
    const LANES: usize;

    /// All lanes equal.
    fn splat(x: T) -> Self;

    /// `LANES` elements from `from` on, at any alignment.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn load(from: *const T) -> Self;

    /// Writes `LANES` elements from `to` on, at any alignment.
    ///
    /// # Safety
    /// They can be written.
    unsafe fn store(self, to: *mut T);

    /// `self * factor + addend`, rounded once where the processor can.
    #[must_use]
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// The sum.
    #[must_use]
    fn add(self, other: Self) -> Self;

    /// The greater of each lane and zero; NaN stays.
    #[must_use]
    fn relu(self) -> Self;

    /// Each lane of `left` either to the first result, where this equals `other` or is NaN, or else to the second.
    #[must_use]
    fn deal(self, other: Self, left: Self) -> [Self; 2];
}

/// A register of a target that has none of its own here, and of what the compiler makes of it.
#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable<T, const N: usize>([T; N]);

#[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
macro_rules! portable {
    ($t:ty, $lanes:literal) => {
        impl Vector<$t> for Portable<$t, $lanes> {
            const LANES: usize = $lanes;
            #[inline(always)]
            fn splat(x: $t) -> Self {
                Portable([x; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $t) -> Self {
                // SAFETY: as the caller promises.
                Portable(unsafe { from.cast::<[$t; $lanes]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $t) {
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
            fn relu(self) -> Self {
                Portable(self.0.map(|x| if x < 0.0 { 0.0 } else { x }))
            }
            #[inline(always)]
            fn deal(self, other: Self, left: Self) -> [Self; 2] {
                let mut parts = [[0.0; $lanes]; 2];
                for i in 0..$lanes {
                    let hit = self.0[i] == other.0[i] || self.0[i].is_nan();
                    parts[usize::from(!hit)][i] = left.0[i];
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

    use super::Vector;

    macro_rules! register {
        ($name:ident, $register:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $equal:ident, $negative:ident, $choose:ident) => {
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name($register);

            impl Vector<$t> for $name {
                const LANES: usize = $lanes;
                #[inline(always)]
                fn splat(x: $t) -> Self {
                    // SAFETY: the target has the instruction.
                    Self(unsafe { $set1(x) })
                }
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: as above, and the caller promises the elements.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
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
                fn relu(self) -> Self {
                    // The maximum would make +0 of -0.
                    // SAFETY: the target has the instructions.
                    Self(unsafe { $choose($negative(self.0), $set1(0.0), self.0) })
                }
                #[inline(always)]
                fn deal(self, other: Self, left: Self) -> [Self; 2] {
                    // SAFETY: the target has the instructions.
                    unsafe {
                        let zero = $set1(0.0);
                        let (equal, number) = ($equal(self.0, other.0), $equal(self.0, self.0));
                        let hit = $choose(number, $choose(equal, left.0, zero), left.0);
                        let miss = $choose(number, $choose(equal, zero, left.0), zero);
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
        vceqq_f32,
        vcltzq_f32,
        vbslq_f32
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
        vceqq_f64,
        vcltzq_f64,
        vbslq_f64
    );
}
pub(crate) use baseline::{F32 as BaselineF32, F64 as BaselineF64};

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    macro_rules! register {
        ($name:ident, $register:ty, $t:ty, $lanes:literal, $set1:ident, $load:ident, $store:ident, $fma:ident, $max:ident, $zero:ident, $add:ident, $deal:expr) => {
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name($register);

            // Values of this type are made only inside kernels that `isa::dispatch` has chosen for a processor with
            // these instructions: the type is named by the markers of `isa` alone.
            impl Vector<$t> for $name {
                const LANES: usize = $lanes;
                #[inline(always)]
                fn splat(x: $t) -> Self {
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $set1(x) })
                }
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: as above, and the caller promises the elements.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
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
                fn relu(self) -> Self {
                    // `max` gives its second operand where one is NaN.
                    // SAFETY: the processor has the instruction, see above.
                    Self(unsafe { $max($zero(), self.0) })
                }
                #[inline(always)]
                fn deal(self, other: Self, left: Self) -> [Self; 2] {
                    // SAFETY: the processor has the instructions, see above.
                    unsafe { $deal(self.0, other.0, left.0) }.map(Self)
                }
            }
        };
    }

    /// `deal` by a mask of bits.
    macro_rules! deal_by_bits {
        ($register:ty, $compare:ident, $move:ident) => {{
            #[inline(always)]
            unsafe fn deal(x: $register, y: $register, left: $register) -> [$register; 2] {
                // SAFETY: the caller has seen that the processor has the instructions.
                unsafe {
                    let hit = $compare::<_CMP_EQ_OQ>(x, y) | $compare::<_CMP_UNORD_Q>(x, x);
                    [$move(hit, left), $move(!hit, left)]
                }
            }
            deal
        }};
    }

    /// `deal` by a mask of lanes.
    macro_rules! deal_by_lanes {
        ($register:ty, $compare:ident, $or:ident, $and:ident, $andnot:ident) => {{
            #[inline(always)]
            unsafe fn deal(x: $register, y: $register, left: $register) -> [$register; 2] {
                // SAFETY: the caller has seen that the processor has the instructions.
                unsafe {
                    let hit = $or($compare::<_CMP_EQ_OQ>(x, y), $compare::<_CMP_UNORD_Q>(x, x));
                    [$and(hit, left), $andnot(hit, left)]
                }
            }
            deal
        }};
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
        deal_by_bits!(__m512, _mm512_cmp_ps_mask, _mm512_maskz_mov_ps)
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
        deal_by_bits!(__m512d, _mm512_cmp_pd_mask, _mm512_maskz_mov_pd)
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
        deal_by_lanes!(__m256, _mm256_cmp_ps, _mm256_or_ps, _mm256_and_ps, _mm256_andnot_ps)
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
        deal_by_lanes!(__m256d, _mm256_cmp_pd, _mm256_or_pd, _mm256_and_pd, _mm256_andnot_pd)
    );
}
