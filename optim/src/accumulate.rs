//! Gradients of several batches as one: steps for more samples than memory holds at a time.
//!
//! There is no scaling of the loss. It is for gradients in half precision, which vanish below 6e-8; here half precision is
//! for storage, losses and gradients are always `f32`, which reaches down to 1e-38. Sums of batches are weighted by what their
//! means were taken over, so a loss need not be divided by the number of batches either, as it has to be in a loop around PyTorch.
//!
//! Batches are added as the leaves of one binary [tree](crate::tree), so that processes that have some of them each come to the
//! bits of one process that has all.

use cairn_autograd::Gradients;
use cairn_nn::Module;
use cairn_tensor::Setting;

use crate::Result;
use crate::clip::for_each_gradient;
use crate::tree::Tree;

/// Adds up the gradients of batches, each weighted by its number of samples, or the sum of their weights, so that the result is
/// the gradient of the mean loss over all of them.
///
/// ```
/// use cairn_nn::{Linear, mse};
/// use cairn_optim::{Accumulation, Optimizer, Sgd};
/// use cairn_tensor::{Tensor, rng};
///
/// let model = Linear::new(2, 1, &mut rng(0))?;
/// let mut accumulation = Accumulation::default();
/// for samples in [4, 4, 2] {
///     let x = Tensor::ones([samples, 2])?;
///     let loss = mse(&model.forward(&x.into())?, &Tensor::zeros([samples, 1])?)?;
///     accumulation.add(&model, loss.backward()?, samples)?;
/// }
/// let gradients = accumulation.take(&model)?;
/// Sgd::new(0.1).step(&model, &gradients)?;
/// # Ok::<(), cairn_optim::Error>(())
/// ```
#[doc(alias = "gradient_accumulation")]
#[derive(Debug, Clone, Default)]
pub struct Accumulation {
    /// The gradients of summed losses so far.
    tree: Tree<Gradients>,
    weight: f64,
    /// Batches so far, those that weigh nothing included.
    count: u64,
}

impl Accumulation {
    /// Takes in the gradients of the mean loss of `samples` samples. The model must not have been changed in between.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) for no samples; when memory runs out.
    pub fn add(&mut self, model: &dyn Module, gradients: Gradients, samples: usize) -> Result<()> {
        Setting::check("the number of samples", samples, samples > 0, "at least 1")?;
        self.add_weighted(model, gradients, samples as f64)
    }

    /// Takes in the gradients of a mean loss whose weights have this sum: what [`Loss::weight`](cairn_nn::Loss::weight) says. Where
    /// that is 0 nothing counts.
    ///
    /// # Errors
    /// [`Error::BadSetting`](crate::Error::BadSetting) for a weight that is negative or not finite; when memory runs out.
    pub fn add_weighted(&mut self, model: &dyn Module, gradients: Gradients, weight: f64) -> Result<()> {
        self.add_leaf(model, gradients, weight, self.count)
    }

    /// As [`add_weighted`](Self::add_weighted), for batch number `leaf` of the step, after those of lower numbers that are here.
    pub(crate) fn add_leaf(
        &mut self,
        model: &dyn Module,
        mut gradients: Gradients,
        weight: f64,
        leaf: u64,
    ) -> Result<()> {
        let possible = weight >= 0.0 && weight.is_finite();
        Setting::check("the sum of weights", weight, possible, "finite and not negative")?;
        if weight > 0.0 {
            for_each_gradient(model, &mut gradients, |values| values.scale(weight as f32))?;
            self.tree.leaf(leaf, gradients)?;
            self.weight += weight;
        }
        self.count = leaf + 1;
        Ok(())
    }

    /// The gradients of the mean loss over everything taken in, which starts anew.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn take(&mut self, model: &dyn Module) -> Result<Gradients> {
        let Accumulation { tree, weight, .. } = std::mem::take(self);
        let mut sum = tree.finish()?.unwrap_or_default();
        if weight > 0.0 {
            for_each_gradient(model, &mut sum, |values| values.scale(mean_factor(weight)))?;
        }
        Ok(sum)
    }

    /// The sums of this process, where others have the rest.
    pub(crate) fn into_tree(self) -> Tree<Gradients> {
        self.tree
    }
}

/// What the gradient of a summed loss is multiplied by for that of the mean.
pub(crate) fn mean_factor(weight: f64) -> f32 {
    (1.0 / weight) as f32
}
