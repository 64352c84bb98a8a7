//! Open language models as they are published, each of their files damaged among others that are whole: settings, weights, tokenizer, template of
//! conversations, what is suggested of sampling; the parts of an encoder of sentences; a GGUF file, which has all of it. What still loads is
//! used: it answers, writes a few tokens, and makes vectors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use cairn_nn::generate::Generate;
use cairn_nn::language::{Encoder, LanguageModel, assistant, user};
use cairn_nn::models;
use cairn_nn::tokenizer::{ChatTemplate, Tokenizer};
use cairn_nn::weights::Weights;
use cairn_nn::weights::gguf::{self, Gguf, Value};
use cairn_tensor::{AnyTensor, Tensor, rng};

use crate::{at, written};

/// Two special tokens, letters, a blank, and two merges.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "added_tokens": [
        {"id": 0, "content": "<s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false},
        {"id": 1, "content": "</s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false}],
    "model": {"type": "BPE", "vocab": {"<s>": 0, "</s>": 1, "t": 2, "h": 3, "e": 4, "r": 5, "a": 6, "i": 7, "n": 8, "s": 9, "p": 10, "Ġ": 11,
        "th": 12, "the": 13}, "merges": [["t", "h"], ["th", "e"]]}}"#;
const WORDS: usize = 14;
const FEATURES: usize = 8;
const LLAMA: &str = r#"{"model_type": "llama", "vocab_size": 14, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0}, "hidden_act": "silu", "tie_word_embeddings": true, "eos_token_id": [1]}"#;
const SETTINGS: &str = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"},
    "chat_template": "{% for m in messages %}<s>{{ m['role'] | trim }}: {{ m.content[:40] }}{% if loop.last %}</s>{% endif %}{% endfor %}"}"#;
const SUGGESTED: &str = r#"{"do_sample": true, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1,
    "eos_token_id": [1, 0]}"#;
const BERT: &str = r#"{"model_type": "bert", "vocab_size": 14, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "max_position_embeddings": 16, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}"#;
const PARTS: &str = r#"[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}, {"type": "models.Normalize"}]"#;
const POOLING: &str =
    r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;
/// Loops, conditions, macros, filters, methods of Python's, and an error of its own.
pub(crate) const TEMPLATE: &str = "{%- macro said(m) -%}{{ '<' + m.role + '>' }}{{ m['content'].strip().replace('a', 'b') | trim }}{%- endmacro -%}
{%- set ns = namespace(count=0) -%}
{% for message in messages %}{% if message.role not in ['user', 'assistant', 'system'] %}{{ raise_exception('who is ' + message.role) }}{% endif %}
{{ said(message) }}{% set ns.count = ns.count + loop.index0 * 2 %}{% if loop.last and ns.count > 1 %}{{ message | tojson }}{% endif %}
{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' ~ bos_token }}{% endif %}";

/// A file of a model: its path in the folder, and what is in it.
type File = (&'static str, Vec<u8>);

fn values(shape: &[usize], seed: u64) -> AnyTensor {
    AnyTensor::from(Tensor::<f32>::normal(shape, 0.0, 0.3, &mut rng(seed)).expect("a small tensor"))
}

fn safetensors(shapes: &[(&str, &[usize])]) -> Vec<u8> {
    let tensors =
        shapes.iter().zip(0..).map(|((name, shape), seed)| ((*name).to_owned(), values(shape, seed)));
    let weights = Weights::from(tensors.collect::<BTreeMap<_, _>>());
    written(|path| weights.write_safetensors(path).expect("written"))
}

/// A model that writes texts.
fn decoder() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    const WIDE: &[usize] = &[FEATURES, FEATURES];
    const NARROW: &[usize] = &[FEATURES / 2, FEATURES];
    const ONE: &[usize] = &[FEATURES];
    FILES.get_or_init(|| {
        let weights = safetensors(&[
            ("model.embed_tokens.weight", &[WORDS, FEATURES]),
            ("model.norm.weight", ONE),
            ("model.layers.0.input_layernorm.weight", ONE),
            ("model.layers.0.post_attention_layernorm.weight", ONE),
            ("model.layers.0.self_attn.q_proj.weight", WIDE),
            ("model.layers.0.self_attn.k_proj.weight", NARROW),
            ("model.layers.0.self_attn.v_proj.weight", NARROW),
            ("model.layers.0.self_attn.o_proj.weight", WIDE),
            ("model.layers.0.mlp.gate_proj.weight", WIDE),
            ("model.layers.0.mlp.up_proj.weight", WIDE),
            ("model.layers.0.mlp.down_proj.weight", WIDE),
        ]);
        vec![
            ("config.json", LLAMA.into()),
            ("model.safetensors", weights),
            ("tokenizer.json", TOKENIZER.into()),
            ("tokenizer_config.json", SETTINGS.into()),
            ("generation_config.json", SUGGESTED.into()),
        ]
    })
}

/// An encoder of sentences.
fn encoder() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut shapes: Vec<(String, Vec<usize>)> = [
            ("word_embeddings.weight", WORDS),
            ("position_embeddings.weight", 16),
            ("token_type_embeddings.weight", 2),
        ]
        .map(|(name, rows)| (format!("embeddings.{name}"), vec![rows, FEATURES]))
        .into();
        let layer = |name: &str| format!("encoder.layer.0.{name}");
        let dense = ["attention.self.query", "attention.self.key", "attention.self.value"];
        let dense = dense.into_iter().chain(["attention.output.dense", "intermediate.dense", "output.dense"]);
        let norms = ["attention.output.LayerNorm", "output.LayerNorm"].map(layer);
        for name in dense.map(layer) {
            shapes.push((format!("{name}.weight"), vec![FEATURES, FEATURES]));
            shapes.push((format!("{name}.bias"), vec![FEATURES]));
        }
        for name in norms.into_iter().chain(["embeddings.LayerNorm".to_owned()]) {
            shapes.push((format!("{name}.weight"), vec![FEATURES]));
            shapes.push((format!("{name}.bias"), vec![FEATURES]));
        }
        let shapes: Vec<(&str, &[usize])> =
            shapes.iter().map(|(name, shape)| (&name[..], &shape[..])).collect();
        vec![
            ("config.json", BERT.into()),
            ("model.safetensors", safetensors(&shapes)),
            ("tokenizer.json", TOKENIZER.into()),
            ("modules.json", PARTS.into()),
            ("1_Pooling/config.json", POOLING.into()),
        ]
    })
}

fn file(files: &[File], name: &str) -> Vec<u8> {
    files.iter().find(|(other, _)| *other == name).expect("a file of the model").1.clone()
}

/// A file of the decoder, and of the encoder.
pub(crate) fn of_decoder(name: &str) -> Vec<u8> {
    file(decoder(), name)
}

pub(crate) fn of_encoder(name: &str) -> Vec<u8> {
    file(encoder(), name)
}

/// The files in a new folder, one of them with other bytes.
fn folder(files: &[File], name: &str, bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (other, whole) in files {
        let path = folder.path().join(other);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder can be made");
        fs::write(path, if *other == name { bytes } else { &whole[..] }).expect("a file can be written");
    }
    folder
}

pub(crate) fn read_decoder(name: &str, bytes: &[u8]) -> bool {
    writes(folder(decoder(), name, bytes).path())
}

pub(crate) fn read_encoder(name: &str, bytes: &[u8]) -> bool {
    let folder = folder(encoder(), name, bytes);
    let Ok(encoder) = Encoder::load(folder.path()) else { return false };
    let _ = encoder.embed(&["the rain in the", "", "spain"]);
    true
}

/// Whether a model loads. What it is asked then it may refuse: its own settings may say so.
fn writes(path: &Path) -> bool {
    let Ok(model) = LanguageModel::load(path) else { return false };
    let settings = Generate::new(4).sampling(model.suggested());
    if let Ok(text) = model.generate("the rain in", &settings) {
        text.take(8).for_each(drop);
    }
    let talk = [user("the rain"), assistant("in spain"), user("is there")];
    if let Ok(text) = model.chat(talk, &settings) {
        text.take(8).for_each(drop);
    }
    let _ = (model.log_probabilities("the rain"), model.generate_batch(&["the", "rain"], &settings));
    true
}

/// The whole model as a GGUF file.
pub(crate) fn gguf_model() -> Vec<u8> {
    let folder = folder(decoder(), "", &[]);
    let (values, tensors) = models::to_gguf(folder.path()).expect("a model that GGUF has a place for");
    gguf::encode(&values, &tensors).expect("written")
}

pub(crate) fn read_gguf_model(bytes: &[u8]) -> bool {
    at("model.gguf", bytes, writes)
}

/// The tokens of a GGUF file of SentencePiece's kind, with bytes for what is none of them; or of BERT's.
pub(crate) fn gguf_tokens(kind: &str) -> Vec<u8> {
    let pieces = ["<unk>", "<s>", "</s>", "▁", "t", "h", "e", "th", "▁the", "<0x61>", "<0xFF>"];
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁rain", "ing", "▁a", "▁,"];
    let tokens = if kind == "bert" { words.to_vec() } else { pieces.to_vec() };
    let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < 3 { 3 } else { 1 }).collect();
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let values = BTreeMap::from(
        [
            ("general.architecture", Value::from(kind)),
            ("tokenizer.ggml.model", kind.into()),
            ("tokenizer.ggml.tokens", tokens.into_iter().map(str::to_owned).collect::<Vec<_>>().into()),
            ("tokenizer.ggml.token_type", kinds.into()),
            ("tokenizer.ggml.scores", scores.into()),
            ("tokenizer.ggml.bos_token_id", 1u32.into()),
            ("tokenizer.ggml.eos_token_id", 2u32.into()),
            ("tokenizer.ggml.unknown_token_id", 0u32.into()),
            ("tokenizer.ggml.add_bos_token", true.into()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    gguf::encode(&values, &BTreeMap::new()).expect("written")
}

pub(crate) fn read_gguf_tokens(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return false };
    let Ok(tokenizer) = Tokenizer::of_gguf(&file) else { return false };
    if let Ok(ids) = tokenizer.encode("the raining, á \u{1f980}") {
        let _ = tokenizer.decode(&ids);
    }
    let _ = (tokenizer.decode(&[0, 5, u32::MAX]), tokenizer.bytes(3));
    true
}

pub(crate) fn read_template(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let Ok(template) = ChatTemplate::parse(source) else { return false };
    let template = template.with_marks("<s>", "</s>");
    let _ = template.render(&[user("a day"), assistant("yes \u{1f980}")], true);
    true
}
