//! The multilayer perceptron on MNIST: the whole neural stack, from the archive on disk to a confusion matrix.

use cairn_datasets::{Dataset as _, ImageDataset, mnist, registry, synthetic};
use cairn_nn::{Sequential, SparseCategoricalCrossentropy};
use cairn_optim::{Accuracy, Adam, Fit, History, Trainer};
use cairn_tensor::Tensor;

use super::classified::Classified;
use super::training;
use crate::check::{Bars, Check, Context};
use crate::format::{count, value};
use crate::models;
use crate::report::{KeyFigures, Sample};
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

/// Drawn digits for training and for testing, where MNIST is not at hand.
const STAND_IN: [usize; 2] = [20_000, 4_000];

/// Runs with seeds of their own in a full check, whose mean is judged.
const SEEDS: u64 = 10;

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.970, quick: 0.94, stand_in: 0.97, stand_in_quick: 0.88 };

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let seed = ctx.seed();
    let stand_in = || Ok((synthetic::digits(STAND_IN[0], seed)?, synthetic::digits(STAND_IN[1], seed + 1)?));
    let (train, test) = ctx.load(&registry::MNIST, mnist::load, stand_in)?;
    let (train, test) = (train.flatten(), test.flatten());
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} images to train on, {} to test on", sizes[0], sizes[1]));

    let epochs = if ctx.quick() { 1 } else { 5 };
    let (first, history, trainer) = train_one(seed, epochs, &train, &test)?;
    training::say(ctx, &history);
    let classified = Classified::new(&first, &test)?;
    let mut accuracies = vec![classified.accuracy()];
    if !ctx.quick() {
        for other in 1..SEEDS {
            let (model, ..) = train_one(seed + other, epochs, &train, &test)?;
            let accuracy = trainer.evaluate(&model, &test)?.get("accuracy").unwrap_or(f64::NAN);
            ctx.say(format!("with another seed: test accuracy {accuracy:.4}"));
            accuracies.push(accuracy);
        }
    }
    let accuracy = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", accuracy, Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);

    let parameters = first.summary().parameters;
    let figures = KeyFigures::new()
        .figure(format!("{:.2} %", 100.0 * accuracy), "of the test digits right")
        .figure(count(parameters as u64), "parameters")
        .figure(value(speed), "samples a second in training");
    ctx.show("At a glance", &figures);
    training::show_curves(ctx, &history, "Loss", "cross-entropy", "loss");
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    classified.show(ctx);
    ctx.show("The model", &Sample::new(first.summary().to_string()));
    Ok(())
}

/// Trains the model with everything random from one seed.
fn train_one(
    seed: u64,
    epochs: usize,
    train: &ImageDataset,
    test: &ImageDataset,
) -> anyhow::Result<(Sequential, History, Trainer<Tensor<u32>>)> {
    let mut model = models::mlp(&mut cairn_tensor::rng(seed))?;
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let history = trainer.fit(&mut model, train, Fit::epochs(epochs).seed(seed).validate(test).quiet())?;
    Ok((model, history, trainer))
}
