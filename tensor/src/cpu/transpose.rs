//! Transposing one tile of 16 by 16 elements, the innermost step of copying a transposed view.
//!
//! The compiler makes single loads and inserts of a tile's transpose, whatever way it is written. Registers of 16 bytes, which
//! every x86-64 and 64-bit Arm processor has, hold a small square of elements of any size, and interleaving the elements
//! of its first half with those of its second, once for each doubling, transposes it: a perfect shuffle. With AVX-512 a
//! tile of four-byte elements is sixteen registers, which four rounds of sixteen shuffles transpose: 64 instructions in
//! place of 512.

use crate::Element;
use crate::cpu::Isa;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Vector;

/// Side of a tile: 16 elements of 4 bytes are a cache line.
pub(crate) const TILE: usize = 16;

/// `out[r out_step + c] = from[start + c step + r]` for the rows and columns of one tile.
#[inline(always)]
pub(crate) fn tile<S: Isa, T: Element>(
    from: &[T],
    start: usize,
    step: isize,
    out: &mut [T],
    out_step: usize,
) {
    let last = start.checked_add_signed((TILE as isize - 1) * step).expect("a tile lies within its storage");
    assert!(start.max(last) + TILE <= from.len() && (TILE - 1) * out_step + TILE <= out.len());
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && <S::F32 as Vector<f32>>::LANES == TILE {
        // SAFETY: only the AVX-512 marker has registers of 16, and it is named only on processors that have AVX-512F. All
        // lines lie between the first and the last, which have been checked, and the elements are plain numbers of four
        // bytes, whose bits are moved and not looked at.
        return unsafe { laced(from.as_ptr().add(start).cast(), step, out.as_mut_ptr().cast(), out_step) };
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        // SAFETY: all lines have been checked as above, and elements are plain numbers of that size.
        unsafe {
            let (from, out) = (from.as_ptr().add(start).cast(), out.as_mut_ptr().cast());
            match size_of::<T>() {
                1 => return squares::<1, 16>(from, step, out, out_step),
                2 => return squares::<2, 8>(from, step, out, out_step),
                4 => return squares::<4, 4>(from, step, out, out_step),
                8 => return squares::<8, 2>(from, step, out, out_step),
                _ => {}
            }
        }
    }
    for c in 0..TILE {
        let line = &from[start.wrapping_add_signed(c as isize * step)..][..TILE];
        for r in 0..TILE {
            out[r * out_step + c] = line[r];
        }
    }
}

/// A tile as squares of `SIDE` elements of `SIZE` bytes, sixteen bytes a line.
///
/// # Safety
/// Sixteen lines of sixteen elements, `step` elements apart, can be read and, `out_step` apart, written.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
unsafe fn squares<const SIZE: usize, const SIDE: usize>(
    from: *const u8,
    step: isize,
    out: *mut u8,
    out_step: usize,
) {
    for r in (0..TILE).step_by(SIDE) {
        for c in (0..TILE).step_by(SIDE) {
            // SAFETY: as the caller promises.
            unsafe {
                let from = from.offset(c as isize * step * SIZE as isize).add(r * SIZE);
                let mut lines: [Line; SIDE] =
                    std::array::from_fn(|i| load(from.offset(i as isize * step * SIZE as isize)));
                for _ in 0..SIDE.ilog2() {
                    lines = std::array::from_fn(|i| {
                        interleave::<SIZE>(lines[i / 2], lines[i / 2 + SIDE / 2], i % 2 == 1)
                    });
                }
                let out = out.add((r * out_step + c) * SIZE);
                for (i, line) in lines.into_iter().enumerate() {
                    store(out.add(i * out_step * SIZE), line);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
use sse2::{Line, interleave, load, store};

/// Sixteen bytes with SSE2, which every x86-64 processor has.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpackhi_epi16, _mm_unpackhi_epi32,
        _mm_unpackhi_epi64, _mm_unpacklo_epi8, _mm_unpacklo_epi16, _mm_unpacklo_epi32, _mm_unpacklo_epi64,
    };

    pub(super) use std::arch::x86_64::__m128i as Line;

    /// # Safety
    /// Sixteen bytes can be read.
    #[inline(always)]
    pub(super) unsafe fn load(from: *const u8) -> Line {
        // SAFETY: as the caller promises; the address need not be aligned.
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    /// # Safety
    /// Sixteen bytes can be written.
    #[inline(always)]
    pub(super) unsafe fn store(out: *mut u8, line: Line) {
        // SAFETY: as the caller promises; the address need not be aligned.
        unsafe { _mm_storeu_si128(out.cast(), line) }
    }

    /// Elements of `SIZE` bytes of `a` and `b` in turn: the first half of them, or the second.
    #[inline(always)]
    pub(super) fn interleave<const SIZE: usize>(a: Line, b: Line, second: bool) -> Line {
        // SAFETY: these instructions are part of every x86-64 processor.
        unsafe {
            match (SIZE, second) {
                (1, false) => _mm_unpacklo_epi8(a, b),
                (1, true) => _mm_unpackhi_epi8(a, b),
                (2, false) => _mm_unpacklo_epi16(a, b),
                (2, true) => _mm_unpackhi_epi16(a, b),
                (4, false) => _mm_unpacklo_epi32(a, b),
                (4, true) => _mm_unpackhi_epi32(a, b),
                (_, false) => _mm_unpacklo_epi64(a, b),
                (_, true) => _mm_unpackhi_epi64(a, b),
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
use neon::{Line, interleave, load, store};

/// Sixteen bytes with NEON, which every 64-bit Arm processor has.
#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::{
        vld1q_u8, vreinterpretq_u8_u16, vreinterpretq_u8_u32, vreinterpretq_u8_u64, vreinterpretq_u16_u8,
        vreinterpretq_u32_u8, vreinterpretq_u64_u8, vst1q_u8, vzip1q_u8, vzip1q_u16, vzip1q_u32, vzip1q_u64,
        vzip2q_u8, vzip2q_u16, vzip2q_u32, vzip2q_u64,
    };

    pub(super) use std::arch::aarch64::uint8x16_t as Line;

    /// # Safety
    /// Sixteen bytes can be read.
    #[inline(always)]
    pub(super) unsafe fn load(from: *const u8) -> Line {
        // SAFETY: as the caller promises; the address need not be aligned.
        unsafe { vld1q_u8(from) }
    }

    /// # Safety
    /// Sixteen bytes can be written.
    #[inline(always)]
    pub(super) unsafe fn store(out: *mut u8, line: Line) {
        // SAFETY: as the caller promises; the address need not be aligned.
        unsafe { vst1q_u8(out, line) }
    }

    /// Elements of `SIZE` bytes of `a` and `b` in turn: the first half of them, or the second.
    #[inline(always)]
    pub(super) fn interleave<const SIZE: usize>(a: Line, b: Line, second: bool) -> Line {
        // SAFETY: these instructions are part of every 64-bit Arm processor.
        unsafe {
            let (a2, b2) = (vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b));
            let (a4, b4) = (vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b));
            let (a8, b8) = (vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b));
            match (SIZE, second) {
                (1, false) => vzip1q_u8(a, b),
                (1, true) => vzip2q_u8(a, b),
                (2, false) => vreinterpretq_u8_u16(vzip1q_u16(a2, b2)),
                (2, true) => vreinterpretq_u8_u16(vzip2q_u16(a2, b2)),
                (4, false) => vreinterpretq_u8_u32(vzip1q_u32(a4, b4)),
                (4, true) => vreinterpretq_u8_u32(vzip2q_u32(a4, b4)),
                (_, false) => vreinterpretq_u8_u64(vzip1q_u64(a8, b8)),
                (_, true) => vreinterpretq_u8_u64(vzip2q_u64(a8, b8)),
            }
        }
    }
}

/// Calls for the lines of a tile that will be read soon. Only a hint: nothing happens where they lie outside the storage.
#[inline(always)]
pub(crate) fn fetch<T: Element>(from: &[T], start: usize, step: isize) {
    #[cfg(target_arch = "x86_64")]
    for c in 0..TILE as isize {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let line = from.as_ptr().wrapping_add(start).wrapping_offset(c * step);
        // SAFETY: an address that is only hinted at may be any.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, start, step);
}

/// # Safety
/// The processor has AVX-512F; sixteen lines of sixteen elements, `step` apart, can be read and, `out_step` apart, written.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn laced(from: *const f32, step: isize, out: *mut f32, out_step: usize) {
    use std::arch::x86_64::{
        __m512, _mm512_loadu_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps, _mm512_storeu_ps,
        _mm512_unpackhi_ps, _mm512_unpacklo_ps,
    };
    // SAFETY: as the caller promises.
    unsafe {
        let line = |c: usize| _mm512_loadu_ps(from.offset(c as isize * step));
        // Blocks of four lines are transposed within each quarter of the registers, and then quarters between registers.
        let mut quarters: [[__m512; 4]; 4] = std::array::from_fn(|block| {
            let [a, b, c, d] =
                [line(4 * block), line(4 * block + 1), line(4 * block + 2), line(4 * block + 3)];
            let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
            let (high_ab, high_cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
            [
                _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
                _mm512_shuffle_ps::<0b01_00_01_00>(high_ab, high_cd),
                _mm512_shuffle_ps::<0b11_10_11_10>(high_ab, high_cd),
            ]
        });
        for r in 0..4 {
            let [a, b, c, d] = [quarters[0][r], quarters[1][r], quarters[2][r], quarters[3][r]];
            let (even_ab, odd_ab) =
                (_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
            let (even_cd, odd_cd) =
                (_mm512_shuffle_f32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
            quarters[0][r] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even_ab, even_cd);
            quarters[1][r] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd_ab, odd_cd);
            quarters[2][r] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even_ab, even_cd);
            quarters[3][r] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd_ab, odd_cd);
        }
        for (block, rows) in quarters.into_iter().enumerate() {
            for (r, row) in rows.into_iter().enumerate() {
                _mm512_storeu_ps(out.add((4 * block + r) * out_step), row);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Kernel, dispatch};

    /// Columns of a matrix of 20 columns, from number 3 on, to rows of one of 17.
    struct One<'a, T: Element>(&'a [T], &'a mut [T]);
    impl<T: Element> Kernel for One<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            tile::<S, T>(self.0, 3, 20, self.1, 17);
        }
    }

    fn check<T: Element>() {
        let from: Vec<T> = (0..TILE * 20).map(|i| T::from_f64((i % 251) as f64)).collect();
        let mut out = vec![T::default(); TILE * 17];
        dispatch(One(&from, &mut out));
        for r in 0..TILE {
            for c in 0..TILE {
                assert_eq!(out[r * 17 + c], from[3 + c * 20 + r], "{} {r} {c}", T::DTYPE);
            }
        }
    }

    #[test]
    fn every_element_finds_its_place() {
        check::<f32>();
        check::<u32>();
        check::<f64>();
        check::<u8>();
        check::<half::f16>();
    }
}
