//! Losses: a number that says how far predictions are from targets, averaged over the batch.
//!
//! The types carry Keras's names and go into a `Trainer`; the functions carry PyTorch's and go into loops of your own.
//! Classification losses take logits. Given the output of a softmax or sigmoid they compute from its input instead
//! (variables remember it), so a model that ends in probabilities trains as stably as one that ends in logits, and no
//! flag has to be set.
//!
//! Two are of sequences as wholes, and decode them too: [`Crf`], of a tag for each step, and [`Ctc`], of labels whose places in the
//! sequence nobody knows.

mod classification;
mod crf;
mod ctc;
mod distillation;
mod log_space;
mod regression;
mod weighted;

use cairn_autograd::Var;
use cairn_tensor::Tensor;

pub use classification::{
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, binary_cross_entropy,
    cross_entropy, soft_cross_entropy,
};
pub use crf::{Crf, crf_losses};
pub use ctc::{Ctc, Labelling};
pub use distillation::Distillation;
pub use regression::{Huber, MeanAbsoluteError, MeanSquaredError, huber, mae, mse};
pub use weighted::{CrossEntropy, Weighted};

use crate::{Error, Result};

/// A loss for predictions against targets of type `Y`: the mean over the batch, a variable of rank 0.
///
/// Over several batches a loss is the sum of all losses over the sum of all weights, never a mean of means, so that it does not
/// depend on how the data were cut into batches. For that it says what its mean is taken over.
pub trait Loss<Y> {
    /// The loss of a batch: the weighted sum over the sum of weights, 0 where those are all 0.
    ///
    /// # Errors
    /// When predictions and targets do not fit together.
    fn loss(&self, prediction: &Var, target: &Y) -> Result<Var>;

    /// What the mean was taken over: the number of elements or labels, or the sum of their weights. `None`, as unless written and for
    /// closures, stands for the number of samples.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    fn weight(&self, prediction: &Var, target: &Y) -> Result<Option<f64>> {
        let _ = (prediction, target);
        Ok(None)
    }
}

/// A closure is a loss.
impl<Y, F: Fn(&Var, &Y) -> Result<Var>> Loss<Y> for F {
    fn loss(&self, prediction: &Var, target: &Y) -> Result<Var> {
        self(prediction, target)
    }
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

/// The mean of weighted losses, given the sum of weights; of nothing it is 0.
fn mean_over(losses: &Var, total: f64) -> Result<Var> {
    let sum = losses.sum(..)?;
    if total > 0.0 { Ok(sum.div(&Var::constant(Tensor::scalar(total as f32)))?) } else { Ok(sum.scale(0.0)?) }
}

fn reject_empty(prediction: &Var) -> Result<()> {
    if prediction.value().is_empty() {
        let why = "the mean loss of an empty batch is not defined".into();
        return Err(Error::BadInput { input: prediction.dims().clone(), why });
    }
    Ok(())
}
