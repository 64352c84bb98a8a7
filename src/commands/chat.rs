//! `cairn chat`: a conversation.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use cairn::nn::language::{LanguageModel, Message, assistant, system, user};

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
    /// Answers this message, and ends.
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
    /// How the model is to behave.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Says on standard error how fast each answer was.
    #[arg(long)]
    timings: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let model = LanguageModel::load(&args.model)?;
    if let Some(folder) = &args.adapter {
        model.load_adapter(folder)?;
    }
    if model.template().is_none() {
        return Err(Failure::new(format!("{} has no template of conversations", args.model.display()))
            .hint("`cairn generate` continues a text with any model"));
    }
    let mut messages: Vec<Message> = args.system.iter().map(system).collect();
    if let Some(message) = &args.message {
        messages.push(user(message));
        return answer(&model, args, &mut messages, out);
    }
    let mut input = io::stdin().lock();
    loop {
        if out.is_terminal() && !out.is_json() {
            eprint!("> ");
            io::stderr().flush()?;
        }
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if !line.trim().is_empty() {
            messages.push(user(line.trim()));
            answer(&model, args, &mut messages, out)?;
        }
    }
}

fn answer(
    model: &LanguageModel,
    args: &Args,
    messages: &mut Vec<Message>,
    out: &mut Output,
) -> Result<(), Failure> {
    let text = model.chat(&messages, &args.sampling.settings(model))?;
    let written = args.sampling.write(text, out)?;
    if args.timings {
        eprintln!("{}", written.speed());
    }
    out.result(&written, String::new)?;
    messages.push(assistant(written.text));
    Ok(())
}
