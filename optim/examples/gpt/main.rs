//! A small GPT learns Shakespeare letter by letter and writes, with Karpathy's settings for a laptop (nanoGPT).
//!
//! `cargo run --release -p cairn-optim --example gpt -- [FOLDER] [STEPS]`
//!
//! Reads tiny Shakespeare from the folder, `CAIRN_DATA_DIR` or the user's cache, if it is there
//! (`cargo xtask download tiny-shakespeare` fetches it), and text of a small grammar otherwise.

mod model;

use std::path::Path;

use cairn_datasets::text::{CharTokenizer, Vocabulary, WindowDataset};
use cairn_datasets::{DataDir, Loader, registry, synthetic, tiny_shakespeare};
use cairn_nn::generate::{Generate, Sampling};
use cairn_nn::{Context, cross_entropy};
use cairn_optim::schedules::{Chained, Cosine, Linear, Schedule};
use cairn_optim::{AdamW, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use model::Gpt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let steps = arguments.get(1).map_or(Ok(2000), |number| number.parse())?;
    let text = match dir.has(&registry::TINY_SHAKESPEARE) {
        true => tiny_shakespeare::load(&dir)?,
        false => synthetic::text(12_000, 0)?,
    };
    let letters = Vocabulary::builder().padding(None).texts([&text], &CharTokenizer).build()?;
    let ids = letters.encode(&text, &CharTokenizer)?;

    let model = Gpt::new(letters.len(), 64, [4, 4, 128], &mut rng(0))?;
    let windows = WindowDataset::new(ids, 64, 1)?;
    let loader = Loader::new(&windows).batch_size(12).shuffle(0);
    let schedule = Chained::new().add(Linear::warm_up(100)).add(Cosine::new(steps).floor(0.1));
    let mut adam = AdamW::new(1e-3).betas(0.9, 0.99).weight_decay(0.1);
    for (step, batch) in (0..steps).zip(loader.epoch(0)?) {
        let (x, y) = batch?;
        let loss = cross_entropy(&model.forward(&x, &mut Context::train(0).at_step(step))?, &y)?;
        let mut gradients = loss.backward()?;
        clip_by_global_norm(&model, &mut gradients, 1.0)?;
        adam.set_learning_rate(1e-3 * schedule.factor(step));
        adam.step(&model, &gradients)?;
        if step % 100 == 0 {
            println!("step {step}: {:.3} nats a letter", loss.item()?);
        }
    }
    let prompt = letters.encode("\n", &CharTokenizer)?;
    let generate = Generate::new(60).sampling(Sampling::new().temperature(0.8));
    for seed in 0..5 {
        let written: Vec<u32> =
            generate.clone().seed(seed).stream(&model, model.cache(1)?, &prompt).collect::<Result<_, _>>()?;
        println!("{}", letters.decode(&written)?.concat());
    }
    Ok(())
}
