//! `cargo xtask ci`: the steps of continuous integration, in turn, the cheap ones first.
//!
//! They are here rather than in a workflow file so that they are the same on every desk and in every pipeline.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::format;

/// A step: what `cargo` is given, and an environment variable to set for it.
struct Step {
    arguments: &'static [&'static str],
    variable: Option<(&'static str, &'static str)>,
}

const STEPS: &[Step] = &[
    Step { arguments: &["fmt", "--all", "--check"], variable: None },
    Step { arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], variable: None },
    Step { arguments: &["doc", "--workspace", "--no-deps"], variable: Some(("RUSTDOCFLAGS", "-D warnings")) },
    Step { arguments: &["test", "--workspace"], variable: None },
    // What lies behind features.
    Step {
        arguments: &["test", "-p", "cairn-tensor", "-p", "cairn-autograd", "--all-features"],
        variable: None,
    },
    Step { arguments: &["test", "-p", "cairn-nn", "--all-features"], variable: None },
    Step {
        arguments: &["test", "-p", "cairn-recsys", "--all-features", "--test", "parquet"],
        variable: None,
    },
    Step { arguments: &["test", "-p", "cairn-datasets", "--all-features"], variable: None },
    Step { arguments: &["xtask", "e2e", "--quick"], variable: None },
];

impl Step {
    fn name(&self) -> String {
        format!("cargo {}", self.arguments.join(" "))
    }

    fn run(&self, root: &Path) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(self.arguments).current_dir(root).envs(self.variable);
        let status = command.status().with_context(|| format!("cannot start {}", self.name()))?;
        if !status.success() {
            bail!("{} failed: {status}", self.name());
        }
        Ok(())
    }
}

/// Runs every step in the workspace at `root`; stops at the first that fails.
///
/// # Errors
/// The step that failed.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let mut times = Vec::with_capacity(STEPS.len());
    for (i, step) in STEPS.iter().enumerate() {
        println!("\n[{}/{}] {}", i + 1, STEPS.len(), step.name());
        let started = Instant::now();
        step.run(root)?;
        let seconds = started.elapsed().as_secs_f64();
        println!("[{}/{}] ok in {}", i + 1, STEPS.len(), format::seconds(seconds));
        times.push(seconds);
    }
    println!();
    for (step, seconds) in STEPS.iter().zip(&times) {
        println!("{:>12}  {}", format::seconds(*seconds), step.name());
    }
    println!("{:>12}  all steps passed", format::seconds(times.iter().sum()));
    Ok(())
}
