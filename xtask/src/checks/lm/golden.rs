//! What transformers makes of a few questions with the same file, its weights as f32. Values that are computed from published weights are
//! not in this repository: a script writes them beside the model, where they are wanted.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use cairn_autograd::no_grad;
use cairn_nn::Context as Pass;
use cairn_nn::generate::{Generate, Sampling};
use cairn_nn::language::{LanguageModel, user};
use cairn_tensor::Tensor;
use serde::Deserialize;

use super::WRITTEN;
use crate::check::Context;
use crate::results::Bar;

/// The ending of the file's name, in place of the model's.
const ENDING: &str = "golden.json";
/// What writes it.
const SCRIPT: &str = "nn/tests/chat_tokens.py";
/// How far scores may be from the reference's, as a share of the largest.
const WITHIN: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    question: String,
    /// The tokens of the conversation up to the answer.
    prompt: Vec<u32>,
    /// Those of the answer, the likeliest each, up to the one that ends it.
    written: Vec<u32>,
    /// The likeliest first tokens with their scores.
    scores: Vec<(u32, f32)>,
}

/// Compares with a model whose weights are f32; without the file it says so.
pub(super) fn compare(ctx: &mut Context<'_>, path: &Path, model: &LanguageModel) -> anyhow::Result<()> {
    let file = path.with_extension(ENDING);
    if !file.is_file() {
        let reason = format!("there is no {}, which {SCRIPT} writes", file.display());
        ctx.leave_out("greedy texts that are not the reference's", reason);
        return Ok(());
    }
    let golden: Golden =
        serde_json::from_slice(&fs::read(&file)?).with_context(|| file.display().to_string())?;
    ensure!(!golden.texts.is_empty(), "{}: there are no texts in it", file.display());
    let settings = Generate::new(WRITTEN).sampling(Sampling::greedy());
    let (mut prompts, mut texts, mut most) = (0, 0, 0f64);
    for text in &golden.texts {
        prompts += i32::from(model.prompt([user(text.question.as_str())])? != text.prompt);
        let mut written = model.continued(&text.prompt, &settings)?;
        let ours = written.by_ref().collect::<Result<String, _>>()?;
        let expected = model.tokenizer().decode(&text.written)?;
        if ours != expected || written.token_count() != text.written.len() {
            texts += 1;
            ctx.say(format!("{}\n{ours:?}\nthe reference: {expected:?}", text.question));
        }
        most = most.max(apart(model, text)?);
    }
    ctx.metric("prompts that are not the reference's", f64::from(prompts), Bar::AtMost(0.0));
    ctx.metric("greedy texts that are not the reference's", f64::from(texts), Bar::AtMost(0.0));
    ctx.metric("distance of scores from the reference's", most, Bar::AtMost(WITHIN));
    Ok(())
}

/// How far the scores of the first token are from the reference's, as a share of the largest.
fn apart(model: &LanguageModel, text: &Text) -> anyhow::Result<f64> {
    let time = text.prompt.len();
    ensure!(time > 0 && !text.scores.is_empty(), "there are no tokens, or no scores, of {:?}", text.question);
    let ids = Tensor::from_slice(&text.prompt, [1, time])?;
    let ours = no_grad(|| {
        let states = model.network().states(&ids, &mut Pass::eval())?;
        model.network().scores(&states.narrow(1, time - 1, 1)?)
    })?;
    let ours = ours.value().index(0, 0)?.index(0, 0)?.to_vec();
    let (mut most, mut largest) = (0f64, 0f64);
    for &(id, theirs) in &text.scores {
        let found = ours.get(id as usize).with_context(|| format!("a score of the token {id}"))?;
        most = most.max(f64::from((found - theirs).abs()));
        largest = largest.max(f64::from(theirs.abs()));
    }
    Ok(most / largest)
}
