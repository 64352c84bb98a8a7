//! `cairn embed`: texts as vectors.

use std::io::BufRead;
use std::path::PathBuf;

use cairn::nn::language::Encoder;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{Output, number};

/// Lines of standard input that are embedded at a time.
const AT_ONCE: usize = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder with config.json, safetensors and tokenizer.json, a GGUF file of an encoder, or the name of a published one, as in
    /// `sentence-transformers/all-MiniLM-L6-v2`.
    pub(super) model: PathBuf,
    /// The texts; without any, each line of standard input is one.
    texts: Vec<String>,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let encoder = Encoder::load(&args.model)?;
    if !args.texts.is_empty() {
        return embed(&encoder, &args.texts, out);
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let texts: Vec<String> = lines.by_ref().take(AT_ONCE).collect::<Result<_, _>>()?;
        if texts.is_empty() {
            return Ok(());
        }
        embed(&encoder, &texts, out)?;
    }
}

fn embed(encoder: &Encoder, texts: &[String], out: &mut Output) -> Result<(), Failure> {
    let vectors = encoder.embed(texts)?;
    for (row, text) in texts.iter().enumerate() {
        let vector = vectors.index(0, row).map_err(cairn::nn::Error::from)?.to_vec();
        let numbers: Vec<Value> = vector.iter().map(|&x| number(x)).collect();
        out.result(&json!({ "text": text, "embedding": numbers }), || {
            vector.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")
        })?;
    }
    Ok(())
}
