//! Each package that is published can stand alone: it says what it is, and holds its README and the texts of both licences, which
//! both ask for.

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
