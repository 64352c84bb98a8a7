//! `cargo xtask bench`: how fast single operations are, how fast the reference models train and predict, and how much of
//! the machine that is.
//!
//! The machine's own f32 peak is measured first, in the same run (see [`measure_peak`]): a share of it says more than
//! samples per second on a machine nobody else has. The reference models are the small networks people
//! compare libraries by; data is random and in memory, an epoch goes through the same `Trainer` a user would call, and the
//! best of several epochs counts, because other programs only ever make one slower.
//!
//! To add one: a file with a `pub const BENCH: Bench`, and its line in [`ALL`].

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::Table;
use serde::Serialize;

use crate::format::{count, terminal_table};
use crate::output::note;

mod cnn;
mod gpt;
mod lm;
mod mlp;
mod neural;
mod nlp;
mod ops;
mod peak;
mod recsys;
mod rnn;
mod training;
mod translate;
mod work;

pub(crate) use gpt::long_step;
pub use ops::Share;
pub use peak::{copy_rate, measure as measure_peak};
pub use work::Work;

/// One thing to measure.
#[derive(Debug)]
pub struct Bench {
    /// What `--only` takes.
    pub name: &'static str,
    /// Measures and reports through the recorder.
    pub run: fn(&mut Recorder<'_>) -> anyhow::Result<()>,
}

/// Everything that can be measured, in the order it runs.
pub const ALL: &[&Bench] = &[
    &ops::BENCH,
    &ops::ATTENTION,
    &mlp::BENCH,
    &cnn::BENCH,
    &rnn::BENCH,
    &nlp::BENCH,
    &gpt::BENCH,
    &translate::BENCH,
    &lm::LM,
    &lm::EMBED,
    &recsys::BENCH,
    &neural::BENCH,
];

/// Batch sizes at which models are measured: Keras' default, and one that fills the machine.
pub const BATCHES: [usize; 2] = [32, 128];
/// Predictions run at this batch size, whatever the training's: nobody predicts in small batches who has many samples.
pub const PREDICT_BATCH: usize = 256;
/// A measurement is repeated at least so often, and for so long.
const LEAST_RUNS: usize = 3;
const LEAST_TIME: Duration = Duration::from_secs(2);

/// The names that `--only` takes.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|b| b.name).collect()
}

/// Takes measurements and prints them.
pub struct Recorder<'a> {
    out: &'a mut dyn Write,
    json: bool,
    reports: Option<PathBuf>,
    peak: f64,
    threads: usize,
    models: Table,
    sequences: Table,
    memory: Table,
    operations: Table,
    recommenders: Table,
}

/// A model at one batch size, as printed with `--json`.
#[derive(Debug, Serialize)]
struct ModelLine<'a> {
    framework: &'a str,
    model: &'a str,
    batch: usize,
    threads: usize,
    train_samples_per_s: u64,
    predict_samples_per_s: u64,
    train_share_of_peak: f64,
    predict_share_of_peak: f64,
}

/// A model of sequences, training or not, as printed with `--json`.
#[derive(Debug, Serialize)]
struct SequencesLine<'a> {
    framework: &'a str,
    model: &'a str,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    train_tokens_per_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_tokens_per_s: Option<u64>,
    share_of_peak: f64,
}

/// The memory of a step of training, as printed with `--json`.
#[derive(Debug, Serialize)]
struct MemoryLine<'a> {
    framework: &'a str,
    model: &'a str,
    threads: usize,
    peak_bytes: u64,
}

/// An operation, as printed with `--json`.
#[derive(Debug, Serialize)]
struct OperationLine<'a> {
    framework: &'a str,
    op: &'a str,
    us: f64,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_copy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share_of_peak: Option<f64>,
}

/// The peak, as printed with `--json`.
#[derive(Debug, Serialize)]
struct PeakLine<'a> {
    framework: &'a str,
    op: &'a str,
    us: f64,
    gflops: f64,
    threads: usize,
}

const FRAMEWORK: &str = concat!("cairn ", env!("CARGO_PKG_VERSION"));

impl std::fmt::Debug for Recorder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("json", &self.json).field("peak", &self.peak).finish_non_exhaustive()
    }
}

impl Recorder<'_> {
    /// The machine's peak in f32 operations per second.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// Where reports of what a training and an evaluation cost are asked for.
    pub fn reports(&self) -> Option<&Path> {
        self.reports.as_deref()
    }

    /// Records the time of a single operation, and what it reaches of what the machine can do.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn operation(&mut self, op: &str, seconds: f64, reached: Share) -> anyhow::Result<()> {
        let us = hundredths(seconds * 1e6);
        if self.json {
            let line = OperationLine {
                framework: FRAMEWORK,
                op,
                us,
                threads: self.threads,
                share_of_copy: reached.of_copy.map(share),
                share_of_peak: reached.of_peak.map(share),
            };
            writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
        } else {
            let percent = |share: Option<f64>| share.map_or(String::new(), |s| format!("{:.0} %", 100.0 * s));
            self.operations.add_row([
                op.to_owned(),
                format!("{us:.2}"),
                percent(reached.of_copy),
                percent(reached.of_peak),
            ]);
        }
        Ok(())
    }

    /// Records how long a recommender's work takes, or how much of it a second does: `quantity` names which, `how` the
    /// solver or accuracy where there is a choice.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn recommender(&mut self, work: &str, how: &str, quantity: &str, value: f64) -> anyhow::Result<()> {
        let value = rounded(value);
        if self.json {
            let by = format!("{FRAMEWORK} {how}");
            let line = serde_json::json!({
                "work": work, "peer": by.trim_end(), "threads": self.threads, quantity: value,
            });
            writeln!(self.out, "{line}")?;
        } else {
            self.recommenders.add_row([work, how, &value.to_string(), &quantity.replace('_', " ")]);
        }
        Ok(())
    }

    /// Records a model's samples per second at a batch size, beside the work of one sample.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn model(
        &mut self,
        model: &str,
        batch: usize,
        work: Work,
        train: f64,
        predict: f64,
    ) -> anyhow::Result<()> {
        let train_share = work.train as f64 * train / self.peak;
        let predict_share = work.predict as f64 * predict / self.peak;
        if self.json {
            let line = ModelLine {
                framework: FRAMEWORK,
                model,
                batch,
                threads: self.threads,
                train_samples_per_s: train.round() as u64,
                predict_samples_per_s: predict.round() as u64,
                train_share_of_peak: share(train_share),
                predict_share_of_peak: share(predict_share),
            };
            writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
        } else {
            self.models.add_row([
                model.to_owned(),
                batch.to_string(),
                count(train.round() as u64),
                format!("{:.1} %", 100.0 * train_share),
                count(predict.round() as u64),
                format!("{:.1} %", 100.0 * predict_share),
            ]);
        }
        Ok(())
    }
}

impl Recorder<'_> {
    /// Records the seconds that a step of training, and a forward pass, take a model of sequences: as tokens per second, of which a
    /// step has `tokens`. `work` is that of a step.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn sequences(
        &mut self,
        model: &str,
        tokens: usize,
        work: Work,
        [train, eval]: [f64; 2],
    ) -> anyhow::Result<()> {
        let rate = |seconds: f64| (tokens as f64 / seconds).round() as u64;
        let (train_rate, eval_rate) = (rate(train), rate(eval));
        let (train_share, eval_share) =
            (work.train as f64 / train / self.peak, work.predict as f64 / eval / self.peak);
        if !self.json {
            self.sequences.add_row([
                model.to_owned(),
                count(train_rate),
                format!("{:.1} %", 100.0 * train_share),
                count(eval_rate),
                format!("{:.1} %", 100.0 * eval_share),
            ]);
            return Ok(());
        }
        for (rates, reached) in
            [([Some(train_rate), None], train_share), ([None, Some(eval_rate)], eval_share)]
        {
            let [train_tokens_per_s, eval_tokens_per_s] = rates;
            let line = SequencesLine {
                framework: FRAMEWORK,
                model,
                threads: self.threads,
                train_tokens_per_s,
                eval_tokens_per_s,
                share_of_peak: share(reached),
            };
            writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
        }
        Ok(())
    }
}

impl Recorder<'_> {
    /// Records the most memory that a process had which did nothing but train a model for a step or two.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn memory(&mut self, model: &str, bytes: u64) -> anyhow::Result<()> {
        if self.json {
            let line = MemoryLine { framework: FRAMEWORK, model, threads: self.threads, peak_bytes: bytes };
            writeln!(self.out, "{}", serde_json::to_string(&line)?)?;
        } else {
            self.memory.add_row([model.to_owned(), format!("{:.2} GB", bytes as f64 / 1e9)]);
        }
        Ok(())
    }
}

/// Four significant digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

/// Two digits after the point, for microseconds.
fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// Four digits after the point, for shares.
fn share(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

/// The least seconds of several runs, after one that does not count.
///
/// # Errors
/// The first error of `f`.
pub fn best_seconds(mut f: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    f()?;
    let (begun, mut runs, mut best) = (Instant::now(), 0, f64::INFINITY);
    while runs < LEAST_RUNS || begun.elapsed() < LEAST_TIME {
        let started = Instant::now();
        f()?;
        best = best.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}

/// Measures the peak, then everything named in `only` (all where it is empty), and prints a table or JSON lines to
/// `out`. In `reports`, where that is given, are pages of what an epoch of each reference model, and predictions, cost.
///
/// # Errors
/// What went wrong while measuring; a line that cannot be written, since nothing is left to measure for.
pub fn run(only: &[String], json: bool, reports: Option<PathBuf>, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(folder) = &reports {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let threads = cairn_tensor::num_threads();
    let peak = measure_peak()?;
    if json {
        let line = PeakLine {
            framework: FRAMEWORK,
            op: "peak/f32",
            us: hundredths(peak.seconds * 1e6),
            gflops: hundredths(peak.flops_per_second / 1e9),
            threads,
        };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    } else {
        writeln!(
            out,
            "{FRAMEWORK}, {threads} threads, f32 peak {:.0} GFLOP/s (multiply-adds on registers)",
            peak.flops_per_second / 1e9
        )?;
    }
    let headings = ["model", "batch", "trains/s", "of peak", "predicts/s", "of peak"];
    let models = terminal_table(headings, &[1, 2, 3, 4, 5]);
    let sequences =
        terminal_table(["model", "trains, tokens/s", "of peak", "evaluates", "of peak"], &[1, 2, 3, 4]);
    let memory = terminal_table(["model", "most memory of a step"], &[1]);
    let operations = terminal_table(["operation", "µs", "of a copy", "of peak"], &[1, 2, 3]);
    let recommenders = terminal_table(["recommender", "how", "", "unit"], &[2]);
    let peak = peak.flops_per_second;
    let mut recorder =
        Recorder { out, json, reports, peak, threads, models, sequences, memory, operations, recommenders };
    for bench in ALL.iter().filter(|b| only.is_empty() || only.iter().any(|n| n == b.name)) {
        if !json {
            note(format_args!("{} …", bench.name));
        }
        (bench.run)(&mut recorder)?;
    }
    if !recorder.operations.is_empty() {
        writeln!(recorder.out, "{}", recorder.operations)?;
        writeln!(recorder.out, "of a copy: of the bandwidth of a plain parallel copy of as many bytes")?;
    }
    if !recorder.recommenders.is_empty() {
        writeln!(recorder.out, "{}", recorder.recommenders)?;
    }
    if !recorder.sequences.is_empty() {
        writeln!(recorder.out, "{}", recorder.sequences)?;
    }
    if !recorder.memory.is_empty() {
        writeln!(recorder.out, "{}", recorder.memory)?;
    }
    if !recorder.models.is_empty() {
        writeln!(recorder.out, "{}", recorder.models)?;
        writeln!(
            recorder.out,
            "trains/s, predicts/s: samples per second; predictions in batches of {PREDICT_BATCH}"
        )?;
    }
    Ok(())
}
