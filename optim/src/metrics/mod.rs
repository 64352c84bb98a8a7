//! Metrics: what is reported of a model beside its loss.
//!
//! A metric is a description; each pass over data starts an accumulator from it, so results never carry over from one
//! pass to the next. All of them are exact over the whole pass, not means of the batches' values; those that need an order
//! of all samples ([`RocAuc`], [`AveragePrecision`]) keep the scores. Definitions are those of scikit-learn.

mod accuracy;
mod classes;
mod distance;
mod likelihood;
mod mean;
mod ranking;
mod regression;
mod unweighted;

pub use accuracy::{Accuracy, AccuracyIgnoring, TopK};
pub use classes::{Average, ConfusionMatrix, F1, Precision, Recall};
pub use distance::{edit_distance, spearman};
pub use likelihood::{LogLoss, Perplexity};
pub use ranking::{AveragePrecision, RocAuc};
pub use regression::{MeanAbsoluteError, MeanSquaredError, R2};
pub use unweighted::Unweighted;

use cairn_tensor::Tensor;

use crate::error::check;
use crate::{Result, StateDict};

/// A measure of predictions against targets of type `Y`.
pub trait Metric<Y> {
    /// The name it is reported under, in lower case.
    fn name(&self) -> &str;

    /// Starts a pass over data.
    fn start(&self) -> Box<dyn Accumulator<Y>>;
}

/// A metric over the batches seen so far.
pub trait Accumulator<Y> {
    /// Takes in a batch.
    ///
    /// # Errors
    /// When predictions and targets do not fit together.
    fn update(&mut self, prediction: &Tensor, target: &Y) -> Result<()>;

    /// The metric of all batches taken in; NaN of none.
    fn value(&self) -> f64;

    /// What was taken in so far, for a checkpoint in the middle of a pass. Nothing unless written: a pass that is resumed
    /// then reports on the batches since.
    ///
    /// # Errors
    /// When memory runs out.
    fn state(&self) -> Result<StateDict> {
        Ok(StateDict::default())
    }

    /// Goes on from what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) for the state of another metric.
    fn load_state(&mut self, state: &StateDict) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

/// An error unless there is one label for each row of scores `[…, classes]`; returns the number of classes.
fn check_labels(op: &'static str, scores: &Tensor, labels: &Tensor<u32>) -> Result<usize> {
    match scores.shape().split_last() {
        Some((&classes, rows)) if rows == labels.shape() && classes > 0 => Ok(classes),
        _ => Err(mismatch(op, scores, labels, "one label for each row of scores")),
    }
}

fn mismatch<T: cairn_tensor::Element>(
    op: &'static str,
    prediction: &Tensor,
    target: &Tensor<T>,
    why: &'static str,
) -> crate::Error {
    let (lhs, rhs) = (prediction.dims().clone(), target.dims().clone());
    cairn_tensor::Error::ShapeMismatch { op, lhs, rhs, why }.into()
}

/// An error unless a label is one of the classes.
fn check_class(label: u32, classes: usize) -> Result<usize> {
    let index = label as usize;
    check("a label", label.into(), index < classes, "below the number of scores in a row")?;
    Ok(index)
}
