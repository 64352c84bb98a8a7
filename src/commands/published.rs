//! Models that are named as their publishers name them, `organisation/name`, where no file or folder is of that name.

use std::path::{Path, PathBuf};

use cairn::datasets::DataDir;
use cairn::datasets::hub::{Hub, ModelName};

use super::failure::Failure;

/// The path of a model: what is there under the name, else the published model, which is downloaded once.
pub(super) fn found(path: &Path, offline: bool) -> Result<PathBuf, Failure> {
    let name = path.to_str().and_then(|text| text.parse::<ModelName>().ok());
    let Some(name) = name.filter(|_| !is_path(path)) else { return Ok(path.to_owned()) };
    let (hub, dir) = (Hub::default(), DataDir::default());
    let dir = if offline || told_offline() { dir.offline() } else { dir };
    hub.obtain(&name, &dir).map_err(|error| {
        let here = format!("no file or folder here is {}", path.display());
        Failure::new(format!("{error}"))
            .hint(format!("{here}, so it was taken for the name of a model at {}", hub.server()))
    })
}

/// Whether a path is meant, be it mistyped: something is there, or the folder that it would be in, or it ends as files do.
fn is_path(path: &Path) -> bool {
    let file =
        path.extension().is_some_and(|end| ["gguf", "safetensors", "cairn"].iter().any(|own| end == *own));
    file || path.exists() || path.parent().is_some_and(Path::is_dir)
}

/// As the hub's own programs are told.
fn told_offline() -> bool {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default();
    ["1", "true", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
}
