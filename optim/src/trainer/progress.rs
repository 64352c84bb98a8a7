//! Progress: a bar on a terminal, a line for each epoch elsewhere, on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        let template = "{prefix} {bar:30} {pos}/{len}  {per_sec}  {eta} left  {msg}";
        // A template that cannot be read, which the tests would show, falls back to indicatif's own.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
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
            Progress::Lines { epochs } => eprintln!("{}", line(epoch, epochs)),
            Progress::Bar { bar, epochs } => {
                bar.finish_and_clear();
                eprintln!("{}", line(epoch, epochs));
            }
        }
    }
}

fn line(epoch: &Epoch, epochs: usize) -> String {
    let values: String = epoch.values.iter().map(|(name, value)| format!("  {name} {value:.4}")).collect();
    let (seconds, rate) = (epoch.seconds, epoch.samples_per_second());
    format!("epoch {}/{epochs}{values}  {seconds:.1} s  {rate:.0} samples/s", epoch.epoch)
}
