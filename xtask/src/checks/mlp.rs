//! The multilayer perceptron on MNIST: the whole neural stack, from the archive on disk to a confusion matrix.

use cairn_datasets::registry;

use super::classified::Classified;
use super::digits::{self, Trained};
use super::training;
use crate::check::{Bars, Check, Context};
use crate::models;
use crate::report::Sample;
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "mlp",
    title: "Digits, with a multilayer perceptron",
    about: "784-64-64-10 with ReLU on MNIST: Adam at a rate of 0.001, batches of 32, five epochs. Keras reaches a test \
            accuracy of 0.968 to 0.974 with the same (three seeds). One seed's result is off by 0.003 either way, so the \
            bar is for the mean of ten.",
    data: &[&registry::MNIST],
    run,
};

/// Runs with seeds of their own in a full check, whose mean is judged.
const SEEDS: u64 = 10;

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.970, quick: 0.94, stand_in: 0.97, stand_in_quick: 0.88 };

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = digits::load(ctx)?;
    let (train, test) = (train.flatten(), test.flatten());
    let Trained { model, history, .. } = digits::train(ctx, models::mlp, ctx.seed(), (&train, &test))?;
    training::say(ctx, &history);
    let classified = Classified::new(&model, &test)?;
    let accuracy = digits::mean_accuracy(ctx, classified.accuracy(), SEEDS, models::mlp, (&train, &test))?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", accuracy, Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);

    let models = if ctx.quick() { 1 } else { SEEDS };
    training::show_glance(ctx, (accuracy, models), &model, speed);
    training::show_curves(ctx, &history, "Loss", "cross-entropy", "loss");
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    classified.show(ctx);
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}
