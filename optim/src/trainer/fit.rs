//! Fitting a model: epochs of steps over shuffled batches.

use std::fmt;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use cairn_datasets::{Dataset, Loader};
use cairn_nn::{Context, Model};

use super::progress::Progress;
use super::{Epoch, History, Running, Trainer};
use crate::error::check;
use crate::{Error, Result, clip_by_global_norm};

/// Batches handed over together, unless they take longer than [`BUNDLE_TIME`] to assemble: waking a thread costs several
/// microseconds, which a small model would pay for every step.
const BUNDLE: usize = 8;
/// Large batches are handed over one by one, so that few of them wait in memory.
const BUNDLE_TIME: Duration = Duration::from_micros(500);
/// Bundles that may wait.
const BUNDLES_AHEAD: usize = 2;

/// How to fit: number of epochs, batches, validation.
///
/// Defaults as in Keras: batches of 32, shuffled in each epoch. The seed, 0 unless given, fixes the order of samples and
/// whatever is random in the model, so that the same call gives the same bits.
pub struct Fit<'a, X, Y> {
    epochs: usize,
    batch_size: usize,
    shuffle: bool,
    seed: u64,
    clip_norm: Option<f32>,
    quiet: bool,
    validation: Option<&'a dyn Dataset<Input = X, Target = Y>>,
}

impl<X, Y> fmt::Debug for Fit<'_, X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("shuffle", &self.shuffle)
            .field("seed", &self.seed)
            .field("clip_norm", &self.clip_norm)
            .field("validates", &self.validation.is_some())
            .finish_non_exhaustive()
    }
}

impl<'a, X, Y> Fit<'a, X, Y> {
    /// This many passes over the data.
    pub fn epochs(epochs: usize) -> Self {
        Fit {
            epochs,
            batch_size: 32,
            shuffle: true,
            seed: 0,
            clip_norm: None,
            quiet: false,
            validation: None,
        }
    }

    /// Samples in a step.
    #[must_use]
    pub fn batch_size(self, batch_size: usize) -> Self {
        Fit { batch_size, ..self }
    }

    /// Whether samples come in a new random order in each epoch.
    #[must_use]
    pub fn shuffle(self, shuffle: bool) -> Self {
        Fit { shuffle, ..self }
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Fit { seed, ..self }
    }

    /// Scales gradients down to this global norm where they exceed it.
    #[must_use]
    pub fn clip_norm(self, limit: f32) -> Self {
        Fit { clip_norm: Some(limit), ..self }
    }

    /// Evaluates on these data after each epoch; results are reported with `val_` before their names.
    #[must_use]
    pub fn validate<D: Dataset<Input = X, Target = Y>>(self, data: &'a D) -> Self {
        Fit { validation: Some(data), ..self }
    }

    /// Prints nothing.
    #[must_use]
    pub fn quiet(self) -> Self {
        Fit { quiet: true, ..self }
    }
}

impl<Y> Trainer<Y> {
    /// Trains a model on a data set.
    ///
    /// Batches are assembled on another thread while the model computes, where there is more than one.
    /// Progress is a bar on a terminal and a line for each epoch elsewhere, on standard error.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] as soon as the loss is NaN or infinite, naming the step, with the model as before it;
    /// [`Error::BadSetting`] for no epochs or an empty batch; when the data is empty, cannot be read, or does not fit the
    /// model.
    #[allow(clippy::needless_pass_by_value)] // Options are written in place, as in the examples.
    pub fn fit<M, D>(&mut self, model: &mut M, data: &D, fit: Fit<'_, D::Input, Y>) -> Result<History>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        check("the number of epochs", fit.epochs as f64, fit.epochs > 0, "at least 1")?;
        let mut loader = Loader::new(data).batch_size(fit.batch_size);
        if fit.shuffle {
            loader = loader.shuffle(fit.seed);
        }
        let mut cx = Context::train(fit.seed);
        let mut history = History::default();
        for epoch in 1..=fit.epochs {
            let began = Instant::now();
            let progress = Progress::start(fit.quiet, epoch, fit.epochs, data.len());
            let running = self.epoch(model, &loader, epoch, &fit, &mut cx, &progress)?;
            let training_seconds = began.elapsed().as_secs_f64();
            let mut values = running.finish().values;
            if let Some(validation) = fit.validation {
                let result = self.evaluate(model, validation)?;
                values.extend(result.values.into_iter().map(|(name, value)| (format!("val_{name}"), value)));
            }
            let epoch = Epoch {
                epoch,
                values,
                samples: data.len(),
                training_seconds,
                seconds: began.elapsed().as_secs_f64(),
            };
            progress.finish(&epoch);
            history.push(epoch);
        }
        Ok(history)
    }

    fn epoch<M, D>(
        &mut self,
        model: &mut M,
        loader: &Loader<&D>,
        epoch: usize,
        fit: &Fit<'_, D::Input, Y>,
        cx: &mut Context,
        progress: &Progress,
    ) -> Result<Running<Y>>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + Sync,
        D::Input: Send,
        Y: Send,
    {
        let mut running = Running::start(&self.metrics);
        let mut left = loader.dataset().len();
        read_ahead(loader.epoch(epoch as u64)?, |step, batch| {
            let (input, target) = batch?;
            let samples = left.min(fit.batch_size);
            left -= samples;
            let output = model.forward(&input, cx)?;
            let loss = self.loss.loss(&output, &target)?;
            let value = loss.item()?;
            if !value.is_finite() {
                let hint = "Look for NaN in the data, or lower the learning rate.";
                return Err(Error::NonFiniteLoss { epoch, step: step + 1, loss: value, hint });
            }
            let mut gradients = loss.backward()?;
            if let Some(limit) = fit.clip_norm {
                clip_by_global_norm(model, &mut gradients, limit)?;
            }
            self.optimizer.step(model, &gradients)?;
            running.add(f64::from(value), samples, output.value(), &target)?;
            progress.advance(samples, running.mean_loss());
            Ok(())
        })?;
        Ok(running)
    }
}

/// Calls `step` with each batch and its number, in order, while another thread assembles the next ones: gathering shuffled
/// samples waits for memory, which takes a sixth of a small model's step. With one thread allowed everything is done on
/// this one. The first error ends the pass.
fn read_ahead<B: Send>(
    batches: impl Iterator<Item = B> + Send,
    mut step: impl FnMut(usize, B) -> Result<()>,
) -> Result<()> {
    if cairn_tensor::num_threads() == 1 {
        return batches.enumerate().try_for_each(|(number, batch)| step(number, batch));
    }
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BUNDLES_AHEAD);
        scope.spawn(move || {
            let mut batches = batches;
            loop {
                let bundle = bundle(&mut batches);
                // Nobody listens any more if the pass ended early.
                if bundle.is_empty() || sender.send(bundle).is_err() {
                    break;
                }
            }
        });
        receiver.into_iter().flatten().enumerate().try_for_each(|(number, batch)| step(number, batch))
    })
}

/// The next few batches; none at the end.
fn bundle<B>(batches: &mut impl Iterator<Item = B>) -> Vec<B> {
    let began = Instant::now();
    let mut bundle = Vec::with_capacity(BUNDLE);
    for batch in batches {
        bundle.push(batch);
        if bundle.len() == BUNDLE || began.elapsed() > BUNDLE_TIME {
            break;
        }
    }
    bundle
}
