//! Losses of classification: cross-entropy against labels, against distributions, and of yes-or-no predictions.

use cairn_autograd::{Gradient, Var};
use cairn_tensor::Tensor;

use super::{CrossEntropy, Loss, reject_empty, same_shape};
use crate::{Error, Result};

/// Cross-entropy against class labels (`Tensor<u32>`): see [`cross_entropy`].
#[doc(alias("CrossEntropyLoss", "NLLLoss"))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SparseCategoricalCrossentropy;

impl SparseCategoricalCrossentropy {
    /// Leaves out the positions with this label: see [`CrossEntropy::ignore`].
    #[doc(alias("ignore_index", "ignore_class"))]
    #[must_use]
    pub fn ignore(self, label: u32) -> CrossEntropy {
        CrossEntropy::new().ignore(label)
    }
}

impl Loss<Tensor<u32>> for SparseCategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> Result<Var> {
        cross_entropy(prediction, target)
    }

    fn weight(&self, _: &Var, target: &Tensor<u32>) -> Result<Option<f64>> {
        Ok(Some(target.len() as f64))
    }
}

/// Mean of `-ln softmax(logits)[label]`, in nats, for logits `[…, classes]` and labels `[…]`. With labels to be ignored, weights or
/// label smoothing it is [`CrossEntropy`].
///
/// # Errors
/// When labels and rows differ in shape, a label is no class, or the batch is empty.
pub fn cross_entropy(logits: &Var, labels: &Tensor<u32>) -> Result<Var> {
    reject_empty(logits)?;
    Ok(label_losses(logits, labels, None)?.mean(..)?)
}

/// The loss of each label; mistakes are told in the words of a classifier.
pub(super) fn label_losses(logits: &Var, labels: &Tensor<u32>, ignored: Option<u32>) -> Result<Var> {
    let bad = |why| Err(Error::BadInput { input: logits.dims().clone(), why });
    if logits.shape().len() > labels.rank() + 1 {
        return bad(format!(
            "for labels of shape {} one row of scores each is needed; is a Flatten or GlobalAvgPool missing before the last layer?",
            labels.dims()
        ));
    }
    match logits.cross_entropy_ignoring(labels, ignored) {
        Err(cairn_autograd::Error::Tensor(cairn_tensor::Error::IndexOutOfRange { index, size, .. })) => {
            bad(format!("label {index} is none of {size} classes, which count from 0"))
        }
        losses => Ok(losses?),
    }
}

/// Cross-entropy against distributions over classes (one-hot rows): see [`soft_cross_entropy`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CategoricalCrossentropy;

impl Loss<Tensor> for CategoricalCrossentropy {
    fn loss(&self, prediction: &Var, target: &Tensor) -> Result<Var> {
        soft_cross_entropy(prediction, target)
    }

    fn weight(&self, _: &Var, target: &Tensor) -> Result<Option<f64>> {
        let classes = target.shape().last().copied().unwrap_or(1);
        Ok(Some(target.len() as f64 / classes.max(1) as f64))
    }
}

/// Mean of -Σ target · ln softmax(logits), for logits and target distributions `[…, classes]`. Classes whose target is 0 have no
/// part in it, if their logits are -∞ too.
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn soft_cross_entropy(logits: &Var, target: &Tensor) -> Result<Var> {
    same_shape("soft_cross_entropy", logits, target)?;
    let known = logits.softmax_logits();
    let mut logs = known.as_ref().unwrap_or(logits).log_softmax(-1)?;
    if logs.value().min(..)?.item()? == f32::NEG_INFINITY {
        let zero = Tensor::scalar(0.0);
        logs = Var::select(&target.eq(&zero)?, &zero.into(), &logs)?;
    }
    let per_row = logs.mul(&Var::constant(target.clone()))?.sum(-1)?;
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

    fn weight(&self, _: &Var, target: &Tensor) -> Result<Option<f64>> {
        Ok(Some(target.len() as f64))
    }
}

/// Mean of -(t ln σ(x) + (1 - t) ln(1 - σ(x))), for logits and targets of one shape, targets from 0 to 1.
///
/// Computed as softplus(-|x|) + (1 - t) max(x, 0) + t max(-x, 0), whose terms are not negative: nothing overflows, nothing cancels,
/// and no logarithm of 0 is taken.
///
/// # Errors
/// When the shapes differ or the batch is empty.
pub fn binary_cross_entropy(logits: &Var, target: &Tensor) -> Result<Var> {
    same_shape("binary_cross_entropy", logits, target)?;
    let known = logits.sigmoid_logits();
    let logits = known.as_ref().unwrap_or(logits);
    let (x, yes, no) = (logits.value(), target.clone(), Tensor::scalar(1.0).sub(target)?);
    let losses = x.abs()?.neg()?.softplus()?;
    let losses = losses.add(&share(&no, &x.relu()?)?)?.add(&share(&yes, &x.neg()?.relu()?)?)?;
    let x = x.clone();
    let losses = Var::from_op("binary_cross_entropy", losses, [logits], move |g, [_]| {
        let no = Tensor::scalar(1.0).sub(&yes)?;
        // Each side by its own sigmoid: 1 - σ(x) would round.
        let slope = no.mul(&x.sigmoid()?)?.sub(&yes.mul(&x.neg()?.sigmoid()?)?)?;
        Ok([Some(Gradient::Dense(g.mul(&slope)?))])
    });
    Ok(losses.mean(..)?)
}

/// The product, 0 where the share is 0 and the loss infinite.
fn share(share: &Tensor, loss: &Tensor) -> Result<Tensor> {
    let product = share.mul(loss)?;
    if loss.max(..)?.item()? < f32::INFINITY {
        return Ok(product);
    }
    let zero = Tensor::scalar(0.0);
    Ok(share.eq(&zero)?.select(&zero, &product)?)
}
