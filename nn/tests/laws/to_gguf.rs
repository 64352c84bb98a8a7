//! Folders written as GGUF files: the same scores, the same ids.

use std::path::Path;

use cairn_nn::language::Encoder;
use cairn_nn::models::{self, Network};
use cairn_nn::tokenizer::Tokenizer;
use cairn_nn::weights::gguf::{self, Gguf, Value};
use cairn_nn::{Context, Error};
use cairn_tensor::Tensor;
use serde_json::{Map, Value as Json, json};

fn added(id: u32, content: &str) -> Json {
    json!({"id": id, "content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false})
}

/// The ids of tokens in order.
fn vocabulary(tokens: impl Iterator<Item = String>) -> Map<String, Json> {
    tokens.enumerate().map(|(id, token)| (token, id.into())).collect()
}

/// Letters, digits and three merges, cut as GPT-2 does.
fn pairs() -> Json {
    let letters = ('a'..='z').chain('0'..='9').chain(['Ġ']).map(String::from);
    let tokens = ["<s>", "</s>"].map(str::to_owned).into_iter().chain(letters);
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": level, "decoder": level,
        "post_processor": null, "added_tokens": [added(0, "<s>"), added(1, "</s>")],
        "model": {
            "type": "BPE", "vocab": vocabulary(tokens.chain(["th", "Ġth", "the"].map(str::to_owned))),
            "merges": [["t", "h"], ["Ġ", "th"], ["th", "e"]]
        }
    })
}

/// Letters, at the beginning of a word and within it.
fn pieces() -> Json {
    let letters = || ('a'..='t').map(String::from);
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
    let within = letters().map(|letter| format!("##{letter}"));
    let special = |id: u32| json!({"id": marks[id as usize], "ids": [id], "tokens": [marks[id as usize]]});
    let around = json!([
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}
    ]);
    json!({
        "version": "1.0", "truncation": null, "padding": null, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "added_tokens": (0..4).map(|id| added(id, marks[id as usize])).collect::<Vec<_>>(),
        "post_processor": {
            "type": "TemplateProcessing", "single": around, "pair": around, "special_tokens": {"[CLS]": special(2), "[SEP]": special(3)}
        },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary(marks.map(str::to_owned).into_iter().chain(letters()).chain(within))
        }
    })
}

/// A published model with a tokenizer.
fn published(name: &str, tokenizer: &Json) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name);
    let made = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), made.path().join(file)).unwrap();
    }
    std::fs::write(made.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let settings = json!({
        "bos_token": "<s>", "eos_token": {"content": "</s>"}, "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    });
    std::fs::write(made.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
    made
}

fn outputs(path: &Path) -> Tensor {
    let tokens = Tensor::from_vec(vec![3, 1, 4, 1, 5, 9], [1, 6]).unwrap();
    let outputs = match models::load(path).unwrap() {
        Network::Causal(model) => model.forward(&tokens, &mut Context::eval()),
        Network::Encoder(model) => model.forward(&tokens, &mut Context::eval()),
    };
    outputs.unwrap().value().clone()
}

#[test]
fn folders_become_files_of_the_same_scores_and_ids() {
    for name in ["llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"] {
        let made = published(name, &if name == "bert" { pieces() } else { pairs() });
        let (values, tensors) = models::to_gguf(made.path()).unwrap();
        let path = made.path().join("model.gguf");
        gguf::write(&path, &values, &tensors).unwrap();
        let (theirs, ours) = (outputs(made.path()), outputs(&path));
        let most = theirs.iter().zip(ours.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(theirs.shape() == ours.shape() && most < 1e-4, "{name} is off by {most}");

        let file = Gguf::open(&path).unwrap();
        let (theirs, ours) = (Tokenizer::load(made.path()).unwrap(), Tokenizer::of_gguf(&file).unwrap());
        for text in ["the path to the 4th bath</s>the", "a", "  is it", "fades zz q"] {
            assert_eq!(ours.encode(text).unwrap(), theirs.encode(text).unwrap(), "{name}: {text}");
        }
        let ids = ours.encode("the bath").unwrap();
        assert_eq!(ours.decode(&ids).unwrap(), theirs.decode(&ids).unwrap(), "{name}");
        let end = file.get("tokenizer.ggml.eos_token_id").and_then(Value::as_u64);
        assert!(name == "bert" || end == Some(1), "{name}: {end:?}");
        assert!(file.text("tokenizer.chat_template").unwrap().contains("messages"));
    }
}

/// Conversions of old wrote the head, too, which is the table of tokens.
#[test]
fn heads_of_gpt2_in_files_are_used() {
    let made = published("gpt2", &pairs());
    let (values, tensors) = models::to_gguf(made.path()).unwrap();
    let path = made.path().join("model.gguf");
    let table = tensors["token_embd.weight"].as_f32().unwrap().clone();
    let plain = outputs(made.path());
    for factor in [1.0, 2.0] {
        let mut tensors = tensors.clone();
        tensors.insert("output.weight".into(), table.scale(factor).unwrap().into());
        gguf::write(&path, &values, &tensors).unwrap();
        let ours = outputs(&path);
        let most = ours.iter().zip(plain.iter()).map(|(a, b)| (a - factor * b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-4, "{factor}: off by {most}");
    }
}

/// What is done with a text before it is cut has no place in other programs' files, but for capitals and accents of BERT.
#[test]
fn changes_of_texts_are_kept() {
    let mut lowered = pairs();
    lowered["normalizer"] =
        json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]});
    let mut cased = pieces();
    cased["normalizer"]["lowercase"] = false.into();
    let mut odd = pieces();
    odd["normalizer"] = json!({"type": "Replace", "pattern": {"String": "x"}, "content": "a"});
    for (name, tokenizer, own) in [("llama", lowered, true), ("bert", cased, false), ("bert", odd, true)] {
        let made = published(name, &tokenizer);
        let (values, tensors) = models::to_gguf(made.path()).unwrap();
        assert_eq!(values.contains_key("cairn.tokenizer.normalizer"), own, "{name}");
        let file = Gguf::from_bytes(gguf::encode(&values, &tensors).unwrap()).unwrap();
        let (theirs, ours) = (Tokenizer::load(made.path()).unwrap(), Tokenizer::of_gguf(&file).unwrap());
        for text in ["The Path", "axe BATH", "the path", "cafe\u{301}"] {
            assert_eq!(ours.encode(text).unwrap(), theirs.encode(text).unwrap(), "{name}: {text}");
        }
    }
    let (values, tensors) = models::to_gguf(published("llama", &pairs()).path()).unwrap();
    assert!(!values.contains_key("cairn.tokenizer.normalizer"));
    // What a file says there is checked as if it was a tokenizer.json.
    let mut bomb = values;
    let ten = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
    let all = json!({"type": "Sequence", "normalizers": vec![ten; 12]});
    bomb.insert("cairn.tokenizer.normalizer".into(), all.to_string().into());
    let file = Gguf::from_bytes(gguf::encode(&bomb, &tensors).unwrap()).unwrap();
    let told = Tokenizer::of_gguf(&file).unwrap_err().to_string();
    assert!(told.contains("times as long"), "{told}");
}

#[test]
fn vectors_of_texts_are_made_as_in_the_folder() {
    let made = published("bert", &pieces());
    std::fs::create_dir(made.path().join("1_Pooling")).unwrap();
    let pooling = |mode: &str| {
        let settings = json!({format!("pooling_mode_{mode}"): true});
        std::fs::write(made.path().join("1_Pooling/config.json"), settings.to_string()).unwrap();
    };
    let parts =
        json!([{"type": "Transformer"}, {"type": "Pooling", "path": "1_Pooling"}, {"type": "Normalize"}]);
    std::fs::write(made.path().join("modules.json"), parts.to_string()).unwrap();
    let path = made.path().join("model.gguf");
    let vector = |path: &Path| Encoder::load(path).unwrap().embed(&["a bath"]).unwrap();
    for (mode, number) in [("mean_tokens", 1), ("cls_token", 2), ("lasttoken", 3)] {
        pooling(mode);
        let (mut values, tensors) = models::to_gguf(made.path()).unwrap();
        assert_eq!(values["bert.pooling_type"].as_u64(), Some(number));
        gguf::write(&path, &values, &tensors).unwrap();
        let (theirs, ours) = (vector(made.path()), vector(&path));
        let most = theirs.iter().zip(ours.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-4, "{mode} is off by {most}");
        values.insert("bert.pooling_type".into(), 0u32.into());
        gguf::write(&path, &values, &tensors).unwrap();
        let told = Encoder::load(&path).unwrap_err().to_string();
        assert!(told.contains("`pooling_type` is 0"), "{told}");
    }
    pooling("max_tokens");
    assert!(matches!(models::to_gguf(made.path()), Err(Error::Unsupported { .. })));
}

#[test]
fn what_has_no_place_in_a_file_is_told() {
    let refused =
        |name: &str, tokenizer: &Json| models::to_gguf(published(name, tokenizer).path()).unwrap_err();
    let mut other = pairs();
    other["pre_tokenizer"] = json!({"type": "Whitespace"});
    let error = refused("llama", &other);
    assert!(error.to_string().contains("which has no name there"), "{error}");
    other["model"]["byte_fallback"] = true.into();
    assert!(matches!(refused("llama", &other), Error::Unsupported { .. }));
    let mut beyond = pairs();
    beyond["model"]["vocab"]["the"] = 48.into();
    let error = refused("llama", &beyond);
    assert!(error.to_string().contains("an id beyond the table of 48 tokens"), "{error}");
    let error = refused("gemma3", &pairs());
    assert!(error.to_string().contains("writing `gemma3"), "{error}");
    let error = refused("gpt2_scaled", &pairs());
    assert!(error.to_string().contains("scores of attention"), "{error}");
}
