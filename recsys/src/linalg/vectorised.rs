//! A loop compiled for the widest vectors of the processor it runs on.
//!
//! pulp takes closures itself, but calls them through `FnOnce`, and the shim that the compiler puts between that and a
//! closure that changes what it captures is not inlined: the loop stays outside the function that has the instructions, and
//! runs as for the oldest processor. Calling it as what it is, `FnMut`, needs no shim.
//!
//! Lists of the best items are not made so: their loops of compares and branches were measured a third slower for it.

use pulp::{Arch, NullaryFnOnce};

struct Loop<F>(F);

impl<R, F: FnMut() -> R> NullaryFnOnce for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn call(mut self) -> R {
        (self.0)()
    }
}

/// Runs `body`, which must be a closure marked `#[inline(always)]` that changes something it captures.
#[inline(always)]
pub(crate) fn vectorised<R>(body: impl FnMut() -> R) -> R {
    Arch::new().dispatch(Loop(body))
}
