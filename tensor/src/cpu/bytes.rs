//! Elements as the bytes that files hold, the least significant first: on machines of that order, the memory itself.

use std::borrow::Cow;

use crate::Element;

/// The elements' bytes, without a copy where memory has their order.
pub(crate) fn little_endian<T: Element>(x: &[T]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        // SAFETY: an element is a plain number or truth value without padding (the trait is sealed), and every byte is a
        // `u8`; length and lifetime are those of the slice.
        Cow::Borrowed(unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), size_of_val(x)) })
    } else {
        let mut bytes = Vec::with_capacity(size_of_val(x));
        x.iter().for_each(|x| x.push_bytes(&mut bytes));
        Cow::Owned(bytes)
    }
}

/// Elements from exactly their bytes. `None` if some are no value of the type, with `out` half written.
pub(crate) fn from_little_endian<T: Element>(bytes: &[u8], out: &mut [T]) -> Option<()> {
    assert_eq!(bytes.len(), size_of_val(out), "bytes of the elements");
    if T::ANY_BITS && cfg!(target_endian = "little") {
        // SAFETY: as in `little_endian`, and every pattern of bits is a value of this type.
        let memory =
            unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<u8>(), size_of_val(out)) };
        memory.copy_from_slice(bytes);
    } else {
        for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *out = T::from_bytes(bytes, false)?;
        }
    }
    Some(())
}
