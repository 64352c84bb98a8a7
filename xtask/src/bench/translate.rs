//! A translator of 4 + 4 layers with a vocabulary of 10,000: a step of training, its loss in parts, and a forward pass with all scores.

use cairn_autograd::no_grad;
use cairn_nn::{Context, spec};
use cairn_optim::{Adam, Optimizer};
use cairn_tensor::{LinearCrossEntropyOptions, Tensor, rng};
use rand::RngExt;

use super::{Bench, Recorder, Work, best_seconds};

/// See the module.
pub(super) const BENCH: Bench = Bench { name: "translate", run };

const WORDS: usize = 10_000;
const LAYERS: usize = 4;
const WIDTH: usize = 128;
const HEADS: usize = 4;
const HIDDEN: usize = 256;
const BATCH: usize = 128;
/// Tokens of each sentence.
const TIME: usize = 16;

/// Of a step: of the scores of the decoder's own tokens half, as none that look ahead are of use.
fn work() -> Work {
    let [layers, width, hidden, words, time] = [LAYERS, WIDTH, HIDDEN, WORDS, TIME].map(|n| n as u64);
    let feed_forward = 2 * width * hidden;
    let encoder = layers * (4 * width * width + feed_forward + 2 * time * width);
    let decoder = layers * (8 * width * width + feed_forward + 3 * time * width);
    Work::default().layer(2 * BATCH as u64 * time * (encoder + decoder + width * words), true)
}

fn run(recorder: &mut Recorder<'_>) -> anyhow::Result<()> {
    let mut random = rng(0);
    let description = spec::Transformer::new(WORDS).layers(LAYERS, LAYERS).features(WIDTH).heads(HEADS);
    let model = description.hidden(HIDDEN).dropout(0.0).layer(&mut random)?;
    let mut ids = |time: usize| {
        let ids: Vec<u32> = (0..BATCH * time).map(|_| random.random_range(0..WORDS as u32)).collect();
        Tensor::from_vec(ids, [BATCH, time])
    };
    let (source, target) = (ids(TIME)?, ids(TIME + 1)?);
    let part = |start| target.narrow(1, start, TIME)?.contiguous();
    let (read, write) = (part(0)?, part(1)?);
    let (mut adam, mut step) = (Adam::new(1e-3), 0);
    let options = LinearCrossEntropyOptions::default();
    let train = best_seconds(|| {
        let states = model.forward(&source, None, &read, &mut Context::train(0).at_step(step))?;
        let (sum, tokens) = states.linear_cross_entropy(&model.head.var(), None, &write, &options)?;
        adam.step(&model, &sum.mean_over(tokens)?.backward()?)?;
        step += 1;
        Ok(())
    })?;
    let eval = best_seconds(|| {
        no_grad(|| model.scores(&model.forward(&source, None, &read, &mut Context::eval())?))?;
        Ok(())
    })?;
    recorder.sequences("translate/4+4x128 b128 t16", 2 * BATCH * TIME, work(), [train, eval])
}
