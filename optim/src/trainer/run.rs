//! The run itself: epochs of steps over shuffled batches.

use std::time::Instant;

use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Loss, Model, Module};
use cairn_tensor::Setting;

use super::callback::Control;
use super::checkpoint::Position;
use super::evaluation::{Running, evaluate};
use super::fit::{Fit, Shuffle};
use super::progress::Progress;
use super::shared::Shared;
use super::statistics::Statistics;
use super::step::Computed;
use super::{Epoch, History, LastRun, Trainer};
use crate::metrics::Metric;
use crate::report::Meter;
use crate::{AnyOptimizer, Result};

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
    /// [`Error::NonFiniteLoss`](crate::Error::NonFiniteLoss) as soon as the loss is NaN or infinite, and [`Error::InStep`](crate::Error::InStep) with [`Error::NonFinite`](crate::Error::NonFinite) as soon as a
    /// gradient is, naming the step, with the model as before it or, with [`EarlyStopping`](crate::EarlyStopping), as after its best
    /// epoch; the epochs before it are in [`history`](Self::history). [`Error::BadSetting`](crate::Error::BadSetting) for no epochs or an empty batch, and when
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
    pub(super) metrics: &'r [Box<dyn Metric<Y>>],
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
    pub(super) statistics: Statistics,
    /// The other processes, if there are any.
    pub(super) shared: Option<Shared<'f>>,
    /// What the run costs, where that is asked for.
    pub(super) meter: Option<Meter>,
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
            statistics: Statistics::default(),
            shared: None,
            meter: None,
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
        self.statistics = Statistics::of(model, self.fit.accumulate > 1);
        self.shared = self.fit.processes.and_then(|processes| Shared::new(processes, model));
        self.fit.quiet |= !self.writes();
        self.meter = self.fit.report.as_ref().map(|_| Meter::start());
        let result = self.checked(model, data, step);
        if let (Err(error), Some(shared)) = (&result, &self.shared) {
            shared.tell(error);
        }
        if let Err(error) = &result {
            let writes = self.writes();
            for callback in &mut self.fit.callbacks {
                callback.on_error(error, &mut Control::new(model, &mut self.rate, &mut self.stop, writes));
            }
        }
        // A schedule's factor is for this run only.
        self.optimizer.set_learning_rate(self.rate);
        *last = LastRun { rates: Some((self.start_rate, self.rate)), history: self.history.clone() };
        result.map(|()| self.history)
    }

    /// Whether this is the process that writes files and progress.
    pub(super) fn writes(&self) -> bool {
        self.shared.as_ref().is_none_or(Shared::is_first)
    }

    /// The run, if its settings make sense.
    fn checked<M, D>(
        &mut self,
        model: &M,
        data: &D,
        step: impl FnMut(&M, &X, &Y, &mut Context) -> cairn_nn::Result<Computed>,
    ) -> Result<()>
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
        if let Some(lengths) = &self.fit.lengths {
            let counts = format!("{} for {} samples", lengths.len(), data.len());
            Setting::check(
                "the number of lengths",
                counts,
                lengths.len() == data.len(),
                "one for each sample",
            )?;
        }
        self.check_shared()?;
        match self.fit.validation_split {
            None => self.epochs(model, data, self.fit.validation, step),
            Some(share) => {
                let held = ((data.len() as f64 * share).round() as usize).min(data.len());
                let first = data.len() - held;
                let train = data.subset((0..first).collect())?;
                let held = data.subset((first..data.len()).collect())?;
                self.epochs(model, &train, Some(&held), step)
            }
        }
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
        if let Some(lengths) = &self.fit.lengths {
            // Samples that are held back are the last.
            let own = lengths.len().min(data.len());
            loader = loader.group_by_length(lengths[..own].to_vec())?;
        }
        if let Some(tokens) = self.fit.max_tokens {
            loader = loader.max_tokens(tokens);
        }
        loader = match self.fit.shuffle {
            Shuffle::No => loader,
            Shuffle::All => loader.shuffle(self.fit.seed),
            Shuffle::Blocks { block, together } => loader.shuffle_blocks(self.fit.seed, block, together),
        };
        self.fit.callbacks.iter_mut().for_each(|callback| callback.reset());
        self.agree(model, data.len())?;
        let mut resumed = self.resume(model, data.len())?;
        self.shard(model)?;
        let batches = loader.batches();
        let writes = self.writes();
        for i in 0..self.fit.callbacks.len() {
            let mut control = Control::new(model, &mut self.rate, &mut self.stop, writes);
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
                let evaluate = || evaluate(self.loss, self.metrics, model, validation);
                let result = self.meter.as_mut().map_or_else(evaluate, |meter| meter.validated(evaluate))?;
                values.extend(result.values.into_iter().map(|(name, value)| (format!("val_{name}"), value)));
            }
            let seconds = began.elapsed().as_secs_f64();
            let epoch = Epoch { epoch: number, values, samples: data.len(), training_seconds, seconds };
            progress.finish(&epoch);
            let stopped = self.stop;
            for callback in &mut self.fit.callbacks {
                callback
                    .on_epoch(&epoch, &mut Control::new(model, &mut self.rate, &mut self.stop, writes))?;
            }
            self.over = self.stop && !stopped;
            self.history.push(epoch);
            (self.position.epoch, self.position.batches) = (number + 1, 0);
            self.save(model, data.len(), None)?;
            if let Some(shared) = &self.shared {
                shared.compare(&format!("the end of epoch {number}"), model)?;
            }
        }
        for callback in &mut self.fit.callbacks {
            callback.on_end(&mut Control::new(model, &mut self.rate, &mut self.stop, writes))?;
        }
        self.conclude(model)?;
        self.write_report(model)
    }
}
