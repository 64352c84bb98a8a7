//! Parts of speech with a stacked bidirectional LSTM over words and their letters: a model, inputs and a data set of your
//! own, trained by `Trainer`. With `attention` as the third argument, transformer blocks and a conditional random field instead, which
//! has a loss of its own.
//!
//! `cargo run --release -p cairn-optim --example tagger -- [FOLDER] [EPOCHS] [attention]`
//!
//! Reads the English Web Treebank from the folder, `CAIRN_DATA_DIR` or the user's cache, if it is there
//! (`cargo xtask download ud-english-ewt` fetches it), and sentences of a small grammar otherwise. Two minutes on two cores.

mod attentive;
mod model;

use std::path::Path;

use cairn_datasets::conllu::{self, UPOS};
use cairn_datasets::{DataDir, Dataset, Loader, registry, synthetic};
use cairn_nn::{Context, Model, SparseCategoricalCrossentropy};
use cairn_optim::schedules::{OneCycle, Schedule};
use cairn_optim::{Adam, AdamW, Fit, Optimizer, Trainer, clip_by_global_norm, metrics::Accuracy};
use cairn_tensor::rng;

use attentive::AttentiveTagger;
use model::{Tagged, Tagger, Vocabularies};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::resolve(arguments.first().map(Path::new));
    let epochs = arguments.get(1).map_or(Ok(8), |number| number.parse())?;
    let (train, test) = if dir.has(&registry::UD_ENGLISH_EWT) {
        let treebank = conllu::load_english_ewt(&dir)?;
        (treebank.train, treebank.test)
    } else {
        (synthetic::sentences(6000, 0)?, synthetic::sentences(500, 1)?)
    };
    let vocabularies = Vocabularies::of(&train)?;
    let (tagged, held_out) = (Tagged::new(&train, &vocabularies)?, Tagged::new(&test, &vocabularies)?);

    if arguments.get(2).is_some_and(|kind| kind == "attention") {
        let model = AttentiveTagger::new(&vocabularies, &mut rng(0))?;
        let loader = Loader::new(&tagged).shuffle(0);
        let (mut adam, schedule) = (AdamW::new(2e-3), OneCycle::new((epochs * loader.batches()) as u64));
        let steps = (0..epochs as u64).flat_map(|epoch| loader.epoch(epoch)).flatten();
        for (step, batch) in (0..).zip(steps) {
            let (input, tags) = batch?;
            let loss = model.loss(&input, &tags, &mut Context::train(0).at_step(step))?;
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 1.0)?;
            adam.set_learning_rate(2e-3 * schedule.factor(step));
            adam.step(&model, &gradients)?;
        }
        let (mut right, mut count) = (0, 0);
        for batch in Loader::new(&held_out).epoch(0)? {
            let (input, tags) = batch?;
            right += model
                .tag(&input)?
                .into_iter()
                .zip(tags.iter())
                .filter(|(ours, theirs)| ours == theirs)
                .count();
            count += tags.len();
        }
        println!("{right} of {count} words right");
        return Ok(());
    }
    let model = Tagger::new(&vocabularies, &mut rng(0))?;
    let mut trainer =
        Trainer::new(Adam::new(2e-3).lazy(true), SparseCategoricalCrossentropy).metric(Accuracy);
    let fit = Fit::epochs(epochs)
        .schedule_epochs(move |epoch: u64| 1.0 - epoch as f64 / epochs as f64) // down to nothing in a straight line
        .clip_norm(5.0)
        .validate(&held_out);
    println!("{}", trainer.fit(&model, &tagged, fit)?);

    let (sentence, _) = held_out.batch(&[0])?;
    let tags = model.predict_batch(&sentence)?.argmax(-1)?;
    for (word, tag) in test[0].words.iter().zip(tags.iter()) {
        println!("{:>16}  {:<6} {}", word.form, word.upos, UPOS[tag as usize]);
    }
    Ok(())
}
