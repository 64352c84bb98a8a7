//! [`Lanes`] of x86-64: AVX-512 with VNNI, and AVX2 with or without AVX-VNNI.
//!
//! `vpdpbusd` multiplies unsigned bytes by signed ones and adds four products at a time. Signed weights get 128 added, which the
//! sums begin without. Without VNNI, `vpmaddubsw` adds two products in 16 bits and saturates: not reached by weights up to
//! 63, and by signed ones not where the sign goes over to the activation, as 2 · 128 · 127 is below 2^15. So far below it are
//! the products of smaller weights, and all those with fine bytes, that several quads are added in 16 bits before they are widened, which takes
//! as long as the product itself.

use std::arch::x86_64::*;

use super::activations::{Block, FINE};
use super::lanes::{Lanes, quad_by_quad};
use super::panels::{QUAD, ROWS};
use super::product::Format;

/// AVX-512 with VNNI: one register of everything.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512;

// SAFETY: as below.
impl Avx512 {
    /// Writes bytes less a number, as signed ones, times a power of two.
    #[inline(always)]
    pub(super) fn store_less(bytes: __m512i, less: u8, shift: u32, out: &mut [u8; QUAD]) {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is written.
        unsafe {
            let signed = _mm512_sub_epi8(bytes, _mm512_set1_epi8(less as i8));
            // Pairs of bytes are shifted; what crosses from one to the other is masked.
            let shifted = _mm512_sll_epi16(signed, _mm_cvtsi32_si128(shift as i32));
            let shifted = _mm512_and_si512(shifted, _mm512_set1_epi8(-1 << shift));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), shifted);
        }
    }

    #[inline(always)]
    pub(super) fn load_floats(from: &[f32; ROWS]) -> __m512 {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    pub(super) fn load_sums(from: &[i32; ROWS]) -> __m512i {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
}

// SAFETY of all blocks below: values of these types are made only inside functions compiled for the instructions, which
// `engine` calls where the processor has them; arrays are as long as what is read or written.
impl Lanes for Avx512 {
    type Quads = __m512i;
    type Sums = __m512i;
    type Floats = __m512;
    const SIGNED_OFFSET: i32 = 128;

    #[inline(always)]
    fn load(bytes: &[u8; QUAD]) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn bits(bytes: Self::Quads, left: u32, right: u32, mask: u8) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let bytes =
                if left > 0 { _mm512_sll_epi16(bytes, _mm_cvtsi32_si128(left as i32)) } else { bytes };
            let bytes =
                if right > 0 { _mm512_srl_epi16(bytes, _mm_cvtsi32_si128(right as i32)) } else { bytes };
            _mm512_and_si512(bytes, _mm512_set1_epi8(mask as i8))
        }
    }
    #[inline(always)]
    fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn signed(bytes: Self::Quads) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi8(i8::MIN)) }
    }
    #[inline(always)]
    fn start(all: i32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_set1_epi32(all) }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(sums: Self::Sums, weights: Self::Quads, x: u32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_dpbusd_epi32(sums, weights, _mm512_set1_epi32(x as i32)) }
    }
    #[inline(always)]
    fn twofold(coarse: Self::Sums, fine: Self::Sums, shift: u32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_add_epi32(_mm512_sll_epi32(coarse, _mm_cvtsi32_si128(shift as i32)), fine) }
    }
    #[inline(always)]
    fn floats(sums: Self::Sums) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn halves(bits: &[u8; 2 * ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())) }
    }
    #[inline(always)]
    fn unsigned_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn signed_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn store(x: Self::Floats, out: &mut [f32; ROWS]) {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is written.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn prefetch(address: *const u8) {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

/// AVX2, two registers of everything; `VNNI` where the processor has AVX-VNNI too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>;

// SAFETY: as above.
impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type Quads = [__m256i; 2];
    type Sums = [__m256i; 2];
    type Floats = [__m256; 2];
    const SIGNED_OFFSET: i32 = if VNNI { 128 } else { 0 };

    #[inline(always)]
    fn load(bytes: &[u8; QUAD]) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe {
            [_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes[32..].as_ptr().cast())]
        }
    }
    #[inline(always)]
    fn bits(bytes: Self::Quads, left: u32, right: u32, mask: u8) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [some_bits(bytes[0], left, right, mask), some_bits(bytes[1], left, right, mask)] }
    }
    #[inline(always)]
    fn or(a: Self::Quads, b: Self::Quads) -> Self::Quads {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }
    #[inline(always)]
    fn signed(bytes: Self::Quads) -> Self::Quads {
        if !VNNI {
            return bytes;
        }
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let flip = _mm256_set1_epi8(i8::MIN);
            [_mm256_xor_si256(bytes[0], flip), _mm256_xor_si256(bytes[1], flip)]
        }
    }
    #[inline(always)]
    fn start(all: i32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_set1_epi32(all); 2] }
    }
    #[inline(always)]
    fn dot<const SIGNED: bool>(sums: Self::Sums, weights: Self::Quads, x: u32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let x = _mm256_set1_epi32(x as i32);
            [one_dot::<VNNI, SIGNED>(sums[0], weights[0], x), one_dot::<VNNI, SIGNED>(sums[1], weights[1], x)]
        }
    }
    #[inline(always)]
    fn twofold(coarse: Self::Sums, fine: Self::Sums, shift: u32) -> Self::Sums {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let shift = _mm_cvtsi32_si128(shift as i32);
            [
                _mm256_add_epi32(_mm256_sll_epi32(coarse[0], shift), fine[0]),
                _mm256_add_epi32(_mm256_sll_epi32(coarse[1], shift), fine[1]),
            ]
        }
    }
    #[inline(always)]
    fn dots<F: Format, const FROM: usize, const TO: usize>(
        quads: &[Self::Quads; 8],
        x: &Block,
        start: usize,
    ) -> Self::Sums {
        if VNNI {
            return quad_by_quad::<Self, F, FROM, TO>(quads, x, start);
        }
        // Quads whose sums of two products with coarse bytes, up to 127, stay in 16 bits; those with fine ones, up to 4, all do.
        let together = const { i16::MAX as usize / (2 * 127 * F::GREATEST) };
        let mut sums = Self::start(x[start] as i32);
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let mut fine = [_mm256_setzero_si256(); 2];
            for first in (FROM..TO).step_by(together) {
                let mut coarse = [_mm256_setzero_si256(); 2];
                for quad in first..(first + together).min(TO) {
                    let of_coarse = _mm256_set1_epi32(x[quad] as i32);
                    let of_fine = _mm256_set1_epi32(x[FINE + quad] as i32);
                    for k in 0..2 {
                        let weights = quads[quad][k];
                        coarse[k] = _mm256_add_epi16(coarse[k], pairs(F::SIGNED, weights, of_coarse));
                        fine[k] = _mm256_add_epi16(fine[k], pairs(F::SIGNED, weights, of_fine));
                    }
                }
                add_pairs(&mut sums, coarse, 1 << F::SHIFT);
            }
            add_pairs(&mut sums, fine, 1);
        }
        sums
    }
    #[inline(always)]
    fn floats(sums: Self::Sums) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
    }
    #[inline(always)]
    fn splat(x: f32) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn halves(bits: &[u8; 2 * ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is read.
        unsafe {
            let (low, high) =
                (_mm_loadu_si128(bits.as_ptr().cast()), _mm_loadu_si128(bits[16..].as_ptr().cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    fn unsigned_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let (low, high) =
                (_mm_loadl_epi64(bytes.as_ptr().cast()), _mm_loadl_epi64(bytes[8..].as_ptr().cast()));
            [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))]
        }
    }
    #[inline(always)]
    fn signed_bytes(bytes: &[u8; ROWS]) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe {
            let (low, high) =
                (_mm_loadl_epi64(bytes.as_ptr().cast()), _mm_loadl_epi64(bytes[8..].as_ptr().cast()));
            [_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(low)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(high))]
        }
    }
    #[inline(always)]
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul_add(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn store(x: Self::Floats, out: &mut [f32; ROWS]) {
        // SAFETY: the processor has the instructions, as said of the implementation; the array is as long as what is written.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out[8..].as_mut_ptr(), x[1]);
        }
    }
    #[inline(always)]
    fn prefetch(address: *const u8) {
        // SAFETY: the processor has the instructions, as said of the implementation.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

/// See [`Lanes::bits`].
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn some_bits(bytes: __m256i, left: u32, right: u32, mask: u8) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let bytes = if left > 0 { _mm256_sll_epi16(bytes, _mm_cvtsi32_si128(left as i32)) } else { bytes };
        let bytes = if right > 0 { _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(right as i32)) } else { bytes };
        _mm256_and_si256(bytes, _mm256_set1_epi8(mask as i8))
    }
}

/// The dot product of eight rows.
///
/// # Safety
/// The processor has AVX2, and AVX-VNNI where `VNNI` is set.
#[inline(always)]
unsafe fn one_dot<const VNNI: bool, const SIGNED: bool>(
    sums: __m256i,
    weights: __m256i,
    x: __m256i,
) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        if VNNI {
            return _mm256_dpbusd_avx_epi32(sums, weights, x);
        }
        let pairs = pairs(SIGNED, weights, x);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// Sums of two products, in 16 bits.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn pairs(signed: bool, weights: __m256i, x: __m256i) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        if signed {
            _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(x, weights))
        } else {
            _mm256_maddubs_epi16(weights, x)
        }
    }
}

/// Adds pairs of sums in 16 bits, times a factor, to those in 32.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn add_pairs(sums: &mut [__m256i; 2], pairs: [__m256i; 2], factor: i16) {
    // SAFETY: as the caller promises.
    unsafe {
        for k in 0..2 {
            sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs[k], _mm256_set1_epi16(factor)));
        }
    }
}
