//! Metrics: what is reported of a model beside its loss.
//!
//! | targets | metrics |
//! |---|---|
//! | labels of classes | [`Accuracy`] [`TopK`] [`Precision`] [`Recall`] [`F1`] [`LogLoss`] [`Perplexity`]; [`ConfusionMatrix`] |
//! | yes or no | [`RocAuc`] [`AveragePrecision`] |
//! | values | [`MeanSquaredError`] [`MeanAbsoluteError`] [`R2`] |
//! | with weights of samples | any of these as [`Unweighted`] |
//! | translations | [`Bleu`] and [`ChrF`], as sacreBLEU prints them |
//! | two sequences | the functions [`edit_distance`] and [`spearman`] |
//!
//! A [`Metric`] is a description; each pass over data starts an [`Accumulator`] from it, so results never carry over from one
//! pass to the next. All of them are exact over the whole pass, not means of the batches' values; those that need an order
//! of all samples ([`RocAuc`], [`AveragePrecision`]) save the scores. Definitions are those of scikit-learn.
//!
//! A metric of your own is a type with both traits; give it to [`Trainer::metric`](crate::Trainer::metric):
//!
//! ```
//! use cairn_optim::metrics::{Accumulator, Metric};
//! use cairn_tensor::Tensor;
//!
//! /// The largest error.
//! struct LargestError;
//!
//! impl Metric<Tensor> for LargestError {
//!     fn name(&self) -> &str {
//!         "largest_error"
//!     }
//!     fn start(&self) -> Box<dyn Accumulator<Tensor>> {
//!         Box::new(Largest(f64::NAN))
//!     }
//! }
//!
//! struct Largest(f64);
//!
//! impl Accumulator<Tensor> for Largest {
//!     fn update(&mut self, prediction: &Tensor, target: &Tensor) -> cairn_optim::Result<()> {
//!         let largest = prediction.sub(target)?.abs()?.max(..)?.item()?;
//!         self.0 = self.0.max(largest.into()); // anything is more than NaN
//!         Ok(())
//!     }
//!     fn value(&self) -> f64 {
//!         self.0
//!     }
//! }
//! ```

mod accuracy;
mod bleu;
mod chrf;
mod classes;
mod distance;
mod likelihood;
mod mean;
mod ranking;
mod regression;
mod unweighted;

pub use accuracy::{Accuracy, AccuracyIgnoring, TopK};
pub use bleu::{Bleu, bleu};
pub use chrf::{ChrF, chrf};
pub use classes::{Average, ConfusionMatrix, F1, Precision, Recall};
pub use distance::{edit_distance, spearman};
pub use likelihood::{LogLoss, Perplexity};
pub use ranking::{AveragePrecision, RocAuc};
pub use regression::{MeanAbsoluteError, MeanSquaredError, R2};
pub use unweighted::Unweighted;

use cairn_tensor::{Setting, Tensor};

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
    /// When predictions and targets do not fit together: in shape, a label that is no class, a score that is NaN.
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

    /// Takes in the batches of another accumulator of the same metric, which come after those taken in so far, by its
    /// [`state`](Self::state). What many [processes](crate::processes) need to report a metric together.
    ///
    /// # Errors
    /// [`Error::BadState`](crate::Error::BadState) for the state of another metric, and for any unless written.
    fn merge(&mut self, later: &StateDict) -> Result<()> {
        Err(crate::Error::BadState(format!("`{}` cannot be merged", later.kind)))
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
    Setting::check("a label", label, index < classes, "below the number of scores in a row")?;
    Ok(index)
}

/// The class of the largest score in each row, where all labels are classes and all scores numbers.
fn predictions(op: &'static str, scores: &Tensor, labels: &Tensor<u32>) -> Result<Tensor<u32>> {
    let classes = check_labels(op, scores, labels)?;
    for label in labels.iter() {
        check_class(label, classes)?;
    }
    // NaN if any is.
    let nan = scores.max(-1)?.iter().any(f32::is_nan);
    Setting::check("a score", f32::NAN, !nan, "a number")?;
    Ok(scores.argmax(-1)?)
}
