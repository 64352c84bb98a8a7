//! Parts of speech with an encoder of transformer blocks and a conditional random field.

#[path = "../../../optim/examples/tagger/attentive.rs"]
mod attentive;

use cairn_datasets::conllu::{Sentence, UPOS};
use cairn_datasets::{Dataset, Loader, registry};
use cairn_nn::{Context as Pass, Module, explain};
use cairn_optim::schedules::OneCycle;
use cairn_optim::schedules::Schedule;
use cairn_optim::{AdamW, Optimizer, clip_by_global_norm};
use cairn_tensor::rng;

use self::attentive::AttentiveTagger;
use self::model::{Tagged, Vocabularies};
// The sentences are those of the example, whose other tagger that check trains.
use super::rnn::{load, model, share_right, show};
use crate::check::{Bars, Check, Context};
use crate::format::{count, seconds};
use crate::report::Weights;
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "tagger",
    title: "Parts of speech, with attention",
    about: "The words of the English Web Treebank are tagged by two transformer blocks of 128 features and 4 heads, over the same word \
            embeddings and LSTM of letters as in `rnn`, and a conditional random field, which chooses the tags of a sentence together. The \
            bar is that of the LSTMs less half a point: attention has to learn from the same 200,000 words what is near.",
    data: &[&registry::UD_ENGLISH_EWT],
    run,
};

/// Of the test accuracy.
const BARS: Bars = Bars { full: 0.915, quick: 0.65, stand_in: 0.95, stand_in_quick: 0.75 };
const EPOCHS: usize = 10;
const BATCH: usize = 32;
const RATE: f64 = 2e-3;
/// Sentences of a quick run.
const QUICK: usize = 4_000;
/// Words of the sentence whose attention is shown, at least and at most.
const SHOWN: [usize; 2] = [8, 14];

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (mut train, test) = load(ctx)?;
    if ctx.quick() {
        train.truncate(QUICK);
    }
    let vocabularies = Vocabularies::of(&train)?;
    let (train_data, test_data) = (Tagged::new(&train, &vocabularies)?, Tagged::new(&test, &vocabularies)?);
    let seed = ctx.seed();
    let model = AttentiveTagger::new(&vocabularies, &mut rng(seed))?;
    ctx.say(format!("{} parameters", count(model.parameter_count() as u64)));
    let epochs = if ctx.quick() { 2 } else { EPOCHS };
    let lengths = train.iter().map(|sentence| sentence.words.len()).collect();
    let loader = Loader::new(&train_data).batch_size(BATCH).shuffle(seed).group_by_length(lengths)?;
    let schedule = OneCycle::new((epochs * loader.batches()) as u64);
    let (mut adam, mut step, mut curve) = (AdamW::new(RATE), 0, Vec::new());
    for epoch in 0..epochs {
        let (began, mut sum, mut seen) = (std::time::Instant::now(), 0.0, 0);
        for batch in loader.epoch(epoch as u64)? {
            let (input, tags) = batch?;
            let loss = model.loss(&input, &tags, &mut Pass::train(seed).at_step(step))?;
            sum += f64::from(loss.item()?) * tags.len() as f64;
            seen += tags.len();
            let mut gradients = loss.backward()?;
            clip_by_global_norm(&model, &mut gradients, 1.0)?;
            adam.set_learning_rate(RATE * schedule.factor(step));
            adam.step(&model, &gradients)?;
            step += 1;
        }
        let took = began.elapsed().as_secs_f64();
        let accuracy = share_right(&predict(&model, &test_data)?);
        curve.push(accuracy);
        let (loss, took, n) = (sum / seen as f64, seconds(took), epoch + 1);
        ctx.say(format!("epoch {n}/{epochs}: loss {loss:.4}, test accuracy {accuracy:.4}, {took}"));
    }
    let tagged = predict(&model, &test_data)?;
    let bar = ctx.bar(&BARS);
    ctx.metric("test accuracy", share_right(&tagged), Bar::AtLeast(bar));
    show(ctx, &test, &tagged, &curve);
    show_attention(ctx, &model, &test, &test_data)
}

/// True and predicted tag of each word of a part, in order.
fn predict(model: &AttentiveTagger, data: &Tagged) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut pairs = Vec::new();
    for batch in Loader::new(data).batch_size(4 * BATCH).epoch(0)? {
        let (input, tags) = batch?;
        pairs.extend(tags.iter().zip(model.tag(&input)?));
    }
    Ok(pairs)
}

/// Shows what the words of a sentence attend to, in each block the mean of the heads.
fn show_attention(
    ctx: &mut Context<'_>,
    model: &AttentiveTagger,
    test: &[Sentence],
    data: &Tagged,
) -> anyhow::Result<()> {
    let fits = |sentence: &Sentence| (SHOWN[0]..=SHOWN[1]).contains(&sentence.words.len());
    let Some(place) = test.iter().position(fits) else { return Ok(()) };
    let (input, tags) = data.batch(&[place])?;
    let maps = explain::attention_maps(|| model.forward(&input, &mut Pass::eval()))?;
    let words = test[place].words.iter().zip(tags.iter());
    let names: Vec<String> =
        words.map(|(word, tag)| format!("{} {}", word.form, UPOS[tag as usize])).collect();
    for (block, map) in maps.iter().enumerate() {
        let map = map.index(0, 0)?.mean(0)?;
        let caption = format!("What the words of a sentence attend to in block {}", block + 1);
        ctx.show(&caption, &Weights::new(names.clone(), names.clone(), map.to_vec()));
    }
    Ok(())
}
