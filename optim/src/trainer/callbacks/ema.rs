//! Averaging weights while a model is fitted.

use cairn_nn::Module;

use crate::trainer::{Batch, Callback, Control};
use crate::{Ema, Result, StateDict};

/// As a callback it takes in the parameters after each step and leaves the averages in the model at the end.
impl Callback for Ema {
    fn reset(&mut self) {
        self.forget();
    }

    fn on_batch(&mut self, batch: &Batch, control: &mut Control<'_>) -> Result<()> {
        if batch.stepped { self.update(control.model()) } else { Ok(()) }
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
