//! The settings in a GGUF file, under the names that config.json has for them.

use std::path::Path;

use cairn_tensor::{AnyTensor, DType};
use serde_json::{Map, Value as Json, json};

use super::{Config, Format};
use crate::weights::gguf::{Gguf, Value};
use crate::{Error, Result};

/// The keys after that of the architecture, and what they are called elsewhere.
pub(super) const KEYS: [(&str, &str); 14] = [
    ("block_count", "num_hidden_layers"),
    ("context_length", "max_position_embeddings"),
    ("embedding_length", "hidden_size"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.key_length", "head_dim"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("attention.layer_norm_epsilon", "layer_norm_eps"),
    ("attention.sliding_window", "sliding_window"),
    ("rope.freq_base", "rope_theta"),
    ("vocab_size", "vocab_size"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
];
/// What GPT-2 calls its settings.
pub(super) const GPT2: [(&str, &str); 6] = [
    ("num_hidden_layers", "n_layer"),
    ("max_position_embeddings", "n_positions"),
    ("hidden_size", "n_embd"),
    ("intermediate_size", "n_inner"),
    ("num_attention_heads", "n_head"),
    ("layer_norm_eps", "layer_norm_epsilon"),
];
/// How turns are slowed in Llama 3, but for the factor: the same in all models that were published, and in no file.
const LLAMA3: (f64, f64, f64) = (1.0, 4.0, 8192.0);

/// The settings of the model in a file.
pub(super) fn config(path: &Path, file: &Gguf) -> Result<Config> {
    let architecture = file.text("general.architecture")?;
    let mut values = Map::new();
    values.insert("model_type".into(), architecture.into());
    let get = |key: &str| file.get(&format!("{architecture}.{key}")).and_then(number);
    for (theirs, ours) in KEYS {
        if let Some(value) = get(theirs) {
            values.insert(ours.into(), value);
        }
    }
    // How encoders make vectors of texts, in llama.cpp's numbers.
    if let Some(pooling) = get("pooling_type") {
        values.insert("pooling_type".into(), pooling);
    }
    let rows = |name: &str| file.tensors().get(name).and_then(|info| info.shape.first().copied());
    if let Some(words) = rows("token_embd.weight") {
        values.insert("vocab_size".into(), words.into());
    }
    if let Some(types) = rows("token_types.weight") {
        values.insert("type_vocab_size".into(), types.into());
    }
    values.insert("attention_bias".into(), file.tensors().contains_key("blk.0.attn_q.bias").into());
    values.insert("eos_token_id".into(), ends(file).into());
    values.insert("tie_word_embeddings".into(), (!file.tensors().contains_key("output.weight")).into());
    if let Some(scaling) = scaling(path, file, architecture)? {
        values.insert("rope_scaling".into(), scaling);
    }
    match architecture {
        "gpt2" => {
            let renamed =
                GPT2.iter().filter_map(|(from, to)| Some(((*to).to_owned(), values.get(*from)?.clone())));
            let renamed: Vec<(String, Json)> = renamed.collect();
            values.extend(renamed);
        }
        "gemma2" | "gemma3" => {
            if architecture == "gemma3" {
                // The layers with a window turn by the base of Gemma 2.
                values.insert("rope_local_base_freq".into(), json!(1e4));
            }
            if let Some(size) = scaled_by(architecture, &values) {
                values.insert("query_pre_attn_scalar".into(), size.into());
            }
        }
        _ => {}
    }
    Ok(Config::of(path, values, Format::Gguf))
}

/// By whose root Gemma's scores are divided: the size of a head; but in the largest model of each generation, that of 27 billion values, the
/// features for each head. No file says so: llama.cpp, too, knows that model by its number of layers.
fn scaled_by(architecture: &str, values: &Map<String, Json>) -> Option<u64> {
    let number = |key: &str| values.get(key).and_then(Json::as_u64);
    let largest = if architecture == "gemma2" { 46 } else { 62 };
    let shared = || number("hidden_size")?.checked_div(number("num_attention_heads")?);
    match number("head_dim") {
        Some(size) if number("num_hidden_layers") != Some(largest) => Some(size),
        _ => shared(),
    }
}

fn number(value: &Value) -> Option<Json> {
    match value.as_u64() {
        Some(whole) => Some(whole.into()),
        // Single precision, as it was written: 1e-5 and not what it is in double precision.
        None => match value {
            Value::F32(x) => x.to_string().parse::<f64>().ok().map(Json::from),
            other => other.as_f64().map(Json::from),
        },
    }
}

/// The tokens that end a text, or a turn of a conversation.
fn ends(file: &Gguf) -> Vec<u64> {
    let id = |name| file.get(&format!("tokenizer.ggml.{name}_token_id")).and_then(Value::as_u64);
    ["eos", "eot", "eom"].into_iter().filter_map(id).collect()
}

/// How angles are scaled: by what the file says, or, of Llama 3, by factors that are a tensor.
fn scaling(path: &Path, file: &Gguf, architecture: &str) -> Result<Option<Json>> {
    if file.tensors().contains_key("rope_freqs.weight") {
        let factors = file.tensor("rope_freqs.weight")?.cast(DType::F32)?;
        let factors: Vec<f32> = AnyTensor::as_f32(&factors)?.to_vec();
        let factor = f64::from(factors.last().copied().unwrap_or(1.0));
        let (low, high, original) = LLAMA3;
        let base = file.get(&format!("{architecture}.rope.freq_base")).and_then(Value::as_f64).unwrap_or(1e4);
        let scaled = cairn_tensor::RotaryScaling::Llama3 { factor, low, high, original };
        let plain = cairn_tensor::Rotary::new(2 * factors.len()).base(base);
        let pairs = plain.frequencies()?.into_iter().zip(plain.scaling(scaled).frequencies()?).zip(factors);
        if pairs
            .into_iter()
            .any(|((plain, scaled), factor)| (plain / scaled / f64::from(factor) - 1.0).abs() > 1e-3)
        {
            return Err(Error::BadFile {
                path: path.to_owned(),
                why: "the angles' factors are not Llama 3's".into(),
            });
        }
        return Ok(Some(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original,
        })));
    }
    let key = |name: &str| file.get(&format!("{architecture}.rope.scaling.{name}"));
    let Some(kind) = key("type").and_then(Value::as_str).filter(|kind| *kind != "none") else {
        return Ok(None);
    };
    let factor = key("factor").and_then(Value::as_f64).unwrap_or(1.0);
    Ok(Some(json!({ "rope_type": kind, "factor": factor })))
}
