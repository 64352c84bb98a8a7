//! Losses: a number that says how far predictions are from targets, averaged over the batch.
//!
//! The types carry Keras's names and go into a `Trainer`; the functions carry PyTorch's and go into loops of your own.
//! Classification losses take logits. Given the output of a softmax or sigmoid they compute from its input instead
//! (variables remember it), so a model that ends in probabilities trains as stably as one that ends in logits, and no
//! flag has to be set.

mod classification;
mod regression;
mod weighted;

use cairn_autograd::Var;
use cairn_tensor::Tensor;

pub use classification::{
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, binary_cross_entropy,
    cross_entropy, soft_cross_entropy,
};
pub use regression::{Huber, MeanAbsoluteError, MeanSquaredError, huber, mae, mse};
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
