//! What a training run was like, epoch by epoch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Name and value: `loss`, metrics, then those of validation with `val_` before.
    pub values: Vec<(String, f64)>,
    /// Samples trained on.
    pub samples: usize,
    /// Seconds of training, without validation. 0, as `seconds`, for an epoch from a checkpoint: the same run writes the same
    /// bytes, however long it takes.
    pub training_seconds: f64,
    /// Seconds in all.
    pub seconds: f64,
}

impl Epoch {
    /// A value by name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    }

    /// Samples trained on per second; NaN for an epoch from a checkpoint, which has no times.
    pub fn samples_per_second(&self) -> f64 {
        if self.training_seconds == 0.0 { f64::NAN } else { self.samples as f64 / self.training_seconds }
    }
}

/// The epochs of a training run; prints as a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    epochs: Vec<Epoch>,
}

impl History {
    pub(super) fn push(&mut self, epoch: Epoch) {
        self.epochs.push(epoch);
    }

    /// Without what differs from run to run.
    pub(super) fn without_times(&self) -> Self {
        let timeless = |epoch: &Epoch| Epoch { training_seconds: 0.0, seconds: 0.0, ..epoch.clone() };
        History { epochs: self.epochs.iter().map(timeless).collect() }
    }

    /// The epochs in order.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    /// A value over the epochs: `history.values("val_loss")`. Empty for an unknown name.
    pub fn values(&self, name: &str) -> Vec<f64> {
        self.epochs.iter().filter_map(|epoch| epoch.get(name)).collect()
    }

    /// A value after the last epoch.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.epochs.last()?.get(name)
    }

    /// The names of the values.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.epochs.first().into_iter().flat_map(|epoch| epoch.values.iter().map(|(name, _)| name.as_str()))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |name: &str| name.len().max(8);
        write!(f, "{:>5}", "epoch")?;
        for name in self.names() {
            write!(f, "  {name:>0$}", width(name))?;
        }
        write!(f, "  {:>8}", "seconds")?;
        for epoch in &self.epochs {
            write!(f, "\n{:>5}", epoch.epoch)?;
            for (name, value) in &epoch.values {
                write!(f, "  {value:>0$.4}", width(name))?;
            }
            write!(f, "  {:>8.2}", epoch.seconds)?;
        }
        Ok(())
    }
}
