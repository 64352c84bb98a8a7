//! The backward pass.
//!
//! Nodes wait in a heap by their number. The one with the highest number has got all its gradient, since whatever was
//! computed from it has a higher number still and came first. Each record is taken out of the graph as it is used, so the
//! values it kept are freed while the pass goes on; there is no recursion, however deep the graph.

use std::collections::{BinaryHeap, HashMap};

use cairn_tensor::{Float, Tensor};

use crate::op::{Op, View};
use crate::{Error, Gradient, Gradients, Result, Var};

/// A node ordered by its number.
struct Pending<T: Float>(Var<T>);
impl<T: Float> PartialEq for Pending<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.0.id == other.0.0.id
    }
}
impl<T: Float> Eq for Pending<T> {}
impl<T: Float> PartialOrd for Pending<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T: Float> Ord for Pending<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.0.id.cmp(&other.0.0.id)
    }
}

impl<T: Float> Var<T> {
    /// The gradients of this number with respect to every parameter it depends on.
    ///
    /// The graph is used up: what it kept is freed on the way, and a second pass through it is an error.
    ///
    /// # Errors
    /// [`Error::NotScalar`], [`Error::NothingToDifferentiate`], [`Error::AlreadyUsed`].
    pub fn backward(&self) -> Result<Gradients<T>> {
        if self.value().len() != 1 {
            return Err(Error::NotScalar { shape: self.dims().clone() });
        }
        self.backward_from(Tensor::ones(self.dims())?)
    }

    /// The gradients of Σ `gradient` · this variable: backward from a given gradient of any shape.
    ///
    /// # Errors
    /// As [`backward`](Self::backward); a gradient of another shape is an error of the tensors.
    pub fn backward_from(&self, gradient: Tensor<T>) -> Result<Gradients<T>> {
        if !self.is_tracked() {
            return Err(Error::NothingToDifferentiate);
        }
        if gradient.shape() != self.shape() {
            return Err(cairn_tensor::Error::ShapeMismatch {
                op: "backward_from",
                lhs: self.dims().clone(),
                rhs: gradient.dims().clone(),
                why: "the gradient must have the variable's shape",
            }
            .into());
        }
        let mut found = Gradients::default();
        let mut collected = HashMap::from([(self.0.id, Gradient::Dense(gradient))]);
        let mut pending = BinaryHeap::from([Pending(self.clone())]);
        while let Some(Pending(var)) = pending.pop() {
            // A node enters the heap together with its first gradient.
            let Some(gradient) = collected.remove(&var.0.id) else { continue };
            let Some(op) = &var.0.op else {
                found.insert(&var, gradient);
                continue;
            };
            let history = var.take_history().ok_or(Error::AlreadyUsed { op: op.name() })?;
            let gradient = gradient.to_dense()?;
            if let (Some(part), [whole]) = (Part::of(op, &gradient)?, &history.parents[..]) {
                let sum = collected.remove(&whole.0.id);
                if sum.is_none() {
                    pending.push(Pending(whole.clone()));
                }
                collected.insert(whole.0.id, part.added_to(sum, whole)?);
                continue;
            }
            let gradients = (history.backward)(&gradient)?;
            for (parent, gradient) in history.parents.into_iter().zip(gradients) {
                let Some(gradient) = gradient else { continue };
                match collected.get_mut(&parent.0.id) {
                    Some(sum) => sum.accumulate(gradient)?,
                    None => {
                        collected.insert(parent.0.id, gradient);
                        pending.push(Pending(parent));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The gradient of a part of a variable along an axis. It is added in place: a projection that is divided into queries, keys and
/// values would else get three gradients of its own size, two thirds of them zeros.
struct Part<T: Float> {
    axis: usize,
    start: usize,
    gradient: Tensor<T>,
}

impl<T: Float> Part<T> {
    /// If the operation takes one.
    fn of(op: &Op, gradient: &Tensor<T>) -> Result<Option<Self>> {
        Ok(match *op {
            Op::View(View::Narrow { axis, start, .. }) => {
                Some(Part { axis, start, gradient: gradient.clone() })
            }
            Op::View(View::Index { axis, index }) => {
                Some(Part { axis, start: index, gradient: gradient.unsqueeze(axis)? })
            }
            _ => None,
        })
    }

    /// The gradient of the whole: its sum so far, if there is one, and this.
    fn added_to(&self, sum: Option<Gradient<T>>, whole: &Var<T>) -> Result<Gradient<T>> {
        let mut sum = match sum {
            Some(sum) => sum.into_dense()?,
            None => Tensor::zeros(whole.dims())?,
        };
        sum.narrow_add(self.axis, self.start, &self.gradient)?;
        Ok(Gradient::Dense(sum))
    }
}
