//! ResNet-18 (He et al. 2015) as it is usually cut for CIFAR-10: a first convolution of 3 x 3 instead of 7 x 7, no pooling
//! before the blocks. A residual block is a struct of layers, and its forward pass plain Rust.
//!
//! `cargo run --release -p cairn-optim --example resnet18 -- --quick`
//!
//! Reads CIFAR-10 if it is there (`cargo xtask download cifar-10` fetches it), and draws shapes otherwise. `--quick` trains on
//! 320 images only.

use cairn_autograd::Var;
use cairn_datasets::augment::{Augmented, Normalize, RandomCrop, RandomHorizontalFlip};
use cairn_datasets::{DataDir, Dataset, ImageDataset, cifar10, registry, synthetic};
use cairn_nn::{
    Activation::Relu, BatchNorm, Context, Conv2d, GlobalAvgPool, Linear, Model, Module, Result,
    SparseCategoricalCrossentropy, spec,
};
use cairn_optim::{Adam, Fit, Trainer, metrics::Accuracy};
use cairn_tensor::{Rng, Tensor};

/// A convolution without bias, which the normalisation after it would take away again.
#[derive(Module)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(from: usize, to: usize, size: usize, stride: usize, rng: &mut Rng) -> Result<Self> {
        let conv =
            spec::Conv2d::new(to, size).stride(stride).padding(size / 2).bias(false).layer(from, rng)?;
        Ok(ConvNorm { conv, norm: BatchNorm::new(to)?.momentum(0.9)?.epsilon(1e-5)? })
    }

    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.norm.forward(&self.conv.forward(x)?, cx)
    }
}

/// Two convolutions, added to what came in; where the size changes, that passes through a convolution of 1 x 1.
#[derive(Module)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(from: usize, to: usize, stride: usize, rng: &mut Rng) -> Result<Self> {
        let changes = stride != 1 || from != to;
        Ok(Block {
            first: ConvNorm::new(from, to, 3, stride, rng)?,
            second: ConvNorm::new(to, to, 3, 1, rng)?,
            shortcut: changes.then(|| ConvNorm::new(from, to, 1, stride, rng)).transpose()?,
        })
    }

    fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let inner = Relu.forward(&self.first.forward(x, cx)?)?;
        let inner = self.second.forward(&inner, cx)?;
        let outer = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, cx)?,
            None => x.clone(),
        };
        Relu.forward(&inner.add(&outer)?)
    }
}

#[derive(Module)]
pub(crate) struct ResNet18 {
    stem: ConvNorm,
    blocks: Vec<Block>,
    head: Linear,
}

impl ResNet18 {
    pub(crate) fn new(classes: usize, rng: &mut Rng) -> Result<Self> {
        let stem = ConvNorm::new(3, 64, 3, 1, rng)?;
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (width, stride) in [(64, 1), (128, 2), (256, 2), (512, 2)] {
            blocks.push(Block::new(channels, width, stride, rng)?);
            blocks.push(Block::new(width, width, 1, rng)?);
            channels = width;
        }
        Ok(ResNet18 { stem, blocks, head: Linear::new(channels, classes, rng)? })
    }
}

impl Model<Tensor> for ResNet18 {
    fn forward(&self, images: &Tensor, cx: &mut Context) -> Result<Var> {
        let mut x = Relu.forward(&self.stem.forward(&images.clone().into(), cx)?)?;
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
        (train, test) = (train.take(320), test.take(100));
    }
    let train = Augmented::new(train, 1)
        .with(RandomCrop::new(32, 32).padding(4))
        .with(RandomHorizontalFlip::default())
        .with(Normalize::cifar10());
    let test = Augmented::new(test, 1).with(Normalize::cifar10());

    let model = ResNet18::new(10, &mut cairn_tensor::rng(42))?;
    println!("{} parameters, {} images", model.parameter_count(), train.len());
    let mut trainer = Trainer::new(Adam::new(3e-4), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(if quick { 4 } else { 20 }).batch_size(if quick { 32 } else { 128 });
    println!("{}", trainer.fit(&model, &train, fit.validate(&test))?);
    Ok(())
}
