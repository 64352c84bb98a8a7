//! Counts for Prometheus, in its text format (version 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::models::{Kind, Models};
use super::writer::Counts;

/// One of the counts of what was written.
type Counter = fn(&Counts) -> &AtomicU64;

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Answers and the time until they began, by route and status.
    answers: Mutex<BTreeMap<(String, u16), (u64, Duration)>>,
    under_way: AtomicUsize,
}

/// Counts a request that is under way; dropping it, which also happens where a client leaves, ends that.
#[derive(Debug)]
pub(super) struct UnderWay<'m>(&'m AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    pub(super) fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(&self.under_way)
    }

    pub(super) fn answered(&self, route: &str, status: u16, after: Duration) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, time) = answers.entry((route.to_owned(), status)).or_default();
        *count += 1;
        *time += after;
    }

    pub(super) fn to_text(&self, models: &Models) -> String {
        let mut text = String::new();
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let labels = |route: &str, status: u16| format!("route=\"{route}\",status=\"{status}\"");
        let counts =
            answers.iter().map(|((route, status), (count, _))| (labels(route, *status), *count as f64));
        family(&mut text, "cairn_requests_total", "counter", "Requests that were answered.", counts);
        let times =
            answers.iter().map(|((route, status), (_, time))| (labels(route, *status), time.as_secs_f64()));
        let help = "Seconds until answers began, all together.";
        family(&mut text, "cairn_request_seconds_total", "counter", help, times);
        let now = [(String::new(), self.under_way.load(Relaxed) as f64)];
        family(&mut text, "cairn_requests_under_way", "gauge", "Requests whose answers have not begun.", now);
        of_writers(&mut text, models);
        if let Some(bytes) = resident() {
            let help = "Memory of the process.";
            family(&mut text, "process_resident_memory_bytes", "gauge", help, [(String::new(), bytes)]);
        }
        text
    }
}

fn of_writers(text: &mut String, models: &Models) {
    let writers = || {
        models.0.iter().filter_map(|model| match &model.kind {
            Kind::Writer(writer) => Some((format!("model=\"{}\"", escaped(&model.name)), &*writer.counts)),
            _ => None,
        })
    };
    let totals: [(&str, &str, Counter); 5] = [
        ("cairn_prompt_tokens_total", "Tokens of prompts.", |counts| &counts.prompt),
        ("cairn_cached_tokens_total", "Those of them that were not computed again.", |counts| &counts.cached),
        ("cairn_written_tokens_total", "Tokens that were written.", |counts| &counts.written),
        ("cairn_guessed_tokens_total", "Those of them that were guessed before.", |counts| &counts.guessed),
        ("cairn_texts_given_up_total", "Texts whose readers left.", |counts| &counts.given_up),
    ];
    for (name, help, of) in totals {
        family(
            text,
            name,
            "counter",
            help,
            writers().map(|(label, counts)| (label, of(counts).load(Relaxed) as f64)),
        );
    }
    let running = writers().map(|(label, counts)| (label, counts.running.load(Relaxed) as f64));
    family(text, "cairn_texts_under_way", "gauge", "Texts that are being written.", running);
    let waiting = writers().map(|(label, counts)| (label, counts.waiting.load(Relaxed) as f64));
    family(text, "cairn_texts_waiting", "gauge", "Texts that wait to be written.", waiting);
}

/// A metric with its values, each with its labels.
fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    values: impl IntoIterator<Item = (String, f64)>,
) {
    // Writing to a text does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in values {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The memory of this process that is there, where the system tells.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0)
}
