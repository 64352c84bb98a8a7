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
