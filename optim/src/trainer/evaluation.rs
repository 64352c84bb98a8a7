//! Loss and metrics of one pass over data, while it goes on and when it is over.

use std::fmt;

use cairn_autograd::no_grad;
use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Loss, Model};
use cairn_tensor::Tensor;

use crate::metrics::{Accumulator, Metric};
use crate::{Error, Result, StateDict};

/// Samples in a batch where nothing is trained.
pub(super) const EVALUATION_BATCH: usize = 256;

/// Loss and metrics on a data set.
pub(super) fn evaluate<X, Y, M, D>(
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
pub(super) struct Running<Y> {
    loss: f64,
    samples: usize,
    metrics: Vec<(String, Box<dyn Accumulator<Y>>)>,
}

impl<Y> Running<Y> {
    pub(super) fn start(metrics: &[Box<dyn Metric<Y>>]) -> Self {
        let metrics = metrics.iter().map(|metric| (metric.name().to_owned(), metric.start())).collect();
        Running { loss: 0.0, samples: 0, metrics }
    }

    /// Takes in a batch: its mean loss counts once for each sample.
    pub(super) fn add(&mut self, loss: f64, samples: usize, output: &Tensor, target: &Y) -> Result<()> {
        self.loss += loss * samples as f64;
        self.samples += samples;
        for (_, metric) in &mut self.metrics {
            metric.update(output, target)?;
        }
        Ok(())
    }

    pub(super) fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// What was taken in so far: that of the loss first.
    pub(super) fn state(&self) -> Result<Vec<StateDict>> {
        let own = StateDict::new("loss").with("sum", self.loss).with("samples", self.samples as f64);
        std::iter::once(Ok(own)).chain(self.metrics.iter().map(|(_, metric)| metric.state())).collect()
    }

    pub(super) fn load_state(&mut self, states: &[StateDict]) -> Result<()> {
        let [own, metrics @ ..] = states else { return Ok(()) };
        own.require("loss")?;
        (self.loss, self.samples) = (own.number("sum")?, own.number("samples")? as usize);
        if metrics.len() != self.metrics.len() {
            let (found, needed) = (metrics.len(), self.metrics.len());
            return Err(Error::BadState(format!("of {found} metrics, the trainer has {needed}")));
        }
        self.metrics.iter_mut().zip(metrics).try_for_each(|((_, metric), state)| metric.load_state(state))
    }

    pub(super) fn finish(self) -> Evaluation {
        let mut values = vec![("loss".to_owned(), self.mean_loss())];
        values.extend(self.metrics.into_iter().map(|(name, metric)| (name, metric.value())));
        Evaluation { values }
    }
}
