//! Images at another height and width.

use cairn_tensor::{Float, Resize};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Images at another size.
    Resizing {
        /// See [`Var::resize2d`].
        Resize2d {
            /// Height and width of the result.
            size: [usize; 2],
            /// How pixels are made.
            kind: Resize,
        } = "resize2d",
    }
}

impl Rule for Resizing {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let (x, &Resizing::Resize2d { size, kind }) = (x.float(0)?, self);
        wanted.ran_one(x.resize2d(size, kind)?, |_| {
            let shape = x.dims().clone();
            move |g| g.resize2d_backward(&shape, kind)
        })
    }
}

impl<T: Float> Var<T> {
    /// Images `[batch, height, width, channels]` at another height and width.
    ///
    /// # Errors
    /// When these are no images, or a size is 0.
    #[doc(alias = "interpolate")]
    pub fn resize2d(&self, size: [usize; 2], kind: Resize) -> Result<Self> {
        Var::apply(Resizing::Resize2d { size, kind }, &[self.into()])
    }
}
