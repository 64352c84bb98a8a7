//! Transposing one tile of 16 by 16 elements, the innermost step of copying a transposed view.
//!
//! The compiler makes single loads and inserts of a tile's transpose, whatever way it is written. With AVX-512 a tile of
//! four-byte elements is sixteen registers, which four rounds of sixteen shuffles transpose: 64 instructions in place of 512.

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
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && <S::F32 as Vector<f32>>::LANES == TILE {
        let last =
            start.checked_add_signed((TILE as isize - 1) * step).expect("a tile lies within its storage");
        assert!(start.max(last) + TILE <= from.len() && (TILE - 1) * out_step + TILE <= out.len());
        // SAFETY: only the AVX-512 marker has registers of 16, and it is named only on processors that have AVX-512F. All
        // lines lie between the first and the last, which have been checked, and the elements are plain numbers of four
        // bytes, whose bits are moved and not looked at.
        return unsafe { laced(from.as_ptr().add(start).cast(), step, out.as_mut_ptr().cast(), out_step) };
    }
    let mut tile = [[T::default(); TILE]; TILE];
    for (c, line) in tile.iter_mut().enumerate() {
        line.copy_from_slice(&from[start.wrapping_add_signed(c as isize * step)..][..TILE]);
    }
    for r in 0..TILE {
        let out = &mut out[r * out_step..][..TILE];
        for c in 0..TILE {
            out[c] = tile[c][r];
        }
    }
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
