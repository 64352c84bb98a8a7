//! An epoch: its batches, those of them that this process computes, and the steps that they make.

use std::ops::ControlFlow;

use cairn_autograd::Gradients;
use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Model, Module};

use super::callback::{Batch, Control};
use super::checkpoint::Position;
use super::evaluation::Running;
use super::fit::{Clip, Unit};
use super::progress::Progress;
use super::read_ahead::read_ahead;
use super::run::Run;
use super::shared::{Part, Shared};
use super::step::{Batches, Computed, Pending, Taken};
use crate::report::metered;
use crate::{AnyOptimizer, Error, Result, clip_by_global_norm, clip_by_norm, clip_by_value};

/// What a process does next: computes a batch of a step, or takes part in a step that has none for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// The batch's number in the epoch, from 0.
    batch: Option<usize>,
    /// Whether it is the first and the last turn of this process in the step.
    begins: bool,
    ends: bool,
    /// The number of batches of the epoch at the end of the step.
    until: usize,
}

/// The turns of process `rank` of `size` in the rest of an epoch of `last` batches, of which `from` are done.
fn turns(from: usize, last: usize, accumulate: usize, (rank, size): (usize, usize)) -> Vec<Turn> {
    let (mut turns, mut start) = (Vec::new(), from);
    while start < last {
        let until = ((start / accumulate + 1) * accumulate).min(last);
        let own = |rank: usize| start + (until - start) * rank / size;
        let (first, end) = (own(rank), own(rank + 1));
        if first == end {
            turns.push(Turn { batch: None, begins: true, ends: true, until });
        }
        turns.extend((first..end).map(|batch| Turn {
            batch: Some(batch),
            begins: batch == first,
            ends: batch + 1 == end,
            until,
        }));
        start = until;
    }
    turns
}

impl<X: Send, Y: Send> Run<'_, '_, X, Y> {
    /// The rest of an epoch.
    pub(super) fn epoch<M, D>(
        &mut self,
        model: &M,
        loader: &Loader<&D>,
        running: &mut Running<'_, Y>,
        progress: &Progress,
        mut step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<()>
    where
        M: Model<X>,
        D: Dataset<Input = X, Target = Y> + Sync,
    {
        let data = *loader.dataset();
        let epoch = self.position.epoch;
        let (order, ends) = loader.epoch(epoch as u64)?.into_order_and_ends();
        let last = ends.len();
        let place = self.shared.as_ref().map_or((0, 1), Shared::place);
        // Batches that a resumed run has done already are passed over.
        let turns = turns(self.position.batches, last, self.fit.accumulate, place);
        let batches = turns.into_iter().map(|turn| {
            let batch = turn.batch.map(|number| {
                let start = number.checked_sub(1).map_or(0, |before| ends[before]);
                let indices = &order[start..ends[number]];
                (indices.len(), data.batch_in_epoch(epoch as u64, indices))
            });
            (turn, batch)
        });
        let mut pending = Pending::new(self.fit.accumulate == 1);
        let mut own = Vec::new();
        read_ahead(batches, |_, (turn, batch)| {
            if turn.begins {
                self.statistics.begin();
            }
            if let (Some(number), Some((samples, batch))) = (turn.batch, batch) {
                let (input, target) = batch?;
                own.push(self.batch(
                    model,
                    (number, samples, input, target),
                    &mut pending,
                    running,
                    &mut step,
                )?);
            }
            let parts = match &self.shared {
                None => std::mem::take(&mut own),
                Some(_) if !turn.ends => return Ok(ControlFlow::Continue(())),
                Some(shared) => {
                    let place = format!("epoch {epoch}, batch {}", turn.until);
                    let (own, statistics) = (std::mem::take(&mut own), &mut self.statistics);
                    let all = shared.exchange(&place, own, &mut pending, statistics);
                    all.inspect_err(|_| statistics.put_back())?
                }
            };
            for part in parts {
                let number = self.position.batches + 1;
                running.add(part.loss.into(), part.weight, &part.measures)?;
                let complete = number == turn.until;
                let mut stepped = false;
                if complete {
                    stepped = self
                        .step(model, &mut pending, &mut step, number)
                        .inspect_err(|_| self.statistics.put_back())?;
                }
                self.position.batches = number;
                progress.advance(part.samples, running.mean_loss());
                self.after_batch(model, part.loss.into(), stepped)?;
                let due = self
                    .fit
                    .checkpoint
                    .as_ref()
                    .is_some_and(|at| self.position.steps.is_multiple_of(at.steps));
                // After the last batch the epoch's own checkpoint follows.
                if due && complete && number < last && !self.stop {
                    self.save(model, data.len(), Some(running))?;
                }
            }
            // Gradients that were taken in are for a step that is still made.
            let complete = self.position.batches == turn.until;
            Ok(if self.stop && complete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// Computes one batch of a step, whose number in the epoch is its first part, and takes its gradients in.
    fn batch<M: Model<X>>(
        &mut self,
        model: &M,
        (number, samples, input, target): (usize, usize, X, Y),
        pending: &mut Pending<X, Y>,
        running: &mut Running<'_, Y>,
        step: &mut impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<Part> {
        let place = (number % self.fit.accumulate) as u64;
        let mut cx = self.context().micro_batch(place);
        let Computed { loss, output, weight } =
            metered(&mut self.meter, || step(model, &input, &target, &mut cx))?;
        let weight = weight.unwrap_or(samples as f64);
        let value = loss.item()?;
        if !value.is_finite() {
            self.statistics.put_back();
            let hint = "Look for NaN in the data, or lower the learning rate.";
            let (epoch, step) = (self.position.epoch, number + 1);
            return Err(Error::NonFiniteLoss { epoch, step, loss: value, hint });
        }
        let measures = running.measure(output.value(), &target, self.fit.accumulate > 1)?;
        // The backward pass has no need of it, and a language model's is as large as its gradient.
        drop(output);
        let gradients = metered(&mut self.meter, || loss.backward())?;
        // The graph is used up; what is left of it are the records of leaves.
        drop(loss);
        pending.add(model, place, value, gradients, weight)?;
        if let Some(meter) = &mut self.meter {
            meter.computed(samples);
        }
        self.statistics.take_in(place)?;
        if self.asks_again() {
            pending.save(samples, input, target);
        }
        Ok(Part { samples, loss: value, weight, measures })
    }

    /// One step of the optimiser by the batches that were taken in, the last of which is number `batch` of its epoch. None is made
    /// where all of them weigh nothing; says whether one was.
    fn step<M: Model<X>>(
        &mut self,
        model: &M,
        pending: &mut Pending<X, Y>,
        step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
        batch: usize,
    ) -> Result<bool> {
        self.statistics.settle()?;
        let Some(Taken { loss, mut gradients, batches }) = pending.take(model)? else { return Ok(false) };
        self.clip(model, &mut gradients)?;
        self.optimizer.set_learning_rate(self.rate * self.factor());
        let (cx, position) = (self.context(), (self.position.epoch, batch));
        let result = match &mut *self.optimizer {
            AnyOptimizer::Gradient(optimizer) => match &self.shared {
                None => optimizer.step(model, &gradients),
                Some(shared) => {
                    let place = format!("step {} of epoch {}", position.1, position.0);
                    shared.step(&mut **optimizer, model, &gradients, &place)
                }
            },
            AnyOptimizer::Closure(optimizer) => {
                let first = Some((loss, gradients));
                let mut batches = Batches { model, batches, step, cx, first, position };
                metered(&mut self.meter, || optimizer.step(&mut batches)).map(|_| ())
            }
        };
        result.map_err(|error| match error {
            Error::NonFinite { .. } => {
                Error::InStep { epoch: position.0, step: batch, error: Box::new(error) }
            }
            other => other,
        })?;
        self.position.steps += 1;
        if let Some(meter) = &mut self.meter {
            meter.stepped();
        }
        Ok(true)
    }

    /// What is random in the step that is to come.
    fn context(&self) -> Context {
        Context::train(self.fit.seed).at_step(self.position.steps)
    }

    /// Whether the optimiser asks for the loss of a step's batches again.
    pub(super) fn asks_again(&self) -> bool {
        matches!(self.optimizer, AnyOptimizer::Closure(_))
    }

    /// The schedule's factor of the base learning rate.
    fn factor(&self) -> f64 {
        match &self.fit.schedule {
            None => 1.0,
            Some((Unit::Step, schedule)) => schedule.factor(self.position.steps),
            Some((Unit::Epoch, schedule)) => schedule.factor(self.position.epoch as u64 - 1),
        }
    }

    fn clip(&self, model: &dyn Module, gradients: &mut Gradients) -> Result<()> {
        for clip in &self.fit.clip {
            match *clip {
                Clip::GlobalNorm(limit) => _ = clip_by_global_norm(model, gradients, limit)?,
                Clip::Norm(limit) => clip_by_norm(model, gradients, limit)?,
                Clip::Value(limit) => clip_by_value(model, gradients, limit)?,
            }
        }
        Ok(())
    }

    fn after_batch<M: Model<X>>(&mut self, model: &M, loss: f64, stepped: bool) -> Result<()> {
        let Position { epoch, batches, steps } = self.position;
        let learning_rate = self.optimizer.learning_rate();
        let batch = Batch { epoch, batch: batches, step: steps, stepped, loss, learning_rate };
        let writes = self.writes();
        for callback in &mut self.fit.callbacks {
            callback.on_batch(&batch, &mut Control::new(model, &mut self.rate, &mut self.stop, writes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_batch_is_computed_once_and_every_process_takes_part_in_every_step() {
        for (from, last, accumulate, size) in [
            (0, 10, 4, 1),
            (0, 10, 4, 2),
            (0, 10, 4, 3),
            (0, 9, 4, 4),
            (4, 9, 4, 4),
            (0, 1, 8, 8),
            (0, 7, 1, 1),
        ] {
            let all: Vec<Vec<Turn>> =
                (0..size).map(|rank| turns(from, last, accumulate, (rank, size))).collect();
            let mut batches: Vec<usize> = all.iter().flatten().filter_map(|turn| turn.batch).collect();
            batches.sort_unstable();
            assert_eq!(batches, (from..last).collect::<Vec<_>>());
            let ends: Vec<usize> =
                (1..=last).filter(|end| *end > from && (*end == last || end % accumulate == 0)).collect();
            for turns in &all {
                let steps = turns.iter().filter(|turn| turn.ends).map(|turn| turn.until);
                assert_eq!(steps.collect::<Vec<_>>(), ends);
                assert_eq!(turns.iter().filter(|turn| turn.begins).count(), ends.len());
                assert!(turns.iter().all(|turn| turn.batch.is_none_or(|batch| batch < turn.until)));
            }
        }
    }
}
