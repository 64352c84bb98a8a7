//! The run itself: epochs of steps over shuffled batches.

use std::ops::ControlFlow;
use std::time::Instant;

use cairn_autograd::{Gradients, Var};
use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Loss, Model, Module};

use super::callback::{Batch, Control};
use super::checkpoint::{Plan, Position, Saved};
use super::evaluation::{Running, evaluate};
use super::fit::{Clip, Fit, Unit};
use super::progress::Progress;
use super::read_ahead::read_ahead;
use super::step::{Batches, Pending, Taken};
use super::{Epoch, History, Trainer};
use cairn_tensor::Setting;

use crate::metrics::Metric;
use crate::{AnyOptimizer, Error, Result, StateDict, clip_by_global_norm, clip_by_norm, clip_by_value};

impl<Y> Trainer<Y> {
    /// Trains a model on a data set.
    ///
    /// Batches are assembled on another thread while the model computes, where there is more than one.
    /// Progress is a bar on a terminal and a line for each epoch elsewhere, on standard error.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] as soon as the loss is NaN or infinite, naming the step, with the model as before it;
    /// [`Error::BadSetting`] for no epochs or an empty batch; when the data is empty, cannot be read, or does not fit the
    /// model; [`Error::OtherModel`] when the optimiser has state of another model, from an earlier run; those of callbacks;
    /// when a checkpoint cannot be written, or read and gone on from.
    pub fn fit<M, D>(&mut self, model: &M, data: &D, fit: Fit<'_, D::Input, Y>) -> Result<History>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        let Trainer { optimizer, loss, metrics } = self;
        let step = |model: &M, input: &D::Input, target: &Y, cx: &mut Context| {
            let output = model.forward(input, cx)?;
            Ok((loss.loss(&output, target)?, output))
        };
        Run::new(optimizer, &**loss, metrics, fit).start(model, data, step)
    }

    /// As [`fit`](Self::fit), with a training step of your own: given model, inputs and targets, the loss to be lowered
    /// and the output that metrics are taken of. Say for a penalty on weights or outputs, mixed samples, or several outputs.
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
    pub fn fit_with<M, D>(
        &mut self,
        model: &M,
        data: &D,
        fit: Fit<'_, D::Input, Y>,
        step: impl FnMut(&M, &D::Input, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
    ) -> Result<History>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        Run::new(&mut self.optimizer, &*self.loss, &self.metrics, fit).start(model, data, step)
    }
}

/// A run, and how far it has come.
struct Run<'r, 'f, X, Y> {
    optimizer: &'r mut AnyOptimizer,
    loss: &'r dyn Loss<Y>,
    metrics: &'r [Box<dyn Metric<Y>>],
    fit: Fit<'f, X, Y>,
    position: Position,
    /// The base learning rate, of which the schedule gives a factor.
    rate: f64,
    stop: bool,
    history: History,
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
        Run { optimizer, loss, metrics, fit, position, rate, stop: false, history: History::default() }
    }

    fn start<M, D>(
        mut self,
        model: &M,
        data: &D,
        step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
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
        // A schedule's factor is for this run only.
        self.optimizer.set_learning_rate(self.rate);
        result.map(|()| self.history)
    }

    fn epochs<M, D>(
        &mut self,
        model: &M,
        data: &D,
        validation: Option<&dyn Dataset<Input = X, Target = Y>>,
        mut step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
    ) -> Result<()>
    where
        M: Model<X>,
        D: Dataset<Input = X, Target = Y> + Sync,
    {
        let mut loader = Loader::new(data).batch_size(self.fit.batch_size);
        if self.fit.shuffle {
            loader = loader.shuffle(self.fit.seed);
        }
        let mut resumed = self.resume(model, data.len())?;
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
            let training_seconds = began.elapsed().as_secs_f64();
            let mut values = running.finish().values;
            if let Some(validation) = validation {
                let result = evaluate(self.loss, self.metrics, model, validation)?;
                values.extend(result.values.into_iter().map(|(name, value)| (format!("val_{name}"), value)));
            }
            let seconds = began.elapsed().as_secs_f64();
            let epoch = Epoch { epoch: number, values, samples: data.len(), training_seconds, seconds };
            progress.finish(&epoch);
            for callback in &mut self.fit.callbacks {
                callback.on_epoch(&epoch, &mut Control::new(model, &mut self.rate, &mut self.stop))?;
            }
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
        mut step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
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
        read_ahead(batches, |_, (samples, batch)| {
            let (input, target) = batch?;
            let mut cx = self.context().micro_batch(pending.count() as u64);
            let (loss, output) = step(model, &input, &target, &mut cx)?;
            let value = loss.item()?;
            let number = self.position.batches + 1;
            if !value.is_finite() {
                let hint = "Look for NaN in the data, or lower the learning rate.";
                return Err(Error::NonFiniteLoss { epoch, step: number, loss: value, hint });
            }
            pending.add(model, value, loss.backward()?, samples)?;
            running.add(f64::from(value), samples, output.value(), &target)?;
            // The graph is used up; what is left of it holds values that the step is to change in place.
            drop((loss, output));
            if self.asks_again() {
                pending.save(samples, input, target);
            }
            let stepped = number == last || number.is_multiple_of(self.fit.accumulate);
            if stepped {
                self.step(model, &mut pending, &mut step, number)?;
            }
            self.position.batches = number;
            progress.advance(samples, running.mean_loss());
            self.after_batch(model, value.into(), stepped)?;
            let due =
                self.fit.checkpoint.as_ref().is_some_and(|at| self.position.steps.is_multiple_of(at.steps));
            // After the last batch the epoch's own checkpoint follows.
            if due && stepped && number < last && !self.stop {
                self.save(model, data.len(), Some(running))?;
            }
            Ok(if self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// One step of the optimiser by the batches that were taken in, the last of which is number `batch` of its epoch.
    fn step<M: Model<X>>(
        &mut self,
        model: &M,
        pending: &mut Pending<X, Y>,
        step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<(Var, Var)>,
        batch: usize,
    ) -> Result<()> {
        let Taken { loss, mut gradients, batches } = pending.take(model)?;
        self.clip(model, &mut gradients)?;
        self.optimizer.set_learning_rate(self.rate * self.factor());
        let (cx, position) = (self.context(), (self.position.epoch, batch));
        match &mut *self.optimizer {
            AnyOptimizer::Gradient(optimizer) => optimizer.step(model, &gradients)?,
            AnyOptimizer::Closure(optimizer) => {
                let first = Some((loss, gradients));
                optimizer.step(&mut Batches { model, batches, step, cx, first, position })?;
            }
        }
        self.position.steps += 1;
        Ok(())
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

    fn plan(&self, samples: usize) -> Plan {
        let Fit { batch_size, shuffle, seed, accumulate, .. } = self.fit;
        Plan { samples, batch_size, shuffle, seed, accumulate }
    }

    fn save<M: Model<X>>(&mut self, model: &M, samples: usize, running: Option<&Running<Y>>) -> Result<()> {
        let Some(checkpoint) = &self.fit.checkpoint else { return Ok(()) };
        checkpoint.write(&Saved {
            plan: self.plan(samples),
            position: self.position,
            stopped: self.stop,
            rate: self.rate,
            model: model.state(),
            optimizer: self.optimizer.state(),
            running: running.map_or(Ok(Vec::new()), Running::state)?,
            callbacks: self.fit.callbacks.iter().map(|callback| callback.state()).collect(),
            history: self.history.clone(),
        })
    }

    /// Takes over what the checkpoint holds, if there is one; returns the state of the epoch that has begun.
    fn resume<M: Model<X>>(&mut self, model: &M, samples: usize) -> Result<Vec<StateDict>> {
        let Some(checkpoint) = self.fit.checkpoint.as_ref().filter(|_| self.fit.resume) else {
            return Ok(Vec::new());
        };
        let Some(saved) = checkpoint.read(&self.plan(samples))? else { return Ok(Vec::new()) };
        let (found, needed) = (saved.callbacks.len(), self.fit.callbacks.len());
        if found != needed {
            return Err(Error::BadState(format!("of {found} callbacks, the run has {needed}")));
        }
        model.load_state(&saved.model)?;
        self.optimizer.load_state(saved.optimizer)?;
        for (callback, state) in self.fit.callbacks.iter_mut().zip(&saved.callbacks) {
            callback.load_state(state, model)?;
        }
        (self.position, self.stop, self.rate) = (saved.position, saved.stopped, saved.rate);
        self.history = saved.history;
        Ok(saved.running)
    }
}
