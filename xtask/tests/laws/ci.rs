//! Every package, target, feature and task that a command of this repository names is there: in the steps of `cargo xtask
//! ci`, in `.ci/run`, in the workflow, and in what people are told to type. Cargo itself finds out only when the command is run.

use std::process::Command;

use xtask::ci::STEPS;

use crate::workspace::{Package, packages, root};

/// What a cargo command names that is not there.
fn missing(words: &[&str], packages: &[Package]) -> Vec<String> {
    const KNOWN: [&str; 13] = [
        "add", "bench", "build", "check", "clippy", "deny", "doc", "fmt", "install", "package", "publish",
        "run", "test",
    ];
    let Some((&command, arguments)) = words.split_first() else {
        return vec!["nothing after `cargo`".to_owned()];
    };
    if command == "xtask" {
        // Options are read in turn, so one that is not known comes before the help.
        let output =
            Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).arg("--help").output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return if output.status.success() { vec![] } else { vec![message] };
    }
    let mut faults = Vec::new();
    if !KNOWN.contains(&command) {
        faults.push(format!("the command `{command}`"));
    }
    if command == "add" {
        return faults; // names packages of other people too
    }
    // What follows `--` is for the program.
    let arguments: Vec<&str> = arguments.iter().copied().take_while(|&word| word != "--").collect();
    let values = |option: &str| -> Vec<&str> {
        arguments.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect()
    };
    let mut chosen = Vec::new();
    // What is installed is named without an option.
    let installed = arguments.iter().copied().take(usize::from(command == "install")).collect();
    for name in [values("-p"), values("--package"), values("--exclude"), installed].concat() {
        match packages.iter().find(|package| package.name == name) {
            Some(package) => chosen.push(package),
            None => faults.push(format!("the package `{name}`")),
        }
    }
    if chosen.is_empty() || arguments.contains(&"--workspace") {
        chosen = packages.iter().collect();
    }
    // What all packages are searched for is in one of them.
    let anywhere = arguments.contains(&"--workspace");
    for (option, kind) in
        [("--test", "test"), ("--bench", "bench"), ("--example", "example"), ("--bin", "bin")]
    {
        for name in values(option) {
            let lacks = |package: &&&Package| !package.targets.iter().any(|(k, n)| k == kind && n == name);
            let without: Vec<_> = chosen.iter().filter(lacks).collect();
            let missing = if anywhere { without.len() == chosen.len() } else { !without.is_empty() };
            faults.extend(
                without
                    .iter()
                    .filter(|_| missing)
                    .map(|package| format!("the {kind} target `{name}` of {}", package.name)),
            );
        }
    }
    for feature in values("--features").iter().flat_map(|list| list.split(',')) {
        let (named, feature) = feature.split_once('/').map_or((None, feature), |(of, name)| (Some(of), name));
        for package in chosen.iter().filter(|package| named.is_none_or(|named| package.name == named)) {
            if !package.features.iter().any(|f| f == feature) {
                faults.push(format!("the feature `{feature}` of {}", package.name));
            }
        }
    }
    faults
}

/// The commands that stand on lines of their own in `text`, behind a variable, a list's dash or a shell function perhaps; what
/// follows two spaces or a `#` is said about them.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| {
        let start = line.find("cargo ")?;
        let before = line[..start].trim();
        let shell = ["", "step", "run:", "- run:"].contains(&before) || before.starts_with("CAIRN_");
        shell.then_some(&line[start..])
    });
    lines.map(|line| line.split("  ").next().unwrap_or(line).split(" #").next().unwrap_or(line)).collect()
}

#[test]
fn every_name_in_a_command_exists() {
    let packages = packages();
    let mut checked: Vec<String> = STEPS.iter().map(|step| step.command.to_owned()).collect();
    for file in [".ci/run", ".github/workflows/ci.yml", "CONTRIBUTING.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let commands = commands(&text);
        assert!(!commands.is_empty(), "no command in {file}");
        checked.extend(commands.into_iter().map(str::to_owned));
    }
    for command in checked {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        assert_eq!(missing(&words, &packages), Vec::<String>::new(), "{command}");
    }
}

#[test]
fn a_renamed_target_is_missed() {
    let packages = packages();
    let missing = |line: &str| missing(&line.split(' ').collect::<Vec<_>>(), &packages).join("; ");
    assert_eq!(missing("test -p cairn-recsys --features parquet --test laws"), "");
    assert_eq!(missing("test -p cairn-recsys --test parquet"), "the test target `parquet` of cairn-recsys");
    assert_eq!(missing("test -p cairn-recsys --features arrows"), "the feature `arrows` of cairn-recsys");
    assert_eq!(missing("test --workspace --features cairn-optim/mpi --test mpi"), "");
    assert_eq!(missing("test --workspace --features cairn-optim/mpj"), "the feature `mpj` of cairn-optim");
    assert!(missing("test --workspace --test mpj").contains("`mpj` of cairn-optim"));
    assert_eq!(missing("install cairn-ml --features cli,serve"), "");
    assert!(missing("install cairn").contains("the package `cairn`"));
    assert_eq!(missing("test -p cairn-layers"), "the package `cairn-layers`");
    assert_eq!(missing("tset --workspace"), "the command `tset`");
    assert_eq!(missing("xtask e2e --quick --only svd"), "");
    assert!(missing("xtask e2e --quik").contains("--quik"));
    assert!(missing("xtask bench --only svd").contains("'svd'"));
}

/// The README's test command, and what `.ci/run` runs, are steps of `cargo xtask ci` too, up to where the data lies.
#[test]
fn what_runs_elsewhere_is_a_step() {
    let steps: Vec<&str> = STEPS.iter().map(|step| step.command).collect();
    let text = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in commands(&text) {
        let command = command.split(" --offline").next().unwrap_or(command);
        assert!(steps.contains(&command), "{command}: not among {steps:#?}");
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(commands(&readme).contains(&"cargo test --workspace"));
    assert!(commands(&text).contains(&"cargo test --workspace"));
}
