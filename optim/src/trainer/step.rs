//! One step of the optimiser: the batches that it is made of, and their loss as a function of the parameters.
//!
//! What is random in a batch depends on the seed, the number of the step and the place of the batch in it, and on nothing that
//! was drawn before. So an optimiser that asks for the loss again gets the same function each time, and a run that is resumed
//! draws what it would have drawn.

use cairn_autograd::{Gradients, Var};
use cairn_nn::{Context, Model, Module};

use crate::tree::Tree;
use crate::{Accumulation, Error, Objective, Result};

/// What a training step computes of a batch: the mean loss, the output that metrics are taken of, and the sum of weights that the
/// mean was taken over. A pair of loss and output becomes one, whose samples count alike; a triple has the weight too.
///
/// Over several batches losses are the sum of all over the sum of weights.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The mean loss.
    pub loss: Var,
    /// The output.
    pub output: Var,
    /// The sum of weights; the number of samples where there is none.
    pub weight: Option<f64>,
}

impl From<(Var, Var)> for Computed {
    fn from((loss, output): (Var, Var)) -> Self {
        Computed { loss, output, weight: None }
    }
}

impl From<(Var, Var, f64)> for Computed {
    fn from((loss, output, weight): (Var, Var, f64)) -> Self {
        Computed { loss, output, weight: Some(weight) }
    }
}

/// A batch: its number of samples, inputs, and targets.
pub(super) type Batch<X, Y> = (usize, X, Y);

/// The batches of a step that is still to be made, as far as this process computes them.
pub(super) struct Pending<X, Y> {
    /// Whether a step is one batch, whose gradients need no sum.
    single: bool,
    /// The gradients of the whole step, where they are known.
    whole: Option<Gradients>,
    accumulation: Accumulation,
    /// The weighted sum.
    loss: f64,
    weight: f64,
    /// For an optimiser that asks for their loss again.
    batches: Vec<Batch<X, Y>>,
}

impl<X, Y> Pending<X, Y> {
    pub(super) fn new(single: bool) -> Self {
        Pending {
            single,
            whole: None,
            accumulation: Accumulation::default(),
            loss: 0.0,
            weight: 0.0,
            batches: Vec::new(),
        }
    }

    /// Takes in batch number `place` of the step by its mean loss, the gradients of that, and the sum of its weights.
    pub(super) fn add(
        &mut self,
        model: &dyn Module,
        place: u64,
        loss: f32,
        gradients: Gradients,
        weight: f64,
    ) -> Result<()> {
        if self.single {
            self.whole = Some(gradients);
        } else {
            self.accumulation.add_leaf(model, gradients, weight, place)?;
        }
        self.loss += f64::from(loss) * weight;
        self.weight += weight;
        Ok(())
    }

    /// Also saves a batch itself.
    pub(super) fn save(&mut self, samples: usize, input: X, target: Y) {
        self.batches.push((samples, input, target));
    }

    /// The sums of the gradients taken in, to be added to those of other processes.
    pub(super) fn take_tree(&mut self) -> Tree<Gradients> {
        std::mem::take(&mut self.accumulation).into_tree()
    }

    /// Takes in the gradients of the whole step, and loss and weight of all its batches.
    pub(super) fn settle(&mut self, whole: Gradients, batches: impl Iterator<Item = (f32, f64)>) {
        self.whole = Some(whole);
        (self.loss, self.weight) = (0.0, 0.0);
        for (loss, weight) in batches {
            self.loss += f64::from(loss) * weight;
            self.weight += weight;
        }
    }

    /// What was taken in, unless all of it weighs nothing; starts anew.
    pub(super) fn take(&mut self, model: &dyn Module) -> Result<Option<Taken<X, Y>>> {
        let done = std::mem::replace(self, Pending::new(self.single));
        let Pending { whole, mut accumulation, loss, weight, batches, .. } = done;
        if weight <= 0.0 {
            return Ok(None);
        }
        let gradients = whole.map_or_else(|| accumulation.take(model), Ok)?;
        Ok(Some(Taken { loss: loss / weight, gradients, batches }))
    }
}

/// The batches of a step that is made now.
pub(super) struct Taken<X, Y> {
    /// The mean over all batches.
    pub(super) loss: f64,
    /// Those of the mean loss.
    pub(super) gradients: Gradients,
    /// The batches themselves, where they were saved.
    pub(super) batches: Vec<Batch<X, Y>>,
}

/// The loss of a step's batches.
pub(super) struct Batches<'a, M, X, Y, F> {
    pub(super) model: &'a M,
    pub(super) batches: Vec<Batch<X, Y>>,
    pub(super) step: F,
    /// Seed and step, for what is random.
    pub(super) cx: Context,
    /// Loss and gradients of the model as the step begins, which the loop has computed already.
    pub(super) first: Option<(f64, Gradients)>,
    /// Epoch and batch, for errors.
    pub(super) position: (usize, usize),
}

impl<M, X, Y, F> Objective for Batches<'_, M, X, Y, F>
where
    M: Model<X>,
    F: FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
{
    fn model(&self) -> &dyn Module {
        self.model
    }

    fn evaluate(&mut self) -> Result<(f64, Gradients)> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let (mut sum, mut total, mut accumulation) = (0.0, 0.0, Accumulation::default());
        for (i, (samples, input, target)) in self.batches.iter().enumerate() {
            let mut cx = self.cx.clone().micro_batch(i as u64);
            let Computed { loss, weight, .. } = (self.step)(self.model, input, target, &mut cx)?;
            let weight = weight.unwrap_or(*samples as f64);
            let value = loss.item()?;
            if !value.is_finite() {
                let (epoch, step) = self.position;
                let hint = "The step went too far: search along the direction, or lower the learning rate.";
                return Err(Error::NonFiniteLoss { epoch, step, loss: value, hint });
            }
            accumulation.add_weighted(self.model, loss.backward()?, weight)?;
            (sum, total) = (sum + f64::from(value) * weight, total + weight);
        }
        Ok((sum / total, accumulation.take(self.model)?))
    }
}
