//! What the checks on handwritten digits share: the data, its stand-in, and training a model several times.

use cairn_datasets::{Dataset as _, ImageDataset, mnist, registry, synthetic};
use cairn_nn::{Sequential, SparseCategoricalCrossentropy};
use cairn_optim::{Adam, Fit, History, Trainer, metrics::Accuracy};
use cairn_tensor::{Rng, Tensor};

use crate::check::Context;
use crate::format::count;

/// Drawn digits for training and for testing, where MNIST is not at hand.
const STAND_IN: [usize; 2] = [20_000, 4_000];

/// The training and the test images.
pub(super) fn load(ctx: &mut Context<'_>) -> anyhow::Result<(ImageDataset, ImageDataset)> {
    let seed = ctx.seed();
    let stand_in = || Ok((synthetic::digits(STAND_IN[0], seed)?, synthetic::digits(STAND_IN[1], seed + 1)?));
    let (train, test) = ctx.load(&registry::MNIST, mnist::load, stand_in)?;
    let sizes = [train.len(), test.len()].map(|n| count(n as u64));
    ctx.say(format!("{} images to train on, {} to test on", sizes[0], sizes[1]));
    Ok((train, test))
}

/// A trained model and how training went.
pub(super) struct Trained {
    pub(super) model: Sequential,
    pub(super) history: History,
    trainer: Trainer<Tensor<u32>>,
}

/// Trains a model with everything random from one seed: Adam, batches of 32, five epochs or, in a quick run, one.
pub(super) fn train(
    ctx: &Context<'_>,
    build: fn(&mut Rng) -> cairn_nn::Result<Sequential>,
    seed: u64,
    (train, test): (&ImageDataset, &ImageDataset),
) -> anyhow::Result<Trained> {
    let epochs = if ctx.quick() { 1 } else { 5 };
    let model = build(&mut cairn_tensor::rng(seed))?;
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let history = trainer.fit(&model, train, Fit::epochs(epochs).seed(seed).validate(test).quiet())?;
    Ok(Trained { model, history, trainer })
}

/// The mean of a first model's test accuracy and, in a full check, that of more models with seeds of their own: one
/// seed's result is a matter of luck in its third digit.
pub(super) fn mean_accuracy(
    ctx: &mut Context<'_>,
    first: f64,
    seeds: u64,
    build: fn(&mut Rng) -> cairn_nn::Result<Sequential>,
    data: (&ImageDataset, &ImageDataset),
) -> anyhow::Result<f64> {
    let mut accuracies = vec![first];
    if !ctx.quick() {
        for other in 1..seeds {
            let Trained { model, trainer, .. } = train(ctx, build, ctx.seed() + other, data)?;
            let accuracy = trainer.evaluate(&model, data.1)?.get("accuracy").unwrap_or(f64::NAN);
            ctx.say(format!("with another seed: test accuracy {accuracy:.4}"));
            accuracies.push(accuracy);
        }
    }
    Ok(accuracies.iter().sum::<f64>() / accuracies.len() as f64)
}
