//! What the processes of a run tell each other: that they do the same, and what each has computed of a step.

use cairn_autograd::Gradients;
use cairn_nn::codec::{self, Kind};
use cairn_nn::{Model, Module};
use cairn_tensor::Setting;
use serde::{Deserialize, Serialize};

use super::evaluation::Running;
use super::run::Run;
use super::statistics::{Changes, Statistics};
use super::step::Pending;
use crate::accumulate::mean_factor;
use crate::processes::{Communicator, Group, Partition, Sharded, encode};
use crate::report::Share;
use crate::{AnyOptimizer, Error, Optimizer, Result, StateDict};

/// The processes of a run that are more than one.
#[derive(Debug)]
pub(super) struct Shared<'f> {
    group: Group<'f>,
    partition: Partition,
    /// Where each process keeps the optimiser's running values for its rows only.
    sharded: Option<Sharded>,
}

/// What is reported of one batch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) samples: usize,
    pub(super) loss: f32,
    pub(super) weight: f64,
    /// Of each metric what the batch adds to it, unless it was taken in already.
    pub(super) measures: Vec<Option<StateDict>>,
}

/// What a process has of a step, its gradients apart.
#[derive(Serialize, Deserialize)]
struct Report {
    parts: Vec<Part>,
    statistics: Vec<(u32, u64, Changes)>,
}

impl<'f> Shared<'f> {
    /// Nothing where there is one process.
    pub(super) fn new(processes: &'f dyn Communicator, model: &dyn Module) -> Option<Self> {
        let partition = || Partition::new(model, processes.size());
        (processes.size() > 1).then(|| Shared {
            group: Group::new(processes),
            partition: partition(),
            sharded: None,
        })
    }

    pub(super) fn is_first(&self) -> bool {
        self.group.rank() == 0
    }

    /// The number of this process, and of all.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.group.rank(), self.group.size())
    }

    /// Tells the others of an error that ends the run here, if they do not know of it.
    pub(super) fn tell(&self, error: &Error) {
        // What comes of an exchange came to all.
        if !matches!(error, Error::Processes(_)) {
            self.group.tell(&error.to_string());
        }
    }

    /// An error unless the model has the same values on all processes.
    pub(super) fn compare(&self, place: &str, model: &dyn Module) -> Result<()> {
        let values = ("the values of the model".to_owned(), checksum(model)?);
        self.group.meet(place, &[values], Ok(&[]))?;
        Ok(())
    }

    /// What only the first process knows, on all of them.
    pub(super) fn of_first(&self, place: &str, known: Result<Vec<u8>>) -> Result<Vec<u8>> {
        let why = known.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let outcome = known.as_ref().map(|bytes| &bytes[..]).map_err(|_| &why[..]);
        let all = self.group.meet(place, &[], outcome);
        known?;
        Ok(all?.swap_remove(0))
    }

    /// Exchanges what processes have computed of the step that ends at `place`: returns the reports of all its batches in order, with
    /// the gradient of the whole in `pending` and all changes in `statistics`.
    pub(super) fn exchange<X, Y>(
        &self,
        place: &str,
        own: Vec<Part>,
        pending: &mut Pending<X, Y>,
        statistics: &mut Statistics,
    ) -> Result<Vec<Part>> {
        let report = Report { parts: own, statistics: statistics.take() };
        let bytes = codec::encode(Kind::Training, &report).map_err(Error::BadState)?;
        let mut parts = Vec::new();
        for bytes in self.group.meet(place, &[], Ok(&bytes))? {
            let report: Report = codec::decode(Kind::Training, &bytes).map_err(Error::BadState)?;
            parts.extend(report.parts);
            report.statistics.into_iter().try_for_each(|change| statistics.insert(change))?;
        }
        let weight: f64 = parts.iter().fold(0.0, |sum, part| sum + part.weight);
        let tree = pending.take_tree();
        if weight > 0.0 {
            let gradients = self.partition.sum(&self.group, tree, mean_factor(weight), place)?;
            pending.settle(gradients, parts.iter().map(|part| (part.loss, part.weight)));
        }
        Ok(parts)
    }
}

impl Shared<'_> {
    /// One step of the optimiser, the same on all.
    pub(super) fn step(
        &self,
        optimizer: &mut dyn Optimizer,
        model: &dyn Module,
        gradients: &Gradients,
        place: &str,
    ) -> Result<()> {
        match &self.sharded {
            None => optimizer.step(model, gradients),
            Some(sharded) => sharded.step(optimizer, gradients, &self.partition, &self.group, place),
        }
    }

    /// The optimiser's state for a checkpoint: the whole one on the first process.
    pub(super) fn state(&self, optimizer: &AnyOptimizer) -> Result<StateDict> {
        let Some(sharded) = &self.sharded else { return Ok(optimizer.state()) };
        let mut parts = vec![Vec::new(); self.group.size()];
        parts[0] = encode(&optimizer.state())?;
        let all = self.group.all_to_all(parts)?;
        if self.is_first() { sharded.whole_state(&all) } else { Ok(StateDict::default()) }
    }

    /// What each process has measured of the run, by rank.
    pub(super) fn shares(&self, own: &Share) -> Result<Vec<Share>> {
        let bytes = codec::encode(Kind::Training, own).map_err(Error::BadState)?;
        let all = self.group.meet("the report", &[], Ok(&bytes))?;
        all.iter().map(|bytes| codec::decode(Kind::Training, bytes).map_err(Error::BadState)).collect()
    }

    /// The bytes that this process has sent to others.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.group.bytes_sent()
    }

    /// Gives the optimiser back its whole state, at the end of a run.
    fn unite(&self, optimizer: &mut AnyOptimizer) -> Result<()> {
        let Some(sharded) = &self.sharded else { return Ok(()) };
        let all = self.group.meet("the optimiser at the end", &[], Ok(&encode(&optimizer.state())?))?;
        optimizer.load_state(sharded.whole_state(&all)?)
    }
}

impl<X: Send, Y: Send> Run<'_, '_, X, Y> {
    /// Leaves the optimiser the running values of this process's rows, where that is asked for.
    pub(super) fn shard(&mut self, model: &dyn Module) -> Result<()> {
        let Some(shared) = self.shared.as_mut().filter(|_| self.fit.shard_optimizer) else { return Ok(()) };
        let sharded = Sharded::new(model, &shared.partition, shared.group.rank())?;
        self.optimizer.load_state(sharded.own_state(self.optimizer.state())?)?;
        shared.sharded = Some(sharded);
        Ok(())
    }

    /// What is to be the same on all processes at the end of a run.
    pub(super) fn conclude(&mut self, model: &dyn Module) -> Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        shared.unite(self.optimizer)?;
        shared.compare("the end of the run", model)
    }

    /// An error where a run of many processes asks for what they cannot do.
    pub(super) fn check_shared(&self) -> Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let (_, size) = shared.place();
        let batches = self.fit.accumulate;
        Setting::check(
            "the number of batches in a step",
            batches,
            batches >= size,
            "at least the number of processes, each of which computes its share: see `Fit::accumulate`",
        )?;
        let asking = usize::from(self.asks_again());
        Setting::check(
            "the number of optimisers that ask for the loss again",
            asking,
            asking == 0,
            "0 for many processes",
        )?;
        let whole =
            matches!(&*self.optimizer, AnyOptimizer::Gradient(optimizer) if !optimizer.is_elementwise());
        let whole = usize::from(whole && self.fit.shard_optimizer);
        Setting::check(
            "the number of optimisers that need whole parameters",
            whole,
            whole == 0,
            "0 for one in slices",
        )?;
        match Running::start(self.metrics).unmerged() {
            None => Ok(()),
            Some(name) => Err(Error::BadState(format!(
                "the metric `{name}` cannot be taken on many processes: it needs `Accumulator::merge`"
            ))),
        }
    }

    /// An error unless all processes are about to do the same.
    pub(super) fn agree<M: Model<X>>(&self, model: &M, samples: usize) -> Result<()> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let plan = self.plan(samples);
        let mut facts = vec![
            ("the version of Cairn".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("the instruction set".to_owned(), cairn_tensor::instruction_set().to_owned()),
            ("the parameters of the model".to_owned(), shapes(model)),
            ("the values of the model".to_owned(), checksum(model)?),
            ("epochs".to_owned(), plan.epochs.to_string()),
            ("learning rate".to_owned(), plan.rate.to_string()),
            ("the schedule".to_owned(), format!("{:?}", plan.rates)),
            (
                "metrics".to_owned(),
                format!("{:?}", self.metrics.iter().map(|metric| metric.name()).collect::<Vec<_>>()),
            ),
            ("whether the optimiser is in slices".to_owned(), self.fit.shard_optimizer.to_string()),
            ("callbacks".to_owned(), self.fit.callbacks.len().to_string()),
            ("whether there is a report".to_owned(), self.fit.report.is_some().to_string()),
        ];
        facts.extend(plan.settings);
        shared.group.meet("the beginning of the run", &facts, Ok(&[]))?;
        Ok(())
    }
}

/// Paths and shapes of parameters and buffers, as one number, and how many there are.
fn shapes(model: &dyn Module) -> String {
    let state = model.state();
    let crc = state.iter().fold(0, |crc, (path, value)| {
        crc32c::crc32c_append(crc, format!("{path} {:?} {:?}", value.dtype(), value.shape()).as_bytes())
    });
    format!(
        "{} tensors, {} values, layout {crc:08x}",
        state.len(),
        state.values().map(cairn_tensor::AnyTensor::len).sum::<usize>()
    )
}

/// The values of parameters and buffers as one number.
fn checksum(model: &dyn Module) -> Result<String> {
    let mut crc = 0;
    for value in model.state().values() {
        crc = crc32c::crc32c_append(crc, &value.to_le_bytes()?);
    }
    Ok(format!("{crc:08x}"))
}
