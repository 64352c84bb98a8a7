//! A training run in a file, to be gone on with.
//!
//! What a run depends on and cannot compute again: the values of model and optimiser, the position in the data, and what
//! metrics, callbacks and history have gathered. The order of samples is a function of seed and epoch, what is random in the
//! model one of seed and step, and the schedule one of the step, so none of them has any state to save.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use cairn_nn::codec::{self, Kind};
use cairn_tensor::AnyTensor;
use serde::{Deserialize, Serialize};

use super::History;
use crate::{Error, Result, StateDict};

/// Where and how often.
#[derive(Debug, Clone)]
pub(super) struct Checkpoint {
    pub(super) path: PathBuf,
    pub(super) steps: u64,
}

/// The settings that a run depends on: resumed under others it would be another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Name and value.
    pub(super) settings: Vec<(String, String)>,
    /// What the schedule counts, and some of its factors.
    pub(super) rates: Option<(String, Vec<f64>)>,
    /// The base learning rate at the start.
    pub(super) rate: f64,
    /// The epochs that were asked for. More or fewer of them, and a schedule made for their number, make no other run.
    pub(super) epochs: usize,
}

impl Plan {
    /// What differs in a run that is to go on with one of this plan, whose base learning rate is `rate` now.
    fn differences(&self, now: &Plan, rate: f64) -> Vec<String> {
        let settings = self.settings.iter().zip(&now.settings).filter(|(was, is)| was != is);
        let mut all: Vec<String> =
            settings.map(|((name, was), (_, is))| format!("{name}: {was} there, {is} here")).collect();
        // Callbacks may have changed the rate, and a trainer keeps that.
        if now.rate != self.rate && now.rate != rate {
            all.push(format!("learning rate: {} there, {} here", self.rate, now.rate));
        }
        if now.epochs == self.epochs && now.rates != self.rates {
            all.push("the schedule".to_owned());
        }
        all
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The epoch to go on with, from 1.
    pub(super) epoch: usize,
    /// Batches of it that are done.
    pub(super) batches: usize,
    /// Steps of the optimiser in all.
    pub(super) steps: u64,
}

/// The content of a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) plan: Plan,
    pub(super) position: Position,
    /// Whether a callback has ended the run after an epoch.
    pub(super) stopped: bool,
    /// The base learning rate, of which the schedule gives a factor.
    pub(super) rate: f64,
    pub(super) model: BTreeMap<String, AnyTensor>,
    pub(super) optimizer: StateDict,
    /// Loss and metrics of the epoch that has begun.
    pub(super) running: Vec<StateDict>,
    pub(super) callbacks: Vec<StateDict>,
    pub(super) history: History,
}

impl Checkpoint {
    pub(super) fn write(&self, saved: &Saved) -> Result<()> {
        let bytes = codec::encode(Kind::Training, saved).map_err(|why| Error::bad_file(&self.path, why))?;
        Ok(codec::write_atomically(&self.path, &bytes)?)
    }

    /// The file's bytes; none if there is none.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        match fs::read(&self.path) {
            // What ended before anything was written is no checkpoint, but no run that is begun anew either.
            Ok(bytes) if bytes.is_empty() => Err(Error::bad_file(&self.path, "it is empty".to_owned())),
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::file(&self.path)(error)),
        }
    }

    /// What the file's bytes hold.
    pub(super) fn decode(&self, bytes: &[u8], plan: &Plan) -> Result<Saved> {
        let bad = |why| Error::bad_file(&self.path, why);
        let saved: Saved = codec::decode(Kind::Training, bytes).map_err(bad)?;
        let differences = saved.plan.differences(plan, saved.rate);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            return Err(bad(format!(
                "it is of a run with other settings ({differences}): give this one the same, or begin anew with another file"
            )));
        }
        Ok(saved)
    }
}
