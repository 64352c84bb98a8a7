//! What a change of a model's weights does to it: how well it foretells a text, how often its first choice is the same, how fast it
//! reads; of an encoder, how alike its vectors are.

use std::path::Path;
use std::time::Instant;

use cairn::autograd::no_grad;
use cairn::nn::language::{Encoder, LanguageModel};
use cairn::nn::{self, Context};
use cairn::tensor::Tensor;
use serde::Serialize;

use super::failure::Failure;

/// Tokens that are read at a time, and positions whose scores are held at a time.
const WINDOW: usize = 512;
const AT_ONCE: usize = 64;

/// A model before and after, on a text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Comparison {
    Texts {
        tokens: usize,
        perplexity_before: f64,
        perplexity_after: f64,
        /// The share of positions where the likeliest token is the same.
        agreement: f64,
        tokens_a_second_before: f64,
        tokens_a_second_after: f64,
    },
    Vectors {
        texts: usize,
        /// Between a text's vectors before and after.
        mean_cosine: f64,
        least_cosine: f64,
        texts_a_second_before: f64,
        texts_a_second_after: f64,
    },
}

impl Comparison {
    /// On a file of text: of a language model its first tokens, of an encoder its first lines, at most so many.
    pub(crate) fn new(before: &Path, after: &Path, text: &Path, most: usize) -> Result<Self, Failure> {
        let content = std::fs::read_to_string(text).map_err(|error| Failure::file(text, &error))?;
        match LanguageModel::load(before) {
            Ok(model) => of_texts(&model, after, &content, most),
            Err(nn::Error::Unsupported { .. }) => of_vectors(&Encoder::load(before)?, after, &content, most),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        match self {
            Comparison::Texts {
                tokens,
                perplexity_before,
                perplexity_after,
                agreement,
                tokens_a_second_before,
                tokens_a_second_after,
            } => format!(
                "perplexity of {tokens} tokens from {perplexity_before:.3} to {perplexity_after:.3}; the likeliest token is the same in {:.1} % \
                 of positions; {tokens_a_second_before:.0} tokens read a second became {tokens_a_second_after:.0}",
                100.0 * agreement
            ),
            Comparison::Vectors {
                texts,
                mean_cosine,
                least_cosine,
                texts_a_second_before,
                texts_a_second_after,
            } => format!(
                "cosine of {texts} texts' vectors before and after {mean_cosine:.5}, at least {least_cosine:.5}; \
                 {texts_a_second_before:.0} texts a second became {texts_a_second_after:.0}"
            ),
        }
    }
}

fn of_texts(before: &LanguageModel, after: &Path, text: &str, most: usize) -> Result<Comparison, Failure> {
    let mut tokens = before.tokenizer().encode(text)?;
    tokens.truncate(most.max(2));
    let window = WINDOW.min(before.context());
    let measured = |model: &LanguageModel| -> Result<(f64, f64, Vec<u32>), Failure> {
        let began = Instant::now();
        let perplexity = model.perplexity_of(&tokens, window, window)?.perplexity;
        let rate = tokens.len() as f64 / began.elapsed().as_secs_f64();
        Ok((perplexity, rate, choices(model, &tokens, window)?))
    };
    let (perplexity_before, tokens_a_second_before, first) = measured(before)?;
    let (perplexity_after, tokens_a_second_after, second) = measured(&LanguageModel::load(after)?)?;
    let agreed = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    Ok(Comparison::Texts {
        tokens: tokens.len(),
        perplexity_before,
        perplexity_after,
        agreement: agreed as f64 / first.len() as f64,
        tokens_a_second_before,
        tokens_a_second_after,
    })
}

/// The likeliest token after each.
fn choices(model: &LanguageModel, tokens: &[u32], window: usize) -> nn::Result<Vec<u32>> {
    let mut all = Vec::with_capacity(tokens.len());
    for part in tokens.chunks(window) {
        let ids = Tensor::from_slice(part, [1, part.len()])?;
        let states = no_grad(|| model.network().states(&ids, &mut Context::eval()))?;
        for start in (0..part.len()).step_by(AT_ONCE) {
            let rows = states.narrow(1, start, AT_ONCE.min(part.len() - start))?;
            let scores = no_grad(|| model.network().scores(&rows))?;
            all.extend(scores.value().argmax(2)?.iter());
        }
    }
    Ok(all)
}

fn of_vectors(before: &Encoder, after: &Path, text: &str, most: usize) -> Result<Comparison, Failure> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(most).collect();
    if lines.is_empty() {
        return Err(Failure::new("there is no line to compare vectors of"));
    }
    let embedded = |encoder: &Encoder| -> Result<(Tensor, f64), Failure> {
        let began = Instant::now();
        let vectors = encoder.embed(&lines)?;
        Ok((vectors, lines.len() as f64 / began.elapsed().as_secs_f64()))
    };
    let (first, texts_a_second_before) = embedded(before)?;
    let (second, texts_a_second_after) = embedded(&Encoder::load(after)?)?;
    let width = first.shape()[1].max(1);
    let (first, second) = (first.to_vec(), second.to_vec());
    let cosines: Vec<f64> =
        first.chunks(width).zip(second.chunks(width)).map(|(a, b)| cosine(a, b)).collect();
    Ok(Comparison::Vectors {
        texts: lines.len(),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        least_cosine: cosines.iter().copied().fold(1.0, f64::min),
        texts_a_second_before,
        texts_a_second_after,
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}
