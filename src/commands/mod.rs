//! The commands, a file each, and what they share: one line for an error with what can be done about it; 0 for success, 1 for
//! failure, 2 for a command line that makes no sense; JSON for other programs.

mod chat;
mod columns;
mod compare;
mod doctor;
mod embed;
mod failure;
mod finetune;
mod generate;
mod inspect;
mod network;
mod output;
mod paths;
mod perplexity;
mod predict;
mod published;
mod quantize;
mod recommend;
mod recommender;
mod sampling;
#[cfg(feature = "serve")]
mod serve;
mod tokenize;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;
use output::Output;

/// Open language models and encoders, networks and recommenders, on the CPU.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, arg_required_else_help = true)]
struct Cli {
    /// Writes JSON to standard output, a line for each result.
    #[arg(long, global = true)]
    json: bool,
    /// Computes with so many threads, in place of as many as there are processors.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Downloads nothing: of published models those that are here already.
    #[arg(long, global = true)]
    offline: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Talks with a model: a line for each of your messages, until the end of input.
    Chat(chat::Args),
    /// Continues a text.
    Generate(generate::Args),
    /// Turns texts into vectors: those given, or each line of standard input.
    Embed(embed::Args),
    /// Measures how well a model foretells a file of text.
    Perplexity(perplexity::Args),
    /// Trains adapters beside a frozen model.
    Finetune(finetune::Args),
    /// Says what is in a file or folder of weights.
    Inspect(inspect::Args),
    /// Writes the weights of a GGUF file, or of a folder, in fewer bits.
    Quantize(quantize::Args),
    /// Turns a text into the ids of its tokens.
    Tokenize(tokenize::Args),
    /// Says what a saved network makes of inputs.
    Predict(predict::Args),
    /// Lists what a saved recommender would recommend.
    Recommend(recommend::Args),
    /// Answers over HTTP, as OpenAI's clients ask, and on a page at /.
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Writes what a shell needs to complete the program's command lines.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Says what this machine computes with: instructions, threads, caches, the bandwidth of its memory.
    Doctor,
}

/// Runs what the command line says.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.json);
    match run(cli, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cairn: {failure}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    /// The arguments that may name a published model.
    fn models(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Command::Chat(args) => std::iter::once(&mut args.model).chain(&mut args.adapter).collect(),
            Command::Generate(args) => std::iter::once(&mut args.model).chain(&mut args.adapter).collect(),
            Command::Embed(args) => vec![&mut args.model],
            Command::Perplexity(args) => vec![&mut args.model],
            Command::Finetune(args) => vec![&mut args.model],
            Command::Inspect(args) => vec![&mut args.path],
            Command::Quantize(args) => vec![&mut args.from],
            Command::Tokenize(args) => vec![&mut args.model],
            #[cfg(feature = "serve")]
            Command::Serve(args) => args.models.iter_mut().collect(),
            Command::Predict(_) | Command::Recommend(_) | Command::Completions { .. } | Command::Doctor => {
                Vec::new()
            }
        }
    }
}

fn run(mut cli: Cli, out: &mut Output) -> Result<(), Failure> {
    if let Some(threads) = cli.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(|error| Failure::new(error.to_string()))?;
    }
    for path in cli.command.models() {
        *path = published::found(path, cli.offline)?;
    }
    match cli.command {
        Command::Chat(args) => chat::run(&args, out),
        Command::Generate(args) => generate::run(&args, out),
        Command::Embed(args) => embed::run(&args, out),
        Command::Perplexity(args) => perplexity::run(&args, out),
        Command::Finetune(args) => finetune::run(&args, out),
        Command::Inspect(args) => inspect::run(&args, out),
        Command::Quantize(args) => quantize::run(&args, out),
        Command::Tokenize(args) => tokenize::run(&args, out),
        Command::Predict(args) => predict::run(&args, out),
        Command::Recommend(args) => recommend::run(&args, out),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, out),
        Command::Completions { shell } => completions(shell),
        Command::Doctor => doctor::run(out),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    // Written at once: whoever reads may have enough before the end, which is no fault.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
