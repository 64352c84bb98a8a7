//! A small transformer learns to translate captions of pictures from English into German.
//!
//! `cargo run --release -p cairn-optim --example translate -- [FOLDER] [UPDATES]`
//!
//! Reads Multi30k from the folder, `CAIRN_DATA_DIR` or the user's cache, if it is there (`cargo xtask download multi30k` fetches
//! it), and sentences in an invented language otherwise. Tens of minutes on two cores; less with fewer updates.

mod model;

use std::path::Path;

use cairn_autograd::no_grad;
use cairn_datasets::multi30k::{self, Pair};
use cairn_datasets::{DataDir, Loader, registry, synthetic};
use cairn_nn::Context;
use cairn_optim::metrics::Bleu;
use cairn_optim::schedules::{InverseSqrt, Schedule};
use cairn_optim::{Adam, CheckpointAverage, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use model::Translator;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let updates: u64 = arguments.get(1).map_or(Ok(4000), |number| number.parse())?;
    let (train, test): (Vec<Pair>, Vec<Pair>) = if dir.has(&registry::MULTI30K) {
        let captions = multi30k::load(&dir)?;
        let reversed = |pairs: Vec<Pair>| pairs.into_iter().map(Pair::reversed).collect();
        (reversed(captions.train), reversed(captions.test))
    } else {
        (synthetic::translations(6000, 0)?, synthetic::translations(500, 1)?)
    };

    let translator = Translator::new(&train, 8000, 0.3, &mut rng(0))?;
    let (data, held_out) = (translator.encode(&train)?, translator.encode(&test)?);
    let loader = Loader::new(&data).shuffle(0).group_by_length(data.lengths())?.max_tokens(4096);
    let schedule = InverseSqrt::new(1000);
    let mut adam = Adam::new(5e-3).betas(0.9, 0.98);
    let mut average = CheckpointAverage::new(10);
    let (mut step, mut epoch) = (0, 0);
    while step < updates {
        for batch in loader.epoch(epoch)?.take((updates - step) as usize) {
            let (x, y) = batch?;
            let (sum, tokens) = translator.loss(&x, &y, 0.1, &mut Context::train(0).at_step(step))?;
            let mut gradients = sum.mean_over(tokens)?.backward()?;
            clip_by_global_norm(&translator, &mut gradients, 1.0)?;
            adam.set_learning_rate(5e-3 * schedule.factor(step));
            adam.step(&translator, &gradients)?;
            step += 1;
        }
        epoch += 1;
        average.add(&translator)?;
        let (mut sum, mut tokens) = (0.0, 0.0);
        for batch in Loader::new(&held_out).group_by_length(held_out.lengths())?.max_tokens(4096).epoch(0)? {
            let (x, y) = batch?;
            let (loss, count) = no_grad(|| translator.loss(&x, &y, 0.0, &mut Context::eval()))?;
            (sum, tokens) = (sum + loss.item()?, tokens + count);
        }
        println!("update {step}, epoch {epoch}: {:.3} nats a token of held-out translations", sum / tokens);
    }

    average.swap(&translator)?;
    let sources: Vec<&str> = test.iter().map(|pair| pair.source.as_str()).collect();
    let translations = translator.translate(&sources, 5)?;
    let mut bleu = Bleu::new();
    for (pair, translation) in test.iter().zip(&translations) {
        bleu.add(translation, &[&pair.target]);
    }
    for (pair, translation) in test.iter().zip(&translations).take(5) {
        println!("{}\n  {translation}\n  {}", pair.source, pair.target);
    }
    println!("BLEU {:.2}", bleu.score());
    Ok(())
}
