//! What sentence-transformers puts around a model: the list of its parts in `modules.json`, each a class with a folder for its settings.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::Deserialize;

use crate::{Error, Result};

/// The file of the list.
const LIST: &str = "modules.json";
/// The class that says how the vector of a text is made of those of its tokens.
pub(crate) const POOLING: &str = "Pooling";

/// A part of a model.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    /// The name of its class, with that of the module that it is in.
    #[serde(rename = "type")]
    kind: String,
    /// Its folder, within that of the model.
    #[serde(default)]
    pub(crate) path: String,
}

impl Part {
    /// The parts of the model in a folder; `None` where there is no list of them.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::BadFile`] for a list that cannot be read, or that leads out of the folder: what lies elsewhere is not
    /// the model's, and would be read, and copied, all the same.
    pub(crate) fn list(folder: &Path) -> Result<Option<Vec<Part>>> {
        let file = folder.join(LIST);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&file)(error)),
        };
        let bad = |why: String| Error::BadFile { path: file.clone(), why };
        let parts: Vec<Part> = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        match parts.iter().find(|part| !is_inside(&part.path)) {
            Some(part) => Err(bad(format!("a part in `{}`, which leads out of the folder", part.path))),
            None => Ok(Some(parts)),
        }
    }

    /// The name of its class alone.
    pub(crate) fn class(&self) -> &str {
        self.kind.rsplit('.').next().unwrap_or_default()
    }
}

/// Whether a path leads into the folder that it stands in.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_into_the_folder_or_are_refused() {
        for inside in ["", "1_Pooling", "parts/pooling", "./pooling/"] {
            assert!(is_inside(inside), "{inside}");
        }
        for outside in ["..", "../other", "pooling/../../other", "/etc"] {
            assert!(!is_inside(outside), "{outside}");
        }
    }
}
