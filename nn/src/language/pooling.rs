//! How a text's vector is made of its tokens', as it is said beside an encoder: by sentence-transformers in `modules.json` and in the folder
//! that it names, or by a GGUF file. What is said and not known here is an error: vectors made otherwise look as good, and are not alike.

use std::path::Path;

use serde_json::Value;

use crate::models::{Config, Format, POOLING, Part};
use crate::{Error, Result};

/// How a text's vector is made of its tokens'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token, which is put before each text.
    First,
    /// The largest of each feature.
    Max,
    /// That of the last token.
    Last,
}

/// The flags of sentence-transformers for them; those without one are not known here.
const MODES: [(&str, Option<Pooling>); 6] = [
    ("cls_token", Some(Pooling::First)),
    ("mean_tokens", Some(Pooling::Mean)),
    ("max_tokens", Some(Pooling::Max)),
    ("lasttoken", Some(Pooling::Last)),
    ("mean_sqrt_len_tokens", None),
    ("weightedmean_tokens", None),
];

/// What is said of an encoder's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) pooling: Pooling,
    /// Whether they are brought to length 1.
    pub(super) normalized: bool,
    /// Most tokens of a text.
    pub(super) longest: usize,
}

impl Said {
    /// What is said at the path of an encoder with these settings. Where it is nothing, the vector is the mean, brought to length 1.
    pub(crate) fn read(path: &Path, config: &Config) -> Result<Self> {
        let said = Said { pooling: Pooling::Mean, normalized: true, longest: usize::MAX };
        if config.format() == Format::Gguf {
            return Ok(Said { pooling: of_gguf(config)?, ..said });
        }
        let Some(parts) = Part::list(path)? else { return Ok(said) };
        let mut said = Said { normalized: false, longest: longest(path)?, ..said };
        for part in parts {
            match part.class() {
                "Transformer" => {}
                "Normalize" => said.normalized = true,
                POOLING => {
                    said.pooling = of_modes(&Config::read(path.join(&part.path).join("config.json"))?)?;
                }
                other => {
                    let why = format!("a part `{other}` in `{}`, which is not known here", part.path);
                    return Err(Error::BadFile { path: path.join("modules.json"), why });
                }
            }
        }
        Ok(said)
    }
}

/// Most tokens of a text, where it is said.
fn longest(folder: &Path) -> Result<usize> {
    let file = folder.join("sentence_bert_config.json");
    if file.exists() { Config::read(file)?.size_or("max_seq_length", usize::MAX) } else { Ok(usize::MAX) }
}

/// By the one name that newer files have, or a list of it alone.
fn named(mode: &Value) -> Option<Pooling> {
    match mode.as_array().map(Vec::as_slice) {
        Some([only]) => named(only),
        Some(_) => None,
        None => match mode.as_str()? {
            "cls" => Some(Pooling::First),
            "mean" => Some(Pooling::Mean),
            "max" => Some(Pooling::Max),
            "lasttoken" => Some(Pooling::Last),
            _ => None,
        },
    }
}

/// Of the settings of a pooling: one mode of several.
fn of_modes(config: &Config) -> Result<Pooling> {
    if let Some(mode) = config.get("pooling_mode") {
        let why = || config.bad(format!("vectors are made by `{mode}`, which is not known here"));
        return named(mode).ok_or_else(why);
    }
    let is_on = |name: &str| config.flag_or(&format!("pooling_mode_{name}"), false);
    let on: Vec<_> = MODES.iter().filter(|(name, _)| is_on(name)).collect();
    match on[..] {
        [] => Ok(Pooling::Mean),
        [(_, Some(pooling))] => Ok(*pooling),
        [(name, None)] => Err(config.bad(format!("vectors are made by `{name}`, which is not known here"))),
        _ => Err(config.bad("vectors are made in several ways at once, which is not known here".into())),
    }
}

/// Of llama.cpp's numbers: 0 is said of files whose tokens have vectors and whose texts have none, 4 of those that score pairs of texts.
fn of_gguf(config: &Config) -> Result<Pooling> {
    match config.get("pooling_type").map(Value::as_u64) {
        None | Some(Some(1)) => Ok(Pooling::Mean),
        Some(Some(2)) => Ok(Pooling::First),
        Some(Some(3)) => Ok(Pooling::Last),
        Some(other) => {
            let other = other.map_or_else(|| "no number".to_owned(), |number| number.to_string());
            Err(config.bad(format!("`pooling_type` is {other}; vectors of texts are made by 1 to 3")))
        }
    }
}
