//! The run itself: epochs of steps over shuffled batches.

use std::ops::ControlFlow;
use std::time::Instant;

use cairn_autograd::Gradients;
use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Buffer, Context, Loss, Model, Module, Part, Visitor};
use cairn_tensor::{AnyTensor, Setting};

use super::callback::{Batch, Control};
use super::checkpoint::Position;
use super::evaluation::{Running, evaluate};
use super::fit::{Clip, Fit, Unit};
use super::progress::Progress;
use super::read_ahead::read_ahead;
use super::step::{Batches, Computed, Pending, Taken};
use super::{Epoch, History, LastRun, Trainer};
use crate::metrics::Metric;
use crate::{AnyOptimizer, Error, Result, clip_by_global_norm, clip_by_norm, clip_by_value};

impl<Y> Trainer<Y> {
    /// Trains a model on a data set.
    ///
    /// Batches are assembled on another thread while the model computes, where there is more than one.
    /// Progress is a bar on a terminal and a line for each epoch elsewhere, on standard error.
    ///
    /// The loss of a step, an epoch or an evaluation is the sum of weighted losses over the sum of weights, whatever the batches. A
    /// step whose weights are all 0 is not made. With a model that has nothing of the last one's the optimiser begins anew; with the
    /// same model it goes on.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] as soon as the loss is NaN or infinite, and [`Error::InStep`] with [`Error::NonFinite`] as soon as a
    /// gradient is, naming the step, with the model as before it or, with [`EarlyStopping`](crate::EarlyStopping), as after its best
    /// epoch; the epochs before it are in [`history`](Self::history). [`Error::BadSetting`] for no epochs or an empty batch, and when
    /// all weights of an epoch are 0; when the data is empty, cannot be read, or does not fit the model; those of callbacks; when a
    /// checkpoint cannot be written, or read and gone on from.
    pub fn fit<M, D>(&mut self, model: &M, data: &D, fit: Fit<'_, D::Input, Y>) -> Result<History>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        self.begin(model);
        let Trainer { optimizer, loss, metrics, last } = self;
        let step = |model: &M, input: &D::Input, target: &Y, cx: &mut Context| {
            let output = model.forward(input, cx)?;
            let weight = loss.weight(&output, target)?;
            Ok(Computed { loss: loss.loss(&output, target)?, output, weight })
        };
        Run::new(optimizer, &**loss, metrics, fit).start(model, data, last, step)
    }

    /// Readies the optimiser for a model: for one that has nothing of the last it begins anew, at the rate that the run with that
    /// one began at, unless another was set since.
    fn begin(&mut self, model: &dyn Module) {
        if self.optimizer.is_of(model) {
            return;
        }
        self.optimizer.reset();
        if let Some((start, end)) = self.last.rates.take()
            && self.optimizer.learning_rate() == end
        {
            self.optimizer.set_learning_rate(start);
        }
    }

    /// As [`fit`](Self::fit), with a training step of your own: given model, inputs and targets, the loss to be lowered
    /// and the output that metrics are taken of. Say for a penalty on weights or outputs, mixed samples, or several outputs. The
    /// loss is the mean over the batch's samples; where it is one over weights, their sum is the third of a triple.
    ///
    /// ```
    /// use cairn_datasets::synthetic;
    /// use cairn_nn::{Sequential, SparseCategoricalCrossentropy, cross_entropy, spec::Dense};
    /// use cairn_optim::{Fit, Sgd, Trainer};
    ///
    /// let digits = synthetic::digits(100, 1)?.flatten();
    /// let model = Sequential::new([784]).add(Dense::new(10)).build(&mut cairn_tensor::rng(0))?;
    /// let mut trainer = Trainer::new(Sgd::new(0.1), SparseCategoricalCrossentropy);
    /// trainer.fit_with(&model, &digits, Fit::epochs(1).quiet(), |model, x, labels, cx| {
    ///     let scores = model.forward(x, cx)?;
    ///     let penalty = scores.square()?.mean(..)?.scale(1e-3)?;
    ///     Ok((cross_entropy(&scores, labels)?.add(&penalty)?, scores))
    /// })?;
    /// # Ok::<(), cairn_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the step, and all of [`fit`](Self::fit).
    pub fn fit_with<M, D, S>(
        &mut self,
        model: &M,
        data: &D,
        fit: Fit<'_, D::Input, Y>,
        mut step: impl FnMut(&M, &D::Input, &Y, &mut Context) -> cairn_nn::Result<S>,
    ) -> Result<History>
    where
        S: Into<Computed>,
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        self.begin(model);
        let step = |model: &M, input: &D::Input, target: &Y, cx: &mut Context| {
            step(model, input, target, cx).map(Into::into)
        };
        let run = Run::new(&mut self.optimizer, &*self.loss, &self.metrics, fit);
        run.start(model, data, &mut self.last, step)
    }
}

/// A run, and how far it has come.
pub(super) struct Run<'r, 'f, X, Y> {
    pub(super) optimizer: &'r mut AnyOptimizer,
    loss: &'r dyn Loss<Y>,
    metrics: &'r [Box<dyn Metric<Y>>],
    pub(super) fit: Fit<'f, X, Y>,
    pub(super) position: Position,
    /// The base learning rate, of which the schedule gives a factor, and the one that the run began with.
    pub(super) rate: f64,
    pub(super) start_rate: f64,
    /// Whether a callback wants the run to end, and whether it did so after an epoch, for good.
    pub(super) stop: bool,
    pub(super) over: bool,
    pub(super) history: History,
    /// What a forward pass changes beside gradients: running means of normalisation.
    buffers: Vec<Buffer>,
}

impl<'r, 'f, X: Send, Y: Send> Run<'r, 'f, X, Y> {
    fn new(
        optimizer: &'r mut AnyOptimizer,
        loss: &'r dyn Loss<Y>,
        metrics: &'r [Box<dyn Metric<Y>>],
        fit: Fit<'f, X, Y>,
    ) -> Self {
        let rate = optimizer.learning_rate();
        let position = Position { epoch: 1, batches: 0, steps: 0 };
        Run {
            optimizer,
            loss,
            metrics,
            fit,
            position,
            rate,
            start_rate: rate,
            stop: false,
            over: false,
            history: History::default(),
            buffers: Vec::new(),
        }
    }

    fn start<M, D>(
        mut self,
        model: &M,
        data: &D,
        last: &mut LastRun,
        step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<History>
    where
        M: Model<X>,
        D: Dataset<Input = X, Target = Y> + Sync,
    {
        self.fit.check()?;
        // A gradient that was clipped is not that of the loss, which such an optimiser goes by.
        let limits = if self.asks_again() { self.fit.clip.len() } else { 0 };
        Setting::check(
            "the number of limits on gradients",
            limits,
            limits == 0,
            "0 for L-BFGS and its like",
        )?;
        model.visit(&mut Visitor::new(&mut |_, part| {
            if let Part::Buffer(buffer) = part {
                self.buffers.push(buffer.clone());
            }
        }));
        let result = match self.fit.validation_split {
            None => self.epochs(model, data, self.fit.validation, step),
            Some(share) => {
                let held = ((data.len() as f64 * share).round() as usize).min(data.len());
                let first = data.len() - held;
                let train = data.subset((0..first).collect())?;
                let held = data.subset((first..data.len()).collect())?;
                self.epochs(model, &train, Some(&held), step)
            }
        };
        if let Err(error) = &result {
            for callback in &mut self.fit.callbacks {
                callback.on_error(error, &mut Control::new(model, &mut self.rate, &mut self.stop));
            }
        }
        // A schedule's factor is for this run only.
        self.optimizer.set_learning_rate(self.rate);
        *last = LastRun { rates: Some((self.start_rate, self.rate)), history: self.history.clone() };
        result.map(|()| self.history)
    }

    fn epochs<M, D>(
        &mut self,
        model: &M,
        data: &D,
        validation: Option<&dyn Dataset<Input = X, Target = Y>>,
        mut step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<()>
    where
        M: Model<X>,
        D: Dataset<Input = X, Target = Y> + Sync,
    {
        let mut loader = Loader::new(data).batch_size(self.fit.batch_size);
        if self.fit.shuffle {
            loader = loader.shuffle(self.fit.seed);
        }
        self.fit.callbacks.iter_mut().for_each(|callback| callback.reset());
        let mut resumed = self.resume(model, data.len())?;
        let batches = data.len().div_ceil(self.fit.batch_size.max(1));
        for i in 0..self.fit.callbacks.len() {
            let mut control = Control::new(model, &mut self.rate, &mut self.stop);
            self.fit.callbacks[i].on_start(&self.history, &mut control)?;
        }
        while self.position.epoch <= self.fit.epochs && !self.stop {
            let (number, began) = (self.position.epoch, Instant::now());
            let progress = Progress::start(self.fit.quiet, number, self.fit.epochs, data.len());
            let mut running = Running::start(self.metrics);
            running.load_state(&std::mem::take(&mut resumed))?;
            self.epoch(model, &loader, &mut running, &progress, &mut step)?;
            if self.position.batches < batches {
                // Stopped in its middle: the rest is for the run that goes on with this one.
                self.save(model, data.len(), Some(&running))?;
                break;
            }
            let training_seconds = began.elapsed().as_secs_f64();
            let mut values = running.finish(data.len())?.values;
            if let Some(validation) = validation {
                let result = evaluate(self.loss, self.metrics, model, validation)?;
                values.extend(result.values.into_iter().map(|(name, value)| (format!("val_{name}"), value)));
            }
            let seconds = began.elapsed().as_secs_f64();
            let epoch = Epoch { epoch: number, values, samples: data.len(), training_seconds, seconds };
            progress.finish(&epoch);
            let stopped = self.stop;
            for callback in &mut self.fit.callbacks {
                callback.on_epoch(&epoch, &mut Control::new(model, &mut self.rate, &mut self.stop))?;
            }
            self.over = self.stop && !stopped;
            self.history.push(epoch);
            (self.position.epoch, self.position.batches) = (number + 1, 0);
            self.save(model, data.len(), None)?;
        }
        for callback in &mut self.fit.callbacks {
            callback.on_end(&mut Control::new(model, &mut self.rate, &mut self.stop))?;
        }
        Ok(())
    }

    /// The rest of an epoch.
    fn epoch<M, D>(
        &mut self,
        model: &M,
        loader: &Loader<&D>,
        running: &mut Running<Y>,
        progress: &Progress,
        mut step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<()>
    where
        M: Model<X>,
        D: Dataset<Input = X, Target = Y> + Sync,
    {
        let (data, size) = (*loader.dataset(), self.fit.batch_size);
        let epoch = self.position.epoch;
        let order = loader.epoch(epoch as u64)?.order().to_vec();
        // Of batches that a resumed run has done already only the indices are passed over.
        let rest = &order[(self.position.batches * size).min(order.len())..];
        let batches =
            rest.chunks(size).map(|indices| (indices.len(), data.batch_in_epoch(epoch as u64, indices)));
        let last = order.len().div_ceil(size);
        let mut pending = Pending::new(self.fit.accumulate == 1);
        let mut before: Vec<AnyTensor> = Vec::new();
        read_ahead(batches, |_, (samples, batch)| {
            let (input, target) = batch?;
            let mut cx = self.context().micro_batch(pending.count() as u64);
            if pending.count() == 0 {
                before = self.buffers.iter().map(Buffer::any).collect();
            }
            let Computed { loss, output, weight } = step(model, &input, &target, &mut cx)?;
            let weight = weight.unwrap_or(samples as f64);
            let value = loss.item()?;
            let number = self.position.batches + 1;
            if !value.is_finite() {
                self.put_back(&before);
                let hint = "Look for NaN in the data, or lower the learning rate.";
                return Err(Error::NonFiniteLoss { epoch, step: number, loss: value, hint });
            }
            pending.add(model, value, loss.backward()?, weight)?;
            running.add(f64::from(value), weight, output.value(), &target)?;
            // The graph is used up; what is left of it holds values that the step is to change in place.
            drop((loss, output));
            if self.asks_again() {
                pending.save(samples, input, target);
            }
            let complete = number == last || number.is_multiple_of(self.fit.accumulate);
            let mut stepped = false;
            if complete {
                stepped = self
                    .step(model, &mut pending, &mut step, number)
                    .inspect_err(|_| self.put_back(&before))?;
            }
            self.position.batches = number;
            progress.advance(samples, running.mean_loss());
            self.after_batch(model, value.into(), stepped)?;
            let due =
                self.fit.checkpoint.as_ref().is_some_and(|at| self.position.steps.is_multiple_of(at.steps));
            // After the last batch the epoch's own checkpoint follows.
            if due && complete && number < last && !self.stop {
                self.save(model, data.len(), Some(running))?;
            }
            // Gradients that were taken in are for a step that is still made.
            Ok(if self.stop && complete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// Puts buffers back that a step was not made for.
    fn put_back(&self, values: &[AnyTensor]) {
        self.buffers.iter().zip(values).for_each(|(buffer, value)| buffer.set(value.clone()));
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
        let Some(Taken { loss, mut gradients, batches }) = pending.take(model)? else { return Ok(false) };
        self.clip(model, &mut gradients)?;
        self.optimizer.set_learning_rate(self.rate * self.factor());
        let (cx, position) = (self.context(), (self.position.epoch, batch));
        let result = match &mut *self.optimizer {
            AnyOptimizer::Gradient(optimizer) => optimizer.step(model, &gradients),
            AnyOptimizer::Closure(optimizer) => {
                let first = Some((loss, gradients));
                optimizer.step(&mut Batches { model, batches, step, cx, first, position }).map(|_| ())
            }
        };
        result.map_err(|error| match error {
            Error::NonFinite { .. } => {
                Error::InStep { epoch: position.0, step: batch, error: Box::new(error) }
            }
            other => other,
        })?;
        self.position.steps += 1;
        Ok(true)
    }

    /// What is random in the step that is to come.
    fn context(&self) -> Context {
        Context::train(self.fit.seed).at_step(self.position.steps)
    }

    /// Whether the optimiser asks for the loss of a step's batches again.
    fn asks_again(&self) -> bool {
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
        for callback in &mut self.fit.callbacks {
            callback.on_batch(&batch, &mut Control::new(model, &mut self.rate, &mut self.stop))?;
        }
        Ok(())
    }
}
