//! The training loop: an optimiser, a loss, metrics, and the passes over data that they make together.

mod callback;
mod callbacks;
mod checkpoint;
mod epoch;
mod evaluation;
mod fit;
mod folds;
mod history;
mod plot;
mod progress;
mod read_ahead;
mod report;
mod resume;
mod run;
mod shared;
mod statistics;
mod step;

use std::fmt;

use cairn_datasets::Dataset;
use cairn_nn::{Loss, Model};
use cairn_tensor::Tensor;

pub use callback::{Batch, Callback, Control};
pub use callbacks::{CsvLog, EarlyStopping, Goal, ModelCheckpoint, ReduceOnPlateau, TensorBoard};
pub use evaluation::Evaluation;
pub use fit::Fit;
pub use folds::CrossValidation;
pub use history::{Epoch, History};
pub use step::Computed;

use self::evaluation::batches_to_evaluate;
use crate::metrics::Metric;
use crate::{AnyOptimizer, Result};

/// Trains and evaluates models on targets of type `Y`.
///
/// ```
/// use cairn_datasets::synthetic;
/// use cairn_nn::{Activation::Relu, Sequential, SparseCategoricalCrossentropy, spec::Dense};
/// use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
///
/// let digits = synthetic::digits(600, 1)?.flatten();
/// let model = Sequential::new([784])
///     .add(Dense::new(32).activation(Relu))
///     .add(Dense::new(10))
///     .build(&mut cairn_tensor::rng(0))?;
/// let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
/// let history = trainer.fit(&model, &digits, Fit::epochs(2).quiet())?;
/// assert!(history.last("loss") < history.values("loss").first().copied());
/// let result = trainer.evaluate(&model, &digits)?;
/// println!("{result}"); // loss … accuracy …
/// # Ok::<(), cairn_optim::Error>(())
/// ```
pub struct Trainer<Y> {
    optimizer: AnyOptimizer,
    loss: Box<dyn Loss<Y>>,
    metrics: Vec<Box<dyn Metric<Y>>>,
    last: LastRun,
}

/// What a run leaves behind in its trainer, however it ended.
#[derive(Debug, Default)]
struct LastRun {
    /// The base learning rates at its start and at its end, which callbacks may have lowered.
    rates: Option<(f64, f64)>,
    history: History,
}

impl<Y> fmt::Debug for Trainer<Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metrics: Vec<_> = self.metrics.iter().map(|metric| metric.name()).collect();
        let rate = self.optimizer.learning_rate();
        f.debug_struct("Trainer")
            .field("learning_rate", &rate)
            .field("metrics", &metrics)
            .finish_non_exhaustive()
    }
}

impl<Y> Trainer<Y> {
    /// A trainer that lowers `loss` with `optimizer`.
    pub fn new(optimizer: impl Into<AnyOptimizer>, loss: impl Loss<Y> + 'static) -> Self {
        Trainer {
            optimizer: optimizer.into(),
            loss: Box::new(loss),
            metrics: Vec::new(),
            last: LastRun::default(),
        }
    }

    /// Also reports a metric.
    #[must_use]
    pub fn metric(mut self, metric: impl Metric<Y> + 'static) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }

    /// The epochs of the last run that were completed, also of one that an error ended: what [`fit`](Self::fit) would have
    /// returned. Empty before the first.
    pub fn history(&self) -> &History {
        &self.last.history
    }

    /// The optimiser, say to set its learning rate.
    pub fn optimizer(&mut self) -> &mut AnyOptimizer {
        &mut self.optimizer
    }

    /// Loss and metrics on a data set, in evaluation mode; samples that are varied at random in training are not here.
    ///
    /// # Errors
    /// When the data is empty or cannot be read, or does not fit the model.
    pub fn evaluate<M, D>(&self, model: &M, data: &D) -> Result<Evaluation>
    where
        M: Model<D::Input> + ?Sized,
        D: Dataset<Target = Y> + ?Sized,
    {
        evaluation::evaluate(&*self.loss, &self.metrics, model, data)
    }

    /// The model's outputs for a data set, in order, in batches of bounded size: `[samples, …]`.
    ///
    /// # Errors
    /// When the data is empty or cannot be read, or does not fit the model.
    pub fn predict<M, D>(&self, model: &M, data: &D) -> Result<Tensor>
    where
        M: Model<D::Input> + ?Sized,
        D: Dataset + ?Sized,
    {
        let mut outputs = Vec::new();
        for indices in batches_to_evaluate(data.len())? {
            outputs.push(model.predict_batch(&data.batch_to_evaluate(&indices)?.0)?);
        }
        Ok(Tensor::cat(&outputs.iter().collect::<Vec<_>>(), 0)?)
    }
}
