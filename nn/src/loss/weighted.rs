//! Cross-entropy with label smoothing and weights, of classes and of samples.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::Loss;
use crate::{Error, Result};

/// Cross-entropy against labels with label smoothing and class weights, as PyTorch's `CrossEntropyLoss` with
/// `label_smoothing` and `weight`. The plain one is
/// [`SparseCategoricalCrossentropy`](super::SparseCategoricalCrossentropy).
///
/// With smoothing ε the target is 1 - ε at the label and ε / classes everywhere (Szegedy et al. 2016). With weights a
/// batch's loss is the weighted sum over the sum of the weights, so a batch of heavy samples is no larger a step. Each sample
/// has a weight of its own where the targets are [`Weighted`].
///
/// ```
/// use cairn_autograd::Var;
/// use cairn_nn::{CrossEntropy, Loss};
/// use cairn_tensor::Tensor;
///
/// let logits = Var::constant(Tensor::from_vec(vec![2.0, -1.0, 0.5, 0.0], [2, 2])?);
/// let labels = Tensor::from_vec(vec![0, 1], [2])?;
/// // Mistakes on the second class, the rare one, cost three times as much.
/// let loss = CrossEntropy::new().label_smoothing(0.1).class_weights([1.0, 3.0]);
/// assert!(loss.loss(&logits, &labels)?.item()? > 0.0);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[doc(alias = "CrossEntropyLoss")]
#[doc(alias = "label_smoothing")]
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    label_smoothing: f32,
    class_weights: Option<Vec<f32>>,
}

impl CrossEntropy {
    /// Without smoothing or weights.
    pub fn new() -> Self {
        CrossEntropy::default()
    }

    /// With this much of the target spread over all classes, from 0 to 1.
    #[must_use]
    pub fn label_smoothing(self, smoothing: f32) -> Self {
        CrossEntropy { label_smoothing: smoothing, ..self }
    }

    /// With one weight for each class, not negative.
    #[doc(alias = "class_weight")]
    #[must_use]
    pub fn class_weights(self, weights: impl Into<Vec<f32>>) -> Self {
        CrossEntropy { class_weights: Some(weights.into()), ..self }
    }

    /// The loss for logits `[…, classes]`, labels `[…]` and, if given, sample weights `[…]`.
    fn compute(&self, logits: &Var, labels: &Tensor<u32>, samples: Option<&Tensor>) -> Result<Var> {
        let classes = logits.shape().last().copied().unwrap_or(0);
        self.check(classes)?;
        let smoothing = self.label_smoothing;
        // The term of the label, weighted by its class.
        let mut losses = logits.cross_entropy(labels)?.scale(1.0 - smoothing)?;
        let mut weights = Tensor::ones(labels.dims())?;
        if let Some(of_classes) = &self.class_weights {
            let of_labels = labels.to_vec().iter().map(|&label| of_classes[label as usize]).collect();
            weights = Tensor::from_vec(of_labels, labels.dims())?;
            losses = losses.mul(&weights.clone().into())?;
        }
        if smoothing > 0.0 {
            // That of all classes: ε / classes · Σ weight · -ln p.
            let mut logs = logits.softmax_logits().unwrap_or(logits).log_softmax(-1)?;
            if let Some(of_classes) = &self.class_weights {
                logs = logs.mul(&Tensor::from_slice(of_classes, [classes])?.into())?;
            }
            losses = losses.add(&logs.sum(-1)?.scale(-smoothing / classes as f32)?)?;
        }
        if let Some(samples) = samples {
            if samples.shape() != labels.shape() {
                return Err(cairn_tensor::Error::ShapeMismatch {
                    op: "cross_entropy",
                    lhs: labels.dims().clone(),
                    rhs: samples.dims().clone(),
                    why: "one weight for each label",
                }
                .into());
            }
            weights = weights.mul(samples)?;
            losses = losses.mul(&samples.clone().into())?;
        }
        let total = weights.sum(..)?.item()?;
        if total.is_nan() || total <= 0.0 {
            let must = "above 0, or the mean is not defined";
            return Err(Error::BadSetting { what: "the sum of weights", value: total.into(), must });
        }
        Ok(losses.sum(..)?.scale(1.0 / total)?)
    }

    fn check(&self, classes: usize) -> Result<()> {
        let bad = |what, value: f64, must| Err(Error::BadSetting { what, value, must });
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return bad("the label smoothing", self.label_smoothing.into(), "from 0 to 1");
        }
        let Some(weights) = &self.class_weights else { return Ok(()) };
        if weights.len() != classes {
            return bad("the number of class weights", weights.len() as f64, "the number of classes");
        }
        match weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite())) {
            Some(weight) => bad("a class weight", (*weight).into(), "finite and not negative"),
            None => Ok(()),
        }
    }
}

impl Loss<Tensor<u32>> for CrossEntropy {
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> Result<Var> {
        self.compute(prediction, target, None)
    }
}

impl Loss<Weighted<Tensor<u32>>> for CrossEntropy {
    fn loss(&self, prediction: &Var, target: &Weighted<Tensor<u32>>) -> Result<Var> {
        self.compute(prediction, &target.target, Some(&target.weights))
    }
}

/// Targets with a weight for each sample. [`CrossEntropy`] takes them; for another loss write a closure.
#[doc(alias = "sample_weight")]
#[derive(Debug, Clone)]
pub struct Weighted<Y> {
    /// The targets.
    pub target: Y,
    /// The weights, `[samples]`.
    pub weights: Tensor,
}
