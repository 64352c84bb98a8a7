//! What a run has cost: time, floating-point operations, bytes between processes, memory and energy, with what came of it beside.
//!
//! Everything is measured or counted, nothing is guessed from the name of a machine: where a number cannot be had, it says so. FLOPs are
//! counted by shapes as they are computed ([`count_flops`](cairn_autograd::count_flops)), so they are exact and the same on every machine.

mod energy;
mod meter;
mod page;
mod peak;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cairn_autograd::{FlopCounts, Part};
use cairn_nn::Module;
use serde::{Deserialize, Serialize};

pub(crate) use meter::{Meter, Share, metered};
pub use peak::{Peak, peak};

use crate::Result;

/// What a training, or answering, has cost: see [`Fit::report`](crate::Fit::report).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// `training` or `answering`.
    pub task: String,
    /// Values of parameters.
    pub parameters: usize,
    /// Samples trained on, once for each epoch, or answered, by all processes.
    pub samples: u64,
    /// Steps of the optimiser.
    pub steps: u64,
    /// Processes that took part.
    pub processes: usize,
    /// Threads of each.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub instruction_set: String,
    /// Seconds that passed, reading of data, validation and waiting included.
    pub seconds: f64,
    /// Seconds that processors were busy, of all threads and processes; `None` where the system does not tell.
    pub processor_seconds: Option<f64>,
    /// Floating-point operations by layer, as [`Op::flops`](cairn_autograd::op::Op::flops) counts them.
    pub layers: Vec<LayerFlops>,
    /// Those of validation, forward passes alone.
    pub validation_flops: u64,
    /// All of them.
    pub flops: u64,
    /// Operations of one's own that took part, of which no FLOPs are known and none counted.
    pub not_counted: BTreeSet<String>,
    /// Floating-point operations a second that the processors are capable of, of all processes: see [`peak`].
    pub peak_flops_per_second: f64,
    /// The share of that that was made use of, over all seconds.
    pub share_of_peak: f64,
    /// Bytes that processes have sent to each other.
    pub bytes_exchanged: u64,
    /// The most bytes of memory that a process has taken since it began; `None` where the system does not tell.
    pub peak_memory: Option<u64>,
    /// Energy.
    pub energy: Energy,
    /// What came of it: loss and metrics, those of validation too.
    pub values: BTreeMap<String, f64>,
}

/// Floating-point operations of a layer: of a `Sequential` by its name, else by the path of its parameters, and of what has none by
/// the name of the operation, in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFlops {
    /// The layer.
    pub layer: String,
    /// Of forward passes.
    pub forward: u64,
    /// Of backward passes.
    pub backward: u64,
}

/// Energy, and how it is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Energy {
    /// Of the whole machine's processors, its idle power included; `None` where it cannot be measured.
    pub joules: Option<f64>,
    /// What measured it, or why nothing did.
    pub source: String,
}

impl Report {
    /// Joules for each 1,000 samples.
    pub fn joules_per_thousand(&self) -> Option<f64> {
        self.energy.joules.filter(|_| self.samples > 0).map(|joules| 1000.0 * joules / self.samples as f64)
    }

    /// Milliseconds for each 1,000 samples; NaN of none.
    pub fn milliseconds_per_thousand(&self) -> f64 {
        if self.samples > 0 { 1e6 * self.seconds / self.samples as f64 } else { f64::NAN }
    }

    /// Writes the page, and the numbers as JSON beside it, under the same name with the endings `html` and `json`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| crate::Error::bad_file(path, error.to_string()))?;
        for (ending, text) in [("json", json), ("html", page::page(self))] {
            let path = path.with_extension(ending);
            cairn_files::write(&path, text.as_bytes()).map_err(|error| match error {
                cairn_files::Error::Io { source, .. } => crate::Error::file(&path)(source),
                other => crate::Error::bad_file(&path, other.to_string()),
            })?;
        }
        Ok(())
    }
}

/// Counts by layer, in the order of the model.
fn by_layer(counts: &FlopCounts, model: &dyn Module) -> Vec<LayerFlops> {
    let parameters = model.parameters();
    let layer_of = |path: &str| path.rsplit_once('.').map_or(path, |(layer, _)| layer).to_owned();
    let mut layers: BTreeMap<(usize, String), LayerFlops> = BTreeMap::new();
    for (part, flops) in &counts.parts {
        let (place, layer) = match part {
            Part::Scope(name) => {
                let within =
                    |path: &str| path.strip_prefix(&**name).is_some_and(|rest| rest.starts_with('.'));
                (parameters.iter().position(|(path, _)| within(path)), name.to_string())
            }
            Part::Parameter(id) => match parameters.iter().position(|(_, parameter)| parameter.id() == *id) {
                Some(place) => (Some(place), layer_of(&parameters[place].0)),
                None => (None, "[other parameters]".to_owned()),
            },
            Part::Operation(name) => (None, format!("[{name}]")),
        };
        // Parameters of one layer have one line, at the place of the first that is met.
        let first = parameters.iter().position(|(path, _)| layer_of(path) == layer);
        let place = first.or(place).unwrap_or(parameters.len());
        let sum =
            layers.entry((place, layer.clone())).or_insert(LayerFlops { layer, forward: 0, backward: 0 });
        sum.forward = sum.forward.saturating_add(flops.forward);
        sum.backward = sum.backward.saturating_add(flops.backward);
    }
    layers.into_values().collect()
}
