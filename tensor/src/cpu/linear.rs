//! What a linear layer does besides its matrix product.

use crate::Float;
use crate::cpu::{Isa, Kernel, dispatch, threads};

/// max(x, 0) of each element; NaN stays.
pub(crate) fn relu_in_place<T: Float>(out: &mut [T]) {
    struct Relu<'a, T>(&'a mut [T]);
    impl<T: Float> Kernel for Relu<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self) {
            for x in self.0 {
                *x = if *x < T::ZERO { T::ZERO } else { *x };
            }
        }
    }
    threads::split_units(out, 1, 1, |_, out| {
        dispatch(Relu(out));
        false
    });
}
