//! The training loop: an optimiser, a loss, metrics, and the passes over data that they make together.

mod callback;
mod callbacks;
mod checkpoint;
mod fit;
mod folds;
mod history;
mod objective;
mod plot;
mod progress;
mod read_ahead;
mod run;

use std::fmt;

use cairn_autograd::no_grad;
use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Loss, Model};
use cairn_tensor::Tensor;

pub use callback::{Batch, Callback, Control};
pub use callbacks::{CsvLog, EarlyStopping, Goal, ModelCheckpoint, ReduceOnPlateau, TensorBoard};
pub use fit::Fit;
pub use folds::CrossValidation;
pub use history::{Epoch, History};

use crate::metrics::{Accumulator, Metric};
use crate::{AnyOptimizer, Error, Result, StateDict};

/// Samples in a batch where nothing is trained and nothing was said.
const EVALUATION_BATCH: usize = 256;

/// Trains and evaluates models on targets of type `Y`.
///
/// ```
/// use cairn_datasets::synthetic;
/// use cairn_nn::{Activation::Relu, Dense, Sequential, SparseCategoricalCrossentropy};
/// use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
///
/// let digits = synthetic::digits(600, 1)?.flatten();
/// let mut model = Sequential::new([784])
///     .add(Dense::new(32).activation(Relu))
///     .add(Dense::new(10))
///     .build(&mut cairn_tensor::rng(0))?;
/// let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
/// let history = trainer.fit(&mut model, &digits, Fit::epochs(2).quiet())?;
/// assert!(history.last("loss") < history.values("loss").first().copied());
/// let result = trainer.evaluate(&model, &digits)?;
/// println!("{result}"); // loss … accuracy …
/// # Ok::<(), cairn_optim::Error>(())
/// ```
pub struct Trainer<Y> {
    optimizer: AnyOptimizer,
    loss: Box<dyn Loss<Y>>,
    metrics: Vec<Box<dyn Metric<Y>>>,
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
        Trainer { optimizer: optimizer.into(), loss: Box::new(loss), metrics: Vec::new() }
    }

    /// Also reports a metric.
    #[must_use]
    pub fn metric(mut self, metric: impl Metric<Y> + 'static) -> Self {
        self.metrics.push(Box::new(metric));
        self
    }

    /// The optimiser, say to set its learning rate.
    pub fn optimizer(&mut self) -> &mut AnyOptimizer {
        &mut self.optimizer
    }

    /// Loss and metrics on a data set, in evaluation mode.
    ///
    /// # Errors
    /// When the data is empty or cannot be read, or does not fit the model.
    pub fn evaluate<M, D>(&self, model: &M, data: &D) -> Result<Evaluation>
    where
        M: Model<D::Input> + ?Sized,
        D: Dataset<Target = Y> + ?Sized,
    {
        evaluate(&*self.loss, &self.metrics, model, data)
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
        for batch in Loader::new(data).batch_size(EVALUATION_BATCH).epoch(0)? {
            outputs.push(model.predict_batch(&batch?.0)?);
        }
        Ok(Tensor::cat(&outputs.iter().collect::<Vec<_>>(), 0)?)
    }
}

/// Loss and metrics on a data set.
fn evaluate<X, Y, M, D>(
    loss: &dyn Loss<Y>,
    metrics: &[Box<dyn Metric<Y>>],
    model: &M,
    data: &D,
) -> Result<Evaluation>
where
    M: Model<X> + ?Sized,
    D: Dataset<Input = X, Target = Y> + ?Sized,
{
    let mut running = Running::start(metrics);
    let mut left = data.len();
    for batch in Loader::new(data).batch_size(EVALUATION_BATCH).epoch(0)? {
        let (input, target) = batch?;
        let samples = left.min(EVALUATION_BATCH);
        left -= samples;
        let (output, loss) = no_grad(|| {
            let output = model.forward(&input, &mut Context::eval())?;
            let loss = loss.loss(&output, &target)?.item()?;
            Ok::<_, cairn_nn::Error>((output, loss))
        })?;
        running.add(f64::from(loss), samples, output.value(), &target)?;
    }
    Ok(running.finish())
}

/// Loss and metrics of one pass over data.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Name and value: the loss first.
    pub values: Vec<(String, f64)>,
}

impl Evaluation {
    /// The value of a metric, or of `"loss"`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    }

    /// The mean loss over all samples.
    pub fn loss(&self) -> f64 {
        self.get("loss").unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.values.iter().enumerate() {
            write!(f, "{}{name} {value:.4}", if i == 0 { "" } else { "  " })?;
        }
        Ok(())
    }
}

/// Loss and metrics while a pass goes on.
struct Running<Y> {
    loss: f64,
    samples: usize,
    metrics: Vec<(String, Box<dyn Accumulator<Y>>)>,
}

impl<Y> Running<Y> {
    fn start(metrics: &[Box<dyn Metric<Y>>]) -> Self {
        let metrics = metrics.iter().map(|metric| (metric.name().to_owned(), metric.start())).collect();
        Running { loss: 0.0, samples: 0, metrics }
    }

    /// Takes in a batch: its mean loss counts once for each sample.
    fn add(&mut self, loss: f64, samples: usize, output: &Tensor, target: &Y) -> Result<()> {
        self.loss += loss * samples as f64;
        self.samples += samples;
        for (_, metric) in &mut self.metrics {
            metric.update(output, target)?;
        }
        Ok(())
    }

    fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// What was taken in so far: that of the loss first.
    fn state(&self) -> Result<Vec<StateDict>> {
        let own = StateDict::new("loss").with("sum", self.loss).with("samples", self.samples as f64);
        std::iter::once(Ok(own)).chain(self.metrics.iter().map(|(_, metric)| metric.state())).collect()
    }

    fn load_state(&mut self, states: &[StateDict]) -> Result<()> {
        let [own, metrics @ ..] = states else { return Ok(()) };
        own.require("loss")?;
        (self.loss, self.samples) = (own.number("sum")?, own.number("samples")? as usize);
        if metrics.len() != self.metrics.len() {
            let (found, needed) = (metrics.len(), self.metrics.len());
            return Err(Error::BadState(format!("of {found} metrics, the trainer has {needed}")));
        }
        self.metrics.iter_mut().zip(metrics).try_for_each(|((_, metric), state)| metric.load_state(state))
    }

    fn finish(self) -> Evaluation {
        let mut values = vec![("loss".to_owned(), self.mean_loss())];
        values.extend(self.metrics.into_iter().map(|(name, metric)| (name, metric.value())));
        Evaluation { values }
    }
}
