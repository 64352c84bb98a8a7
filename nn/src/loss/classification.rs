//! Losses of classification: cross-entropy against labels, against distributions, and of yes-or-no predictions.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::{Loss, reject_empty, same_shape};
use crate::Result;

/// Cross-entropy against class labels (`Tensor<u32>`): see [`cross_entropy`].
#[doc(alias("CrossEntropyLoss", "NLLLoss"))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SparseCategoricalCrossentropy;

impl Loss<Tensor<u32>> for SparseCategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> Result<Var> {
        cross_entropy(prediction, target)
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

/// Cross-entropy against distributions over classes (one-hot rows): see [`soft_cross_entropy`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CategoricalCrossentropy;

impl Loss<Tensor> for CategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        soft_cross_entropy(prediction, target)
    }
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

/// Cross-entropy of yes-or-no predictions: see [`binary_cross_entropy`].
#[doc(alias("BCEWithLogitsLoss", "BCELoss"))]
#[derive(Debug, Clone, Copy, Default)]
pub struct BinaryCrossentropy;

impl Loss<Tensor> for BinaryCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        binary_cross_entropy(prediction, target)
    }
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
