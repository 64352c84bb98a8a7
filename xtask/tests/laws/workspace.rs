//! What cargo knows of this workspace, asked without a network.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// What a command of cargo prints in the root.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Kind and name: `("test", "laws")`.
    pub(crate) targets: Vec<(String, String)>,
    pub(crate) features: Vec<String>,
    /// All that its manifest says.
    pub(crate) manifest: Value,
}

impl Package {
    /// Whether it may be published.
    pub(crate) fn is_public(&self) -> bool {
        self.manifest["publish"] != Value::Array(vec![])
    }
}

/// All packages of the workspace.
pub(crate) fn packages() -> Vec<Package> {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let package = |manifest: &Value| Package {
        name: text(&manifest["name"]),
        targets: manifest["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| (text(&target["kind"][0]), text(&target["name"])))
            .collect(),
        features: manifest["features"].as_object().unwrap().keys().cloned().collect(),
        manifest: manifest.clone(),
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}
