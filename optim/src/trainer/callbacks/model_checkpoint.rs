//! Keeping the model of the best epoch, or of every few, in a file.

use std::path::{Path, PathBuf};

use cairn_nn::{Module, save_weights};

use super::Goal;
use crate::trainer::{Callback, Control, Epoch};
use crate::{Result, StateDict};

/// Writes the model's values with [`save_weights`] after some epochs; [`load_weights`](cairn_nn::load_weights) reads them.
/// To resume training see [`Fit::checkpoint`](crate::Fit::checkpoint).
#[derive(Debug, Clone)]
pub struct ModelCheckpoint {
    path: PathBuf,
    when: When,
}

#[derive(Debug, Clone)]
enum When {
    Best { goal: Goal, best: f64 },
    Every(usize),
}

impl ModelCheckpoint {
    /// After each epoch that is better than all before.
    pub fn best(path: impl AsRef<Path>, goal: Goal) -> Self {
        ModelCheckpoint { path: path.as_ref().into(), when: When::Best { goal, best: f64::INFINITY } }
    }

    /// After every `epochs` epochs; `{epoch}` in the file's name becomes the epoch's number.
    pub fn every(path: impl AsRef<Path>, epochs: usize) -> Self {
        ModelCheckpoint { path: path.as_ref().into(), when: When::Every(epochs) }
    }
}

impl Callback for ModelCheckpoint {
    fn reset(&mut self) {
        if let When::Best { best, .. } = &mut self.when {
            *best = f64::INFINITY;
        }
    }

    fn on_epoch(&mut self, epoch: &Epoch, control: &mut Control<'_>) -> Result<()> {
        match &mut self.when {
            When::Best { goal, best } => {
                let value = goal.of(epoch)?;
                if value < *best {
                    if control.writes() {
                        save_weights(control.model(), &self.path)?;
                    }
                    *best = value;
                }
            }
            When::Every(epochs) => {
                if *epochs > 0 && epoch.epoch.is_multiple_of(*epochs) && control.writes() {
                    let path = self.path.to_string_lossy().replace("{epoch}", &epoch.epoch.to_string());
                    save_weights(control.model(), path)?;
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> StateDict {
        let state = StateDict::new("model_checkpoint");
        match self.when {
            When::Best { best, .. } => state.with("best", best),
            When::Every(_) => state,
        }
    }

    fn load_state(&mut self, state: &StateDict, _: &dyn Module) -> Result<()> {
        state.require("model_checkpoint")?;
        if let When::Best { best, .. } = &mut self.when {
            *best = state.number("best")?;
        }
        Ok(())
    }
}
