//! Losses: a number that says how far predictions are from targets, averaged over the batch.
//!
//! The types carry Keras's names and go into a `Trainer`; the functions carry PyTorch's and go into loops of one's own.
//! Classification losses take logits. Given the output of a softmax or sigmoid they compute from its input instead
//! (variables remember it), so a model that ends in probabilities trains as stably as one that ends in logits, and no
//! flag has to be set.

mod weighted;

use cairn_autograd::Var;
use cairn_tensor::Tensor;

pub use weighted::{CrossEntropy, Weighted};

use crate::{Error, Result};

/// A loss for predictions against targets of type `Y`: the mean over the batch, a variable of rank 0.
pub trait Loss<Y> {
    /// The loss of a batch.
    ///
    /// # Errors
    /// When predictions and targets do not fit together.
    fn loss(&self, prediction: &Var, target: &Y) -> Result<Var>;
}

/// A closure is a loss.
impl<Y, F: Fn(&Var, &Y) -> Result<Var>> Loss<Y> for F {
    fn loss(&self, prediction: &Var, target: &Y) -> Result<Var> {
        self(prediction, target)
    }
}

/// Cross-entropy against class labels (`Tensor<u32>`): see [`cross_entropy`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SparseCategoricalCrossentropy;

/// Cross-entropy against distributions over classes (one-hot rows): see [`soft_cross_entropy`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CategoricalCrossentropy;

/// Cross-entropy of yes-or-no predictions: see [`binary_cross_entropy`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BinaryCrossentropy;

/// Mean of squared differences: see [`mse`].
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

/// Mean of absolute differences: see [`mae`].
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanAbsoluteError;

/// Squared below `delta`, absolute above: see [`huber`].
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Where the loss turns from squared to absolute; 1 by default.
    pub delta: f32,
}

impl Default for Huber {
    fn default() -> Self {
        Huber { delta: 1.0 }
    }
}

impl Loss<Tensor<u32>> for SparseCategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> Result<Var> {
        cross_entropy(prediction, target)
    }
}
impl Loss<Tensor> for CategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        soft_cross_entropy(prediction, target)
    }
}
impl Loss<Tensor> for BinaryCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        binary_cross_entropy(prediction, target)
    }
}
impl Loss<Tensor> for MeanSquaredError {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        mse(prediction, target)
    }
}
impl Loss<Tensor> for MeanAbsoluteError {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        mae(prediction, target)
    }
}
impl Loss<Tensor> for Huber {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        huber(prediction, target, self.delta)
    }
}

/// Mean of `-ln softmax(logits)[label]`, in nats, for logits `[…, classes]` and labels `[…]`.
///
/// # Errors
/// When labels and rows differ in shape, a label is no class, or the batch is empty.
pub fn cross_entropy(logits: &Var, labels: &Tensor<u32>) -> Result<Var> {
    reject_empty(logits)?;
    Ok(logits.cross_entropy(labels)?.mean(..)?)
}

/// Mean of -Σ target · ln softmax(logits), for logits and target distributions `[…, classes]`.
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn soft_cross_entropy(logits: &Var, target: &Tensor) -> Result<Var> {
    same_shape("soft_cross_entropy", logits, target)?;
    let logits = logits.softmax_logits().unwrap_or(logits);
    let per_row = logits.log_softmax(-1)?.mul(&Var::constant(target.clone()))?.sum(-1)?;
    Ok(per_row.mean(..)?.neg()?)
}

/// Mean of -(t ln σ(x) + (1 - t) ln(1 - σ(x))), for logits and targets of one shape, targets from 0 to 1.
///
/// Computed as softplus(x) - t x, which neither overflows nor takes the logarithm of 0.
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn binary_cross_entropy(logits: &Var, target: &Tensor) -> Result<Var> {
    same_shape("binary_cross_entropy", logits, target)?;
    let logits = logits.sigmoid_logits().unwrap_or(logits);
    Ok(logits.softplus()?.sub(&logits.mul(&Var::constant(target.clone()))?)?.mean(..)?)
}

/// Mean of (prediction - target)².
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn mse(prediction: &Var, target: &Tensor) -> Result<Var> {
    Ok(difference("mse", prediction, target)?.square()?.mean(..)?)
}

/// Mean of |prediction - target|.
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn mae(prediction: &Var, target: &Tensor) -> Result<Var> {
    Ok(difference("mae", prediction, target)?.abs()?.mean(..)?)
}

/// Mean of d²/2 where |d| <= delta and delta (|d| - delta/2) elsewhere, d = prediction - target (Huber 1964).
///
/// # Errors
/// When the shapes differ, the batch is empty, or `delta` is not above 0.
pub fn huber(prediction: &Var, target: &Tensor, delta: f32) -> Result<Var> {
    if !(delta > 0.0 && delta.is_finite()) {
        return Err(Error::BadSetting { what: "delta", value: delta.into(), must: "above 0" });
    }
    let d = difference("huber", prediction, target)?;
    // With c = d held within ±delta, c (d - c/2) is both cases at once.
    let c = d.clamp(-delta, delta)?;
    Ok(c.mul(&d.sub(&c.scale(0.5)?)?)?.mean(..)?)
}

fn difference(op: &'static str, prediction: &Var, target: &Tensor) -> Result<Var> {
    same_shape(op, prediction, target)?;
    Ok(prediction.sub(&Var::constant(target.clone()))?)
}

/// Equal shapes are asked for: a `[n]` against a `[n, 1]` would broadcast to `[n, n]`, a wrong loss that trains.
fn same_shape(op: &'static str, prediction: &Var, target: &Tensor) -> Result<()> {
    if prediction.shape() != target.shape() {
        return Err(cairn_tensor::Error::ShapeMismatch {
            op,
            lhs: prediction.dims().clone(),
            rhs: target.dims().clone(),
            why: "predictions and targets must have one shape",
        }
        .into());
    }
    reject_empty(prediction)
}

fn reject_empty(prediction: &Var) -> Result<()> {
    if prediction.value().is_empty() {
        let why = "the mean loss of an empty batch is not defined".into();
        return Err(Error::BadInput { input: prediction.dims().clone(), why });
    }
    Ok(())
}
