//! How training went, for every check that trains: a line an epoch, and curves.
//!
//! Checks train quietly and print the epochs through their context, which marks lines that come from stand-ins.

use cairn_nn::Sequential;
use cairn_optim::{Callback, Control, Epoch, History};

use crate::check::Context;
use crate::format::{count, seconds, value};
use crate::report::{KeyFigures, LineChart};

/// Prints a line for each epoch of a training that is over.
pub(super) fn say(ctx: &mut Context<'_>, history: &History) {
    history.epochs().iter().for_each(|epoch| say_epoch(ctx, epoch));
}

/// Prints a line for each epoch as it ends: for trainings of minutes, which would else say nothing all the while.
#[derive(Debug)]
pub(super) struct Told<'a, 'b>(pub(super) &'a mut Context<'b>);

impl Callback for Told<'_, '_> {
    fn on_epoch(&mut self, epoch: &Epoch, _: &mut Control<'_>) -> cairn_optim::Result<()> {
        say_epoch(self.0, epoch);
        Ok(())
    }
}

fn say_epoch(ctx: &mut Context<'_>, epoch: &Epoch) {
    let values: Vec<String> = epoch.values.iter().map(|(name, v)| format!("{name} {v:.4}")).collect();
    ctx.say(format!("epoch {}: {}, {}", epoch.epoch, values.join(", "), seconds(epoch.seconds)));
}

/// The best epoch's samples per second.
pub(super) fn samples_per_second(history: &History) -> f64 {
    history.epochs().iter().map(Epoch::samples_per_second).fold(0.0, f64::max)
}

/// Shows the figures that matter most of an image classifier; the accuracy is the mean of so many models.
pub(super) fn show_glance(
    ctx: &mut Context<'_>,
    (accuracy, models): (f64, u64),
    model: &Sequential,
    speed: f64,
) {
    let label = match models {
        1 => "of the test digits right".to_owned(),
        _ => format!("of the test digits right, mean of {models} models"),
    };
    let figures = KeyFigures::new()
        .figure(format!("{:.2} %", 100.0 * accuracy), label)
        .figure(count(model.summary().parameters as u64), "parameters")
        .figure(value(speed), "samples a second in training");
    ctx.show("At a glance", &figures);
}

/// Shows a value by epoch, in training and on the test set.
pub(super) fn show_curves(ctx: &mut Context<'_>, history: &History, caption: &str, axis: &str, name: &str) {
    let chart = LineChart::new("epoch", axis)
        .epochs("training", history.values(name))
        .epochs("test", history.values(&format!("val_{name}")));
    ctx.show(caption, &chart);
}
