//! The value that some callbacks watch, and which way it should go.

use crate::trainer::Epoch;
use crate::{Error, Result};

/// A value of an epoch and whether lower or higher is better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    name: String,
    higher: bool,
}

impl Goal {
    /// Lower is better, as for losses and errors: `Goal::low("val_loss")`.
    pub fn low(name: impl Into<String>) -> Self {
        Goal { name: name.into(), higher: false }
    }

    /// Higher is better, as for accuracies: `Goal::high("val_accuracy")`.
    pub fn high(name: impl Into<String>) -> Self {
        Goal { name: name.into(), higher: true }
    }

    /// The value in an epoch, turned so that lower is better.
    pub(super) fn of(&self, epoch: &Epoch) -> Result<f64> {
        let value = epoch.get(&self.name).ok_or_else(|| {
            let known: Vec<&str> = epoch.values.iter().map(|(name, _)| name.as_str()).collect();
            Error::NoSuchValue { name: self.name.clone(), known: known.join(", ") }
        })?;
        Ok(if self.higher { -value } else { value })
    }
}
