//! Loops of your own, as fast as the tensors': compiled for every instruction set, split over threads, with the same bits
//! for any number of them.
//!
//! For the crates above, and for anyone whose data is not a tensor (sparse rows, lists of neighbours). Nothing here
//! is `unsafe`, and the environment variable `CAIRN_ISA` reaches it as it reaches the tensors' own kernels.
//!
//! | for | use |
//! |---|---|
//! | a loop that the compiler vectorises | [`vectorize`] with a closure |
//! | a loop over registers: tiles of sums, several rows at a time | a [`Kernel`] with its [`Vector`], and [`dispatch`] |
//! | independent tasks | [`for_each`], [`map`] |
//! | a slice of which each task writes a part | [`for_each_chunk`], [`for_each_part`], [`for_each_run`] |
//! | rows at places that are drawn, called for ahead | [`prefetch`] |
//! | word vectors | [`NegativeSampling`] |
//!
//! A loop over registers, here the inner product of two slices:
//!
//! ```
//! use cairn_tensor::kernel::{Isa, Kernel, Vector, dispatch};
//!
//! struct Dot<'a>(&'a [f32], &'a [f32]);
//!
//! impl Kernel for Dot<'_> {
//!     type Output = f32;
//!
//!     #[inline(always)] // or it is compiled for the oldest processor
//!     fn run<S: Isa>(self) -> f32 {
//!         let (a, a_rest) = S::F32::chunks(self.0);
//!         let (b, b_rest) = S::F32::chunks(self.1);
//!         let mut sum = S::F32::splat(0.0);
//!         for (a, b) in a.iter().zip(b) {
//!             sum = S::F32::load(a).mul_add(S::F32::load(b), sum);
//!         }
//!         let mut sum = sum.sum();
//!         for (a, b) in a_rest.iter().zip(b_rest) {
//!             sum += a * b;
//!         }
//!         sum
//!     }
//! }
//!
//! let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
//! assert_eq!(dispatch(Dot(&x, &x)), 328_350.0);
//! ```
//!
//! # Same bits
//! A task's result must not depend on how many tasks there are: cut work by sizes that follow from the data, never from
//! [`num_threads`], and add partial results in the order of the tasks, as [`map`] returns them. Between machines the last
//! digits differ, with the registers' length and with whether a multiply-add is rounded once.

mod negative_sampling;
mod parallel;

pub use crate::cpu::fetch::prefetch;
pub use crate::cpu::threads::num_threads;
pub use crate::cpu::{Isa, Kernel, Vector, dispatch, instruction_set};
pub use negative_sampling::{NegativeSampling, SamplingPlan};
pub use parallel::{for_each, for_each_chunk, for_each_part, for_each_run, map};

/// Runs a closure compiled for the best instructions the machine has, so that its loops are vectorised with them.
///
/// The closure must be marked `#[inline(always)]`, and so must the functions it calls and the closures in it, or they are
/// compiled for the oldest processor.
///
/// ```
/// use cairn_tensor::kernel::vectorize;
/// let x = [1.0f32; 100];
/// let mut y = [0.5f32; 100];
/// vectorize(
///     #[inline(always)]
///     || y.iter_mut().zip(&x).for_each(|(y, x)| *y += 2.0 * x),
/// );
/// assert_eq!(y, [2.5; 100]);
/// ```
#[inline]
pub fn vectorize<R>(body: impl FnMut() -> R) -> R {
    /// Called as `FnMut`: between `FnOnce` and a closure that changes what it captures the compiler puts a function that
    /// it does not inline.
    struct Body<F>(F);
    impl<R, F: FnMut() -> R> Kernel for Body<F> {
        type Output = R;
        #[inline(always)]
        fn run<S: Isa>(mut self) -> R {
            (self.0)()
        }
    }
    dispatch(Body(body))
}
