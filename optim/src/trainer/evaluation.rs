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
        let measures = running.measure(output.value(), &target, false)?;
        running.add(f64::from(loss), weight.unwrap_or(indices.len() as f64), &measures)?;
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
pub(super) struct Running<'m, Y> {
    loss: f64,
    weight: f64,
    metrics: Vec<Measured<'m, Y>>,
}

/// A metric of the pass.
struct Measured<'m, Y> {
    metric: &'m dyn Metric<Y>,
    so_far: Box<dyn Accumulator<Y>>,
    /// Whether batches that were taken alone can be put together.
    merges: bool,
}

impl<'m, Y> Running<'m, Y> {
    pub(super) fn start(metrics: &'m [Box<dyn Metric<Y>>]) -> Self {
        let measured = |metric: &'m dyn Metric<Y>| {
            let nothing = metric.start().state();
            let merges = nothing.and_then(|nothing| metric.start().merge(&nothing)).is_ok();
            Measured { metric, so_far: metric.start(), merges }
        };
        let metrics = metrics.iter().map(|metric| measured(&**metric)).collect();
        Running { loss: 0.0, weight: 0.0, metrics }
    }

    /// The name of a metric that batches cannot be taken alone of.
    pub(super) fn unmerged(&self) -> Option<&str> {
        self.metrics.iter().find(|measured| !measured.merges).map(|measured| measured.metric.name())
    }

    /// What a batch adds to each metric, to be handed to [`add`](Self::add) in the order of batches; nothing where it was taken in
    /// already. `apart` is whether batches are taken alone where they can be, as they are where other processes compute some.
    pub(super) fn measure(
        &mut self,
        output: &Tensor,
        target: &Y,
        apart: bool,
    ) -> Result<Vec<Option<StateDict>>> {
        let measure = |measured: &mut Measured<'m, Y>| {
            if !(apart && measured.merges) {
                return measured.so_far.update(output, target).map(|()| None);
            }
            let mut alone = measured.metric.start();
            alone.update(output, target)?;
            alone.state().map(Some)
        };
        self.metrics.iter_mut().map(measure).collect()
    }

    /// Takes in a batch: its mean loss counts by the sum of its weights.
    pub(super) fn add(&mut self, loss: f64, weight: f64, measures: &[Option<StateDict>]) -> Result<()> {
        self.loss += loss * weight;
        self.weight += weight;
        for (measured, measure) in self.metrics.iter_mut().zip(measures) {
            measure.as_ref().map_or(Ok(()), |measure| measured.so_far.merge(measure))?;
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
        std::iter::once(Ok(own)).chain(self.metrics.iter().map(|measured| measured.so_far.state())).collect()
    }

    pub(super) fn load_state(&mut self, states: &[StateDict]) -> Result<()> {
        let [own, metrics @ ..] = states else { return Ok(()) };
        own.require("loss")?;
        (self.loss, self.weight) = (own.number("sum")?, own.number("weight")?);
        if metrics.len() != self.metrics.len() {
            let (found, needed) = (metrics.len(), self.metrics.len());
            return Err(Error::BadState(format!("of {found} metrics, the trainer has {needed}")));
        }
        let pairs = self.metrics.iter_mut().zip(metrics);
        pairs.into_iter().try_for_each(|(measured, state)| measured.so_far.load_state(state))
    }

    /// The result for so many samples. A loss over nothing is no small loss but none.
    pub(super) fn finish(self, samples: usize) -> Result<Evaluation> {
        let weight = self.weight;
        Setting::check("the sum of weights of all samples", weight, weight > 0.0, "above 0")?;
        let mut values = vec![("loss".to_owned(), self.mean_loss())];
        let value = |measured: Measured<'m, Y>| (measured.metric.name().to_owned(), measured.so_far.value());
        values.extend(self.metrics.into_iter().map(value));
        Ok(Evaluation { values, weight, samples })
    }
}
