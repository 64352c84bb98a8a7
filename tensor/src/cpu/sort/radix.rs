//! Sorting 64-bit words by their upper halves, digit by digit from the lowest (LSD radix sort).
//!
//! Each pass is stable and moves every word once, whatever their order was, where a comparison sort of a million looks at each
//! some twenty times. A pass counts the digits of each chunk, which says where every chunk's words of every digit go; then
//! chunks are moved by different threads to places that do not overlap. Digits in which all words agree, as the upper ones of
//! small numbers do, cost the counting alone.

use crate::Result;
use crate::cpu::buffer::Buffer;
use crate::cpu::threads;

/// Values of a digit of eight bits. Larger digits would need fewer passes, but write to more places at a time than the
/// processor keeps track of.
const DIGITS: usize = 256;
/// The least words of a chunk.
const CHUNK: usize = 1 << 16;
/// The most chunks, about.
const MOST_CHUNKS: usize = 64;

/// Room for words, from the pool: a sort in a loop asks the system for none.
pub(crate) struct Words(Buffer<i64>);

impl Words {
    /// # Errors
    /// When there is no memory.
    pub(crate) fn new(len: usize) -> Result<Self> {
        Buffer::unspecified("sort", len).map(Words)
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u64] {
        // SAFETY: the two types differ in the meaning of one bit alone, and the slice is borrowed as the buffer is.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }
}

/// Sorts by bits 32 to 63; words that agree there keep their order. `spare` is as long as `words`; the result stands in one of
/// the two, which is returned.
pub(crate) fn sort<'a>(mut words: &'a mut [u64], mut spare: &'a mut [u64]) -> &'a [u64] {
    for digit in 4..8 {
        if pass(words, spare, 8 * digit) {
            std::mem::swap(&mut words, &mut spare);
        }
    }
    words
}

/// Where words are moved to, by several threads at once.
struct Places(*mut u64, usize);
// SAFETY: threads write to different places (see `pass`).
unsafe impl Sync for Places {}

impl Places {
    /// # Safety
    /// Nobody else writes to this place.
    unsafe fn set(&self, place: usize, word: u64) {
        assert!(place < self.1, "a word's place lies outside");
        // SAFETY: within the slice, as just checked, and nobody else's.
        unsafe { self.0.add(place).write(word) };
    }
}

/// Moves words from `from` to `to`, in the order of one digit; false, and nothing is moved, if they all agree in it.
fn pass(from: &[u64], to: &mut [u64], shift: u32) -> bool {
    let digit = |word: u64| (word >> shift) as usize % DIGITS;
    let size = from.len().div_ceil(MOST_CHUNKS).max(CHUNK);
    let chunks: Vec<&[u64]> = from.chunks(size).collect();
    let mut places = vec![[0usize; DIGITS]; chunks.len()];
    threads::split_units(&mut places, 1, size, |first, places| {
        for (counts, chunk) in places.iter_mut().zip(&chunks[first..]) {
            chunk.iter().for_each(|&word| counts[digit(word)] += 1);
        }
        false
    });
    // From counts to places: all words of the lower digits come before, then those of this one in earlier chunks.
    let mut next = 0;
    for value in 0..DIGITS {
        let before = next;
        for counts in &mut places {
            (counts[value], next) = (next, next + counts[value]);
        }
        if next - before == from.len() {
            return false;
        }
    }
    let target = Places(to.as_mut_ptr(), to.len());
    threads::split_units(&mut places, 1, size, |first, places| {
        let target = &target;
        for (places, chunk) in places.iter_mut().zip(&chunks[first..]) {
            for &word in *chunk {
                let place = &mut places[digit(word)];
                // SAFETY: the counts gave every word of every chunk a place of its own.
                unsafe { target.set(*place, word) };
                *place += 1;
            }
        }
        false
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_by_their_upper_halves_and_keep_their_order() {
        for len in [0usize, 1, 2, 255, 1000, CHUNK, CHUNK + 1, 3 * CHUNK + 17] {
            for bits in [0, 1, 7, 9, 20, 32] {
                let upper =
                    |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 << 32 >> (32 - bits);
                let words: Vec<u64> = (0..len).map(|i| upper(i) & 0xffff_ffff_0000_0000 | i as u64).collect();
                let mut sorted = words.clone();
                sorted.sort_by_key(|word| word >> 32);
                let mut room = (Words::new(len).unwrap(), Words::new(len).unwrap());
                room.0.as_mut().copy_from_slice(&words);
                let own = sort(room.0.as_mut(), room.1.as_mut());
                assert!(own == sorted, "{len} words of {bits} bits");
            }
        }
    }
}
