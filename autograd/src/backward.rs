//! The backward pass.
//!
//! Records wait in a heap by their number. The one with the highest number has got all its gradient, since whatever was
//! computed from it has a higher number still and came first. Each history is taken out of the graph as it is used, so the
//! values it kept are freed while the pass goes on; there is no recursion, however deep the graph.

use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use cairn_tensor::{Float, Shape, Tensor};

use crate::op::{Op, View};
use crate::var::Record;
use crate::{Error, Gradient, Gradients, Result, Var};

/// A record ordered by its number.
struct Pending<T: Float>(Arc<Record<T>>);
impl<T: Float> PartialEq for Pending<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
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
        self.0.id.cmp(&other.0.id)
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
        let mut collected = HashMap::from([(self.record().id, Collected::from(Gradient::Dense(gradient)))]);
        let mut pending = BinaryHeap::from([Pending(Arc::clone(self.record()))]);
        while let Some(Pending(record)) = pending.pop() {
            // A record enters the heap together with its first gradient.
            let Some(gradient) = collected.remove(&record.id) else { continue };
            let gradient = gradient.into_gradient(&record.shape)?;
            let Some(op) = &record.op else {
                found.insert(record.id, gradient);
                continue;
            };
            let history = record.take_history().ok_or(Error::AlreadyUsed { op: op.name() })?;
            let gradient = gradient.into_dense()?;
            if let (Some(part), [whole]) = (Part::of(op, &gradient)?, &history.parents[..]) {
                let of_whole = collected.entry(whole.id).or_insert_with(|| {
                    pending.push(Pending(Arc::clone(whole)));
                    Collected::default()
                });
                of_whole.add_part(part, &whole.shape)?;
                continue;
            }
            let gradients = (history.backward)(&gradient)?;
            // Its memory may serve the sums.
            drop(gradient);
            for (parent, gradient) in history.parents.into_iter().zip(gradients) {
                let Some(gradient) = gradient else { continue };
                match collected.entry(parent.id) {
                    Entry::Occupied(mut sum) => sum.get_mut().add(gradient, &parent.shape)?,
                    Entry::Vacant(place) => {
                        place.insert(Collected::from(gradient));
                        pending.push(Pending(parent));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The gradient of a part of a variable along an axis. A projection that is divided into queries, keys and values would else get
/// three gradients of its own size, two thirds of them zeros.
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

    /// Where the part lies along its axis.
    fn span(&self) -> Range<usize> {
        self.start..self.start + self.gradient.shape()[self.axis]
    }

    fn add_to(&self, sum: &mut Tensor<T>) -> Result<()> {
        Ok(sum.narrow_add(self.axis, self.start, &self.gradient)?)
    }
}

/// More parts than these are added up as they come: each is compared with all others.
const MOST_PARTS: usize = 64;

/// The gradients of a variable that have come so far: their sum, or parts beside each other along one axis, which are written once when
/// all are there.
struct Collected<T: Float> {
    sum: Option<Gradient<T>>,
    parts: Vec<Part<T>>,
}

impl<T: Float> Default for Collected<T> {
    fn default() -> Self {
        Collected { sum: None, parts: Vec::new() }
    }
}

impl<T: Float> From<Gradient<T>> for Collected<T> {
    fn from(gradient: Gradient<T>) -> Self {
        Collected { sum: Some(gradient), parts: Vec::new() }
    }
}

impl<T: Float> Collected<T> {
    fn add(&mut self, gradient: Gradient<T>, of: &Shape) -> Result<()> {
        self.add_up(of)?;
        match &mut self.sum {
            Some(sum) => sum.accumulate(gradient),
            none => {
                *none = Some(gradient);
                Ok(())
            }
        }
    }

    fn add_part(&mut self, part: Part<T>, of: &Shape) -> Result<()> {
        let span = part.span();
        let beside = |other: &Part<T>| {
            let there = other.span();
            other.axis == part.axis && (there.end <= span.start || span.end <= there.start)
        };
        if self.sum.is_none() && self.parts.len() < MOST_PARTS && self.parts.iter().all(beside) {
            self.parts.push(part);
            return Ok(());
        }
        self.add_up(of)?;
        let mut sum = match self.sum.take() {
            Some(sum) => sum.into_dense()?,
            None => Tensor::zeros(of)?,
        };
        part.add_to(&mut sum)?;
        self.sum = Some(Gradient::Dense(sum));
        Ok(())
    }

    /// Makes one sum of the parts, if there are any.
    fn add_up(&mut self, of: &Shape) -> Result<()> {
        let mut parts = std::mem::take(&mut self.parts);
        let Some(axis) = parts.first().map(|part| part.axis) else { return Ok(()) };
        parts.sort_by_key(|part| part.start);
        let mut end = 0;
        let complete = parts.iter().all(|part| std::mem::replace(&mut end, part.span().end) == part.start);
        let sum = if complete && end == of[axis] {
            Tensor::cat(&parts.iter().map(|part| &part.gradient).collect::<Vec<_>>(), axis)?
        } else {
            let mut sum = Tensor::zeros(of)?;
            parts.iter().try_for_each(|part| part.add_to(&mut sum))?;
            sum
        };
        self.sum = Some(Gradient::Dense(sum));
        Ok(())
    }

    /// The gradient of the variable.
    fn into_gradient(mut self, of: &Shape) -> Result<Gradient<T>> {
        self.add_up(of)?;
        match self.sum {
            Some(sum) => Ok(sum),
            None => Ok(Gradient::Dense(Tensor::zeros(of)?)),
        }
    }
}
