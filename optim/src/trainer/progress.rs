//! Progress: a bar on a terminal, a line for each epoch elsewhere, on standard error.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Epoch;

pub(super) enum Progress {
    Silent,
    Lines { epochs: usize },
    Bar { bar: ProgressBar, epochs: usize },
}

impl Progress {
    pub(super) fn start(quiet: bool, epoch: usize, epochs: usize, samples: usize) -> Self {
        if quiet {
            return Progress::Silent;
        }
        if !std::io::stderr().is_terminal() {
            return Progress::Lines { epochs };
        }
        let bar = ProgressBar::with_draw_target(Some(samples as u64), ProgressDrawTarget::stderr_with_hz(10));
        let template = "{prefix} {bar:20} {pos}/{len}  {rate}  {eta} left  {msg}";
        // A template that cannot be read, which the tests would show, falls back to indicatif's own.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let _ = write!(to, "{}/s", count(state.per_sec()));
        };
        bar.set_style(style.with_key("rate", rate));
        bar.set_prefix(format!("epoch {epoch}/{epochs}"));
        Progress::Bar { bar, epochs }
    }

    pub(super) fn advance(&self, samples: usize, loss: f64) {
        if let Progress::Bar { bar, .. } = self {
            bar.inc(samples as u64);
            // Formatting a message costs more than a step of a small model: now and then is enough.
            if bar.position() % 1024 < samples as u64 {
                bar.set_message(format!("loss {loss:.4}"));
            }
        }
    }

    pub(super) fn finish(self, epoch: &Epoch) {
        match self {
            Progress::Silent => {}
            Progress::Lines { epochs } => say(&line(epoch, epochs)),
            Progress::Bar { bar, epochs } => {
                bar.finish_and_clear();
                say(&line(epoch, epochs));
            }
        }
    }

    /// A line that is not an epoch's.
    pub(super) fn note(quiet: bool, text: &str) {
        if !quiet {
            say(text);
        }
    }
}

/// A terminal that was closed, or a log's full disk, is no reason to end training.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Columns of a terminal that a line should not be broken on.
const COLUMNS: usize = 80;

/// The epoch's line; what does not fit goes on below, indented.
fn line(epoch: &Epoch, epochs: usize) -> String {
    let mut parts = vec![format!("epoch {}/{epochs}", epoch.epoch)];
    parts.extend(epoch.values.iter().map(|(name, value)| format!("{name} {value:.4}")));
    parts.push(format!("{:.1} s", epoch.seconds));
    parts.push(format!("{}/s", count(epoch.samples_per_second())));
    let (mut text, mut width) = (String::new(), 0);
    for part in parts {
        let length = part.chars().count();
        if width == 0 {
            width = length;
        } else if width + 2 + length <= COLUMNS {
            text += "  ";
            width += 2 + length;
        } else {
            text += "\n    ";
            width = 4 + length;
        }
        text += &part;
    }
    text
}

/// Samples, in thousands or millions where there are many: `46.2k`.
fn count(samples: f64) -> String {
    match samples {
        s if s >= 1e6 => format!("{:.1}M", s / 1e6),
        s if s >= 1e3 => format!("{:.1}k", s / 1e3),
        s => format!("{s:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_an_epoch_is_broken_by_a_terminal_of_80_columns() {
        for metrics in 1..9 {
            let names = ["loss", "accuracy", "val_loss", "val_accuracy", "val_average_precision"];
            let values = (0..metrics).map(|i| (names[i % 5].to_owned(), 123.456_78)).collect();
            let epoch = Epoch { epoch: 100, values, samples: 60_000, training_seconds: 1.3, seconds: 1.5 };
            let text = line(&epoch, 1000);
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
            assert_eq!(text.matches("123.4568").count(), metrics);
            assert!(text.ends_with("1.5 s  46.2k/s") || text.ends_with("46.2k/s"), "{text}");
        }
    }
}
