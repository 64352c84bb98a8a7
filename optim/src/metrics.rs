//! Metrics: what is reported of a model beside its loss.
//!
//! A metric is a description; each pass over data starts an accumulator from it, so results never carry over from one
//! pass to the next.

use cairn_tensor::Tensor;

use crate::Result;

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
}

/// The share of predictions whose largest score is at the label: scores `[…, classes]`, labels `[…]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accuracy;

impl Metric<Tensor<u32>> for Accuracy {
    fn name(&self) -> &str {
        "accuracy"
    }

    fn start(&self) -> Box<dyn Accumulator<Tensor<u32>>> {
        Box::new(Share::default())
    }
}

/// Hits out of a total.
#[derive(Debug, Default)]
struct Share {
    hits: usize,
    total: usize,
}

impl Accumulator<Tensor<u32>> for Share {
    fn update(&mut self, prediction: &Tensor, target: &Tensor<u32>) -> Result<()> {
        let predicted = prediction.argmax(-1)?;
        if predicted.shape() != target.shape() {
            return Err(cairn_tensor::Error::ShapeMismatch {
                op: "accuracy",
                lhs: prediction.dims().clone(),
                rhs: target.dims().clone(),
                why: "one label for each row of scores",
            }
            .into());
        }
        self.hits += predicted.iter().zip(target.iter()).filter(|(a, b)| a == b).count();
        self.total += target.len();
        Ok(())
    }

    fn value(&self) -> f64 {
        self.hits as f64 / self.total as f64
    }
}

/// The mean of |prediction - target| over all elements.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanAbsoluteError;

/// The mean of (prediction - target)² over all elements.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeanSquaredError;

/// A mean over elements of a function of prediction and target.
struct Mean {
    of: fn(f64) -> f64,
    name: &'static str,
    sum: f64,
    count: usize,
}

impl Accumulator<Tensor> for Mean {
    fn update(&mut self, prediction: &Tensor, target: &Tensor) -> Result<()> {
        if prediction.shape() != target.shape() {
            return Err(cairn_tensor::Error::ShapeMismatch {
                op: self.name,
                lhs: prediction.dims().clone(),
                rhs: target.dims().clone(),
                why: "predictions and targets must have one shape",
            }
            .into());
        }
        self.sum +=
            prediction.iter().zip(target.iter()).map(|(a, b)| (self.of)(f64::from(a - b))).sum::<f64>();
        self.count += target.len();
        Ok(())
    }

    fn value(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl Metric<Tensor> for MeanAbsoluteError {
    fn name(&self) -> &str {
        "mean_absolute_error"
    }
    fn start(&self) -> Box<dyn Accumulator<Tensor>> {
        Box::new(Mean { of: f64::abs, name: "mean_absolute_error", sum: 0.0, count: 0 })
    }
}

impl Metric<Tensor> for MeanSquaredError {
    fn name(&self) -> &str {
        "mean_squared_error"
    }
    fn start(&self) -> Box<dyn Accumulator<Tensor>> {
        Box::new(Mean { of: |d| d * d, name: "mean_squared_error", sum: 0.0, count: 0 })
    }
}
