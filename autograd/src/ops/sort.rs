//! Ranking: the gradient goes back to where each element stood.

use cairn_tensor::{Axis, Float, Tensor};

use super::index::put_back;
use crate::op::{Operands, Ran, Rule, Wanted, operations};
use crate::{Result, Var};

operations! {
    /// Ranking.
    Sort {
        /// The elements along an axis in order.
        Sort {
            /// Along which axis.
            axis: usize,
            /// Whether the largest comes first.
            descending: bool,
        } = "sort",
        /// The largest elements along an axis, in descending order.
        TopK {
            /// How many.
            k: usize,
            /// Along which axis.
            axis: usize,
        } = "topk",
    }
}

impl Rule for Sort {
    fn run<T: Float>(&self, x: Operands<'_, T>, wanted: Wanted<'_>) -> Result<Ran<T>> {
        let x = x.float(0)?;
        let (values, indices) = self.ranked(x)?;
        self.ran(x, values, &indices, wanted)
    }
}

impl Sort {
    /// The elements, and where each stood.
    fn ranked<T: Float>(&self, x: &Tensor<T>) -> cairn_tensor::Result<(Tensor<T>, Tensor<u32>)> {
        match *self {
            Sort::Sort { axis, descending } => x.sort(axis, descending),
            Sort::TopK { k, axis } => x.topk(k, axis),
        }
    }

    fn ran<T: Float>(
        &self,
        x: &Tensor<T>,
        values: Tensor<T>,
        indices: &Tensor<u32>,
        wanted: Wanted<'_>,
    ) -> Result<Ran<T>> {
        let &(Sort::Sort { axis, .. } | Sort::TopK { axis, .. }) = self;
        wanted.ran_one(values, |_| {
            let (indices, shape) = (indices.clone(), x.dims().clone());
            move |g| put_back(&shape, axis, &indices, g)
        })
    }

    fn apply<T: Float>(self, x: &Var<T>) -> Result<(Var<T>, Tensor<u32>)> {
        let (values, indices) = self.ranked(x.value())?;
        let op = self.clone();
        let values = Var::apply_as(op, &[x.into()], |wanted| self.ran(x.value(), values, &indices, wanted))?;
        Ok((values, indices))
    }
}

impl<T: Float> Var<T> {
    /// The elements along an axis in order, and where each stood. The indices have no derivative.
    ///
    /// # Errors
    /// For an axis out of range.
    pub fn sort(&self, axis: impl Axis, descending: bool) -> Result<(Self, Tensor<u32>)> {
        let axis = self.axis("sort", axis)?;
        Sort::Sort { axis, descending }.apply(self)
    }

    /// The `k` largest elements along an axis in descending order, and where each stood.
    ///
    /// # Errors
    /// For an axis out of range, or one with fewer elements.
    pub fn topk(&self, k: usize, axis: impl Axis) -> Result<(Self, Tensor<u32>)> {
        let axis = self.axis("topk", axis)?;
        Sort::TopK { k, axis }.apply(self)
    }
}
