//! Memory that is called for before it is needed. Only hints: an address may be any, and nothing depends on them.

/// Calls for `len` elements from `start` on.
#[inline(always)]
pub(crate) fn lines<T>(from: &[T], start: usize, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..len).step_by(64 / size_of::<T>().max(1)) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let at = from.as_ptr().wrapping_add(start + line);
        // SAFETY: an address that is only hinted at may be any.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, start, len);
}

/// Calls for a slice that is read soon, and that the processor cannot guess: the row of an item that was drawn. It pays some
/// hundred nanoseconds ahead, for data that no near cache holds. Only a hint: on processors other than x86 it does nothing.
///
/// ```
/// let table = vec![1.0_f32; 64 * 100_000];
/// let rows = [7, 90_001, 33, 48_110];
/// let mut sum = 0.0;
/// for (n, &row) in rows.iter().enumerate() {
///     if let Some(&next) = rows.get(n + 1) {
///         cairn_tensor::kernel::prefetch(&table[64 * next..][..64]);
///     }
///     sum += table[64 * row..][..64].iter().sum::<f32>();
/// }
/// assert_eq!(sum, 256.0);
/// ```
#[inline(always)]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for value in values.iter().step_by((64 / size_of::<T>().max(1)).max(1)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, at an address of the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
