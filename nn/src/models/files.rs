//! What is where in a published model: a folder with config.json and safetensors, or a GGUF file.

use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "language")]
use std::thread;

#[cfg(feature = "language")]
use cairn_tensor::DType;

use super::{Config, defaults, gguf};
#[cfg(feature = "language")]
use super::{Network, filled};
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
    source: Source,
}

/// Where the weights are.
#[derive(Debug)]
enum Source {
    /// The file of a folder, or the index of several.
    Folder(PathBuf),
    Gguf(Gguf),
}

impl Opened {
    /// Reads the settings that lie at a path, and finds the weights.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            fs::metadata(path).map_err(Error::file(path))?;
            let file = Gguf::open(path)?;
            return Ok(Opened { config: gguf::config(path, &file)?, source: Source::Gguf(file) });
        }
        Ok(Opened { config: of_folder(path)?, source: Source::Folder(weights_of(path)?) })
    }

    /// Reads the weights.
    pub(crate) fn weights(&self) -> Result<Weights> {
        match &self.source {
            Source::Folder(path) => Weights::read_safetensors(path),
            Source::Gguf(file) => {
                // What is left out would only be missing.
                file.check_types()?;
                file.weights()
            }
        }
    }

    /// The settings alone.
    pub(crate) fn config(path: &Path) -> Result<Config> {
        if path.is_dir() { of_folder(path) } else { gguf::config(path, &Gguf::open(path)?) }
    }
}

/// The settings in a folder.
fn of_folder(path: &Path) -> Result<Config> {
    let whole = Config::read(path.join("config.json"))?;
    // Models that also see have the language model's settings in a part of theirs, but for the tokens that end texts.
    let mut config = whole.part("text_config").unwrap_or_else(|| whole.clone());
    if let (false, Some(ends)) = (config.has("eos_token_id"), whole.get("eos_token_id")) {
        config.set("eos_token_id", ends.clone());
    }
    defaults::fill(&mut config);
    Ok(config)
}

#[cfg(feature = "language")]
impl Opened {
    /// The tokenizer of the model, and how it reads conversations.
    pub(crate) fn tokenizer(&self, path: &Path) -> Result<(Tokenizer, Option<ChatTemplate>)> {
        let Source::Gguf(file) = &self.source else {
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

    /// The network, with what [`tokenizer`](Self::tokenizer) reads on a thread of its own meanwhile.
    pub(crate) fn parts(
        &self,
        path: &Path,
        dtype: Option<DType>,
    ) -> Result<(Network, Tokenizer, Option<ChatTemplate>)> {
        let network = || filled(self.config.clone(), self.weights()?, dtype);
        thread::scope(|scope| {
            // Where there are no threads, one after the other.
            let Ok(words) = thread::Builder::new().spawn_scoped(scope, || self.tokenizer(path)) else {
                let (tokenizer, template) = self.tokenizer(path)?;
                return Ok((network()?, tokenizer, template));
            };
            let network = network();
            let words = words.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (tokenizer, template) = words?;
            Ok((network?, tokenizer, template))
        })
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
