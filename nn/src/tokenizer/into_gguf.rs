//! A tokenizer.json as the values of a GGUF file: the inverse of reading one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::gguf::{CHANGES, CONTROL, NORMAL, SPACE, UNUSED, USER_DEFINED, changes, changes_of_words, words};
use crate::models::Config;
use crate::weights::gguf::Value;
use crate::{Error, Result};

/// The ways of cutting words that have a name in GGUF.
const CUTS: [&str; 4] = ["gpt-2", "smollm", "llama-bpe", "qwen2"];
/// Tokens with a role: in tokenizer_config.json, and in GGUF, where one is spelt so.
const ROLES: [(&str, &str); 7] = [
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("pad_token", "padding"),
    ("sep_token", "seperator"),
    ("cls_token", "cls"),
    ("mask_token", "mask"),
];

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Json,
    pre_tokenizer: Option<Json>,
    post_processor: Option<Json>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Json,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

/// Two tokens, as old and new files write them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair([String; 2]),
}

/// The values of the tokenizer in a folder, for a table of so many tokens.
pub(crate) fn gguf_values(folder: &Path, config: &Config, rows: usize) -> Result<BTreeMap<String, Value>> {
    let path = folder.join("tokenizer.json");
    let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
    let bad = |why: String| Error::BadFile { path: path.clone(), why };
    let file: File = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let settings = Config::read(folder.join("tokenizer_config.json")).ok();
    let mut values = BTreeMap::new();
    let mut put = |key: &str, value: Value| values.insert(format!("tokenizer.ggml.{key}"), value);
    // What is done with a text before it is cut, as whoever reads the file will take it.
    let usual;
    let words = match file.model.kind.as_deref() {
        Some("BPE") | None if !file.model.byte_fallback => {
            let pre = cut(file.pre_tokenizer.as_ref())?;
            usual = changes(pre);
            put("model", "gpt2".into());
            put("pre", pre.into());
            let merges = file.model.merges.iter().map(|merge| match merge {
                Merge::Text(text) => text.clone(),
                Merge::Pair([left, right]) => format!("{left} {right}"),
            });
            put("merges", merges.collect::<Vec<_>>().into());
            false
        }
        Some("WordPiece") => {
            put("model", "bert".into());
            put("token_type_count", 2u32.into());
            let said = |key: &str| file.normalizer.get(key).and_then(Json::as_bool);
            let (lowercase, strips) = (said("lowercase"), said("strip_accents"));
            for (key, said) in [("lowercase", lowercase), ("strip_accents", strips)] {
                if let Some(said) = said {
                    put(&format!("normalizer.{key}"), said.into());
                }
            }
            usual = changes_of_words(lowercase.unwrap_or(true), strips);
            true
        }
        other => {
            let what = format!("writing a tokenizer of kind `{}` as GGUF", other.unwrap_or("BPE with bytes"));
            return Err(Error::Unsupported { what });
        }
    };
    let ids: Map<String, Json> =
        serde_json::from_value(file.model.vocab).map_err(|error| bad(error.to_string()))?;
    let mut all: Vec<(String, i32)> = (0..rows).map(|id| (format!("[PAD{id}]"), UNUSED as i32)).collect();
    let mut set = |id: Option<usize>, token: String, kind: i64| {
        let place = id.and_then(|id| all.get_mut(id));
        let place =
            place.ok_or_else(|| bad(format!("`{token}` has an id beyond the table of {rows} tokens")))?;
        *place = (token, kind as i32);
        Ok::<(), Error>(())
    };
    for (token, id) in &ids {
        set(id.as_u64().and_then(|id| usize::try_from(id).ok()), token.clone(), NORMAL)?;
    }
    for added in &file.added_tokens {
        let kind = if added.special { CONTROL } else { USER_DEFINED };
        set(usize::try_from(added.id).ok(), added.content.clone(), kind)?;
    }
    let id = |token: &str| all.iter().position(|(other, _)| other == token).map(|id| id as u32);
    for (theirs, ours) in ROLES {
        let said = settings.as_ref().and_then(|settings| token_of(settings.get(theirs)?).and_then(id));
        let said = said.or_else(|| config.ids(&format!("{theirs}_id")).first().copied());
        if let Some(id) = said {
            put(&format!("{ours}_token_id"), id.into());
        }
    }
    let begins = settings.as_ref().and_then(|settings| settings.get("add_bos_token")?.as_bool());
    put(
        "add_bos_token",
        begins.unwrap_or_else(|| !words && begins_with_token(file.post_processor.as_ref())).into(),
    );
    let mark = |(token, kind): &(String, i32)| match token.strip_prefix("##") {
        Some(rest) if words => rest.to_owned(),
        None if words && i64::from(*kind) == NORMAL => format!("{SPACE}{token}"),
        _ => token.clone(),
    };
    put("tokens", all.iter().map(mark).collect::<Vec<_>>().into());
    put("token_type", all.iter().map(|(_, kind)| *kind).collect::<Vec<_>>().into());
    if let Some(template) = template(folder, settings.as_ref()) {
        values.insert("tokenizer.chat_template".into(), template.into());
    }
    if essential(&file.normalizer) != essential(&usual) {
        values.insert(CHANGES.into(), file.normalizer.to_string().into());
    }
    Ok(values)
}

/// The name of a way of cutting a text into words.
fn cut(words_of: Option<&Json>) -> Result<&'static str> {
    let wanted = words_of.map(essential);
    for name in CUTS {
        if wanted.as_ref() == Some(&essential(&words(name)?.0)) {
            return Ok(name);
        }
    }
    Err(Error::Unsupported {
        what: "writing this way of cutting a text into words as GGUF, which has no name there".into(),
    })
}

/// What decides where words are cut, with what is left out as it is meant then.
fn essential(json: &Json) -> Json {
    match json {
        Json::Array(list) => Json::Array(list.iter().map(essential).collect()),
        Json::Object(map) => {
            let mut map: Map<String, Json> = map
                .iter()
                .filter(|(key, _)| *key != "trim_offsets")
                .map(|(key, json)| (key.clone(), essential(json)))
                .collect();
            if map.get("type").and_then(Json::as_str) == Some("ByteLevel") {
                map.entry("use_regex").or_insert(true.into());
            }
            Json::Object(map)
        }
        other => other.clone(),
    }
}

/// A token as tokenizer_config.json has it: a text, or an object with one.
fn token_of(json: &Json) -> Option<&str> {
    json.as_str().or_else(|| json.get("content")?.as_str())
}

/// Whether a text is given a token before it.
fn begins_with_token(post: Option<&Json>) -> bool {
    let of = |post: &Json| Some(post.get("single")?.get(0)?.get("SpecialToken").is_some());
    let Some(post) = post else { return false };
    match post.get("processors").and_then(Json::as_array) {
        Some(all) => all.iter().any(|post| of(post) == Some(true)),
        None => of(post) == Some(true),
    }
}

/// The template of conversations.
fn template(folder: &Path, settings: Option<&Config>) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("chat_template.jinja")) {
        return Some(text);
    }
    match settings?.get("chat_template")? {
        Json::String(text) => Some(text.clone()),
        Json::Array(several) => {
            let default =
                several.iter().find(|one| one.get("name").and_then(Json::as_str) == Some("default"))?;
            Some(default.get("template")?.as_str()?.to_owned())
        }
        _ => None,
    }
}
