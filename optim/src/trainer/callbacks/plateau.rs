//! Lowering the learning rate when nothing gets better.

use cairn_nn::Module;

use super::Goal;
use crate::trainer::{Callback, Control, Epoch};
use crate::{Result, StateDict};

/// Multiplies the learning rate by a factor when a value has not improved for more than `patience` epochs, as PyTorch's
/// `ReduceLROnPlateau` with its defaults: a factor of 0.1, a patience of 10, improvements by more than 1e-4 of the value.
#[doc(alias = "ReduceLROnPlateau")]
#[derive(Debug, Clone)]
pub struct ReduceOnPlateau {
    goal: Goal,
    factor: f64,
    patience: usize,
    cooldown: usize,
    threshold: f64,
    min_rate: f64,
    best: f64,
    waited: usize,
    cooling: usize,
}

impl ReduceOnPlateau {
    /// Watches a value.
    pub fn new(goal: Goal) -> Self {
        ReduceOnPlateau {
            goal,
            factor: 0.1,
            patience: 10,
            cooldown: 0,
            threshold: 1e-4,
            min_rate: 0.0,
            best: f64::INFINITY,
            waited: 0,
            cooling: 0,
        }
    }

    /// Multiplies by this instead.
    #[must_use]
    pub fn factor(self, factor: f64) -> Self {
        ReduceOnPlateau { factor, ..self }
    }

    /// Lets this number of epochs pass without improvement.
    #[must_use]
    pub fn patience(self, epochs: usize) -> Self {
        ReduceOnPlateau { patience: epochs, ..self }
    }

    /// Does not count for this number of epochs after the rate was lowered.
    #[must_use]
    pub fn cooldown(self, epochs: usize) -> Self {
        ReduceOnPlateau { cooldown: epochs, ..self }
    }

    /// Counts improvements by more than this share of the best value.
    #[must_use]
    pub fn threshold(self, share: f64) -> Self {
        ReduceOnPlateau { threshold: share, ..self }
    }

    /// Goes no lower than this.
    #[must_use]
    pub fn min_rate(self, rate: f64) -> Self {
        ReduceOnPlateau { min_rate: rate, ..self }
    }
}

impl Callback for ReduceOnPlateau {
    fn reset(&mut self) {
        (self.best, self.waited, self.cooling) = (f64::INFINITY, 0, 0);
    }

    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        let value = self.goal.of(epoch)?;
        // By a share of the size, whichever sign the value has; any number improves on no value, NaN on nothing.
        let margin = if self.best.is_finite() { self.threshold * self.best.abs() } else { 0.0 };
        if value < self.best - margin {
            (self.best, self.waited) = (value, 0);
        } else {
            self.waited += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.waited) = (self.cooling - 1, 0);
        }
        if self.waited > self.patience {
            let rate = control.learning_rate();
            control.set_learning_rate((rate * self.factor).max(self.min_rate).min(rate));
            (self.cooling, self.waited) = (self.cooldown, 0);
        }
        Ok(())
    }

    fn state(&self) -> StateDict {
        StateDict::new("reduce_on_plateau")
            .with("best", self.best)
            .with("waited", self.waited as f64)
            .with("cooling", self.cooling as f64)
    }

    fn load_state(&mut self, state: &StateDict, _: &dyn Module) -> Result<()> {
        state.require("reduce_on_plateau")?;
        (self.best, self.waited) = (state.number("best")?, state.number("waited")? as usize);
        self.cooling = state.number("cooling")? as usize;
        Ok(())
    }
}
