//! Writing what a run, or an evaluation, has cost.

use std::path::Path;

use cairn_datasets::Dataset;
use cairn_nn::{Model, Module};

use super::evaluation::evaluate;
use super::run::Run;
use super::shared::Shared;
use super::{Evaluation, Trainer};
use crate::Result;
use crate::report::{Meter, Report};

impl<X: Send, Y: Send> Run<'_, '_, X, Y> {
    /// Writes the report, if there is to be one.
    pub(super) fn write_report(&mut self, model: &dyn Module) -> Result<()> {
        let Some((meter, path)) = self.meter.take().zip(self.fit.report.clone()) else { return Ok(()) };
        let sent = self.shared.as_ref().map_or(0, Shared::bytes_sent);
        let measured = meter.finish(model, sent)?;
        let shares = self.shared.as_ref().map(|shared| shared.shares(&measured.share)).transpose()?;
        let mut report = measured.report("training", model.parameter_count(), shares);
        if let Some(epoch) = self.history.epochs().last() {
            report.values = epoch.values.iter().cloned().collect();
        }
        if self.writes() { report.write(path) } else { Ok(()) }
    }
}

impl<Y> Trainer<Y> {
    /// As [`evaluate`](Self::evaluate), and writes what the answers have cost: a page and JSON, as
    /// [`Fit::report`](crate::Fit::report) does for training.
    ///
    /// # Errors
    /// As there, and when a file cannot be written.
    pub fn evaluate_with_report<M, D>(
        &self,
        model: &M,
        data: &D,
        path: impl AsRef<Path>,
    ) -> Result<(Evaluation, Report)>
    where
        M: Model<D::Input>,
        D: Dataset<Target = Y> + ?Sized,
    {
        let mut meter = Meter::start();
        let evaluation = meter.counted(|| evaluate(&*self.loss, &self.metrics, model, data))?;
        meter.computed(evaluation.samples);
        let mut report = meter.finish(model, 0)?.report("answering", model.parameter_count(), None);
        report.values = evaluation.values.iter().cloned().collect();
        report.write(path)?;
        Ok((evaluation, report))
    }
}
