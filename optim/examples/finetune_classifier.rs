//! Fine-tunes a published encoder of sentences as a classifier: a new head, learnt together with all that is under it.
//!
//! `cargo run --release -p cairn-optim --example finetune_classifier -- all-MiniLM-L6-v2 [train.tsv test.tsv]`
//!
//! The files have a sentence, a tab and the number of its class in each line; without any a few lines of its own are learnt.

use std::error::Error;
use std::path::Path;

use cairn_datasets::Dataset;
use cairn_nn::SparseCategoricalCrossentropy;
use cairn_nn::models::SequenceClassifier;
use cairn_nn::tokenizer::Tokenizer;
use cairn_optim::metrics::Accuracy;
use cairn_optim::{AdamW, Evaluation, Fit, Trainer};
use cairn_tensor::{Tensor, rng};

pub(crate) const TRAIN: &str = "what a lovely film\t1\ni was bored to tears\t0\nwarm, funny and wise\t1\na waste of two hours\t0\n\
                     moving from beginning to end\t1\nclumsy and far too long\t0\nthe actors are a delight\t1\nthe plot makes no sense\t0\n\
                     i laughed all evening\t1\ni left before the end\t0\na small masterpiece\t1\ndull, loud and empty\t0";
const TEST: &str =
    "a delightful evening\t1\nthe worst film of the year\t0\nso wise and so funny\t1\nboring and empty\t0";

/// Sentences as ids, with their classes.
struct Sentences(Vec<(Vec<u32>, u32)>);

impl Dataset for Sentences {
    /// Ids, padded to the longest, and the lengths.
    type Input = (Tensor<u32>, Tensor<u32>);
    type Target = Tensor<u32>;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> cairn_datasets::Result<(Self::Input, Tensor<u32>)> {
        let rows: Vec<&(Vec<u32>, u32)> = indices.iter().map(|&index| &self.0[index]).collect();
        let time = rows.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let padded =
            rows.iter().flat_map(|(ids, _)| ids.iter().copied().chain(std::iter::repeat(0)).take(time));
        let ids = Tensor::from_vec(padded.collect(), [rows.len(), time])?;
        let of = |values: Vec<u32>| Tensor::from_vec(values, [rows.len()]);
        let lengths = of(rows.iter().map(|(ids, _)| ids.len() as u32).collect())?;
        Ok(((ids, lengths), of(rows.iter().map(|(_, label)| *label).collect())?))
    }
}

fn read(text: &str, tokenizer: &Tokenizer) -> cairn_nn::Result<Sentences> {
    let lines = text.lines().filter_map(|line| line.rsplit_once('\t'));
    let lines = lines.filter_map(|(sentence, label)| Some((sentence, label.trim().parse::<u32>().ok()?)));
    let rows = lines.map(|(sentence, label)| Ok((tokenizer.encode(sentence)?, label)));
    Ok(Sentences(rows.collect::<cairn_nn::Result<_>>()?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().map_or("all-MiniLM-L6-v2", String::as_str);
    let text = |at: usize, own: &str| arguments.get(at).map_or(Ok(own.to_owned()), std::fs::read_to_string);
    run(Path::new(folder), [&text(1, TRAIN)?, &text(2, TEST)?], 1e-4).map(drop)
}

/// The loss and accuracy on the second of two texts, before and after the first is learnt at this rate.
pub(crate) fn run(
    folder: &Path,
    [train, test]: [&str; 2],
    rate: f64,
) -> Result<[Evaluation; 2], Box<dyn Error>> {
    let tokenizer = Tokenizer::load(folder)?;
    let (train, test) = (read(train, &tokenizer)?, read(test, &tokenizer)?);
    let classes = train.0.iter().map(|(_, label)| *label as usize + 1).max().unwrap_or(2);

    let model = SequenceClassifier::of_encoder(folder, classes, &mut rng(0))?.mean();
    let mut trainer = Trainer::new(AdamW::new(rate), SparseCategoricalCrossentropy).metric(Accuracy);
    let before = trainer.evaluate(&model, &test)?;
    println!("before: {before}");
    let epochs = if train.len() < 1000 { 10 } else { 2 };
    println!("{}", trainer.fit(&model, &train, Fit::epochs(epochs).clip_norm(1.0).validate(&test))?);
    let after = trainer.evaluate(&model, &test)?;
    println!("after: {after}");
    Ok([before, after])
}
