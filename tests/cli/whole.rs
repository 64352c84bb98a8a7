//! `cairn finetune --full`: all weights of a model, interrupted and gone on with.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::{compress, told, written};

/// The file that an interrupted training goes on from, beside what it writes or in it.
fn checkpoint(of: &Path) -> PathBuf {
    let folder = if of.is_dir() { of } else { of.parent().unwrap() };
    let stem = if of.is_dir() { "" } else { of.file_stem().unwrap().to_str().unwrap() };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = files.into_iter().find(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(stem) && name.ends_with("training.cairn")
    });
    found.unwrap_or_else(|| panic!("{} has no checkpoint", of.display()))
}

#[test]
fn a_training_of_all_weights_that_was_interrupted_ends_with_the_same_bits() {
    let made = compress::folder();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let (data, file) = (at("data.jsonl"), at("model.gguf"));
    let lines = [("the rain", " in spain"), ("stays", " mainly"), ("in the", " plain")]
        .map(|(prompt, completion)| json!({"prompt": prompt, "completion": completion}).to_string());
    std::fs::write(&data, lines.join("\n")).unwrap();
    written(&["quantize", made.path().to_str().unwrap(), file.to_str().unwrap(), "--format", "bf16"], "");
    let fixed = ["--full", "--quiet", "--batch-tokens", "20", "--learning-rate", "0.003", "--seed", "5"];
    for (model, ending) in [(made.path(), ""), (file.as_path(), ".gguf")] {
        let arguments = |out: &str, epochs: &str, more: &[&str]| -> Vec<String> {
            let out = at(&format!("{out}{ending}"));
            let [out, model, data] =
                [out.as_path(), model, data.as_path()].map(|path| path.to_str().unwrap());
            let first = ["finetune", model, "--data", data, "--out", out, "--epochs", epochs];
            [&first[..], &fixed, more].concat().into_iter().map(str::to_owned).collect()
        };
        let tune = |out: &str, epochs: &str, more: &[&str]| {
            let arguments = arguments(out, epochs, more);
            written(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), "");
            let path = at(&format!("{out}{ending}"));
            std::fs::read(if path.is_dir() { path.join("model.safetensors") } else { path }).unwrap()
        };
        let whole = tune("whole", "4", &[]);
        let half = tune("parts", "2", &[]);
        assert!(half != whole, "two epochs are not four");
        assert!(tune("parts", "4", &["--resume"]) == whole, "{}", model.display());
        // It was the checkpoint that it went on from: without a whole one there is nothing to go on from.
        std::fs::write(checkpoint(&at(&format!("parts{ending}"))), "nothing").unwrap();
        let again = arguments("parts", "4", &["--resume"]);
        let error = told(&again.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(error.contains("training.cairn"), "{error}");
    }
}
