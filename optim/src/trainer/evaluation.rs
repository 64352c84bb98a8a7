//! Loss and metrics of one pass over data, while it goes on and when it is over.

use std::fmt;

use cairn_autograd::no_grad;
use cairn_datasets::Dataset;
use cairn_nn::{Context, Loss, Model};
use cairn_tensor::{Setting, Tensor};

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
    for indices in batches_to_evaluate(data.len())? {
        let (input, target) = data.batch_to_evaluate(&indices)?;
        let (output, loss, weight) = no_grad(|| {
            let output = model.forward(&input, &mut Context::eval())?;
            let weight = loss.weight(&output, &target)?;
            let loss = loss.loss(&output, &target)?.item()?;
            Ok::<_, cairn_nn::Error>((output, loss, weight))
        })?;
        running.add(f64::from(loss), weight.unwrap_or(indices.len() as f64), output.value(), &target)?;
    }
    running.finish(data.len())
}

/// The samples in order, in batches of bounded size.
pub(super) fn batches_to_evaluate(len: usize) -> Result<impl Iterator<Item = Vec<usize>>> {
    Setting::check("the number of samples to evaluate", len, len > 0, "at least 1")?;
    Ok((0..len)
        .step_by(EVALUATION_BATCH)
        .map(move |start| (start..len.min(start + EVALUATION_BATCH)).collect()))
}

/// Loss and metrics of one pass over data.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Name and value: the loss first.
    pub values: Vec<(String, f64)>,
    /// The sum of weights that the loss is the mean over: of elements or labels, each 1 unless the loss says otherwise.
    pub weight: f64,
    /// The number of samples.
    pub samples: usize,
}

impl Evaluation {
    /// The value of a metric, or of `"loss"`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    }

    /// The mean loss: the sum of weighted losses over the sum of weights, however the data were cut into batches.
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
    weight: f64,
    metrics: Vec<(String, Box<dyn Accumulator<Y>>)>,
}

impl<Y> Running<Y> {
    pub(super) fn start(metrics: &[Box<dyn Metric<Y>>]) -> Self {
        let metrics = metrics.iter().map(|metric| (metric.name().to_owned(), metric.start())).collect();
        Running { loss: 0.0, weight: 0.0, metrics }
    }

    /// Takes in a batch: its mean loss counts by the sum of its weights.
    pub(super) fn add(&mut self, loss: f64, weight: f64, output: &Tensor, target: &Y) -> Result<()> {
        self.loss += loss * weight;
        self.weight += weight;
        for (_, metric) in &mut self.metrics {
            metric.update(output, target)?;
        }
        Ok(())
    }

    /// 0 of nothing.
    pub(super) fn mean_loss(&self) -> f64 {
        if self.weight > 0.0 { self.loss / self.weight } else { 0.0 }
    }

    /// What was taken in so far: that of the loss first.
    pub(super) fn state(&self) -> Result<Vec<StateDict>> {
        let own = StateDict::new("loss").with("sum", self.loss).with("weight", self.weight);
        std::iter::once(Ok(own)).chain(self.metrics.iter().map(|(_, metric)| metric.state())).collect()
    }

    pub(super) fn load_state(&mut self, states: &[StateDict]) -> Result<()> {
        let [own, metrics @ ..] = states else { return Ok(()) };
        own.require("loss")?;
        (self.loss, self.weight) = (own.number("sum")?, own.number("weight")?);
        if metrics.len() != self.metrics.len() {
            let (found, needed) = (metrics.len(), self.metrics.len());
            return Err(Error::BadState(format!("of {found} metrics, the trainer has {needed}")));
        }
        self.metrics.iter_mut().zip(metrics).try_for_each(|((_, metric), state)| metric.load_state(state))
    }

    /// The result for so many samples. A loss over nothing is no small loss but none.
    pub(super) fn finish(self, samples: usize) -> Result<Evaluation> {
        let weight = self.weight;
        Setting::check("the sum of weights of all samples", weight, weight > 0.0, "above 0")?;
        let mut values = vec![("loss".to_owned(), self.mean_loss())];
        values.extend(self.metrics.into_iter().map(|(name, metric)| (name, metric.value())));
        Ok(Evaluation { values, weight, samples })
    }
}
