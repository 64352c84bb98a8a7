//! Early stopping.

use std::collections::BTreeMap;

use cairn_nn::Module;
use cairn_tensor::AnyTensor;

use super::Goal;
use crate::trainer::{Callback, Control, Epoch};
use crate::{Error, Result, StateDict};

/// Ends training when a value has not improved for some epochs, and puts the values of the best epoch back into the model
/// (Prechelt 1998; Keras's `EarlyStopping` with `restore_best_weights`); also when an error ends it, say a loss that became NaN
/// long after the best epoch.
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    goal: Goal,
    patience: usize,
    min_delta: f64,
    best: f64,
    waited: usize,
    weights: BTreeMap<String, AnyTensor>,
}

impl EarlyStopping {
    /// Ends training after `patience` epochs in a row without improvement.
    pub fn new(goal: Goal, patience: usize) -> Self {
        EarlyStopping {
            goal,
            patience,
            min_delta: 0.0,
            best: f64::INFINITY,
            waited: 0,
            weights: BTreeMap::new(),
        }
    }

    /// Counts only improvements by more than this.
    #[must_use]
    pub fn min_delta(self, min_delta: f64) -> Self {
        EarlyStopping { min_delta, ..self }
    }
}

impl Callback for EarlyStopping {
    fn reset(&mut self) {
        (self.best, self.waited) = (f64::INFINITY, 0);
        self.weights.clear();
    }

    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        let value = self.goal.of(epoch)?;
        if value < self.best - self.min_delta {
            (self.best, self.waited) = (value, 0);
            // Storage is shared until the next step changes it.
            self.weights = control.model().state();
            return Ok(());
        }
        self.waited += 1;
        if self.waited >= self.patience {
            control.stop();
        }
        Ok(())
    }

    fn on_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        if !self.weights.is_empty() {
            control.model().load_state(&self.weights)?;
        }
        Ok(())
    }

    fn on_error(&mut self, _: &Error, control: &mut Control<'_>) {
        // The state came from this model; were it refused, the model would be as the error left it.
        let _ = self.on_end(control);
    }

    fn state(&self) -> StateDict {
        let state =
            StateDict::new("early_stopping").with("best", self.best).with("waited", self.waited as f64);
        StateDict { tensors: self.weights.clone(), ..state }
    }

    fn load_state(&mut self, state: &StateDict, _: &dyn Module) -> Result<()> {
        state.require("early_stopping")?;
        (self.best, self.waited) = (state.number("best")?, state.number("waited")? as usize);
        self.weights = state.tensors.clone();
        // A run that was ended by this and goes on all the same is waited for anew.
        if self.waited >= self.patience {
            self.waited = 0;
        }
        Ok(())
    }
}
