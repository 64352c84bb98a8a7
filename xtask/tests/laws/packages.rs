//! Each package that is published can stand alone: it says what it is, and holds its README and the texts of both licences, which
//! both ask for.

use std::collections::BTreeSet;
use std::fs;

use crate::workspace::{cargo, packages, root};

#[test]
fn manifests_say_what_a_registry_shows() {
    for package in packages().iter().filter(|package| package.is_public()) {
        let (name, manifest) = (&package.name, &package.manifest);
        for key in
            ["description", "documentation", "license", "readme", "repository", "rust_version", "edition"]
        {
            assert!(manifest[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: no {key}");
        }
        assert_eq!(manifest["documentation"], format!("https://docs.rs/{name}"));
        for (key, most) in [("keywords", 5), ("categories", 5)] {
            let words = manifest[key].as_array().unwrap();
            assert!((1..=most).contains(&words.len()), "{name}: {} {key}", words.len());
            assert!(
                words.iter().all(|word| word.as_str().unwrap().len() <= 20),
                "{name}: a long one of {key}"
            );
        }
        let docs = &manifest["metadata"]["docs"]["rs"];
        // What needs MPI cannot be built where documentation is: then all others are listed.
        let listed = |feature: &String| {
            docs["features"].as_array().is_some_and(|all| all.iter().any(|f| f == feature))
        };
        let mpi = package.features.iter().any(|feature| feature == "mpi");
        let others =
            package.features.iter().filter(|feature| !["default", "mpi"].contains(&feature.as_str()));
        for feature in others.filter(|_| mpi) {
            assert!(listed(feature), "{name}: docs without feature {feature}");
        }
        assert_eq!(docs["all-features"] == true, !mpi, "{name}: docs without features");
    }
}

#[test]
fn packages_hold_their_readme_and_licences() {
    for package in packages().iter().filter(|package| package.is_public()) {
        let list = cargo(&["package", "-p", &package.name, "--list", "--allow-dirty", "--offline"]);
        let files: Vec<&str> = list.lines().collect();
        for file in ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"] {
            assert!(files.contains(&file), "{} has no {file}: {files:?}", package.name);
        }
        let folder = package.manifest["manifest_path"].as_str().unwrap().replace("Cargo.toml", "");
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let [here, there] = [folder.clone() + licence, root().join(licence).display().to_string()]
                .map(|path| fs::read_to_string(path).unwrap());
            assert!(here == there, "{}: another {licence}", package.name);
        }
    }
}

/// The names of all packages that one brings, with these features: what is compiled for whoever depends on it.
fn tree(package: &str, features: &[&str]) -> BTreeSet<String> {
    let fixed = ["tree", "-p", package, "-e", "normal,build", "--prefix", "none", "--offline"];
    let listed = cargo(&[&fixed[..], features].concat());
    listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Whoever takes a library takes no server, no command line and no other runtime with it.
#[test]
fn libraries_bring_nothing_of_the_program() {
    const OF_THE_PROGRAM: [&str; 8] =
        ["axum", "clap", "clap_complete", "clap_derive", "hyper", "hyper-util", "tokio", "tower"];
    for package in packages().iter().filter(|package| package.is_public()) {
        let brought = tree(&package.name, &[]);
        assert!(brought.contains(&package.name), "{}: {brought:?}", package.name);
        let found: Vec<&&str> = OF_THE_PROGRAM.iter().filter(|name| brought.contains(**name)).collect();
        assert!(found.is_empty(), "{} brings {found:?}", package.name);
    }
    // The tree with the program's features could only be asked for where these have been downloaded; what the tests are built of has been.
    let all = packages();
    let program = all.iter().find(|package| package.name == "cairn-ml").unwrap();
    let named = program.manifest["dependencies"].as_array().unwrap();
    for name in ["axum", "clap", "tokio"] {
        assert!(OF_THE_PROGRAM.contains(&name) && named.iter().any(|d| d["name"] == name), "{name} is its");
    }
}

/// Open language models from text to text, without training, recommenders and the program.
#[test]
fn the_tree_of_the_decoder_alone_is_short() {
    let brought = tree("cairn-nn", &["--features", "language"]);
    assert!(brought.contains("tokenizers") && brought.contains("cairn-tensor"), "{brought:?}");
    assert!(brought.len() <= 150, "{} packages: {brought:?}", brought.len());
}
