//! What L-BFGS knows of the curvature: the last few changes of the parameters, and of the gradient with them.

use std::collections::VecDeque;

use cairn_tensor::{AnyTensor, Tensor};

use super::KIND;
use crate::{Error, Result, StateDict};

/// What is saved from iteration to iteration.
#[derive(Debug, Clone, Default)]
pub(super) struct Curvature {
    changes: VecDeque<Change>,
    /// Scale of the curvature before any change is taken into account.
    scale: f64,
    pub(super) last: Option<Last>,
}

/// The last iteration: its gradient, direction and step size.
#[derive(Debug, Clone)]
pub(super) struct Last {
    pub(super) gradient: Tensor,
    direction: Tensor,
    size: f64,
}

/// A change of the parameters and of the gradient with it. Tensors, so that a saved state shares them.
#[derive(Debug, Clone)]
struct Change {
    step: Tensor,
    gradient: Tensor,
    /// 1 / (step · gradient).
    rho: f64,
}

impl Last {
    pub(super) fn new(gradient: Vec<f32>, direction: Vec<f32>, size: f64) -> Result<Self> {
        Ok(Last { gradient: row(gradient)?, direction: row(direction)?, size })
    }
}

impl Curvature {
    /// Direction and first step size from a point with this gradient.
    pub(super) fn direction(
        &mut self,
        gradient: &[f32],
        rate: f64,
        history: usize,
    ) -> Result<(Vec<f32>, f64)> {
        let Some(Last { gradient: last, direction, size }) = self.last.take() else {
            // Nothing is known of the scale: the first step changes the parameters by the rate in all, at most.
            let sum: f64 = gradient.iter().map(|g| f64::from(g.abs())).sum();
            self.scale = 1.0;
            return Ok((gradient.iter().map(|g| -g).collect(), rate * (1.0 / sum).min(1.0)));
        };
        let y: Vec<f32> = gradient.iter().zip(slice(&last)).map(|(now, was)| now - was).collect();
        let s: Vec<f32> = slice(&direction).iter().map(|d| d * size as f32).collect();
        let curvature = dot(&y, &s);
        // Only changes of positive curvature keep the direction one of descent.
        if curvature > 1e-10 {
            if self.changes.len() == history {
                self.changes.pop_front();
            }
            self.scale = curvature / dot(&y, &y);
            self.changes.push_back(Change { step: row(s)?, gradient: row(y)?, rho: 1.0 / curvature });
        }
        Ok((self.two_loops(gradient), rate))
    }

    /// -H · gradient, H being the inverse curvature by the saved changes (Nocedal and Wright, algorithm 7.4).
    fn two_loops(&self, gradient: &[f32]) -> Vec<f32> {
        let mut q: Vec<f32> = gradient.iter().map(|g| -g).collect();
        let mut taken = Vec::with_capacity(self.changes.len());
        for change in self.changes.iter().rev() {
            let alpha = change.rho * dot(slice(&change.step), &q);
            add_scaled(&mut q, -alpha, slice(&change.gradient));
            taken.push(alpha);
        }
        q.iter_mut().for_each(|q| *q *= self.scale as f32);
        for (change, alpha) in self.changes.iter().zip(taken.into_iter().rev()) {
            let beta = change.rho * dot(slice(&change.gradient), &q);
            add_scaled(&mut q, alpha - beta, slice(&change.step));
        }
        q
    }

    /// Into a state.
    pub(super) fn write(&self, state: StateDict) -> StateDict {
        let mut state = state.with("scale", self.scale).with("changes", self.changes.len() as f64);
        for (i, change) in self.changes.iter().enumerate() {
            state = state.with(&format!("{i}/rho"), change.rho);
            state = state.with_tensor(&format!("{i}/step"), change.step.clone());
            state = state.with_tensor(&format!("{i}/gradient"), change.gradient.clone());
        }
        if let Some(last) = &self.last {
            state = state
                .with("last/size", last.size)
                .with_tensor("last/gradient", last.gradient.clone())
                .with_tensor("last/direction", last.direction.clone());
        }
        state
    }

    pub(super) fn read(state: &StateDict) -> Result<Self> {
        let mut sizes = state.tensors.values().map(AnyTensor::len);
        let first = sizes.next().unwrap_or(0);
        if sizes.any(|size| size != first) {
            return Err(Error::BadState(format!("the changes that `{KIND}` keeps are of several lengths")));
        }
        let tensor = |name: &str| Ok::<_, Error>(state.tensor(name)?.contiguous()?);
        let last = match state.numbers.get("last/size") {
            None => None,
            Some(&size) => {
                Some(Last { gradient: tensor("last/gradient")?, direction: tensor("last/direction")?, size })
            }
        };
        let count = state.number("changes")? as usize;
        let changes: Result<VecDeque<_>> = (0..count)
            .map(|i| {
                let (step, gradient) = (tensor(&format!("{i}/step"))?, tensor(&format!("{i}/gradient"))?);
                Ok(Change { step, gradient, rho: state.number(&format!("{i}/rho"))? })
            })
            .collect();
        Ok(Curvature { changes: changes?, scale: state.number("scale")?, last })
    }
}

fn row(values: Vec<f32>) -> Result<Tensor> {
    let len = values.len();
    Ok(Tensor::from_vec(values, [len])?)
}

/// The elements of a tensor that [`row`] made.
fn slice(row: &Tensor) -> &[f32] {
    row.as_slice().unwrap_or_default()
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn add_scaled(to: &mut [f32], factor: f64, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor as f32 * from);
}
