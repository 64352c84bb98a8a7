//! The command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use cairn_datasets::DataDir;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::alone::{self, Alone};
use crate::check::Settings;
use crate::{bench, checks, ci, download, e2e, output};

/// Where every random choice of the checks begins; fixed, so that a run can be repeated bit for bit.
const SEED: u64 = 42;

/// The tasks of Cairn's repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Train and check each system end to end; exits 1 if one misses its bar, not if one is skipped for want of its data
    E2e(E2e),
    /// Measure the machine's f32 peak, then single operations and each reference model against it
    Bench(Bench),
    /// A part of `bench`: a chat model in a process of its own, whose memory is looked at
    #[command(hide = true)]
    Alone(Alone),
    /// Download data sets ahead of time
    Download(Download),
    /// Formatting, lints, documentation, tests and the quick checks, stopping at the first failure
    Ci,
    /// A part of `bench`, which looks at the memory of a process that does this alone
    #[command(hide = true)]
    LongStep,
}

#[derive(Debug, Args)]
struct E2e {
    /// Run only these checks
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(checks::names()))]
    only: Vec<String>,
    /// Do less of everything: a minute instead of many, with bars meant for it
    #[arg(long)]
    quick: bool,
    /// Do as much as published figures took, where a check has more than it does by itself: hours instead of minutes. A training of hours
    /// that was interrupted goes on with the same --out
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Never use the network; data that is missing is replaced by generated stand-ins
    #[arg(long)]
    offline: bool,
    /// Folder for results.json and report.html [default: target/e2e]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Bench {
    /// Run only these
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(bench::names()))]
    only: Vec<String>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// Write pages of what an epoch of each reference model cost, in FLOPs by layer, seconds, memory and energy, into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Download {
    /// Data sets; where none is named all that the checks fetch by themselves
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(download::names()))]
    names: Vec<String>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Debug, Args)]
struct DataArgs {
    /// Folder of data sets [default: $CAIRN_DATA_DIR, else the user's cache folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl DataArgs {
    fn resolve(&self) -> anyhow::Result<DataDir> {
        if let Some(file) = self.data_dir.as_deref().filter(|folder| folder.is_file()) {
            bail!("--data-dir {} is a file, not a folder", file.display());
        }
        Ok(DataDir::resolve(self.data_dir.as_deref()))
    }

    /// As [`resolve`](Self::resolve), where data is looked for: a folder that was mistyped would be one without any.
    fn existing(&self) -> anyhow::Result<DataDir> {
        if let Some(folder) = self.data_dir.as_deref().filter(|folder| !folder.exists()) {
            bail!("--data-dir {}: there is no such folder", folder.display());
        }
        self.resolve()
    }
}

/// Runs the task named on the command line. Exit codes: 0 for success, 1 for a failure, 2 for a command line that is
/// not understood. Checks that are skipped because their data is not there are no failure, not even where all are.
pub fn main() -> ExitCode {
    let task = Cli::parse().task;
    let out = &mut std::io::stdout();
    let outcome = match task {
        Task::E2e(args) => run_e2e(&args, out),
        Task::Bench(args) => run_bench(&args, out),
        Task::Alone(args) => alone::run(&args, out).map(|()| true),
        Task::Download(args) => {
            args.data.resolve().and_then(|dir| download::run(&args.names, &dir, out)).map(|()| true)
        }
        Task::Ci => ci::run(&workspace(), out).map(|()| true),
        Task::LongStep => bench::long_step(out).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            output::note(format_args!("error: {e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run_e2e(args: &E2e, out: &mut dyn Write) -> anyhow::Result<bool> {
    let data = args.data.existing()?;
    let data = if args.offline { data.offline() } else { data };
    let folder = args.out.clone().unwrap_or_else(|| target().join("e2e"));
    let kept = Some(folder.clone());
    let settings = Settings { data, quick: args.quick, long: args.long, seed: SEED, kept };
    e2e::run(&checks::select(&args.only), &settings, &folder, out)
}

fn run_bench(args: &Bench, out: &mut dyn Write) -> anyhow::Result<bool> {
    match bench::run(&args.only, args.json, args.report.clone(), out) {
        // Its lines are all it makes: who closes the pipe has seen enough.
        Err(e) if output::is_closed_pipe(&e) => Ok(true),
        outcome => outcome.map(|()| true),
    }
}

/// The repository's root: the parent of this package, which cargo names when it runs the program.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}

/// Where cargo puts what can be made again; version control ignores it.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Task, String> {
        Cli::try_parse_from(std::iter::once("cargo xtask").chain(line.split(' ')))
            .map(|c| c.task)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_split_at_commas() {
        let Ok(Task::E2e(args)) = parse("e2e --only svd,svd --quick --offline --data-dir d --out o") else {
            panic!("not understood");
        };
        assert_eq!(args.only, ["svd", "svd"]);
        assert_eq!(checks::select(&args.only).len(), 1);
        assert!(args.quick && args.offline);
        assert_eq!((args.data.data_dir, args.out), (Some("d".into()), Some("o".into())));
    }

    #[test]
    fn no_name_means_all() {
        assert_eq!(checks::select(&[]).len(), checks::ALL.len());
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        for (line, known) in [
            ("e2e --only svd,nothing", checks::names()),
            ("bench --only nothing", bench::names()),
            ("download nothing", download::names()),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains("'nothing'"), "{error}");
            for name in known {
                assert!(error.contains(name), "{error}");
            }
        }
        assert!(parse("e2e --only ").is_err());
    }

    #[test]
    fn names_are_unique_lower_case_words() {
        for names in [checks::names(), bench::names()] {
            for (i, name) in names.iter().enumerate() {
                assert!(!names[..i].contains(name), "{name} twice");
                assert!(
                    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
                    "{name}"
                );
            }
        }
    }
}
