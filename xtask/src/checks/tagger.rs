//! Parts of speech with an encoder of transformer blocks and a conditional random field.

#[path = "../../../optim/examples/tagger/attentive.rs"]
mod attentive;

use cairn_autograd::Var;
use cairn_datasets::conllu::{Sentence, UPOS};
use cairn_datasets::{Dataset, registry};
use cairn_nn::{Context as Pass, Module, explain};
use cairn_optim::AdamW;
use cairn_optim::schedules::{OneCycle, Schedule};
use cairn_tensor::{Tensor, rng};

use self::attentive::AttentiveTagger;
use self::model::{Batch, Tagged, Vocabularies};
// The example's file names its neighbour.
use super::parts_of_speech::{self, Course, Tags, model};
use crate::check::{Bars, Check, Context};
use crate::format::count;
use crate::report::Weights;

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
const BARS: Bars = Bars { full: 0.942, quick: 0.65, stand_in: 0.95, stand_in_quick: 0.75 };
const EPOCHS: usize = 10;
const RATE: f64 = 2e-3;
/// Points of the cycle of the learning rate.
const CYCLE: u64 = 1 << 20;
/// Sentences of a quick run.
const QUICK: usize = 4_000;
/// Words of the sentence whose attention is shown, at least and at most.
const SHOWN: [usize; 2] = [8, 14];

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let (mut train, test) = parts_of_speech::load(ctx)?;
    if ctx.quick() {
        train.truncate(QUICK);
    }
    let vocabularies = Vocabularies::of(&train)?;
    let (train_data, test_data) = (Tagged::new(&train, &vocabularies)?, Tagged::new(&test, &vocabularies)?);
    let model = AttentiveTagger::new(&vocabularies, &mut rng(ctx.seed()))?;
    ctx.say(format!("{} parameters", count(model.parameter_count() as u64)));
    let epochs = if ctx.quick() { 2 } else { EPOCHS };
    let lengths = train.iter().map(|sentence| sentence.words.len()).collect();
    let schedule = OneCycle::new(CYCLE);
    let rate = |behind: f64| RATE * schedule.factor((behind * CYCLE as f64) as u64);
    let (mut adam, course) = (AdamW::new(RATE), Course { epochs, rate, clip: 1.0 });
    let (train_data, test_part) = ((&train_data, lengths), (&test_data, &test[..]));
    parts_of_speech::train(ctx, &model, &mut adam, train_data, test_part, &course, &BARS)?;
    show_attention(ctx, &model, &test, &test_data)
}

impl Tags for AttentiveTagger {
    fn loss(&self, batch: &Batch, tags: &Tensor<u32>, pass: &mut Pass) -> cairn_nn::Result<Var> {
        self.loss(batch, tags, pass)
    }

    fn tag(&self, batch: &Batch) -> cairn_nn::Result<Vec<u32>> {
        self.tag(batch)
    }
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
