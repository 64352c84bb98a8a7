//! `cairn generate`: continues a text.

use std::io::Read;
use std::path::PathBuf;

use cairn::nn::language::LanguageModel;

use super::failure::Failure;
use super::output::Output;
use super::sampling::SamplingArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a folder with config.json, safetensors and tokenizer.json, or the name of a published model, as in
    /// `Qwen/Qwen3-0.6B-GGUF:Q8_0`.
    pub(super) model: PathBuf,
    /// A folder of adapters for the model, as `cairn finetune` and peft write them, or the name of published ones.
    #[arg(long, value_name = "DIR")]
    pub(super) adapter: Option<PathBuf>,
    /// The text; `-` reads it from standard input.
    prompt: String,
    /// Says on standard error how fast it was.
    #[arg(long)]
    timings: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let mut prompt = args.prompt.clone();
    if prompt == "-" {
        prompt.clear();
        std::io::stdin().read_to_string(&mut prompt)?;
    }
    let model = LanguageModel::load(&args.model)?;
    if let Some(folder) = &args.adapter {
        model.load_adapter(folder)?;
    }
    let text = model.generate(&prompt, &args.sampling.settings(&model))?;
    let written = args.sampling.write(text, out)?;
    if args.timings {
        eprintln!("{}", written.speed());
    }
    out.result(&written, String::new)
}
