//! A vision transformer on MNIST: an image as a sequence of patches.

use cairn_datasets::augment::RandomCrop;
use cairn_datasets::{Augmented, Dataset, ImageDataset, registry};
use cairn_nn::{Context as Pass, Sequential, SparseCategoricalCrossentropy, explain};
use cairn_optim::schedules::OneCycle;
use cairn_optim::{AdamW, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::rng;

use super::classified::Classified;
use super::digits;
use super::training::{self, Told};
use crate::check::{Bars, Check, Context};
use crate::models;
use crate::report::{GreyImage, ImageGrid, Sample};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "vit",
    title: "Digits, with a vision transformer",
    about: "Each digit of MNIST is cut into 49 patches of 4 x 4 pixels, which attend to each other in four blocks of 64 features \
            and 4 heads; the mean of what becomes of them is classified. AdamW, batches of 64, images shifted by up to two pixels. \
            Transformers know nothing of images beforehand: 0.985 is the bar, where a network of convolutions has 0.99.",
    data: &[&registry::MNIST],
    run,
};

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.985, quick: 0.65, stand_in: 0.95, stand_in_quick: 0.45 };
const EPOCHS: usize = 8;
/// Images of a quick run.
const QUICK: usize = 12_000;
const BATCH: usize = 64;
const RATE: f64 = 2e-3;
/// Test images whose attention is shown, one of each class.
const SHOWN: u32 = 10;

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = digits::load(ctx)?;
    let seed = ctx.seed();
    let model = models::vit(&mut rng(seed))?;
    let (epochs, train) = if ctx.quick() { (1, train.take(QUICK)) } else { (EPOCHS, train) };
    let steps = (epochs * train.len().div_ceil(BATCH)) as u64;
    let shifted = Augmented::new(train, seed).with(RandomCrop::new(28, 28).padding(2));
    let mut trainer =
        Trainer::new(AdamW::new(RATE).weight_decay(0.05), SparseCategoricalCrossentropy).metric(Accuracy);
    let held_out = Augmented::new(test.clone(), seed);
    let fit = Fit::epochs(epochs).batch_size(BATCH).seed(seed).schedule(OneCycle::new(steps)).clip_norm(1.0);
    let fit = fit.validate(&held_out).quiet().callback(Told(ctx));
    let history = trainer.fit(&model, &shifted, fit)?;
    let classified = Classified::new(&model, &test)?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", classified.accuracy(), Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);
    training::show_glance(ctx, (classified.accuracy(), 1), &model, speed);
    training::show_curves(ctx, &history, "Loss", "cross-entropy", "loss");
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    classified.show(ctx);
    show_attention(ctx, &model, &test)?;
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}

/// Shows which patches the others took in, through all blocks.
fn show_attention(ctx: &mut Context<'_>, model: &Sequential, test: &ImageDataset) -> anyhow::Result<()> {
    let picks: Vec<usize> =
        (0..SHOWN).filter_map(|class| test.labels().iter().position(|&label| label == class)).collect();
    let (images, _) = test.batch(&picks)?;
    let maps = explain::attention_maps(|| model.forward(&images, &mut Pass::eval()))?;
    // What each patch gives to the mean of all.
    let given = explain::attention_rollout(&maps)?.mean(1)?;
    let [height, width, _] = test.size();
    let mut pictures = Vec::with_capacity(picks.len());
    for (i, &image) in picks.iter().enumerate() {
        let Some(pixels) = test.pixels(image) else { continue };
        let given = given.index(0, i)?.to_vec();
        let (least, most) = given.iter().fold((f32::MAX, f32::MIN), |(a, b), &x| (a.min(x), b.max(x)));
        let patch =
            |at: usize| (at / width / models::PATCH) * (width / models::PATCH) + at % width / models::PATCH;
        let heat =
            (0..height * width).map(|at| (given[patch(at)] - least) / (most - least).max(f32::MIN_POSITIVE));
        let picture = GreyImage::new(width as u32, height as u32, pixels.to_vec()).heat(heat.collect());
        pictures
            .push(picture.caption(format!("{}", test.labels()[image])).hover(format!("test image {image}")));
    }
    ctx.show("Patches that attention takes in most, over all blocks (rollout)", &ImageGrid(pictures));
    Ok(())
}
