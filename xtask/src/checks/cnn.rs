//! The convolutional network on MNIST: accuracy, the filters it learned, and where it looks.

use cairn_datasets::{Dataset, ImageDataset, registry};
use cairn_nn::{Context as Pass, Module as _, Sequential, explain};
use cairn_tensor::Tensor;

use super::classified::Classified;
use super::digits::{self, Trained};
use super::training;
use crate::check::{Bars, Check, Context};
use crate::models;
use crate::report::{GreyImage, ImageGrid, Sample};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "cnn",
    title: "Digits, with a convolutional network",
    about: "Three convolutions of 3 x 3 with ReLU, 32, 64 and 64 filters, two of them pooled, and a dense layer, on MNIST: \
            Adam at a rate of 0.001, batches of 32, five epochs. Keras reaches a test accuracy of 0.9897 with the same. \
            The bar is for the mean of three seeds.",
    data: &[&registry::MNIST],
    run,
};

/// Runs with seeds of their own in a full check, whose mean is judged.
const SEEDS: u64 = 3;

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.989, quick: 0.975, stand_in: 0.99, stand_in_quick: 0.95 };

/// Test images that are looked into, one of each class.
const SHOWN: u32 = 10;

/// Steps of integrated gradients.
const STEPS: usize = 50;

/// Where convolution ends and Grad-CAM looks.
const LAST_CONVOLUTION: &str = "conv2d_2";

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (train, test) = digits::load(ctx)?;
    let Trained { model, history, .. } = digits::train(ctx, models::cnn, ctx.seed(), (&train, &test))?;
    training::say(ctx, &history);
    let classified = Classified::new(&model, &test)?;
    let accuracy = digits::mean_accuracy(ctx, classified.accuracy(), SEEDS, models::cnn, (&train, &test))?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", accuracy, Bar::AtLeast(bar));
    let speed = training::samples_per_second(&history);
    ctx.metric("training samples per second", speed, Bar::None);

    let models = if ctx.quick() { 1 } else { SEEDS };
    training::show_glance(ctx, (accuracy, models), &model, speed);
    training::show_curves(ctx, &history, "Loss", "cross-entropy", "loss");
    training::show_curves(ctx, &history, "Accuracy", "accuracy", "accuracy");
    classified.show(ctx);
    ctx.show("Filters of the first layer", &filters(&model)?);
    look_inside(ctx, &model, &test)?;
    ctx.show("The model", &Sample::new(model.summary().to_string()));
    Ok(())
}

/// The first layer's filters as pictures: grey for 0, ink for positive weights.
fn filters(model: &Sequential) -> anyhow::Result<ImageGrid> {
    let state = model.state();
    let weight =
        state.get("conv2d.weight").ok_or_else(|| anyhow::anyhow!("the model has no first convolution"))?;
    let weight = weight.as_f32()?;
    let most = weight.abs()?.max(..)?.item()?.max(f32::MIN_POSITIVE);
    let [height, width] = [weight.shape()[0], weight.shape()[1]];
    let picture = |filter: usize| -> anyhow::Result<GreyImage> {
        let taps = weight.index(3, filter)?.index(2, 0)?;
        let pixels = taps.iter().map(|w| (127.5 + 127.5 * w / most).round() as u8).collect();
        Ok(GreyImage::new(width as u32, height as u32, pixels).hover(format!("filter {filter}")))
    };
    Ok(ImageGrid((0..weight.shape()[3]).map(picture).collect::<anyhow::Result<_>>()?))
}

/// Shows what in some test images speaks for the class that the model sees in them.
fn look_inside(ctx: &mut Context<'_>, model: &Sequential, test: &ImageDataset) -> anyhow::Result<()> {
    let picks: Vec<usize> =
        (0..SHOWN).filter_map(|class| test.labels().iter().position(|&label| label == class)).collect();
    let (images, _) = test.batch(&picks)?;
    let classes = cairn_nn::Model::predict_batch(model, &images)?.argmax(-1)?.to_vec();
    let forward = |x: &cairn_autograd::Var| model.forward(x, &mut Pass::eval());
    let saliency = explain::saliency(forward, &images, &classes)?.abs()?;
    let baseline = Tensor::zeros(images.dims())?;
    let integrated = explain::integrated_gradients(forward, &images, &baseline, &classes, STEPS)?;
    let cam = explain::grad_cam(model, LAST_CONVOLUTION, &images, &classes)?;
    let maps = [
        ("Where the class activation map (Grad-CAM) of the last convolution is warm", cam),
        ("What integrated gradients count for (red) and against (blue) the class", integrated),
        ("Pixels that the score is most sensitive to (saliency)", saliency),
    ];
    for (caption, map) in maps {
        let picture = |(i, &image): (usize, &usize)| -> anyhow::Result<Option<GreyImage>> {
            let heat = map.index(0, i)?;
            let most = heat.abs()?.max(..)?.item()?.max(f32::MIN_POSITIVE);
            let heat = heat.scale(1.0 / most)?.to_vec();
            let [height, width, _] = test.size();
            let pixels = test.pixels(image).map(<[u8]>::to_vec);
            Ok(pixels.map(|pixels| {
                GreyImage::new(width as u32, height as u32, pixels)
                    .heat(heat)
                    .caption(format!("seen as {}", classes[i]))
                    .hover(format!("test image {image}"))
            }))
        };
        let pictures = picks.iter().enumerate().map(picture).collect::<anyhow::Result<Vec<_>>>()?;
        ctx.show(caption, &ImageGrid(pictures.into_iter().flatten().collect()));
    }
    Ok(())
}
