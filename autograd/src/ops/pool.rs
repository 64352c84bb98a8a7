//! Pooling of images `[batch, height, width, channels]`.

use cairn_tensor::{Float, Pool};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Pooling of images.
    Pooling {
        /// The maximum over each window.
        Max {
            /// The windows.
            pool: Pool,
        } = "max_pool2d",
        /// The mean over each window.
        Mean {
            /// The windows.
            pool: Pool,
        } = "avg_pool2d",
    }
}

impl Rule for Pooling {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        match *self {
            Pooling::Max { pool } => wanted.ran_one(x.max_pool2d(&pool)?, |y| {
                let (x, y) = (x.clone(), y.clone());
                move |g| x.max_pool2d_backward(&y, g, &pool)
            }),
            Pooling::Mean { pool } => wanted.ran_one(x.avg_pool2d(&pool)?, |_| {
                let shape = x.dims().clone();
                move |g| g.avg_pool2d_backward(&shape, &pool)
            }),
        }
    }
}

impl<T: Float> Var<T> {
    /// The maximum over each window; the gradient goes to the first one.
    ///
    /// # Errors
    /// When the image is smaller than the window, or is no image.
    pub fn max_pool2d(&self, pool: &Pool) -> Result<Self> {
        Var::apply(Pooling::Max { pool: *pool }, &[self.into()])
    }

    /// The mean over each window.
    ///
    /// # Errors
    /// When the image is smaller than the window, or is no image.
    pub fn avg_pool2d(&self, pool: &Pool) -> Result<Self> {
        Var::apply(Pooling::Mean { pool: *pool }, &[self.into()])
    }
}
