//! `cairn tokenize`: the ids of a text's tokens.

use std::path::PathBuf;

use cairn::nn::tokenizer::Tokenizer;
use cairn::nn::weights::gguf::Gguf;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a folder with tokenizer.json, or the name of a published model.
    pub(super) model: PathBuf,
    /// The text, UTF-8.
    file: PathBuf,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&args.file).map_err(|error| Failure::file(&args.file, &error))?;
    let tokenizer = if args.model.is_dir() {
        Tokenizer::load(&args.model)?
    } else {
        Tokenizer::of_gguf(&Gguf::open(&args.model)?)?
    };
    let ids = tokenizer.encode(&text)?;
    out.result(&json!({ "ids": ids }), || ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}
