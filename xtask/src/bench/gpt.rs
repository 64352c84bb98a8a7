//! Language models of attention blocks: a step of training and a forward pass, in the two sizes of nanoGPT's recipes for letters.
//!
//! Half of the scores are counted, as none that look ahead are of use.

use cairn_autograd::no_grad;
use cairn_nn::{Context, cross_entropy};
use cairn_optim::{Adam, Optimizer};
use cairn_tensor::{Tensor, rng};
use rand::RngExt;

use super::{Bench, Recorder, Work, best_seconds};
use crate::models::gpt::Gpt;

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "gpt", run };

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

impl Size {
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
        let mut random = rng(0);
        let model = Gpt::new(WORDS, size.time, [size.blocks, size.heads, size.width], &mut random)?;
        let letters = size.batch * (size.time + 1);
        let ids: Vec<u32> = (0..letters).map(|_| random.random_range(0..WORDS as u32)).collect();
        let ids = Tensor::from_vec(ids, [size.batch, size.time + 1])?;
        let part = |start| ids.narrow(1, start, size.time)?.contiguous();
        let (x, y) = (part(0)?, part(1)?);
        let (mut adam, mut step) = (Adam::new(1e-3), 0);
        let train = best_seconds(|| {
            let scores = model.forward(&x, &mut Context::train(0).at_step(step))?;
            let gradients = cross_entropy(&scores, &y)?.backward()?;
            adam.step(&model, &gradients)?;
            step += 1;
            Ok(())
        })?;
        let predict = best_seconds(|| {
            no_grad(|| model.forward(&x, &mut Context::eval()))?;
            Ok(())
        })?;
        recorder.sequences(size.name, size.batch * size.time, size.work(), [train, predict])?;
    }
    Ok(())
}
