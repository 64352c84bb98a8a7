//! A sum over a count: what most metrics come down to.

use crate::{Result, StateDict};

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    pub(super) sum: f64,
    pub(super) count: u64,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// NaN of nothing.
    pub(super) fn value(&self) -> f64 {
        self.sum / self.count as f64
    }

    pub(super) fn state(&self, kind: &str) -> StateDict {
        StateDict::new(kind).with("sum", self.sum).with("count", self.count as f64)
    }

    pub(super) fn load_state(&mut self, kind: &str, state: &StateDict) -> Result<()> {
        state.require(kind)?;
        *self = Mean { sum: state.number("sum")?, count: state.number("count")? as u64 };
        Ok(())
    }

    pub(super) fn merge(&mut self, kind: &str, later: &StateDict) -> Result<()> {
        let mut other = Mean::default();
        other.load_state(kind, later)?;
        self.sum += other.sum;
        self.count += other.count;
        Ok(())
    }
}
