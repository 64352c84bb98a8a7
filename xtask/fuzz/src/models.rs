//! Networks and their weights.

use cairn_datasets::DataDir;
use cairn_datasets::hub::Hub;
use cairn_nn::adapters::{Adapter, Lora};
use cairn_nn::models::{self, Config, Network};
use cairn_nn::weights::Weights;
use cairn_nn::weights::gguf::{self, Gguf, Value};
use cairn_nn::{Sequential, spec::Dense};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, rng};

use crate::{Reader, at, written};

pub(crate) const READERS: &[Reader] = &[
    Reader { name: "safetensors", sample: safetensors, read: read_safetensors },
    Reader { name: "gguf", sample: gguf_bytes, read: read_gguf },
    Reader {
        name: "adapters",
        sample: || adapter_file("adapter_model.safetensors"),
        read: |bytes| read_adapter("adapter_model.safetensors", bytes),
    },
    Reader {
        name: "adapter-settings",
        sample: adapter_settings,
        read: |bytes| read_adapter("adapter_config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader { name: "tokenizer", sample: || TOKENIZER.into(), read: read_tokenizer },
    #[cfg(feature = "all")]
    Reader {
        name: "decoder-settings",
        sample: || crate::language::of_decoder("config.json"),
        read: |bytes| crate::language::read_decoder("config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "decoder-weights",
        sample: || crate::language::of_decoder("model.safetensors"),
        read: |bytes| crate::language::read_decoder("model.safetensors", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "decoder-tokens",
        sample: || crate::language::of_decoder("tokenizer.json"),
        read: |bytes| crate::language::read_decoder("tokenizer.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "decoder-template",
        sample: || crate::language::of_decoder("tokenizer_config.json"),
        read: |bytes| crate::language::read_decoder("tokenizer_config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "decoder-sampling",
        sample: || crate::language::of_decoder("generation_config.json"),
        read: |bytes| crate::language::read_decoder("generation_config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "encoder-settings",
        sample: || crate::language::of_encoder("config.json"),
        read: |bytes| crate::language::read_encoder("config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "encoder-parts",
        sample: || crate::language::of_encoder("modules.json"),
        read: |bytes| crate::language::read_encoder("modules.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "encoder-pooling",
        sample: || crate::language::of_encoder("1_Pooling/config.json"),
        read: |bytes| crate::language::read_encoder("1_Pooling/config.json", bytes),
    },
    #[cfg(feature = "all")]
    Reader {
        name: "gguf-model",
        sample: crate::language::gguf_model,
        read: crate::language::read_gguf_model,
    },
    #[cfg(feature = "all")]
    Reader {
        name: "gguf-pieces",
        sample: || crate::language::gguf_tokens("llama"),
        read: crate::language::read_gguf_tokens,
    },
    #[cfg(feature = "all")]
    Reader {
        name: "gguf-words",
        sample: || crate::language::gguf_tokens("bert"),
        read: crate::language::read_gguf_tokens,
    },
    #[cfg(feature = "all")]
    Reader {
        name: "template",
        sample: || crate::language::TEMPLATE.into(),
        read: crate::language::read_template,
    },
    Reader { name: "hub-list", sample: || HUB_LIST.into(), read: read_hub_list },
    Reader {
        name: "model",
        sample: || written(|path| dense().save(path).expect("written")),
        read: |bytes| at("x.cairn", bytes, |path| Sequential::load(path).is_ok()),
    },
];

/// What a hub says of a model of one file.
const HUB_LIST: &str = r#"{"sha": "0123456789abcdef0123456789abcdef01234567", "siblings": [{"rfilename": "m.gguf", "size": 5, "lfs":
    {"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}}, {"rfilename": "config.json"}]}"#;

fn read_hub_list(bytes: &[u8]) -> bool {
    at("models/a/b/hub.json", bytes, |path| {
        std::fs::write(path.with_file_name("m.gguf"), "hello").expect("a file can be written");
        let dir = path.ancestors().nth(4).expect("folders of a model");
        let name = "a/b".parse().expect("a name");
        Hub::new("http://127.0.0.1:1").obtain(&name, &DataDir::new(dir).offline()).is_ok()
    })
}

fn dense() -> Sequential {
    Sequential::new([4]).add(Dense::new(3)).add(Dense::new(2)).build(&mut rng(0)).expect("a small model")
}

fn safetensors() -> Vec<u8> {
    written(|path| Weights::of(&dense()).note("epochs", "5").write_safetensors(path).expect("written"))
}

fn read_safetensors(bytes: &[u8]) -> bool {
    at("x.safetensors", bytes, |path| Weights::read_safetensors(path).is_ok())
}

fn gguf_bytes() -> Vec<u8> {
    let values = [("general.architecture", Value::from("llama")), ("llama.block_count", Value::from(1u32))];
    let weights =
        AnyTensor::from(Tensor::<f32>::normal([2, 64], 0.0, 1.0, &mut rng(0)).expect("a small tensor"));
    let types = [DType::F32, BlockFormat::Q8_0.into(), BlockFormat::Q4_1.into()];
    let tensors = types.map(|dtype| (dtype.to_string(), weights.cast(dtype).expect("whole blocks")));
    let values = values.map(|(key, value)| (key.to_owned(), value));
    gguf::encode(&values.into(), &tensors.into()).expect("written")
}

fn read_gguf(bytes: &[u8]) -> bool {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return false };
    file.weights().is_ok()
}

/// A small language model, and its settings.
fn language_model() -> (Network, Config) {
    let text = r#"{"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}"#;
    let config = Config::parse(text).expect("settings");
    (models::new(&config, &mut rng(0)).expect("a small model"), config)
}

/// Both files of adapters for it.
fn adapter_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (network, config) = language_model();
    let Network::Causal(model) = network else { unreachable!("GPT-2 writes texts") };
    let adapter = Lora::new(2).attach_as(&model, &config, &mut rng(1)).expect("attached");
    adapter.save(folder.path(), "small").expect("written");
    folder
}

fn adapter_file(name: &str) -> Vec<u8> {
    std::fs::read(adapter_folder().path().join(name)).expect("the file was written")
}

/// The settings, with another α by an expression where there are such.
fn adapter_settings() -> Vec<u8> {
    let bytes = adapter_file("adapter_config.json");
    if cfg!(not(feature = "all")) {
        return bytes;
    }
    let text = String::from_utf8(bytes).expect("text");
    let none = r#""alpha_pattern": {}"#;
    assert!(text.contains(none), "{text}");
    let own = r#""alpha_pattern": {"h\\.[0-9]{1,2}\\.(attn|mlp)\\.(c_[a-z]{1,8})+(?!\\3)": 4.0}"#;
    text.replace(none, own).into()
}

fn read_adapter(name: &str, bytes: &[u8]) -> bool {
    let folder = adapter_folder();
    std::fs::write(folder.path().join(name), bytes).expect("a file can be written");
    let (network, config) = language_model();
    let Network::Causal(model) = network else { unreachable!("GPT-2 writes texts") };
    Adapter::load(folder.path(), &model, &config).is_ok()
}

/// A tokenizer with a part of each kind.
#[cfg(feature = "all")]
const TOKENIZER: &str = r###"{
    "version": "1.0", "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"},
    "added_tokens": [{"id": 0, "content": "<s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": "x+"}, "content": "x"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<s>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": {"<s>": 0, "t": 1, "h": 2, "e": 3, "th": 4, "the": 5, "Ġ": 6, "r": 7, "a": 8, "i": 9, "n": 10},
        "merges": [["t", "h"], ["th", "e"]]}
}"###;

/// Read, and used both ways.
#[cfg(feature = "all")]
fn read_tokenizer(bytes: &[u8]) -> bool {
    use cairn_nn::tokenizer::Tokenizer;
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(tokenizer) = Tokenizer::parse(text) else { return false };
    let Ok(ids) = tokenizer.encode("the rain, theXx <s> \u{1f980}") else { return true };
    // What it gives it may not take back: its settings may say so.
    let _ = tokenizer.decode(&ids);
    let _ = tokenizer.decode(&[0, 5, u32::MAX]);
    true
}
