//! This test program, started again to run one of its tests alone.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a child finds what it works on; a test that is a part of another does nothing without it.
const FOLDER: &str = "CAIRN_TEST_CHILD_FOLDER";

/// Runs the test of this path, say `resume::run_to_the_end`, in a process of its own.
pub(crate) fn command(test: &str, folder: &Path) -> Command {
    under(Command::new(env::current_exe().unwrap()), test, folder)
}

/// As [`command`], by a shell after it has run `setup`.
#[cfg(unix)]
pub(crate) fn command_after(setup: &str, test: &str, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    under(shell, test, folder)
}

fn under(mut command: Command, test: &str, folder: &Path) -> Command {
    command.args(["--exact", test]).env(FOLDER, folder);
    command
}

/// The folder, in a child.
pub(crate) fn folder() -> Option<PathBuf> {
    env::var_os(FOLDER).map(PathBuf::from)
}
