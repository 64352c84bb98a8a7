//! Times any reference model, so that they are all timed alike.

use cairn_datasets::Dataset;
use cairn_nn::Model;
use cairn_optim::{Fit, Trainer};

use super::{BATCHES, Recorder, Work, best_seconds};

/// Times training at each of [`BATCHES`] and prediction on `data`, a whole pass each time, and records both.
///
/// `fresh` makes a model and its trainer anew for each batch size.
///
/// # Errors
/// What goes wrong in training.
pub(super) fn measure<M, D>(
    recorder: &mut Recorder<'_>,
    name: &str,
    work: Work,
    data: &D,
    mut fresh: impl FnMut() -> anyhow::Result<(M, Trainer<D::Target>)>,
) -> anyhow::Result<()>
where
    M: Model<D::Input>,
    D: Dataset<Input: Send, Target: Send> + Sync,
{
    let samples = data.len() as f64;
    for batch in BATCHES {
        let (model, mut trainer) = fresh()?;
        let train = best_seconds(|| {
            trainer.fit(&model, data, Fit::epochs(1).batch_size(batch).quiet())?;
            Ok(())
        })?;
        let predict = best_seconds(|| {
            trainer.predict(&model, data)?;
            Ok(())
        })?;
        recorder.model(name, batch, work, samples / train, samples / predict)?;
        // Not while the clock runs: counting takes a little.
        if let Some(folder) = recorder.reports() {
            let page = |task: &str| folder.join(format!("{name}-{batch}-{task}.html"));
            trainer.fit(&model, data, Fit::epochs(1).batch_size(batch).quiet().report(page("training")))?;
            trainer.evaluate_with_report(&model, data, page("answering"))?;
        }
    }
    Ok(())
}
