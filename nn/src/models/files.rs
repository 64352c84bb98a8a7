//! What is where in a published model: a folder with config.json and safetensors, or a GGUF file.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, gguf};
#[cfg(feature = "language")]
use crate::tokenizer::{ChatTemplate, Tokenizer};
use crate::weights::Weights;
use crate::weights::gguf::Gguf;
#[cfg(feature = "language")]
use crate::weights::gguf::Value;
use crate::{Error, Result};

/// The parts of a published model.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) config: Config,
    pub(crate) weights: Weights,
    /// Where it is one file.
    #[cfg_attr(
        not(feature = "language"),
        expect(dead_code, reason = "its tokenizer is what it is kept for")
    )]
    gguf: Option<Gguf>,
}

impl Opened {
    /// Reads the settings and weights that lie at a path.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            fs::metadata(path).map_err(Error::file(path))?;
            let file = Gguf::open(path)?;
            return Ok(Opened {
                config: gguf::config(path, &file)?,
                weights: file.weights()?,
                gguf: Some(file),
            });
        }
        let config = of_folder(path)?;
        Ok(Opened { config, weights: Weights::read_safetensors(weights_of(path)?)?, gguf: None })
    }
}

impl Opened {
    /// The settings alone.
    pub(crate) fn config(path: &Path) -> Result<Config> {
        if path.is_dir() { of_folder(path) } else { gguf::config(path, &Gguf::open(path)?) }
    }
}

/// The settings in a folder.
fn of_folder(path: &Path) -> Result<Config> {
    let config = Config::read(path.join("config.json"))?;
    // Models that also see have the language model's settings in a part of theirs.
    Ok(config.part("text_config").unwrap_or(config))
}

#[cfg(feature = "language")]
impl Opened {
    /// The tokenizer of the model, and how it reads conversations.
    pub(crate) fn tokenizer(&self, path: &Path) -> Result<(Tokenizer, Option<ChatTemplate>)> {
        let Some(file) = &self.gguf else {
            return Ok((Tokenizer::load(path)?, ChatTemplate::load(path)?));
        };
        let tokenizer = Tokenizer::of_gguf(file)?;
        let Some(source) = file.get("tokenizer.chat_template").and_then(Value::as_str) else {
            return Ok((tokenizer, None));
        };
        let mark = |name: &str| {
            let id = file.get(&format!("tokenizer.ggml.{name}_token_id")).and_then(Value::as_u64);
            id.and_then(|id| tokenizer.token(u32::try_from(id).ok()?)).unwrap_or_default()
        };
        let template = ChatTemplate::parse(source)?.with_marks(mark("bos"), mark("eos"));
        Ok((tokenizer, Some(template)))
    }

    /// What the publisher suggests about sampling, and which tokens end texts.
    pub(crate) fn suggested(&self, path: &Path) -> Result<Option<Config>> {
        let path = path.join("generation_config.json");
        path.is_file().then(|| Config::read(path)).transpose()
    }
}

/// The file of weights in a folder, or the index of several.
pub(crate) fn weights_of(folder: &Path) -> Result<PathBuf> {
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let all = fs::read_dir(folder).map_err(Error::file(folder))?;
    let mut all: Vec<PathBuf> = all.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let there = all.iter().any(|path| path.extension().is_some_and(|end| end == "bin" || end == "pt"));
    all.retain(|path| path.extension().is_some_and(|end| end == "safetensors"));
    match &all[..] {
        [one] => Ok(one.clone()),
        _ => {
            let hint =
                if there { ": PyTorch's own files are programs; convert them to safetensors" } else { "" };
            let why = format!("there is no model.safetensors in the folder{hint}");
            Err(Error::BadFile { path: folder.to_owned(), why })
        }
    }
}
