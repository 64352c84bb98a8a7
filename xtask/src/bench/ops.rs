//! Single operations, one line each, beside what the machine can do at best: a plain parallel copy of as many bytes where
//! memory is the bound, the peak of the arithmetic units where the units are.
//!
//! The names are those of the tables' other readers (`cargo bench -p bench-tables`, and times of other libraries), so that
//! they can be compared line by line. The best of many runs counts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bench_tables::{Bound, Operation};

use super::{Bench, Recorder, peak};

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "ops", run };

/// Attention by itself.
pub(super) const ATTENTION: Bench = Bench { name: "attention", run: run_attention };

const ATTENTION_ROWS: &str = "attention/";

const TIME: Duration = Duration::from_millis(300);
const LEAST_RUNS: usize = 5;
const MOST_RUNS: usize = 20_000;

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    measure(recorder, |name| !name.starts_with(ATTENTION_ROWS))
}

fn run_attention(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    measure(recorder, |name| name.starts_with(ATTENTION_ROWS))
}

/// Those of the operations that are chosen by their names.
fn measure(recorder: &mut Recorder<'_>, chosen: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let mut copies = HashMap::new();
    for Operation { name, bound, prepare } in bench_tables::all().into_iter().filter(|row| chosen(&row.name))
    {
        let seconds = best(&mut *prepare());
        let share = match bound {
            Bound::Memory(bytes) => {
                let rate = *copies.entry(bytes).or_insert_with(|| peak::copy_rate(bytes));
                Share { of_copy: Some(bytes as f64 / seconds / rate), of_peak: None }
            }
            Bound::Arithmetic(flops) => {
                Share { of_copy: None, of_peak: Some(flops as f64 / seconds / recorder.peak()) }
            }
            Bound::Other => Share { of_copy: None, of_peak: None },
        };
        recorder.operation(&name, seconds, share)?;
    }
    Ok(())
}

/// What an operation reaches of what the machine can do.
#[derive(Default, Clone, Copy, Debug)]
pub struct Share {
    /// Of the bandwidth of a plain parallel copy of as many bytes.
    pub of_copy: Option<f64>,
    /// Of the arithmetic peak.
    pub of_peak: Option<f64>,
}

/// The shortest of the runs that fit into [`TIME`].
fn best(run: &mut dyn FnMut()) -> f64 {
    run();
    run();
    let (start, mut best, mut count) = (Instant::now(), f64::INFINITY, 0);
    while (start.elapsed() < TIME || count < LEAST_RUNS) && count < MOST_RUNS {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed().as_secs_f64());
        count += 1;
    }
    best
}
