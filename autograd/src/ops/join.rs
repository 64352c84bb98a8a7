//! Joining: the gradient is cut up again.

use cairn_tensor::{Axis, Float, Tensor};

use super::from_front;
use crate::op::{Backward, Operands, Ran, Rule, Wanted, operations};
use crate::{Gradient, Result, Var};

operations! {
    /// Joining.
    Join {
        /// One after the other along an axis.
        Cat {
            /// The axis.
            axis: usize,
        } = "cat",
    }
}

impl Rule for Join {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let (&Join::Cat { axis }, parts) = (self, x.floats()?);
        let value = Tensor::cat(&parts, axis)?;
        let backward = wanted.any().then(|| -> Backward<T> {
            let sizes = parts.iter().map(|part| part.shape()[axis]);
            let parts: Vec<(bool, usize)> = wanted.0.iter().copied().zip(sizes).collect();
            Box::new(move |g| {
                let mut start = 0;
                let mut gradients = Vec::with_capacity(parts.len());
                for &(wanted, size) in &parts {
                    let part = g.narrow(axis, start, size)?;
                    gradients.push(wanted.then_some(Gradient::Dense(part)));
                    start += size;
                }
                Ok(gradients)
            })
        });
        Ok(Ran { value, backward })
    }
}

impl<T: Float> Var<T> {
    /// The variables one after the other along an axis.
    ///
    /// # Errors
    /// When other sizes differ, or there are none.
    #[doc(alias = "concat")]
    #[doc(alias = "concatenate")]
    pub fn cat(vars: &[&Self], axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let axis = match vars.first() {
            Some(first) => first.axis("cat", axis)?,
            // Refused, and named, by the tensors.
            None => from_front(axis, 1),
        };
        let operands: Vec<_> = vars.iter().map(|&var| var.into()).collect();
        Var::apply(Join::Cat { axis }, &operands)
    }

    /// The variables, all of one shape, along a new axis.
    ///
    /// # Errors
    /// As [`cat`](Self::cat).
    pub fn stack(vars: &[&Self], axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let parts = vars.iter().map(|var| var.unsqueeze(axis)).collect::<Result<Vec<_>>>()?;
        Self::cat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}
