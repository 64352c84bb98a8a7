//! What an end-to-end check is, and what it is given.
//!
//! A check is a name and a function. All it does goes through the one [`Context`] it is handed: it asks for data, says
//! what it is doing, records metrics with their bars, and shows things in the report. What was recorded before an error
//! stays recorded.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use cairn_datasets::registry::Resource;
use cairn_datasets::{DataDir, Error as DataError};
use maud::Markup;

use crate::kept::Kept;
use crate::report::{Block, Section};
use crate::results::{Bar, Record, Source, Verdict};

/// One end-to-end check; a constant in a file of [`crate::checks`].
#[derive(Debug)]
pub struct Check {
    /// What `--only` takes: one lower-case word.
    pub name: &'static str,
    /// Heading in the report.
    pub title: &'static str,
    /// A sentence or two on what is checked, and where its bars come from.
    pub about: &'static str,
    /// The published data sets that are fetched for it. Those that it only uses where they lie ([`Context::require`]) are
    /// not among them.
    pub data: &'static [&'static Resource<'static>],
    /// Runs the check. An error is reported as this check's failure, [`Skipped`] as what it is; the others still run.
    pub run: fn(&mut Context<'_>) -> anyhow::Result<()>,
}

/// How to run the checks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where data sets are looked for and kept; offline where the network may not be used.
    pub data: DataDir,
    /// Less of everything: minutes become seconds.
    pub quick: bool,
    /// As much as the published figures took, where a check has more than it does by itself: minutes become hours.
    pub long: bool,
    /// Where every random choice begins.
    pub seed: u64,
    /// The folder in which a long run keeps how far it has come.
    pub kept: Option<PathBuf>,
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

/// Not run, because its data is not at hand and nothing can stand in for it: published figures are figures of published
/// data. An error only in that it ends the check; it does not fail the run and does not count as passed.
#[derive(Debug)]
pub struct Skipped {
    /// What is missing, where from and where to.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Skipped {}

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

    /// Whether to do as much as the published figures took.
    pub fn long(&self) -> bool {
        self.settings.long
    }

    /// Where this check keeps how far it has come, if it takes so long that it should not begin anew when it was interrupted.
    pub fn kept(&self) -> Option<Kept> {
        let folder = self.settings.kept.as_ref().filter(|_| self.long() && !self.stands_in())?;
        Some(Kept::new(folder.join(format!("{}.training.cairn", self.check.name))))
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
            skipped: None,
        };
        let verdict = match (bar, record.verdict()) {
            (Bar::None, _) => String::new(),
            (bar, Verdict::Passed) => format!(" ({bar}: passed)"),
            (bar, _) => format!(" ({bar}: MISSED)"),
        };
        self.say(format!("{} {}{verdict}", record.metric, crate::format::value(value)));
        self.records.push(record);
    }

    /// Shows something in the report, under a caption.
    pub fn show(&mut self, caption: &str, block: &impl Block) {
        self.figures.push(Section::figure(caption, block));
    }

    /// Loads the published data set `set` with `read`; where it is not in the data folder and cannot be brought there,
    /// `stand_in` makes data of the same shape, and whatever is printed and recorded from here on is marked so.
    ///
    /// # Errors
    /// Data that is there but cannot be read fails the check: to go on with a stand-in would hide it.
    pub fn load<T>(
        &mut self,
        set: &Resource<'_>,
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
            // Missing, not to be had, or a folder that cannot be written to.
            Err(e) if !dir.has(set) => {
                self.source = Source::StandIn;
                self.say(format!("{} is not at hand, generated data stands in for it ({e})", set.name));
                stand_in()
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Reads the published data set `set` from where it lies in the data folder. For sets that are too large, or whose check
    /// is too long, to be fetched without being asked for: where one is not there the check is skipped.
    ///
    /// # Errors
    /// [`Skipped`] for a set that is not there, to be passed on as it is; data that is there but cannot be read fails the
    /// check.
    pub fn require<T>(
        &mut self,
        set: &Resource<'_>,
        read: impl FnOnce(&DataDir) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let dir = &self.settings.data;
        if !dir.has(set) {
            return Err(Skipped { reason: where_to_get(set, dir) }.into());
        }
        self.source = Source::Real;
        // A file that goes away in between is not fetched either.
        read(&dir.clone().offline())
    }

    /// A file or folder in the data folder that nothing fetches: weights as their authors published them, and texts to go with
    /// them. Where it is not there the check is skipped.
    ///
    /// # Errors
    /// [`Skipped`], to be passed on as it is.
    pub fn find(&mut self, path: &str) -> anyhow::Result<PathBuf> {
        let found = self.settings.data.path().join(path);
        if !found.exists() {
            let folder = self.settings.data.path().display();
            return Err(Skipped {
                reason: format!("there is no {path} in {folder}, and nothing fetches it"),
            }
            .into());
        }
        self.source = Source::Real;
        Ok(found)
    }

    /// Reports a part of the check that cannot be done here as skipped, and goes on with the others.
    pub fn leave_out(&mut self, what: &str, reason: impl Into<String>) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.skip(what, reason.into(), self.source, seconds);
    }

    /// Says that what follows is made by definition of the check.
    pub fn generated(&mut self) {
        self.source = Source::Generated;
    }

    /// Ends the check: its section of the report, with the failure if there was one.
    pub(crate) fn finish(mut self, outcome: anyhow::Result<()>) -> Section {
        let seconds = self.started.elapsed().as_secs_f64();
        match outcome {
            Err(e) => match e.downcast::<Skipped>() {
                Ok(Skipped { reason }) => self.skip("all", reason, Source::Absent, seconds),
                Err(e) => self.fail(format!("{e:#}"), seconds),
            },
            Ok(()) if self.records.is_empty() => self.fail("the check measured nothing".to_owned(), seconds),
            Ok(()) => {}
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

    fn fail(&mut self, error: String, seconds: f64) {
        self.say(format!("FAILED: {error}"));
        self.records.push(Record {
            check: self.check.name,
            metric: "completed".into(),
            value: 0.0,
            bar: Bar::AtLeast(1.0),
            seconds,
            data: self.source,
            error: Some(error),
            skipped: None,
        });
    }

    fn skip(&mut self, what: &str, reason: String, data: Source, seconds: f64) {
        self.say(format!("SKIPPED {what}: {reason}"));
        self.records.push(Record {
            check: self.check.name,
            metric: what.to_owned(),
            value: f64::NAN,
            bar: Bar::None,
            seconds,
            data,
            error: None,
            skipped: Some(reason),
        });
    }
}

/// What is missing, the command that fetches it, and where to put it by hand.
fn where_to_get(set: &Resource<'_>, dir: &DataDir) -> String {
    let by_hand = set.files.iter().map(|file| {
        let unpacked = match file.unpacked {
            [] => String::new(),
            some => format!(" (or, unpacked, {})", some.join(" and ")),
        };
        let address = file.addresses().next().unwrap_or_else(|| set.homepage.to_owned());
        format!("{address} as {}{unpacked}", file.path)
    });
    format!(
        "{} is not in {}. `cargo xtask download {}` fetches it ({:.1} MB); by hand, put {}",
        set.name,
        dir.path().display(),
        set.name,
        set.size() as f64 / 1e6,
        by_hand.collect::<Vec<_>>().join(", ")
    )
}
