//! The program from outside: exit codes and messages.

use std::process::{Command, Output, Stdio};

fn xtask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_check_is_refused_with_the_known_ones() {
    let output = xtask(&["e2e", "--only", "svdd"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    for name in xtask::checks::names() {
        assert!(text.contains(name), "{text}");
    }
    assert!(text.contains("'svdd'") && text.contains("similar"), "{text}");
}

#[test]
fn an_unknown_task_is_refused_with_the_known_ones() {
    let output = xtask(&["deploy"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("deploy"));
    let help = xtask(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for task in ["e2e", "bench", "download", "ci"] {
        assert!(help.contains(task), "{help}");
    }
}

/// As `cargo xtask bench | head -0` does.
#[test]
fn a_closed_pipe_ends_a_benchmark_quietly() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--only", "mlp"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(bench.stdout.take());
    let output = bench.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn a_mistyped_data_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, said) in [(dir.path().join("typo"), "no such folder"), (file, "is a file")] {
        let output =
            xtask(&["e2e", "--only", "svd", "--quick", "--offline", "--data-dir", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        assert!(!dir.path().join("typo").exists());
    }
}

/// Data that is there but damaged must not give way to a stand-in.
#[test]
fn damaged_data_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("movielens/ml-100k");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("u.data"), "1\t2\tfive\t3\n").unwrap();
    std::fs::write(folder.join("u.item"), "one|Film\n").unwrap();
    let [data, out] = [dir.path(), &dir.path().join("out")].map(|p| p.to_str().unwrap().to_owned());
    let output = xtask(&["e2e", "--only", "svd", "--quick", "--offline", "--data-dir", &data, "--out", &out]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("svd: FAILED:") && printed.contains("u.item, line 1"), "{printed}");
    assert!(!printed.contains("[stand-in]"), "{printed}");
    let results = std::fs::read_to_string(dir.path().join("out/results.json")).unwrap();
    assert!(results.contains("\"passed\":false"), "{results}");
}
