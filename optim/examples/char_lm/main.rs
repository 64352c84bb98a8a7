//! A language model of letters, in a training loop written out: it learns a text and then writes, soberly or boldly.
//!
//! `cargo run --release -p cairn-optim --example char_lm -- [FOLDER] [EPOCHS]`
//!
//! Reads tiny Shakespeare from the folder, `CAIRN_DATA_DIR` or the user's cache, if it is there
//! (`cargo xtask download tiny-shakespeare` fetches it), and text of a small grammar otherwise.

mod model;

use std::path::Path;

use cairn_datasets::text::{CharTokenizer, Vocabulary, WindowDataset};
use cairn_datasets::{DataDir, Loader, registry, synthetic, tiny_shakespeare};
use cairn_nn::generate::Sampling;
use cairn_nn::{Context, State, cross_entropy};
use cairn_optim::schedules::{Cosine, Schedule};
use cairn_optim::{Adam, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use model::Writer;

/// Stretches read side by side, and their length.
const ROWS: usize = 32;
const TIME: usize = 64;
const RATE: f64 = 3e-3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let epochs = arguments.get(1).map_or(Ok(6), |number| number.parse())?;
    let text = match dir.has(&registry::TINY_SHAKESPEARE) {
        true => tiny_shakespeare::load(&dir)?,
        false => synthetic::text(12_000, 0)?,
    };
    let letters = Vocabulary::builder().padding(None).texts([&text], &CharTokenizer).build()?;
    let ids = letters.encode(&text, &CharTokenizer)?;
    let (train, test) = ids.split_at(ids.len() * 9 / 10);

    let model = Writer::new(letters.len(), 256, &mut rng(0))?;
    let stretches = WindowDataset::in_rows(train.to_vec(), ROWS, TIME)?;
    let loader = Loader::new(&stretches).batch_size(ROWS);
    let schedule = Cosine::new(epochs * loader.batches() as u64);
    let (mut adam, mut step) = (Adam::new(RATE), 0);
    for epoch in 0..epochs {
        let (mut states, mut sum): (Option<Vec<State>>, _) = (None, 0.0);
        for batch in loader.epoch(epoch)? {
            let (x, y) = batch?;
            let mut cx = Context::train(0).at_step(step);
            let (scores, next) = model.forward(&x, states.as_deref(), &mut cx)?;
            let loss = cross_entropy(&scores, &y)?;
            sum += f64::from(loss.item()?);
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 1.0)?;
            adam.set_learning_rate(RATE * schedule.factor(step));
            adam.step(&model, &gradients)?;
            (states, step) = (Some(next), step + 1);
        }
        let (loss, held_out) = (sum / loader.batches() as f64, model.loss_of(test)?);
        println!("epoch {}: {loss:.3} nats a letter, {held_out:.3} on the last tenth", epoch + 1);
    }
    // It has rarely seen a text begin, so it is given a stretch to get into.
    for temperature in [0.5, 0.8, 1.1] {
        let sampling = Sampling::new().temperature(temperature).top_p(0.95);
        let written = model.write(&test[..TIME.min(test.len())], 300, &sampling, &mut rng(1))?;
        println!(
            "\n-- temperature {temperature}, the likeliest 95 %\n{}",
            letters.decode(&written)?.concat()
        );
    }
    Ok(())
}
