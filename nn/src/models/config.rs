//! The settings of an open model, as config.json gives them.
//!
//! Files are not trusted: every number has a limit, so that a product of two of them does not overflow and a list of so many layers
//! is not begun in vain.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Activation, Error, Result};

/// Largest of a model's sizes: tokens, features, positions.
const LARGEST: u64 = 1 << 28;

/// Settings by Hugging Face's names, with the file they are from.
///
/// ```
/// use cairn_nn::models::Config;
/// let config = Config::parse(r#"{"model_type": "llama", "hidden_size": 64, "eos_token_id": [1, 2]}"#)?;
/// assert_eq!(config.size("hidden_size")?, 64);
/// assert_eq!(config.ids("eos_token_id"), [1, 2]);
/// assert!(config.size("vocab_size").unwrap_err().to_string().contains("`vocab_size` is missing"));
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    values: Map<String, Value>,
    format: Format,
}

/// Whose names and layouts a model's file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// config.json and safetensors, as Hugging Face's transformers write them.
    HuggingFace,
    /// GGUF, as llama.cpp's conversion writes it.
    Gguf,
}

impl Config {
    /// From the text of a config.json.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is no JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parsed(text, Path::new("config.json"))
    }

    /// From a config.json, or another file of settings in JSON.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::BadFile`] when it is no JSON object.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parsed(&fs::read_to_string(path).map_err(Error::file(path))?, path)
    }

    fn parsed(text: &str, path: &Path) -> Result<Self> {
        let bad = |error: serde_json::Error| Error::BadFile { path: path.to_owned(), why: error.to_string() };
        let values = serde_json::from_str(text).map_err(bad)?;
        Ok(Config { path: path.to_owned(), values, format: Format::HuggingFace })
    }

    /// Of these values, translated from another format to Hugging Face's names.
    pub(crate) fn of(path: &Path, values: Map<String, Value>, format: Format) -> Self {
        Config { path: path.to_owned(), values, format }
    }

    /// Whose names the weights beside it have.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Sets a value, over what the file says.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// What is there under a key, unless it is null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Whether something is said under a key, be it null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The settings of a part: `rope_parameters`, say.
    pub fn part(&self, key: &str) -> Option<Config> {
        let values = self.get(key)?.as_object()?.clone();
        Some(Config { values, ..self.clone() })
    }

    /// A size, at least 1.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is missing, no whole number, 0 or beyond 2²⁸.
    pub fn size(&self, key: &str) -> Result<usize> {
        match self.get(key).map(Value::as_u64) {
            Some(Some(size @ 1..=LARGEST)) => Ok(size as usize),
            Some(_) => Err(self.bad(format!("`{key}` is {}, which is no size", self.values[key]))),
            None => Err(self.bad(format!("`{key}` is missing"))),
        }
    }

    /// As [`size`](Self::size), with another where there is none.
    ///
    /// # Errors
    /// As [`size`](Self::size), but for one that is missing.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.get(key).is_some() { self.size(key) } else { Ok(default) }
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is there and no number.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key).map(|value| value.as_f64().filter(|number| number.is_finite())) {
            Some(Some(number)) => Ok(number),
            Some(None) => Err(self.bad(format!("`{key}` is {}, which is no number", self.values[key]))),
            None => Ok(default),
        }
    }

    /// Whether something is so; `default` where nothing is said.
    pub fn flag_or(&self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A text, if there is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// A text of a list of texts.
    pub fn text_at(&self, key: &str, index: usize) -> Option<&str> {
        self.get(key)?.as_array()?.get(index)?.as_str()
    }

    /// The ids of tokens under a key: one, or several.
    pub fn ids(&self, key: &str) -> Vec<u32> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match self.get(key) {
            Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
            Some(value) => id(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// An activation by the name that transformers gives it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for one that is not known here.
    pub fn activation(&self, key: &str, default: Activation) -> Result<Activation> {
        match self.text(key) {
            None => Ok(default),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some(other) => Err(Error::Unsupported { what: format!("the activation `{other}`") }),
        }
    }

    /// The kind of model, such as `llama`.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is not said.
    pub fn model_type(&self) -> Result<&str> {
        self.text("model_type").ok_or_else(|| self.bad("`model_type` is missing".into()))
    }

    pub(crate) fn bad(&self, why: String) -> Error {
        Error::BadFile { path: self.path.clone(), why }
    }
}
