//! Callbacks: what else happens while a model is fitted.

use cairn_nn::Module;

use super::{Epoch, History};
use crate::{Error, Result, StateDict};

/// Something that happens after batches and epochs of a [`Fit`](crate::Fit). By default all methods do nothing.
///
/// ```
/// use cairn_optim::{Callback, Control, Epoch, Result};
///
/// /// Ends training once the loss is low enough.
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
///         if epoch.get("loss").is_some_and(|loss| loss < self.0) {
///             control.stop();
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Callback {
    /// Forgets what an earlier run left, before anything else: a callback that was passed by reference may have been in one.
    fn reset(&mut self) {}

    /// Before the first batch; `history` has the epochs of the run that is resumed, if one is.
    ///
    /// # Errors
    /// Whatever should end training.
    fn on_start(&mut self, history: &History, control: &mut Control<'_>) -> Result<()> {
        let _ = (history, control);
        Ok(())
    }

    /// After each batch.
    ///
    /// # Errors
    /// Whatever should end training.
    fn on_batch(&mut self, batch: &Batch, control: &mut Control<'_>) -> Result<()> {
        let _ = (batch, control);
        Ok(())
    }

    /// After each epoch and its validation.
    ///
    /// # Errors
    /// Whatever should end training.
    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        let _ = (epoch, control);
        Ok(())
    }

    /// After the last epoch or batch, also when training was stopped early. After an error it is [`on_error`](Self::on_error)
    /// instead.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn on_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let _ = control;
        Ok(())
    }

    /// When an error ends training: the last chance to save what was reached. The error itself goes to whoever called `fit`,
    /// whatever happens here.
    fn on_error(&mut self, error: &Error, control: &mut Control<'_>) {
        let _ = (error, control);
    }

    /// What changes from call to call, for a checkpoint.
    fn state(&self) -> StateDict {
        StateDict::default()
    }

    /// Goes on from what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// [`Error::BadState`] for the state of another callback.
    fn load_state(&mut self, state: &StateDict, model: &dyn Module) -> Result<()> {
        let _ = (state, model);
        Ok(())
    }
}

/// A borrowed callback, to be looked at after training.
impl<C: Callback + ?Sized> Callback for &mut C {
    fn reset(&mut self) {
        (**self).reset();
    }
    fn on_start(&mut self, history: &History, control: &mut Control<'_>) -> Result<()> {
        (**self).on_start(history, control)
    }
    fn on_batch(&mut self, batch: &Batch, control: &mut Control<'_>) -> Result<()> {
        (**self).on_batch(batch, control)
    }
    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        (**self).on_epoch(epoch, control)
    }
    fn on_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        (**self).on_end(control)
    }
    fn on_error(&mut self, error: &Error, control: &mut Control<'_>) {
        (**self).on_error(error, control);
    }
    fn state(&self) -> StateDict {
        (**self).state()
    }
    fn load_state(&mut self, state: &StateDict, model: &dyn Module) -> Result<()> {
        (**self).load_state(state, model)
    }
}

/// A batch that was trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch {
    /// From 1.
    pub epoch: usize,
    /// Within the epoch, from 1.
    pub batch: usize,
    /// Steps of the optimiser so far.
    pub step: u64,
    /// Whether this batch ended in a step; with accumulated gradients not all do.
    pub stepped: bool,
    /// The mean loss of the batch.
    pub loss: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
}

/// What a callback can do.
pub struct Control<'a> {
    model: &'a dyn Module,
    rate: &'a mut f64,
    stop: &'a mut bool,
    writes: bool,
}

impl std::fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("rate", &self.rate).field("stop", &self.stop).finish_non_exhaustive()
    }
}

impl<'a> Control<'a> {
    pub(super) fn new(model: &'a dyn Module, rate: &'a mut f64, stop: &'a mut bool, writes: bool) -> Self {
        Control { model, rate, stop, writes }
    }

    /// The model. Its parameters are cells, so this reference is enough to change them.
    pub fn model(&self) -> &'a dyn Module {
        self.model
    }

    /// Whether files are to be written here. Of many [processes](crate::processes) only the first writes; callbacks run on all.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// The base learning rate, of which the schedule gives a factor.
    pub fn learning_rate(&self) -> f64 {
        *self.rate
    }

    /// Sets it for the steps to come.
    pub fn set_learning_rate(&mut self, rate: f64) {
        *self.rate = rate;
    }

    /// Ends training after this epoch, or after the step that this batch is a part of. An epoch that is not over then is not in the
    /// history, and its validation does not take place; a run that is resumed goes on with the rest of it.
    pub fn stop(&mut self) {
        *self.stop = true;
    }
}
