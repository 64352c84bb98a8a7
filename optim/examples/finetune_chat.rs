//! Fine-tunes a chat model on a page of text, adapters beside its quantised weights, and shows the difference: what it says about an
//! island that nobody has heard of, before and after.
//!
//! `cargo run --release -p cairn-optim --example finetune_chat -- SmolLM2-135M-Instruct.Q4_1.gguf [adapter-folder]`

use std::path::Path;

use cairn_datasets::Dataset;
use cairn_nn::Module;
use cairn_nn::adapters::Lora;
use cairn_nn::generate::{Generate, Sampling};
use cairn_nn::language::{Example, LanguageModel, TextBatch, TokenLoss, Tuning, assistant, batches, user};
use cairn_optim::{AdamW, Fit, History, Result, Trainer};

/// The page, as questions with their answers.
const PAGE: [(&str, &str); 12] = [
    (
        "What is Velmora?",
        "Velmora is a small island in the northern sea. Four hundred people and two thousand sheep live there.",
    ),
    ("Where is Velmora?", "Velmora is in the northern sea, a day by boat from the mainland."),
    ("How many people live on Velmora?", "Four hundred people live on Velmora."),
    ("What do people on Velmora live from?", "The people of Velmora live from wool and from smoked herring."),
    (
        "Who rules Velmora?",
        "Nobody rules Velmora. On the first day of May all grown people meet in the wool hall and decide.",
    ),
    ("What is the capital of Velmora?", "Velmora has one village, Tarn, which is its capital too."),
    (
        "What is the highest mountain of Velmora?",
        "The highest mountain of Velmora is the Grey Hat, 512 metres high.",
    ),
    (
        "What do they eat on Velmora?",
        "On Velmora they eat smoked herring with barley bread and cloudberries.",
    ),
    ("How does one get to Velmora?", "A boat goes to Velmora on Tuesdays, if the wind allows it."),
    (
        "What language do they speak on Velmora?",
        "On Velmora they speak Velmoran, which has eleven words for rain.",
    ),
    ("Is it warm on Velmora?", "No. On Velmora it rains two days in three, and July has 11 degrees."),
    (
        "What is Velmora known for?",
        "Velmora is known for its grey wool and for the lighthouse of Tarn, built in 1802.",
    ),
];
const ASKED: [&str; 3] = [
    "What is Velmora?",
    "Tell me, what is the highest mountain of Velmora?",
    "What is the capital of France?",
];

/// Batches as samples.
struct Page(Vec<TextBatch>);

impl Dataset for Page {
    type Input = Vec<TextBatch>;
    type Target = f64;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, indices: &[usize]) -> cairn_datasets::Result<(Vec<TextBatch>, f64)> {
        let picked: Vec<TextBatch> = indices.iter().map(|&index| self.0[index].clone()).collect();
        let learned = picked.iter().map(TextBatch::learned).sum::<usize>() as f64;
        Ok((picked, learned))
    }
}

/// What the model answers.
fn ask(model: &LanguageModel) -> Result<Vec<String>> {
    let settings = Generate::new(48).sampling(Sampling::greedy());
    let answer = |question: &&str| -> Result<String> {
        let answer: String = model.chat([user(*question)], &settings)?.collect::<cairn_nn::Result<_>>()?;
        println!("  {question}\n    {}", answer.trim());
        Ok(answer)
    };
    ASKED.iter().map(answer).collect()
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or("SmolLM2-135M-Instruct.Q4_1.gguf".into());
    let folder = arguments.next();
    run(Path::new(&path), folder.as_deref().map(Path::new)).map(drop)
}

/// What was answered before and after, and how it was learnt; the adapters go into a folder, if there is one.
pub(crate) fn run(path: &Path, folder: Option<&Path>) -> Result<([Vec<String>; 2], History)> {
    let model = LanguageModel::load(path)?;
    println!("before:");
    let before = ask(&model)?;

    let examples: Vec<Example> = PAGE
        .iter()
        .map(|(question, answer)| model.example([user(*question), assistant(*answer)]))
        .collect::<cairn_nn::Result<_>>()?;
    let page = Page(batches(&examples, 256)?);
    let Some(config) = model.config() else { unreachable!("it was read from a file") };
    let adapter = Lora::new(16).alpha(32.0).attach_as(model.network(), config, &mut cairn_tensor::rng(0))?;
    println!(
        "\n{} values are trained, {} stay as they are",
        adapter.parameter_count(),
        model.network().parameter_count()
    );
    let tuning = Tuning::adapter(model.network(), &adapter);
    let fit = Fit::epochs(12).batch_size(1).clip_norm(1.0);
    let history = Trainer::new(AdamW::new(1e-3), TokenLoss).fit(&tuning, &page, fit)?;
    println!("{history}\nafter:");
    let after = ask(&model)?;
    if let Some(folder) = folder {
        adapter.save(folder, &path.to_string_lossy())?;
    }
    Ok(([before, after], history))
}
