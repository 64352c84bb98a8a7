//! The crate's front page names every operation, or the module that does, and nothing that does not exist.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The sources of the tensor and of its operations.
fn sources() -> Vec<String> {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("cpu") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// Public methods of tensors, written out or by a row of a macro's table.
fn methods(source: &str) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    let (mut of_tensor, mut in_table, mut hidden) = (false, false, false);
    for line in source.lines() {
        if line.starts_with("impl") {
            of_tensor = line.contains(" Tensor<") && !line.contains(" for ");
        } else if !line.starts_with(' ') && line.ends_with("! {") {
            in_table = !line.starts_with("macro_rules");
        } else if line == "}" {
            (of_tensor, in_table) = (false, false);
        }
        if let Some(rest) = line.strip_prefix("    pub fn ") {
            if of_tensor && !hidden {
                methods.insert(first_word(rest).to_owned());
            }
        } else if in_table && line.starts_with("    ") && !line.starts_with("     ") {
            let row = line.trim_start();
            let name = first_word(row);
            // Other tables' rows begin with a type.
            let is_type = ["f32", "f64", "i64", "u32", "u8"].contains(&name);
            let is_row = row[name.len()..].starts_with([',', '(']) && !name.is_empty() && !is_type;
            if is_row && name.chars().all(|c| c.is_lowercase() || c.is_numeric() || c == '_') {
                methods.insert(name.to_owned());
            }
        }
        hidden = line.contains("#[doc(hidden)]");
    }
    methods
}

/// What the front page's table has in code font.
fn named(front: &str) -> BTreeSet<String> {
    front
        .lines()
        .filter(|line| line.starts_with("//! |"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_operation_is_on_the_front_page() {
    // The table of the crate, and that of the module that it refers to.
    let pages = [include_str!("../../src/lib.rs"), include_str!("../../src/ops/norm.rs")];
    let named: BTreeSet<String> = pages.into_iter().flat_map(named).collect();
    let methods: BTreeSet<String> = sources().iter().flat_map(|source| methods(source)).collect();
    assert!(methods.len() > 150, "the sources were not understood: {methods:?}");
    let missing: Vec<&String> = methods
        .iter()
        .filter(|name| {
            // Forms of an operation that the table names by the operation.
            let base = ["_keepdim", "_backward", "_input_gradient", "_filter_gradient"]
                .iter()
                .fold(name.as_str(), |name, form| name.strip_suffix(form).unwrap_or(name));
            !named.contains(base) && !named.contains(name.as_str())
        })
        .collect();
    assert!(missing.is_empty(), "not on the front page: {missing:?}");
    let all = sources().concat();
    // The form of reductions, features, other crates.
    let others = ["_keepdim", "faer", "linalg", "ndarray", "npz", "rand_distr"];
    let invented: Vec<&String> = named
        .iter()
        .filter(|name| name.chars().all(|c| c.is_lowercase() || c.is_numeric() || c == '_'))
        .filter(|name| !methods.contains(*name) && !all.contains(&format!("fn {name}")))
        .filter(|name| !all.contains(&format!("    {name}, ")) && !others.contains(&name.as_str()))
        .collect();
    assert!(invented.is_empty(), "on the front page, but nowhere else: {invented:?}");
}
