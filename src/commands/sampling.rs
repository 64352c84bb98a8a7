//! How texts are written: settings that `chat` and `generate` share, and the writing.

use std::time::Instant;

use cairn::nn::generate::{Generate, Sampling};
use cairn::nn::language::{LanguageModel, Text};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;

/// Settings of sampling. Without any, tokens are drawn as the model's publisher suggests.
#[derive(Debug, clap::Args)]
pub(crate) struct SamplingArgs {
    /// At most so many new tokens.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 512)]
    max_tokens: usize,
    /// Below 1 likely tokens become likelier, above 1 all more alike; 0 takes the likeliest.
    #[arg(long, short = 't', value_name = "T")]
    temperature: Option<f64>,
    /// Draws among the K likeliest tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draws among the likeliest tokens that together have the probability P.
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Draws among tokens that are at least P times as likely as the likeliest.
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Makes what was written already less likely; 1 changes nothing.
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f64>,
    /// Always the likeliest token.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    greedy: bool,
    /// Other draws; the same seed gives the same text.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Ends before this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

/// What was written, and how fast.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) tokens: usize,
    /// Until the first piece: the prompt's.
    pub(crate) first_seconds: f64,
    pub(crate) seconds: f64,
}

impl SamplingArgs {
    pub(crate) fn settings(&self, model: &LanguageModel) -> Generate {
        let mut sampling = if self.greedy { Sampling::greedy() } else { model.suggested() };
        if let Some(temperature) = self.temperature {
            sampling = sampling.temperature(temperature);
        }
        if let Some(k) = self.top_k {
            sampling = sampling.top_k(k);
        }
        if let Some(p) = self.top_p {
            sampling = sampling.top_p(p);
        }
        if let Some(p) = self.min_p {
            sampling = sampling.min_p(p);
        }
        if let Some(penalty) = self.repetition_penalty {
            sampling = sampling.repetition_penalty(penalty);
        }
        Generate::new(self.max_tokens).sampling(sampling).seed(self.seed)
    }

    /// Writes a text out as it comes.
    pub(crate) fn write(&self, text: Text<'_>, out: &mut Output) -> Result<Written, Failure> {
        let began = Instant::now();
        let mut text = text.until(&self.stop);
        let (mut all, mut first) = (String::new(), None);
        for piece in text.by_ref() {
            let piece = piece?;
            first.get_or_insert_with(|| began.elapsed().as_secs_f64());
            out.piece(&piece)?;
            all.push_str(&piece);
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok(Written {
            text: all,
            tokens: text.token_count(),
            first_seconds: first.unwrap_or(seconds),
            seconds,
        })
    }
}

impl Written {
    /// How fast tokens came after the first.
    pub(crate) fn speed(&self) -> String {
        let rate = (self.tokens.max(1) - 1) as f64 / (self.seconds - self.first_seconds).max(1e-9);
        format!(
            "{} tokens, the first after {:.2} s, then {rate:.1} a second",
            self.tokens, self.first_seconds
        )
    }
}
