//! `cargo xtask e2e`: runs the checks, one after another, and writes down what they found.

use std::any::Any;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use comfy_table::Table;

use crate::check::{Check, Context, Settings};
use crate::format;
use crate::output::BestEffort;
use crate::report::{Section, page, summary};
use crate::results::{Record, Verdict, to_json};

/// Runs `checks` in order, printing to `out` as far as it takes it; `results.json` and `report.html` in `folder` are brought up to date after
/// each. Returns whether nothing failed; a check that is skipped for want of its data does not fail.
///
/// # Errors
/// Where the two files cannot be written. What goes wrong inside a check, panics included, is that check's failure.
pub fn run(
    checks: &[&'static Check],
    settings: &Settings,
    folder: &Path,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let out = &mut BestEffort(out);
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let started = Instant::now();
    let note = note(settings);
    let mut sections = Vec::with_capacity(checks.len());
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    // Before the first, too: a page of an earlier run would pass for this one's.
    write_files(folder, &sections, &names, &note)?;
    for (n, &check) in checks.iter().enumerate() {
        sections.push(run_one(check, settings, out));
        write_files(folder, &sections, &names[n + 1..], &note)?;
    }
    writeln!(out, "\n{}", table(&sections))?;
    if sections.iter().any(Section::stands_in) {
        writeln!(out, "Rows marked stand-in come from generated data, with bars meant for it.")?;
    }
    for r in sections.iter().flat_map(|s| &s.records) {
        if let Some(reason) = &r.skipped {
            writeln!(out, "Skipped {}, {}: {reason}", r.check, r.metric)?;
        }
    }
    writeln!(out, "{} in {}", summary(&sections), format::seconds(started.elapsed().as_secs_f64()))?;
    writeln!(
        out,
        "report:  {}\nresults: {}",
        folder.join("report.html").display(),
        folder.join("results.json").display()
    )?;
    Ok(sections.iter().all(|s| s.verdict() != Verdict::Failed))
}

fn run_one(check: &'static Check, settings: &Settings, out: &mut dyn Write) -> Section {
    let mut context = Context::new(check, settings, out);
    // The context is only read after a panic, to report what was recorded up to there.
    let outcome = catch_unwind(AssertUnwindSafe(|| (check.run)(&mut context)));
    let outcome = outcome.unwrap_or_else(|panic| Err(anyhow::anyhow!("panicked: {}", panic_text(&*panic))));
    context.finish(outcome)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// What was found so far, and the names of the checks to come.
fn write_files(folder: &Path, sections: &[Section], to_come: &[&str], note: &str) -> anyhow::Result<()> {
    let records: Vec<Record> = sections.iter().flat_map(|s| s.records.iter().cloned()).collect();
    cairn_files::write(folder.join("results.json"), to_json(&records)?.as_bytes())?;
    Ok(cairn_files::write(folder.join("report.html"), page(sections, to_come, note).as_bytes())?)
}

/// One line on where and when this ran.
fn note(settings: &Settings) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}run of {}, version {}, seed {}, {} {}, {cores} {}",
        match (settings.quick, settings.long) {
            (true, _) => "Quick ",
            (false, true) => "Long ",
            (false, false) => "Full ",
        },
        humantime::format_rfc3339_seconds(SystemTime::now()),
        env!("CARGO_PKG_VERSION"),
        settings.seed,
        std::env::consts::OS,
        std::env::consts::ARCH,
        if cores == 1 { "core" } else { "cores" },
    )
}

fn table(sections: &[Section]) -> Table {
    let headings = ["check", "metric", "value", "bar", "passed", "after", "data"];
    let mut table = format::terminal_table(headings, &[2, 3, 5]);
    for r in sections.iter().flat_map(|s| &s.records) {
        let value = match r.verdict() {
            _ if r.is_measured() => format::value(r.value),
            Verdict::Skipped => String::new(),
            _ => "error".into(),
        };
        let passed = match (r.verdict(), r.bar.number()) {
            (Verdict::Failed, _) => "NO",
            (Verdict::Skipped, _) => "skipped",
            (Verdict::Passed, Some(_)) => "yes",
            (Verdict::Passed, None) => "",
        };
        table.add_row([
            r.check,
            &r.metric,
            &value,
            &r.bar.to_string(),
            passed,
            &format::seconds(r.seconds),
            r.data.name(),
        ]);
    }
    table
}
