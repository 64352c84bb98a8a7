//! Transposing one tile of 16 by 16 elements, the innermost step of copying a transposed view.
//!
//! The compiler makes single loads and inserts of a tile's transpose, whatever way it is written. With AVX-512 a tile of
//! four-byte elements is sixteen registers, and four rounds of lacing transpose it: line `i` and line `i + 8` become lines
//! `2i` and `2i + 1`, one element of each in turn. That is 64 instructions in place of 512.

use crate::Element;
use crate::cpu::{Isa, Vector};

/// Side of a tile: 16 elements of 4 bytes are a cache line.
pub(crate) const TILE: usize = 16;

/// `out[r][c] = lines[c][r]`.
#[inline(always)]
pub(crate) fn tile<S: Isa, T: Element>(lines: [&[T; TILE]; TILE]) -> [[T; TILE]; TILE] {
    #[cfg(target_arch = "x86_64")]
    if size_of::<T>() == 4 && <S::F32 as Vector<f32>>::LANES == TILE {
        // SAFETY: only the AVX-512 marker has registers of 16, and it is named only on processors that have AVX-512F. The
        // elements are plain numbers of four bytes, whose bits are moved and not looked at.
        return unsafe { laced(lines) };
    }
    std::array::from_fn(|r| std::array::from_fn(|c| lines[c][r]))
}

/// # Safety
/// The processor has AVX-512F, and `T` is a number of four bytes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn laced<T: Element>(lines: [&[T; TILE]; TILE]) -> [[T; TILE]; TILE] {
    use std::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_permutex2var_epi32, _mm512_setr_epi32, _mm512_storeu_si512,
    };
    // SAFETY: the instructions are there, each line is 64 bytes to be read, and each line of `out` 64 to be written.
    unsafe {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        let mut tile: [__m512i; TILE] = lines.map(|line| _mm512_loadu_si512(line.as_ptr().cast()));
        for _ in 0..TILE.ilog2() {
            let mut next = tile;
            for i in 0..TILE / 2 {
                let (a, b) = (tile[i], tile[i + TILE / 2]);
                next[2 * i] = _mm512_permutex2var_epi32(a, low, b);
                next[2 * i + 1] = _mm512_permutex2var_epi32(a, high, b);
            }
            tile = next;
        }
        let mut out = [[T::default(); TILE]; TILE];
        for (line, register) in out.iter_mut().zip(tile) {
            _mm512_storeu_si512(line.as_mut_ptr().cast(), register);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Kernel, dispatch};

    struct One<T: Element>([[T; TILE]; TILE]);
    impl<T: Element> Kernel for One<T> {
        type Output = [[T; TILE]; TILE];
        #[inline(always)]
        fn run<S: Isa>(self) -> Self::Output {
            tile::<S, T>(self.0.each_ref())
        }
    }

    fn check<T: Element>() {
        let tile: [[T; TILE]; TILE] =
            std::array::from_fn(|r| std::array::from_fn(|c| T::from_f64((r * TILE + c) as f64)));
        let turned = dispatch(One(tile));
        for r in 0..TILE {
            for c in 0..TILE {
                assert_eq!(turned[r][c], tile[c][r], "{} {r} {c}", T::DTYPE);
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
