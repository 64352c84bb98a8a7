//! `cairn perplexity`: how well a model foretells a text.

use std::path::PathBuf;
use std::time::Instant;

use cairn::nn::language::LanguageModel;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a folder with config.json, safetensors and tokenizer.json, or the name of a published model, as in
    /// `Qwen/Qwen3-0.6B-GGUF:Q8_0`.
    pub(super) model: PathBuf,
    /// The text, UTF-8.
    file: PathBuf,
    /// The model reads so many tokens at a time.
    #[arg(long, default_value_t = 512, value_name = "N")]
    window: usize,
    /// Each time so many further on; the window, if not given.
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Only the first tokens.
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| Failure::file(&args.file, &error))?;
    let model = LanguageModel::load(&args.model)?;
    let began = Instant::now();
    let mut tokens = model.tokenizer().encode(&text)?;
    tokens.truncate(args.tokens.unwrap_or(usize::MAX));
    let found = model.perplexity_of(&tokens, args.window, args.stride.unwrap_or(args.window))?;
    let seconds = began.elapsed().as_secs_f64();
    let value = json!({ "perplexity": found.perplexity, "tokens": found.tokens, "seconds": seconds });
    out.result(&value, || {
        let rate = found.tokens as f64 / seconds;
        format!("perplexity {:.4} over {} tokens ({rate:.0} a second)", found.perplexity, found.tokens)
    })
}
