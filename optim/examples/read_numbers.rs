//! Reads numbers of four digits from pictures without ever being told where a digit is: an LSTM over the columns, and connectionist
//! temporal classification.
//!
//! `cargo run --release -p cairn-optim --example read_numbers -- [FOLDER]`
//!
//! The digits are MNIST's from the folder, `CAIRN_DATA_DIR` or the user's cache, if they are there (`cargo xtask download mnist` fetches
//! them), and drawn ones otherwise.

use std::path::Path;

use cairn_autograd::Var;
use cairn_datasets::{DataDir, Loader, mnist, registry, synthetic};
use cairn_nn::loss::Ctc;
use cairn_nn::{Context, Linear, Module, Recurrent, Result, spec::Lstm};
use cairn_optim::{Adam, Optimizer, clip_by_global_norm, metrics::edit_distance};
use cairn_tensor::{Tensor, rng};

const DIGITS: usize = 4;
/// What a step that writes nothing says: no digit.
const BLANK: u32 = 10;

#[derive(Module)]
struct Reader {
    columns: Recurrent,
    head: Linear,
}

impl Reader {
    /// Scores of ten digits and the blank for every two columns of numbers, `[numbers, steps, 11]`.
    fn forward(&self, digits: &Tensor, cx: &mut Context) -> Result<Var> {
        let numbers = digits.shape()[0] / DIGITS;
        // [digits, height, width, 1]: side by side, two columns a step.
        let columns = digits.permute([0, 2, 1, 3])?.contiguous()?;
        let strips = columns.reshape([numbers, DIGITS * 14, 2 * 28])?;
        self.head.forward(&self.columns.forward(&strips.into(), cx)?)
    }
}

fn numbers(labels: &Tensor<u32>) -> Vec<Vec<u32>> {
    labels.to_vec().chunks(DIGITS).map(<[u32]>::to_vec).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = DataDir::resolve(std::env::args().nth(1).as_deref().map(Path::new));
    let (train, test) = match dir.has(&registry::MNIST) {
        true => mnist::load(&dir)?,
        false => (synthetic::digits(12_800, 0)?, synthetic::digits(1_280, 1)?),
    };
    let mut rng = rng(0);
    let model = Reader {
        columns: Lstm::new(64).bidirectional().return_sequences(true).layer(2 * 28, &mut rng)?,
        head: Linear::new(2 * 64, 11, &mut rng)?,
    };
    let (ctc, mut adam) = (Ctc::new().blank(BLANK), Adam::new(3e-3));
    let loader = Loader::new(&train).batch_size(16 * DIGITS).shuffle(0).drop_last(true);
    let batches = (0..4).flat_map(|epoch| loader.epoch(epoch)).flatten();
    for (step, batch) in (0..).zip(batches) {
        let (digits, labels) = batch?;
        let logits = model.forward(&digits, &mut Context::train(0).at_step(step))?;
        let loss = ctc.losses(&logits, &numbers(&labels), None)?.mean(..)?;
        let mut gradients = loss.backward()?;
        clip_by_global_norm(&model, &mut gradients, 5.0)?;
        adam.step(&model, &gradients)?;
        if step % 100 == 0 {
            println!("step {step}: {:.3} nats a number", loss.item()?);
        }
    }
    let (mut wrong, mut all) = (0, 0);
    for batch in Loader::new(&test).batch_size(64 * DIGITS).drop_last(true).epoch(0)? {
        let (digits, labels) = batch?;
        let logits = model.forward(&digits, &mut Context::eval())?;
        for (read, truth) in ctc.beam(logits.value(), None, 10)?.iter().zip(numbers(&labels)) {
            wrong += edit_distance(&read[0].labels, &truth);
            all += DIGITS;
        }
    }
    println!("{wrong} of {all} digits wrong, missing or too many");
    Ok(())
}
