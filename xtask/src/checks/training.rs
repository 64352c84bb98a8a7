//! How training went, for every check that trains: a line an epoch, and curves.
//!
//! Checks train quietly and print the epochs through their context, which marks lines that come from stand-ins.

use cairn_optim::Epoch;

use crate::check::Context;
use crate::format::seconds;
use crate::report::LineChart;

/// Prints a line for each epoch.
pub(super) fn say(ctx: &mut Context<'_>, epochs: &[Epoch]) {
    for (i, epoch) in epochs.iter().enumerate() {
        let values: Vec<String> = epoch.values.iter().map(|(name, v)| format!("{name} {v:.4}")).collect();
        let time = seconds(epoch.seconds);
        ctx.say(format!("epoch {}/{}: {}, {time}", i + 1, epochs.len(), values.join(", ")));
    }
}

/// The best epoch's samples per second.
pub(super) fn samples_per_second(epochs: &[Epoch]) -> f64 {
    epochs.iter().map(Epoch::samples_per_second).fold(0.0, f64::max)
}

/// Shows a value by epoch, in training and on the test set.
pub(super) fn show_curves(ctx: &mut Context<'_>, epochs: &[Epoch], caption: &str, axis: &str, value: &str) {
    let test = format!("val_{value}");
    let chart = LineChart::new("epoch", axis)
        .epochs("training", epochs.iter().filter_map(|e| e.get(value)))
        .epochs("test", epochs.iter().filter_map(|e| e.get(&test)));
    ctx.show(caption, &chart);
}
