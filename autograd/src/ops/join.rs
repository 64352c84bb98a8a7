//! Joining: the gradient is cut up again.

use cairn_tensor::{Axis, Float, Tensor};

use crate::trace::from_front;
use crate::{Gradient, Result, Settings, Var};

impl<T: Float> Var<T> {
    /// The variables one after the other along an axis.
    ///
    /// # Errors
    /// When other sizes differ, or there are none.
    pub fn cat(vars: &[&Self], axis: impl Axis) -> Result<Self> {
        let axis = axis.number();
        let values: Vec<_> = vars.iter().map(|var| var.value()).collect();
        let value = Tensor::cat(&values, axis)?;
        let rank = value.rank();
        let parts = vars
            .iter()
            .map(|var| Ok((var.is_tracked(), var.value().size(axis)?)))
            .collect::<Result<Vec<_>>>()?;
        let parents = vars.iter().map(|&var| var.clone()).collect();
        let result = Var::record(
            "cat",
            value,
            parents,
            Box::new(move |g| {
                let mut start = 0;
                let mut gradients = Vec::with_capacity(parts.len());
                for &(wanted, size) in &parts {
                    let part = g.narrow(axis, start, size)?;
                    gradients.push(wanted.then_some(Gradient::Dense(part)));
                    start += size;
                }
                Ok(gradients)
            }),
        );
        Ok(result.told(|| Settings::Axis(from_front(axis, rank))))
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
