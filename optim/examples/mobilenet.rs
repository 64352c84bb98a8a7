//! A small MobileNet (Howard et al. 2017): each convolution is divided into one of 3 x 3 within channels and one of 1 x 1
//! between them, for about a ninth of the arithmetic.
//!
//! `cargo run --release -p cairn-optim --example mobilenet -- --quick`
//!
//! Reads CIFAR-10 if it is there (`cargo xtask download cifar-10` fetches it), and draws shapes otherwise. `--quick` trains on
//! 1,280 images only.

use cairn_autograd::Var;
use cairn_datasets::augment::{Augmented, Normalize, RandomHorizontalFlip, RandomTranslation};
use cairn_datasets::{DataDir, Dataset, ImageDataset, cifar10, registry, synthetic};
use cairn_nn::{
    Activation::Relu, BatchNorm, Context, Conv2d, GlobalAvgPool, Linear, Model, Module, Result,
    SparseCategoricalCrossentropy, spec,
};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::{Rng, Tensor};

/// A convolution, normalised, with ReLU.
#[derive(Module)]
struct Unit {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Unit {
    fn new(conv: &spec::Conv2d, from: usize, to: usize, rng: &mut Rng) -> Result<Self> {
        let conv = conv.clone().bias(false).layer(from, rng)?;
        Ok(Unit { conv, norm: BatchNorm::new(to)?.momentum(0.9)? })
    }

    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        Relu.forward(&self.norm.forward(&self.conv.forward(x)?, cx)?)
    }
}

/// A depthwise convolution, as many groups as channels, and a pointwise one.
#[derive(Module)]
struct Separable {
    depthwise: Unit,
    pointwise: Unit,
}

impl Separable {
    fn new(from: usize, to: usize, stride: usize, rng: &mut Rng) -> Result<Self> {
        let depthwise = spec::Conv2d::new(from, 3).groups(from).stride(stride).padding(1);
        Ok(Separable {
            depthwise: Unit::new(&depthwise, from, from, rng)?,
            pointwise: Unit::new(&spec::Conv2d::new(to, 1), from, to, rng)?,
        })
    }

    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.pointwise.forward(&self.depthwise.forward(x, cx)?, cx)
    }
}

#[derive(Module)]
struct MobileNet {
    stem: Unit,
    blocks: Vec<Separable>,
    head: Linear,
}

impl MobileNet {
    fn new(classes: usize, rng: &mut Rng) -> Result<Self> {
        let stem = Unit::new(&spec::Conv2d::new(32, 3).padding(1), 3, 32, rng)?;
        let mut blocks = Vec::new();
        let mut channels = 32;
        for (width, stride) in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)] {
            blocks.push(Separable::new(channels, width, stride, rng)?);
            channels = width;
        }
        Ok(MobileNet { stem, blocks, head: Linear::new(channels, classes, rng)? })
    }
}

impl Model<Tensor> for MobileNet {
    fn forward(&self, images: &Tensor, cx: &mut Context) -> Result<Var> {
        let mut x = self.stem.forward(&images.clone().into(), cx)?;
        for block in &self.blocks {
            x = block.forward(&x, cx)?;
        }
        self.head.forward(&GlobalAvgPool.forward(&x, cx)?)
    }
}

fn data() -> cairn_datasets::Result<(ImageDataset, ImageDataset)> {
    let dir = DataDir::default();
    if dir.has(&registry::CIFAR_10) {
        return cifar10::load(&dir);
    }
    println!("CIFAR-10 is not in {}: drawing shapes instead", dir.path().display());
    Ok((synthetic::shapes(5000, 1)?, synthetic::shapes(1000, 2)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (mut train, mut test) = data()?;
    if quick {
        (train, test) = (train.take(1280), test.take(200));
    }
    let train = Augmented::new(train, 1)
        .with(RandomTranslation::new(0.1, 0.1))
        .with(RandomHorizontalFlip::default())
        .with(Normalize::cifar10());
    let test = Augmented::new(test, 1).with(Normalize::cifar10());

    let model = MobileNet::new(10, &mut cairn_tensor::rng(42))?;
    println!("{} parameters, {} images", model.parameter_count(), train.len());
    let mut trainer = Trainer::new(Adam::default(), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(if quick { 2 } else { 20 }).batch_size(if quick { 32 } else { 128 });
    println!("{}", trainer.fit(&model, &train, fit.validate(&test))?);
    Ok(())
}
