//! Fine-tuning a published encoder: a head that tells praise from blame, learnt with the encoder under it.

use std::path::Path;

use cairn_datasets::Dataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_nn::models::SequenceClassifier;
use cairn_nn::tokenizer::Tokenizer;
use cairn_optim::metrics::Accuracy;
use cairn_optim::schedules::Linear;
use cairn_optim::{AdamW, Fit, Trainer};
use cairn_tensor::{Tensor, rng};

use crate::check::{Check, Context};
use crate::format::{count, seconds};
use crate::results::Bar;

/// See the module.
pub(super) const CHECK: Check = Check {
    name: "finetune",
    title: "An encoder fine-tuned",
    about: "all-MiniLM-L6-v2 with a head over the mean of its tokens learns SST-2, sentences of film reviews that praise or blame, and is \
            measured on the 872 sentences of GLUE's development set. The paper of MiniLM (Wang et al. 2020) states 91.5 for this size, \
            starting from the language model that this sentence encoder was made of; a quick run sees 3,000 of the 67,349 sentences.",
    data: &[],
    run,
};

const MODEL: &str = "models/all-MiniLM-L6-v2";
/// As the source divides them; GLUE's training set is the first two together, its development set the third.
const TRAIN: [&str; 2] = ["text/sst2/train.tsv.gz", "text/sst2/dev.tsv.gz"];
const TEST: &str = "text/sst2/test.tsv.gz";
const MOST_BYTES: u64 = 1 << 26;
/// Tokens of a sentence that are read.
const LONGEST: usize = 64;
/// Sentences of like length that are learnt together.
const BATCH: usize = 32;
/// Sentences of a quick run, and passes over them.
const QUICK: usize = 3000;
const QUICK_EPOCHS: usize = 1;
const EPOCHS: usize = 2;
/// The rate at the start, from where it falls to 0.
const QUICK_RATE: f64 = 2e-4;
const RATE: f64 = 1e-4;
const QUICK_BAR: f64 = 0.77;
const BAR: f64 = 0.90;

/// Sentences by length, in groups that are learnt together.
struct Sentences(Vec<Vec<(Vec<u32>, u32)>>);

impl Dataset for Sentences {
    /// Ids, padded to the longest, and the lengths.
    type Input = (Tensor<u32>, Tensor<u32>);
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> cairn_datasets::Result<(Self::Input, Tensor<u32>)> {
        let rows: Vec<&(Vec<u32>, u32)> = indices.iter().flat_map(|&group| &self.0[group]).collect();
        let time = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let padded =
            rows.iter().flat_map(|(ids, _)| ids.iter().copied().chain(std::iter::repeat(0)).take(time));
        let ids = Tensor::from_vec(padded.collect(), [rows.len(), time])?;
        let of = |values: Vec<u32>| Tensor::from_vec(values, [rows.len()]);
        let lengths = of(rows.iter().map(|(ids, _)| ids.len() as u32).collect())?;
        Ok(((ids, lengths), of(rows.iter().map(|(_, label)| *label).collect())?))
    }
}

impl Sentences {
    fn new(mut rows: Vec<(Vec<u32>, u32)>) -> Self {
        rows.sort_by_key(|(ids, _)| ids.len());
        Sentences(rows.chunks(BATCH).map(<[_]>::to_vec).collect())
    }
}

/// The sentences of a file, with a heading, as ids.
fn read(path: &Path, tokenizer: &Tokenizer) -> anyhow::Result<Vec<(Vec<u32>, u32)>> {
    let text = String::from_utf8(cairn_files::unpack::read(path, MOST_BYTES)?)?;
    let lines = text.lines().skip(1).filter_map(|line| line.rsplit_once('\t'));
    lines
        .map(|(sentence, label)| {
            let mut ids = tokenizer.encode(sentence)?;
            let end = ids.last().copied();
            if ids.len() > LONGEST {
                ids.truncate(LONGEST - 1);
                ids.extend(end);
            }
            Ok((ids, label.trim().parse()?))
        })
        .collect()
}

fn run(ctx: &mut Context<'_>) -> anyhow::Result<()> {
    let model = ctx.find(MODEL)?;
    let train = TRAIN.iter().map(|path| ctx.find(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let test = ctx.find(TEST)?;
    let tokenizer = Tokenizer::load(&model)?;
    let mut rows = Vec::new();
    for path in train {
        rows.extend(read(&path, &tokenizer)?);
    }
    if ctx.quick() {
        // Evenly spread: files are in the order in which sentences were cut up.
        let step = rows.len() / QUICK;
        rows = rows.into_iter().step_by(step.max(1)).take(QUICK).collect();
    }
    let learned = rows.len();
    let (train, test) = (Sentences::new(rows), Sentences::new(read(&test, &tokenizer)?));
    let classifier = SequenceClassifier::of_encoder(&model, 2, &mut rng(1))?.mean();
    let (epochs, rate, bar) =
        if ctx.quick() { (QUICK_EPOCHS, QUICK_RATE, QUICK_BAR) } else { (EPOCHS, RATE, BAR) };
    let steps = (epochs * train.len()) as u64;
    let mut trainer = Trainer::new(AdamW::new(rate), SparseCategoricalCrossentropy).metric(Accuracy);
    let began = std::time::Instant::now();
    let fit = Fit::epochs(epochs).batch_size(1).clip_norm(1.0).schedule(Linear::new(1.0, 0.0, steps)).quiet();
    trainer.fit(&classifier, &train, fit)?;
    let took = began.elapsed().as_secs_f64();
    let rate = count(((epochs * learned) as f64 / took) as u64);
    ctx.say(format!("{} sentences learnt in {}, {rate} a second", count(learned as u64), seconds(took)));
    let found = trainer.evaluate(&classifier, &test)?;
    let accuracy = found.values.iter().find(|(name, _)| name == "accuracy").map_or(0.0, |(_, value)| *value);
    ctx.metric("accuracy on SST-2", accuracy, Bar::AtLeast(bar));
    Ok(())
}
