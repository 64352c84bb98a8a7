//! Samples that count more or less in the loss.

use cairn_datasets::Dataset;
use cairn_nn::Weighted;
use cairn_tensor::{Setting, Tensor};

use crate::Result;

/// A data set with a weight for each sample: Keras's `sample_weight`.
///
/// ```
/// use cairn_datasets::synthetic;
/// use cairn_nn::{CrossEntropy, Sequential, spec::Dense};
/// use cairn_optim::metrics::{Accuracy, Unweighted};
/// use cairn_optim::{Adam, Fit, Trainer, WeightedSamples};
/// use cairn_tensor::Tensor;
///
/// let digits = synthetic::digits(100, 1)?.flatten();
/// let weights = Tensor::linspace(0.5, 1.5, 100)?;
/// let data = WeightedSamples::new(&digits, weights)?;
/// let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
/// let mut trainer = Trainer::new(Adam::default(), CrossEntropy::new()).metric(Unweighted(Accuracy));
/// trainer.fit(&model, &data, Fit::epochs(1).quiet())?;
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[doc(alias = "sample_weight")]
#[derive(Debug, Clone)]
pub struct WeightedSamples<D> {
    data: D,
    weights: Tensor,
}

impl<D: Dataset> WeightedSamples<D> {
    /// Pairs samples with weights, which are not negative.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) when there is not one weight for each sample, or one is negative or
    /// not finite.
    pub fn new(data: D, weights: Tensor) -> Result<Self> {
        let fits = weights.rank() == 1 && weights.len() == data.len();
        Setting::check("the number of weights", weights.len(), fits, "one for each sample, in one axis")?;
        for weight in weights.iter() {
            let possible = weight >= 0.0 && weight.is_finite();
            Setting::check("a sample's weight", weight, possible, "finite and not negative")?;
        }
        Ok(WeightedSamples { data, weights })
    }

    fn weigh(&self, indices: &[usize], target: D::Target) -> cairn_datasets::Result<Weighted<D::Target>> {
        // The data set has checked the indices, and there is a weight for each sample.
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

    fn batch_to_evaluate(&self, indices: &[usize]) -> cairn_datasets::Result<(D::Input, Self::Target)> {
        let (input, target) = self.data.batch_to_evaluate(indices)?;
        Ok((input, self.weigh(indices, target)?))
    }
}
