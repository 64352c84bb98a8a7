//! Memory for tensors: from 1 KiB on 64-byte aligned (a cache line, and an AVX-512 register), recycled, counted.
//!
//! A training loop asks for the same sizes again and again. Memory from the system for large blocks means page faults,
//! which cost more than many of the operations that fill them, so freed blocks are kept in lists by size class and
//! handed out again. Classes are four to a power of two: at most a quarter of a new block is slack. A large one may stand in
//! for the two classes below its own, and takes the place of an idle one of these. Blocks under 1 KiB go
//! straight to the system's allocator, which is good at those, but only with the alignment that it gives anyway. At most
//! [`KEEP_BYTES`] lie idle; [`trim_memory`] gives them back.
//!
//! Recycled memory holds old values. That is sound because every bit pattern of the number types is a value; for `bool`
//! the block is cleared first. A new block from the system is cleared, so nothing here is ever uninitialised.

use std::alloc::Layout;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::{Element, Error, Result};

const ALIGN: usize = 64;
/// Blocks below this many bytes are not pooled.
const SMALL_BYTES: usize = 1 << 10;
/// Blocks of at least so many bytes are not touched before they are written to, and may stand in for somewhat smaller ones.
const LAZY_BYTES: usize = 1 << 17;
/// The alignment of every block of an allocator.
const PLAIN: usize = 16;
/// The most memory that lies idle in the pool.
const KEEP_BYTES: usize = 1 << 30;
/// Size classes: four for each power of two from `SMALL_BYTES` up.
const CLASSES: usize = 4 * 48;

static FREE: [Mutex<Vec<Block>>; CLASSES] = [const { Mutex::new(Vec::new()) }; CLASSES];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static IDLE: AtomicUsize = AtomicUsize::new(0);
static REUSED: AtomicUsize = AtomicUsize::new(0);
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Counters of the tensor memory of the whole process; see [`memory`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Bytes held by tensors now (blocks of 1 KiB and more).
    pub live_bytes: usize,
    /// The most `live_bytes` has been.
    pub peak_bytes: usize,
    /// Bytes kept for reuse.
    pub idle_bytes: usize,
    /// Blocks handed out from those kept.
    pub reused: usize,
    /// Blocks asked of the system.
    pub allocated: usize,
}

/// The counters now. `allocated` stands still in a steady loop:
///
/// ```
/// use cairn_tensor::{memory, Tensor};
/// let x = Tensor::<f32>::ones([1000, 10])?;
/// let _ = x.exp()?; // the first time memory may come from the system
/// let before = memory().reused;
/// let _ = x.exp()?;
/// assert!(memory().reused > before);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
pub fn memory() -> Memory {
    Memory {
        live_bytes: LIVE.load(Relaxed),
        peak_bytes: PEAK.load(Relaxed),
        idle_bytes: IDLE.load(Relaxed),
        reused: REUSED.load(Relaxed),
        allocated: ALLOCATED.load(Relaxed),
    }
}

/// Returns the memory kept for reuse to the system.
pub fn trim_memory() {
    for (class, list) in FREE.iter().enumerate() {
        let blocks = std::mem::take(&mut *lock(list));
        for block in blocks {
            IDLE.fetch_sub(class_bytes(class), Relaxed);
            // SAFETY: blocks in list `class` are of that class, and are owned by the list.
            unsafe { to_system(block.0, class) };
        }
    }
}

/// An owned block of memory in a free list.
struct Block(NonNull<u8>);
// SAFETY: the block is plain memory that the list alone owns.
unsafe impl Send for Block {}

/// A poisoned list is still a valid list: pushes and pops do not panic halfway.
fn lock(list: &Mutex<Vec<Block>>) -> std::sync::MutexGuard<'_, Vec<Block>> {
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The smallest class whose blocks hold `bytes`, or `None` when the size is absurd.
fn class_of(bytes: usize) -> Option<usize> {
    let bytes = bytes.max(SMALL_BYTES);
    let power = bytes.ilog2();
    let quarter = 1usize << (power - 2);
    let steps = (bytes - (1 << power)).div_ceil(quarter);
    let class = 4 * (power - SMALL_BYTES.ilog2()) as usize + steps;
    (class < CLASSES).then_some(class)
}

fn class_bytes(class: usize) -> usize {
    (SMALL_BYTES << (class / 4)) / 4 * (4 + class % 4)
}

fn class_layout(class: usize) -> Layout {
    // Sizes of all classes are multiples of 64 and far below isize::MAX, so this cannot fail.
    Layout::from_size_align(class_bytes(class), ALIGN).expect("a size class is a valid layout")
}

/// The layout of a large block: with the alignment that allocators give anyway, and room to align it here.
fn lazy_layout(class: usize) -> Option<Layout> {
    let bytes = class_bytes(class);
    // Sizes of all classes are far below isize::MAX.
    (bytes >= LAZY_BYTES).then(|| Layout::from_size_align(bytes + ALIGN, PLAIN).expect("as above"))
}

/// A cleared block of a class.
///
/// Allocators take large blocks from the system as pages that are cleared when they are first touched. Asked for a larger alignment
/// they would clear a block themselves, slack and all, and touch every page.
fn from_system(class: usize) -> Option<NonNull<u8>> {
    let Some(layout) = lazy_layout(class) else {
        // SAFETY: the layout's size is not zero.
        return NonNull::new(unsafe { std::alloc::alloc_zeroed(class_layout(class)) });
    };
    // SAFETY: as above.
    let raw = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
    let gap = ALIGN - raw.addr().get() % ALIGN;
    // SAFETY: the block has `ALIGN` bytes more than the class, and the gap is of 1 to `ALIGN` of them, of which the last says how many.
    unsafe {
        let start = raw.add(gap);
        start.sub(1).write(gap as u8);
        Some(start)
    }
}

/// Gives a block back.
///
/// # Safety
/// It is one of [`from_system`] of the same class, and nobody's any more.
unsafe fn to_system(start: NonNull<u8>, class: usize) {
    // SAFETY: as the caller promises, the block begins where the byte before `start` says, or there, and has that layout.
    unsafe {
        match lazy_layout(class) {
            Some(layout) => {
                let gap = start.sub(1).read();
                std::alloc::dealloc(start.sub(gap.into()).as_ptr(), layout);
            }
            None => std::alloc::dealloc(start.as_ptr(), class_layout(class)),
        }
    }
}

/// An idle block for this class, and its own, which may be one of the next two if it is large.
fn recycled(class: usize) -> Option<(Block, usize)> {
    let last = if is_shared(class) { (class + 2).min(CLASSES - 1) } else { class };
    (class..=last).find_map(|class| Some((take(class)?, class)))
}

/// A cleared block of a class, in place of an idle one somewhat smaller, for which it can stand in.
///
/// Batches of differing lengths ask for sizes on both sides of a border between classes, and would otherwise keep blocks for each
/// of them: for recommenders of sequences twice the memory that is ever in use. Since a block only ever gives way to a larger one,
/// a loop comes to rest.
fn fresh(class: usize) -> Option<NonNull<u8>> {
    if is_shared(class)
        && let Some((block, smaller)) = (class - 2..class).rev().find_map(|class| Some((take(class)?, class)))
    {
        // SAFETY: a block of that class, which the list owned.
        unsafe { to_system(block.0, smaller) };
    }
    ALLOCATED.fetch_add(1, Relaxed);
    from_system(class)
}

fn is_shared(class: usize) -> bool {
    class_bytes(class) >= LAZY_BYTES
}

/// A block from the list of a class.
fn take(class: usize) -> Option<Block> {
    let block = lock(&FREE[class]).pop()?;
    IDLE.fetch_sub(class_bytes(class), Relaxed);
    Some(block)
}

#[derive(Clone, Copy)]
enum Origin {
    /// No memory behind it.
    Empty,
    /// From the pool's size class.
    Pool(usize),
    /// Too small for the pool: `len` elements, aligned to [`PLAIN`].
    Small,
    /// Taken over from a `Vec` with this capacity.
    Vec(usize),
}

/// A fixed-length block of elements, given back to the pool when dropped.
pub(crate) struct Buffer<T: Element> {
    ptr: NonNull<T>,
    len: usize,
    origin: Origin,
}

// SAFETY: a buffer owns its elements, which are plain numbers, as a `Vec` would.
unsafe impl<T: Element> Send for Buffer<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Element> Sync for Buffer<T> {}

impl<T: Element> Buffer<T> {
    /// `len` elements of unspecified (but valid) content.
    pub(crate) fn unspecified(op: &'static str, len: usize) -> Result<Self> {
        if T::ANY_BITS { Self::allocate(op, len) } else { Self::zeroed(op, len) }
    }

    /// `len` zeros.
    pub(crate) fn zeroed(op: &'static str, len: usize) -> Result<Self> {
        let buffer = Self::allocate(op, len)?;
        // SAFETY: the block holds `len` elements, and zero bytes are a value (0 or false) of every element type.
        unsafe { buffer.ptr.as_ptr().write_bytes(0, len) };
        Ok(buffer)
    }

    /// Takes over a vector's memory, without a copy unless it is small.
    pub(crate) fn from_vec(op: &'static str, vec: Vec<T>) -> Result<Self> {
        if size_of_val(vec.as_slice()) < SMALL_BYTES {
            let mut buffer = Self::unspecified(op, vec.len())?;
            buffer.copy_from_slice(&vec);
            return Ok(buffer);
        }
        let mut vec = std::mem::ManuallyDrop::new(vec);
        let ptr = NonNull::new(vec.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Ok(Buffer { ptr, len: vec.len(), origin: Origin::Vec(vec.capacity()) })
    }

    /// The elements as a vector, without a copy if they came from one.
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self.origin {
            Origin::Vec(capacity) => {
                let this = std::mem::ManuallyDrop::new(self);
                // SAFETY: pointer, length and capacity are those of the vector that `from_vec` took apart.
                unsafe { Vec::from_raw_parts(this.ptr.as_ptr(), this.len, capacity) }
            }
            _ => self.to_vec(),
        }
    }

    /// A block for `len` elements with old values in it, which the callers above make valid.
    fn allocate(op: &'static str, len: usize) -> Result<Self> {
        let too_large = || Error::OutOfMemory { op, elements: len, dtype: T::DTYPE };
        let bytes = len.checked_mul(size_of::<T>()).filter(|&b| b <= isize::MAX as usize / 2);
        let bytes = bytes.ok_or_else(too_large)?;
        if bytes == 0 {
            return Ok(Buffer { ptr: NonNull::dangling(), len: 0, origin: Origin::Empty });
        }
        if bytes < SMALL_BYTES {
            // SAFETY: the size is not zero.
            let raw = unsafe { std::alloc::alloc(Self::small_layout(len)) };
            let ptr = NonNull::new(raw).ok_or_else(too_large)?;
            // Not by the allocator, whose ways to a cleared block are longer.
            // SAFETY: the block has so many bytes.
            unsafe { ptr.write_bytes(0, bytes) };
            let ptr = ptr.cast();
            return Ok(Buffer { ptr, len, origin: Origin::Small });
        }
        let class = class_of(bytes).ok_or_else(too_large)?;
        let (ptr, class) = match recycled(class) {
            Some((block, class)) => {
                REUSED.fetch_add(1, Relaxed);
                (block.0, class)
            }
            None => (fresh(class).ok_or_else(too_large)?, class),
        };
        let live = LIVE.fetch_add(class_bytes(class), Relaxed) + class_bytes(class);
        PEAK.fetch_max(live, Relaxed);
        Ok(Buffer { ptr: ptr.cast(), len, origin: Origin::Pool(class) })
    }

    fn small_layout(len: usize) -> Layout {
        // Below 1 KiB by construction.
        Layout::from_size_align(len * size_of::<T>(), PLAIN).expect("a small block is a valid layout")
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        match self.origin {
            Origin::Empty => {}
            Origin::Pool(class) => {
                let bytes = class_bytes(class);
                LIVE.fetch_sub(bytes, Relaxed);
                if IDLE.load(Relaxed) + bytes <= KEEP_BYTES {
                    IDLE.fetch_add(bytes, Relaxed);
                    lock(&FREE[class]).push(Block(self.ptr.cast()));
                } else {
                    // SAFETY: a block of this class from `allocate`, and not in a list.
                    unsafe { to_system(self.ptr.cast(), class) };
                }
            }
            // SAFETY: allocated in `allocate` with this layout; `len` has not changed since.
            Origin::Small => unsafe {
                std::alloc::dealloc(self.ptr.as_ptr().cast(), Self::small_layout(self.len));
            },
            // SAFETY: pointer, length and capacity are those of the vector that `from_vec` took apart.
            Origin::Vec(capacity) => unsafe {
                drop(Vec::from_raw_parts(self.ptr.as_ptr(), self.len, capacity));
            },
        }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `len` elements, all initialised: cleared when it came from the system, written since.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_cover_sizes_with_little_slack() {
        for bytes in (1..200_000).chain([1 << 30, (1 << 34) + 1, 3 << 40]) {
            let class = class_of(bytes).unwrap();
            assert!(class_bytes(class) >= bytes, "{bytes} in class {class}");
            if bytes > SMALL_BYTES {
                assert!(class_bytes(class) <= bytes + bytes.div_ceil(4), "{bytes} in class {class}");
                assert!(class == 0 || class_bytes(class - 1) < bytes);
            }
        }
        assert_eq!(class_of(usize::MAX / 4), None);
    }

    #[test]
    fn blocks_are_aligned_and_bools_are_cleared() {
        for len in [1, 7, 300, 5000] {
            let numbers = Buffer::<f32>::unspecified("test", len).unwrap();
            let small = size_of_val(&numbers[..]) < SMALL_BYTES;
            assert_eq!(numbers.as_ptr() as usize % if small { PLAIN } else { ALIGN }, 0);
            drop(numbers);
            let mut bytes = Buffer::<u8>::unspecified("test", 4 * len).unwrap();
            bytes.fill(255);
            drop(bytes);
            assert!(Buffer::<bool>::unspecified("test", 4 * len).unwrap().iter().all(|&b| !b));
        }
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        for len in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 8] {
            assert!(matches!(Buffer::<f64>::unspecified("test", len), Err(Error::OutOfMemory { .. })));
        }
    }

    #[test]
    fn vectors_come_back_without_a_copy() {
        let vec = vec![1.0f32; 5000];
        let address = vec.as_ptr();
        let back = Buffer::from_vec("test", vec).unwrap().into_vec();
        assert_eq!((back.as_ptr(), back.len()), (address, 5000));
    }
}
