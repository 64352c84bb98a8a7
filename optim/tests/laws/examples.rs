//! The two programs that the README shows, run as they stand there; how long programs are that are said to be short.

use std::fs;

#[path = "../../examples/fit_and_resume.rs"]
#[allow(dead_code)] // its `main`
mod fit_and_resume;
#[path = "../../examples/load_and_predict.rs"]
#[allow(dead_code)]
mod load_and_predict;

#[test]
fn one_program_trains_and_goes_on_and_another_uses_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.cairn");
    let name = path.to_str().unwrap();
    fit_and_resume::train(name).unwrap();
    let [drawn, read] = load_and_predict::classify(name).unwrap();
    let right = drawn.iter().zip(&read).filter(|(a, b)| a == b).count();
    assert!(right >= 7, "{drawn:?} was read as {read:?}");

    // Started again it has nothing to learn any more, and gives the same model from its checkpoint.
    let saved = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fit_and_resume::train(name).unwrap();
    assert_eq!(fs::read(&path).unwrap(), saved);
}

#[test]
fn the_readme_shows_them_in_fewer_than_forty_lines() {
    let readme = include_str!("../../README.md");
    let sources = [
        include_str!("../../examples/fit_and_resume.rs"),
        include_str!("../../examples/load_and_predict.rs"),
    ];
    let code = sources.map(|source| {
        let start = source.lines().position(|line| line.starts_with("use ")).unwrap();
        source.lines().skip(start).collect::<Vec<_>>().join("\n")
    });
    let lines: usize = code.iter().map(|code| code.lines().filter(|line| !line.is_empty()).count()).sum();
    assert!(lines < 40, "{lines} lines");
    for code in &code {
        assert!(readme.contains(code.as_str()), "the README shows something else than\n{code}");
    }
}

#[test]
fn a_gpt_is_written_in_sixty_lines() {
    // As it stands there, with its comments: what `cargo xtask e2e --only gpt` trains.
    let source = include_str!("../../examples/gpt/model.rs");
    let lines = source.lines().count();
    assert!(lines <= 60, "{lines} lines");
    let longest = source.lines().map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= 140), "{longest:?} letters in a line");
    // Of public layers: nothing in it is of another example.
    assert!(!source.contains("mod ") && !source.contains("#[path"), "{source}");
}
