//! What an end-to-end check is, and what it is given.
//!
//! A check is a name and a function. All it does goes through the one [`Context`] it is handed: it asks for data, says
//! what it is doing, records metrics with their bars, and shows things in the report. What was recorded before an error
//! stays recorded.

use std::io::Write;
use std::time::Instant;

use cairn_datasets::registry::KnownSet;
use cairn_datasets::{DataDir, Error as DataError};
use maud::Markup;

use crate::report::{Block, Section};
use crate::results::{Bar, Record, Source};

/// One end-to-end check; a constant in a file of [`crate::checks`].
#[derive(Debug)]
pub struct Check {
    /// What `--only` takes: one lower-case word.
    pub name: &'static str,
    /// Heading in the report.
    pub title: &'static str,
    /// A sentence or two on what is checked, and where its bars come from.
    pub about: &'static str,
    /// The published data sets it asks for.
    pub data: &'static [&'static KnownSet],
    /// Runs the check. An error is reported as this check's failure; the others still run.
    pub run: fn(&mut Context<'_>) -> anyhow::Result<()>,
}

/// How to run the checks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where data sets are looked for and kept; offline where the network may not be used.
    pub data: DataDir,
    /// Less of everything: minutes become seconds.
    pub quick: bool,
    /// Where every random choice begins.
    pub seed: u64,
}

/// What a metric has to reach, by kind of run.
#[derive(Clone, Copy, Debug)]
pub struct Bars {
    /// On the published data, in full.
    pub full: f64,
    /// On the published data, doing less.
    pub quick: f64,
    /// On data that stands in for it, in full.
    pub stand_in: f64,
    /// On data that stands in for it, doing less.
    pub stand_in_quick: f64,
}

/// What a check works with while it runs.
pub struct Context<'a> {
    check: &'static Check,
    settings: &'a Settings,
    out: &'a mut dyn Write,
    started: Instant,
    source: Source,
    records: Vec<Record>,
    figures: Vec<Markup>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("check", &self.check.name)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// The context of one run of one check; `out` takes its lines.
    pub fn new(check: &'static Check, settings: &'a Settings, out: &'a mut dyn Write) -> Self {
        Self {
            check,
            settings,
            out,
            started: Instant::now(),
            source: Source::Generated,
            records: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Whether to do less, and hold it against bars meant for less.
    pub fn quick(&self) -> bool {
        self.settings.quick
    }

    /// Where this check's random choices begin.
    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// Whether the data at hand stands in for a published set.
    pub fn stands_in(&self) -> bool {
        self.source == Source::StandIn
    }

    /// The one of `bars` that is meant for this run.
    pub fn bar(&self, bars: &Bars) -> f64 {
        match (self.stands_in(), self.quick()) {
            (false, false) => bars.full,
            (false, true) => bars.quick,
            (true, false) => bars.stand_in,
            (true, true) => bars.stand_in_quick,
        }
    }

    /// Prints a line of progress, marked with the check and, where it is so, with `stand-in`.
    pub fn say(&mut self, line: impl AsRef<str>) {
        let mark = if self.stands_in() { " [stand-in]" } else { "" };
        for line in line.as_ref().lines() {
            // A closed terminal is no reason to stop measuring.
            let _ = writeln!(self.out, "{}{mark}: {line}", self.check.name);
        }
        let _ = self.out.flush();
    }

    /// Records a metric measured on the data at hand, and prints it.
    pub fn metric(&mut self, metric: impl Into<String>, value: f64, bar: Bar) {
        let record = Record {
            check: self.check.name,
            metric: metric.into(),
            value,
            bar,
            seconds: self.started.elapsed().as_secs_f64(),
            data: self.source,
            error: None,
        };
        let verdict = match (bar, record.passed()) {
            (Bar::None, _) => String::new(),
            (bar, true) => format!(" ({bar}: passed)"),
            (bar, false) => format!(" ({bar}: MISSED)"),
        };
        self.say(format!("{} {}{verdict}", record.metric, crate::format::value(value)));
        self.records.push(record);
    }

    /// Shows something in the report, under a caption.
    pub fn show(&mut self, caption: &str, block: &impl Block) {
        self.figures.push(Section::figure(caption, block));
    }

    /// Loads the published data set `set` with `read`; where it is not in the data folder and cannot be downloaded,
    /// `stand_in` makes data of the same shape, and whatever is printed and recorded from here on is marked so.
    ///
    /// # Errors
    /// Data that is there but cannot be read fails the check: to go on with a stand-in would hide it.
    pub fn load<T>(
        &mut self,
        set: &KnownSet,
        read: impl FnOnce(&DataDir) -> Result<T, DataError>,
        stand_in: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.source = Source::Real;
        let dir = &self.settings.data;
        if !dir.is_offline() && !dir.has(set) {
            let (size, folder) = (set.size() as f64 / 1e6, dir.path().display());
            self.say(format!("downloading {} to {folder}, {size:.1} MB", set.name));
        }
        match read(dir) {
            Ok(data) => Ok(data),
            Err(e @ (DataError::Missing { .. } | DataError::Download { .. })) => {
                self.source = Source::StandIn;
                self.say(format!("{} is not at hand, generated data stands in for it ({e})", set.name));
                stand_in()
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Says that what follows is made by definition of the check.
    pub fn generated(&mut self) {
        self.source = Source::Generated;
    }

    /// Ends the check: its section of the report, with the failure if there was one.
    pub(crate) fn finish(mut self, outcome: anyhow::Result<()>) -> Section {
        let seconds = self.started.elapsed().as_secs_f64();
        let error = match outcome {
            Err(e) => Some(format!("{e:#}")),
            Ok(()) if self.records.is_empty() => Some("the check measured nothing".to_owned()),
            Ok(()) => None,
        };
        if let Some(error) = error {
            self.say(format!("FAILED: {error}"));
            self.records.push(Record {
                check: self.check.name,
                metric: "completed".into(),
                value: 0.0,
                bar: Bar::AtLeast(1.0),
                seconds,
                data: self.source,
                error: Some(error),
            });
        }
        Section {
            check: self.check.name,
            title: self.check.title,
            about: self.check.about,
            records: self.records,
            figures: self.figures,
            seconds,
        }
    }
}
