//! The mean of the last epochs while a model is fitted.

use cairn_nn::Module;

use crate::trainer::{Callback, Control, Epoch, History};
use crate::{CheckpointAverage, Result, StateDict};

/// As a callback it takes in the parameters after each epoch and leaves their mean in the model at the end. Callbacks come in their order:
/// behind an [`EarlyStopping`](crate::EarlyStopping) the mean takes the place of the weights that that one restores.
impl Callback for CheckpointAverage {
    fn reset(&mut self) {
        self.forget();
    }

    fn on_start(&mut self, _: &History, _: &mut Control<'_>) -> Result<()> {
        self.check_count()
    }

    fn on_epoch(&mut self, _: &Epoch, control: &mut Control<'_>) -> Result<()> {
        self.add(control.model())
    }

    fn on_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.swap(control.model())
    }

    fn state(&self) -> StateDict {
        self.state()
    }

    fn load_state(&mut self, state: &StateDict, model: &dyn Module) -> Result<()> {
        self.load_state(model, state)
    }
}
