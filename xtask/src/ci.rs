//! `cargo xtask ci`: the steps of continuous integration, in turn, the cheap ones first.
//!
//! They are here rather than in a workflow file so that they are the same on every desk and in every pipeline. That every
//! package, target and feature they name exists is a test of this package, so that a test program which is renamed is
//! missed by `cargo test --workspace` and not first by the step that asks for it.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::format;
use crate::output::BestEffort;

/// One step: a command of cargo.
#[derive(Debug)]
pub struct Step {
    /// The command as one would type it, without quotes.
    pub command: &'static str,
    /// An environment variable to set for it, and its value.
    pub variable: Option<(&'static str, &'static str)>,
    /// Without which it is left out.
    pub needs: Option<Need>,
}

/// What not every machine has.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// A program.
    Program(&'static str),
    /// The standard library of another target, as `rustup target add` brings it.
    Target(&'static str),
}

impl Need {
    fn is_here(self) -> bool {
        match self {
            Need::Program(name) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
            }
            Need::Target(name) => {
                let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
                let output =
                    Command::new(rustc).args(["--print", "target-libdir", "--target", name]).output();
                output.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
            }
        }
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Program(name) => write!(f, "`{name}`"),
            Need::Target(name) => write!(f, "the target {name}"),
        }
    }
}

impl Step {
    const fn new(command: &'static str) -> Self {
        Self { command, variable: None, needs: None }
    }

    const fn with(self, variable: &'static str, value: &'static str) -> Self {
        Self { variable: Some((variable, value)), ..self }
    }

    const fn needs(self, need: Need) -> Self {
        Self { needs: Some(need), ..self }
    }

    /// What it needs, if that is not here.
    fn lacks(&self) -> Option<Need> {
        self.needs.filter(|need| !need.is_here())
    }

    fn run(&self, root: &Path) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(self.command.split_whitespace().skip(1)).current_dir(root).envs(self.variable);
        let status = command.status().with_context(|| format!("cannot start {}", self.command))?;
        if !status.success() {
            bail!("{} failed: {status}", self.command);
        }
        Ok(())
    }
}

/// Every step, in the order they are run.
pub const STEPS: &[Step] = &[
    Step::new("cargo fmt --all --check"),
    Step::new("cargo clippy --workspace --all-targets -- -D warnings"),
    Step::new("cargo doc --workspace --no-deps").with("RUSTDOCFLAGS", "-D warnings"),
    Step::new("cargo test --workspace"),
    // What lies behind features.
    Step::new("cargo test -p cairn-tensor -p cairn-autograd --all-features"),
    Step::new("cargo test -p cairn-nn --all-features"),
    Step::new("cargo test -p cairn-optim --features linalg --test laws ridge"),
    Step::new("cargo clippy -p cairn-ml --features serve --all-targets -- -D warnings"),
    Step::new("cargo test -p cairn-ml --features serve --bin cairn --test cli"),
    Step::new("cargo test -p cairn-recsys --features arrow,parquet --test laws"),
    Step::new("cargo test -p cairn-datasets --all-features"),
    Step::new("cargo test -p cairn-fuzz --features all"),
    // Processes that MPI connects. Debian: libopenmpi-dev, openmpi-bin, libclang-dev.
    Step::new("cargo test --workspace --features cairn-optim/mpi --test mpi").needs(Need::Program("mpicc")),
    // What is left without them.
    Step::new(
        "cargo check -p cairn-ml -p cairn-recsys -p cairn-datasets --no-default-features --all-targets",
    ),
    // What the READMEs say of other machines.
    Step::new(
        "cargo check -p cairn-recsys -p cairn-optim -p cairn-datasets --no-default-features --target i686-unknown-linux-gnu",
    )
    .needs(Need::Target("i686-unknown-linux-gnu")),
    Step::new("cargo check -p cairn-optim -p cairn-datasets --no-default-features --target wasm32-unknown-unknown")
        .needs(Need::Target("wasm32-unknown-unknown")),
    Step::new("cargo check -p cairn-recsys -p cairn-optim --target aarch64-unknown-linux-gnu")
        .needs(Need::Target("aarch64-unknown-linux-gnu")),
    // What would be published, as far as it goes without a network.
    Step::new(
        "cargo package --workspace --exclude xtask --exclude bench-tables --exclude cairn-fuzz --no-verify --allow-dirty --offline",
    ),
    Step::new("cargo xtask e2e --quick"),
];

/// Runs every step in the workspace at `root` and reports to `out`; stops at the first that fails.
///
/// # Errors
/// The step that failed or could not be started.
pub fn run(root: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut out = BestEffort(out);
    let mut times = Vec::with_capacity(STEPS.len());
    for (i, step) in STEPS.iter().enumerate() {
        writeln!(out, "\n[{}/{}] {}", i + 1, STEPS.len(), step.command)?;
        if let Some(need) = step.lacks() {
            writeln!(out, "[{}/{}] left out: {need} is not here", i + 1, STEPS.len())?;
            times.push(0.0);
            continue;
        }
        let started = Instant::now();
        step.run(root)?;
        let seconds = started.elapsed().as_secs_f64();
        writeln!(out, "[{}/{}] ok in {}", i + 1, STEPS.len(), format::seconds(seconds))?;
        times.push(seconds);
    }
    writeln!(out)?;
    for (step, seconds) in STEPS.iter().zip(&times) {
        writeln!(out, "{:>12}  {}", format::seconds(*seconds), step.command)?;
    }
    writeln!(out, "{:>12}  all steps passed", format::seconds(times.iter().sum()))?;
    Ok(())
}
