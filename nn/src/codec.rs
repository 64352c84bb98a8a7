//! The files of networks: the container of `cairn_files` with this crate's errors.
//!
//! Other crates of the workspace write their files through it too; it is no part of the interface that is kept stable.

use std::path::Path;

use cairn_files::container::{self, Format};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

pub use cairn_files::container::Kind;

/// The version of what is written under a kind; raised with every change of its form. 1: tensors of f32, layers by the number of
/// their kind. 2: tensors of any type, layers by the name of their kind. 3, of training runs: all settings that the run depends on.
fn format(kind: Kind) -> Format {
    kind.version(if kind == Kind::Training { 3 } else { 2 })
}

/// The file's bytes for a value.
///
/// # Errors
/// Why it cannot be encoded.
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Vec<u8>, String> {
    container::encode(format(kind), value)
}

/// The value in a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, String> {
    container::decode(format(kind), bytes).map_err(|why| {
        if why.starts_with("format version 1;") {
            return format!(
                "written by Cairn 0.1 before tensors had any element type ({why}); \
                 write the weights as safetensors with that Cairn, and read those here"
            );
        }
        if kind == Kind::Training && why.starts_with("format version 2;") {
            return format!(
                "written before training runs kept all their settings ({why}): begin the run anew"
            );
        }
        match Kind::ALL
            .into_iter()
            .find(|held| *held != kind && why.contains(&format!("holds {},", held.name())))
        {
            Some(Kind::Sequential) => format!("{why}: read it with `Sequential::load`"),
            Some(Kind::Weights) => {
                format!("{why}: make the model first, and read them into it with `load_weights`")
            }
            Some(Kind::Training) => format!("{why}: go on with it by `Fit::checkpoint` and `Fit::resume`"),
            _ => why,
        }
    })
}

/// Writes a file in one step. Whatever goes wrong, the old file is still there and whole.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when it cannot be written.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(cairn_files::write(path, bytes)?)
}
