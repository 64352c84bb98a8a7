//! Cross-entropy with label smoothing and weights, of classes and of samples.

use cairn_autograd::Var;
use cairn_datasets::Dataset;
use cairn_nn::Loss;
use cairn_tensor::Tensor;

use crate::error::check;
use crate::metrics::{Accumulator, Metric};
use crate::{Result, StateDict};

/// Cross-entropy against labels, as PyTorch's `CrossEntropyLoss` with `weight` and `label_smoothing`. For the plain one see
/// [`SparseCategoricalCrossentropy`](cairn_nn::SparseCategoricalCrossentropy).
///
/// With smoothing ε the target is 1 - ε at the label and ε / classes everywhere (Szegedy et al. 2016). With weights a
/// batch's loss is the weighted sum over the sum of the weights, so a batch of heavy samples is no larger a step.
///
/// ```
/// use cairn_datasets::synthetic;
/// use cairn_nn::{Dense, Sequential};
/// use cairn_optim::{Accuracy, Adam, CrossEntropy, Fit, Trainer, Unweighted, WeightedSamples};
/// use cairn_tensor::Tensor;
///
/// let digits = synthetic::digits(100, 1)?.flatten();
/// let weights = Tensor::linspace(0.5, 1.5, 100)?; // one for each sample
/// let data = WeightedSamples::new(&digits, weights)?;
/// let mut model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
/// let loss = CrossEntropy::new().label_smoothing(0.1);
/// let mut trainer = Trainer::new(Adam::default(), loss).metric(Unweighted(Accuracy));
/// trainer.fit(&mut model, &data, Fit::epochs(1).quiet())?;
/// # Ok::<(), cairn_optim::Error>(())
/// ```
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
    #[must_use]
    pub fn class_weights(self, weights: impl Into<Vec<f32>>) -> Self {
        CrossEntropy { class_weights: Some(weights.into()), ..self }
    }

    /// The loss for logits `[…, classes]`, labels `[…]` and, if given, sample weights `[…]`.
    fn compute(&self, logits: &Var, labels: &Tensor<u32>, samples: Option<&Tensor>) -> cairn_nn::Result<Var> {
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
            return Err(cairn_nn::Error::BadSetting {
                what: "the sum of weights",
                value: total.into(),
                must,
            });
        }
        Ok(losses.sum(..)?.scale(1.0 / total)?)
    }

    fn check(&self, classes: usize) -> cairn_nn::Result<()> {
        let bad = |what, value: f64, must| Err(cairn_nn::Error::BadSetting { what, value, must });
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
    fn loss(&self, prediction: &Var, target: &Tensor<u32>) -> cairn_nn::Result<Var> {
        self.compute(prediction, target, None)
    }
}

impl Loss<Weighted<Tensor<u32>>> for CrossEntropy {
    fn loss(&self, prediction: &Var, target: &Weighted<Tensor<u32>>) -> cairn_nn::Result<Var> {
        self.compute(prediction, &target.target, Some(&target.weights))
    }
}

/// Targets with a weight for each sample. A loss for them may be a closure; metrics go without the
/// weights as [`Unweighted`].
#[derive(Debug, Clone)]
pub struct Weighted<Y> {
    /// The targets.
    pub target: Y,
    /// The weights, `[samples]`.
    pub weights: Tensor,
}

/// A data set with a weight for each sample.
#[derive(Debug, Clone)]
pub struct WeightedSamples<D> {
    data: D,
    weights: Tensor,
}

impl<D: Dataset> WeightedSamples<D> {
    /// Pairs samples with weights, which are not negative.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) when there is not one weight for each sample, or one is negative or not finite.
    pub fn new(data: D, weights: Tensor) -> Result<Self> {
        let fits = weights.rank() == 1 && weights.len() == data.len();
        check("the number of weights", weights.len() as f64, fits, "one for each sample, in one axis")?;
        for weight in weights.iter() {
            let possible = weight >= 0.0 && weight.is_finite();
            check("a sample's weight", weight.into(), possible, "finite and not negative")?;
        }
        Ok(WeightedSamples { data, weights })
    }

    fn weigh(&self, indices: &[usize], target: D::Target) -> cairn_datasets::Result<Weighted<D::Target>> {
        // The data set has checked the numbers; there are as many weights.
        let indices: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
        Ok(Weighted { target, weights: self.weights.index_select(0, &indices)? })
    }
}

impl<D: Dataset> Dataset for WeightedSamples<D> {
    type Input = D::Input;
    type Target = Weighted<D::Target>;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn batch(&self, indices: &[usize]) -> cairn_datasets::Result<(D::Input, Self::Target)> {
        let (input, target) = self.data.batch(indices)?;
        Ok((input, self.weigh(indices, target)?))
    }

    fn batch_in_epoch(
        &self,
        epoch: u64,
        indices: &[usize],
    ) -> cairn_datasets::Result<(D::Input, Self::Target)> {
        let (input, target) = self.data.batch_in_epoch(epoch, indices)?;
        Ok((input, self.weigh(indices, target)?))
    }
}

/// A metric for weighted samples that does without the weights: `Unweighted(Accuracy)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unweighted<M>(pub M);

impl<Y: 'static, M: Metric<Y>> Metric<Weighted<Y>> for Unweighted<M> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn start(&self) -> Box<dyn Accumulator<Weighted<Y>>> {
        Box::new(OfTargets(self.0.start()))
    }
}

struct OfTargets<Y>(Box<dyn Accumulator<Y>>);

impl<Y> Accumulator<Weighted<Y>> for OfTargets<Y> {
    fn update(&mut self, prediction: &Tensor, target: &Weighted<Y>) -> Result<()> {
        self.0.update(prediction, &target.target)
    }

    fn value(&self) -> f64 {
        self.0.value()
    }

    fn state(&self) -> Result<StateDict> {
        self.0.state()
    }

    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        self.0.load_state(state)
    }
}
