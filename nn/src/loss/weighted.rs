//! Cross-entropy with label smoothing, ignored labels, and weights of classes and of samples.

use cairn_autograd::Var;
use cairn_tensor::Tensor;

use super::classification::label_losses;
use super::{Loss, mean_over};
use crate::{Error, Result};

/// Cross-entropy against labels with label smoothing, class weights and a label to be ignored, as PyTorch's `CrossEntropyLoss` with
/// `label_smoothing`, `weight` and `ignore_index`. The plain one is
/// [`SparseCategoricalCrossentropy`](super::SparseCategoricalCrossentropy).
///
/// With smoothing ε the target is 1 - ε at the label and ε / classes everywhere (Szegedy et al. 2016). With weights a
/// batch's loss is the weighted sum over the sum of the weights, so a batch of heavy samples is no larger a step; a `Trainer` keeps
/// to that over the batches of a step, an epoch or an evaluation. Each sample has a weight of its own where the targets are
/// [`Weighted`]. Where all weights are 0, or all labels ignored, the loss is 0.
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
    ignored: Option<u32>,
}

impl CrossEntropy {
    /// Without smoothing, weights or an ignored label.
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

    /// Leaves out the positions with this label, that of padding or of pixels without a class: they have no part in the sum of
    /// losses nor in what it is divided by. The label need not be a class; give the metrics
    /// ([`Accuracy`](https://docs.rs/cairn-optim/latest/cairn_optim/metrics/struct.Accuracy.html)) the same.
    ///
    /// Labels are `u32`. PyTorch's -100 in `i64` labels becomes another number first:
    ///
    /// ```
    /// use cairn_autograd::Var;
    /// use cairn_nn::{CrossEntropy, Loss};
    /// use cairn_tensor::Tensor;
    ///
    /// let labels = Tensor::from_vec(vec![-100i64, 1], [2])?;
    /// let labels = labels.eq(&Tensor::scalar(-100))?.select(&Tensor::scalar(255), &labels)?.cast::<u32>()?;
    /// let logits = Var::constant(Tensor::from_vec(vec![0.0, 0.0, 0.0, 2.0], [2, 2])?);
    /// let loss = CrossEntropy::new().ignore(255).loss(&logits, &labels)?.item()?;
    /// assert!((loss - 0.126928).abs() < 1e-6); // that of the second row alone
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[doc(alias("ignore_index", "ignore_class"))]
    #[must_use]
    pub fn ignore(self, label: u32) -> Self {
        CrossEntropy { ignored: Some(label), ..self }
    }

    /// The mean loss for logits `[…, classes]`, labels `[…]` and, if given, the weights of samples.
    fn mean(&self, logits: &Var, labels: &Tensor<u32>, samples: Option<&Tensor>) -> Result<Var> {
        let classes = logits.shape().last().copied().unwrap_or(0);
        self.check(classes)?;
        let known = logits.softmax_logits();
        let logits = known.as_ref().unwrap_or(logits);
        // Wrong labels are found here, by their place.
        let plain = label_losses(logits, labels, self.ignored)?;
        let Weights { rows, labels: of_labels, total } = self.weights(labels, samples)?;
        let whole = rows.iter().chain(&of_labels).all(|&weight| weight == 1.0);
        // Rows that count for nothing are left out before the sum: their losses may be infinite.
        let mut losses = match leave_out(labels, &of_labels, self.ignored)? {
            None => plain,
            Some((labels, ignored)) => logits.cross_entropy_ignoring(&labels, Some(ignored))?,
        };
        losses = losses.scale(1.0 - self.label_smoothing)?;
        let tensor = |weights| Ok::<_, Error>(Var::from(Tensor::from_vec(weights, labels.dims())?));
        if !whole {
            losses = losses.mul(&tensor(of_labels)?)?;
        }
        if self.label_smoothing > 0.0 && total > 0.0 {
            let smooth = self.smooth(logits, &rows, classes)?;
            losses = losses.add(&if whole { smooth } else { smooth.mul(&tensor(rows)?)? })?;
        }
        mean_over(&losses, total)
    }

    /// The smoothing's term of each row, that of all classes: ε / classes · Σ weight · -ln p. 0 in rows of weight 0.
    fn smooth(&self, logits: &Var, rows: &[f32], classes: usize) -> Result<Var> {
        let mut logs = logits.log_softmax(-1)?;
        if let Some(of_classes) = &self.class_weights {
            logs = logs.mul(&Tensor::from_slice(of_classes, [classes])?.into())?;
        }
        let terms = logs.sum(-1)?.scale(-self.label_smoothing / classes as f32)?;
        if rows.iter().all(|&weight| weight > 0.0) {
            return Ok(terms);
        }
        let counts = rows.iter().map(|&weight| weight > 0.0).collect();
        let counts = Tensor::from_vec(counts, terms.dims())?;
        Ok(Var::select(&counts, &terms, &Tensor::scalar(0.0).into())?)
    }

    /// What each row counts for; the labels must be classes or the ignored one.
    fn weights(&self, labels: &Tensor<u32>, samples: Option<&Tensor>) -> Result<Weights> {
        let mut rows = match samples {
            None => vec![1.0; labels.len()],
            Some(samples) => spread(samples, labels)?,
        };
        let mut of_labels = rows.clone();
        for ((label, row), weight) in labels.iter().zip(&mut rows).zip(&mut of_labels) {
            if Some(label) == self.ignored {
                (*row, *weight) = (0.0, 0.0);
            } else if let Some(of_classes) = &self.class_weights {
                *weight *= of_classes.get(label as usize).copied().unwrap_or(0.0);
            }
        }
        let total = of_labels.iter().map(|&weight| f64::from(weight)).sum();
        Ok(Weights { rows, labels: of_labels, total })
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

/// What the rows of a batch count for.
struct Weights {
    /// The weights of samples; 0 where the label is ignored.
    rows: Vec<f32>,
    /// Times those of the labels' classes.
    labels: Vec<f32>,
    /// The sum of those.
    total: f64,
}

/// The labels with one that stands for nothing in place of those of weight 0, and which one; none where all others count but those
/// that are ignored already.
fn leave_out(
    labels: &Tensor<u32>,
    weights: &[f32],
    ignored: Option<u32>,
) -> Result<Option<(Tensor<u32>, u32)>> {
    const NOTHING: u32 = u32::MAX;
    if labels.iter().zip(weights).all(|(label, &weight)| weight > 0.0 || Some(label) == ignored) {
        return Ok(None);
    }
    let counted = |(label, &weight): (u32, &f32)| if weight > 0.0 { label } else { NOTHING };
    let counted = labels.iter().zip(weights).map(counted).collect();
    Ok(Some((Tensor::from_vec(counted, labels.dims())?, NOTHING)))
}

/// The weights of samples for each label: as many, or one for all labels of a sample.
fn spread(samples: &Tensor, labels: &Tensor<u32>) -> Result<Vec<f32>> {
    let fits =
        samples.shape() == labels.shape() || samples.shape() == &labels.shape()[..1.min(labels.rank())];
    if !fits {
        return Err(cairn_tensor::Error::ShapeMismatch {
            op: "cross_entropy",
            lhs: labels.dims().clone(),
            rhs: samples.dims().clone(),
            why: "one weight for each sample, or for each label",
        }
        .into());
    }
    let times = labels.len() / samples.len().max(1);
    Ok(samples.iter().flat_map(|weight| std::iter::repeat_n(weight, times)).collect())
}

impl Loss<Tensor<u32>> for CrossEntropy {
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> Result<Var> {
        self.mean(prediction, target, None)
    }

    fn weight(&self, _: &Var, target: &Tensor<u32>) -> Result<Option<f64>> {
        Ok(Some(self.weights(target, None)?.total))
    }
}

impl Loss<Weighted<Tensor<u32>>> for CrossEntropy {
    fn loss(&self, prediction: &Var, target: &Weighted<Tensor<u32>>) -> Result<Var> {
        self.mean(prediction, &target.target, Some(&target.weights))
    }

    fn weight(&self, _: &Var, target: &Weighted<Tensor<u32>>) -> Result<Option<f64>> {
        Ok(Some(self.weights(&target.target, Some(&target.weights))?.total))
    }
}

/// Targets with a weight for each sample. [`CrossEntropy`] takes them; for another loss write a [`Loss`] of your own.
#[doc(alias = "sample_weight")]
#[derive(Debug, Clone)]
pub struct Weighted<Y> {
    /// The targets.
    pub target: Y,
    /// The weights, `[samples]`.
    pub weights: Tensor,
}
