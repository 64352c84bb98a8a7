//! Language models of attention blocks: a step of training and a forward pass, in the two sizes of nanoGPT's recipes for letters, and the
//! memory of a step of the larger at a length of 8,192.
//!
//! Half of the scores are counted, as none that look ahead are of use.

use std::io::Write;
use std::process::Command;

use anyhow::Context as _;
use cairn_autograd::no_grad;
use cairn_nn::{Context, cross_entropy};
use cairn_optim::{Adam, Optimizer};
use cairn_tensor::{Tensor, rng};
use rand::RngExt;

use super::{Bench, Recorder, Work, best_seconds};
use crate::memory;
use crate::models::gpt::Gpt;
use crate::output::note;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "gpt", run };
/// The task of this program in which [`long_step`] runs by itself.
const LONG_STEP: &str = "long-step";

/// Letters.
const WORDS: usize = 65;

struct Size {
    name: &'static str,
    blocks: usize,
    heads: usize,
    width: usize,
    batch: usize,
    time: usize,
}

const SIZES: [Size; 2] = [
    Size { name: "gpt/6x384 b16 t256", blocks: 6, heads: 6, width: 384, batch: 16, time: 256 },
    Size { name: "gpt/4x128 b12 t64", blocks: 4, heads: 4, width: 128, batch: 12, time: 64 },
];

/// Of which the scores of all pairs would take 1.6 GB in each block.
const LONG: Size = Size { name: "gpt/6x384 b1 t8192", blocks: 6, heads: 6, width: 384, batch: 1, time: 8192 };
/// Steps in which that memory is looked at: the optimiser has all of its own from the first on, and the second takes what the first left.
const LONG_STEPS: u64 = 2;

impl Size {
    /// The model, what it reads, and what comes after each letter.
    fn begin(&self) -> anyhow::Result<(Gpt, [Tensor<u32>; 2])> {
        let mut random = rng(0);
        let model = Gpt::new(WORDS, self.time, [self.blocks, self.heads, self.width], &mut random)?;
        let letters = self.batch * (self.time + 1);
        let ids: Vec<u32> = (0..letters).map(|_| random.random_range(0..WORDS as u32)).collect();
        let ids = Tensor::from_vec(ids, [self.batch, self.time + 1])?;
        let part = |start| ids.narrow(1, start, self.time)?.contiguous();
        let both = [part(0)?, part(1)?];
        Ok((model, both))
    }

    /// Of a step.
    fn work(&self) -> Work {
        let [blocks, width, time] = [self.blocks, self.width, self.time].map(|n| n as u64);
        let dense = 2 * time * width * (12 * width * blocks + WORDS as u64);
        let scores = 2 * time * time * width * blocks;
        Work::default().layer(self.batch as u64 * (dense + scores), true)
    }
}

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    for size in SIZES {
        let (model, [x, y]) = size.begin()?;
        let (mut adam, mut number) = (Adam::new(1e-3), 0);
        let train = best_seconds(|| {
            step(&model, &mut adam, [&x, &y], number)?;
            number += 1;
            Ok(())
        })?;
        let predict = best_seconds(|| {
            no_grad(|| model.forward(&x, &mut Context::eval()))?;
            Ok(())
        })?;
        recorder.sequences(size.name, size.batch * size.time, size.work(), [train, predict])?;
    }
    // What this process has had at most is of the models before.
    let child = Command::new(std::env::current_exe()?).arg(LONG_STEP).output().context(LONG_STEP)?;
    anyhow::ensure!(child.status.success(), "{LONG_STEP}: {}", String::from_utf8_lossy(&child.stderr));
    match String::from_utf8_lossy(&child.stdout).trim().parse() {
        Ok(bytes) => recorder.memory(LONG.name, bytes)?,
        Err(_) => note("the system does not tell how much memory a process has had"),
    }
    Ok(())
}

fn step(model: &Gpt, adam: &mut Adam, [x, y]: [&Tensor<u32>; 2], number: u64) -> anyhow::Result<()> {
    let scores = model.forward(x, &mut Context::train(0).at_step(number))?;
    let gradients = cross_entropy(&scores, y)?.backward()?;
    adam.step(model, &gradients)?;
    Ok(())
}

/// Trains the larger model for a little at a length of 8,192, and writes the bytes that this process has had at most; nothing where the
/// system does not tell.
///
/// # Errors
/// What went wrong in training; when the line cannot be written.
pub(crate) fn long_step(out: &mut dyn Write) -> anyhow::Result<()> {
    let (model, [x, y]) = LONG.begin()?;
    let mut adam = Adam::new(1e-3);
    for number in 0..LONG_STEPS {
        step(&model, &mut adam, [&x, &y], number)?;
    }
    if let Some(bytes) = memory::most() {
        writeln!(out, "{bytes}")?;
    }
    Ok(())
}
