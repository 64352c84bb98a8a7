//! Running folds along an axis.

use cairn_tensor::{Axis, Float};

use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Running folds.
    Scan {
        /// The running sum.
        CumSum {
            /// Along which axis.
            axis: usize,
        } = "cumsum",
        /// The running product.
        CumProd {
            /// Along which axis.
            axis: usize,
        } = "cumprod",
    }
}

impl Rule for Scan {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        match *self {
            // Each element is part of every sum from its own on: a running sum from the end.
            Scan::CumSum { axis } => wanted.ran_one(x.cumsum(axis)?, |_| {
                move |g: &cairn_tensor::Tensor<T>| g.flip(axis)?.cumsum(axis)?.flip(axis)
            }),
            Scan::CumProd { axis } => wanted.ran_one(x.cumprod(axis)?, |_| {
                let x = x.clone();
                move |g| x.cumprod_backward(g, axis)
            }),
        }
    }
}

impl<T: Float> Var<T> {
    /// Running sum along an axis.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn cumsum(&self, axis: impl Axis) -> Result<Self> {
        let axis = self.axis("cumsum", axis)?;
        Var::apply(Scan::CumSum { axis }, &[self.into()])
    }

    /// Running product along an axis, differentiated exactly where elements are 0 too.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn cumprod(&self, axis: impl Axis) -> Result<Self> {
        let axis = self.axis("cumprod", axis)?;
        Var::apply(Scan::CumProd { axis }, &[self.into()])
    }
}
