//! `cairn quantize`: a folder as a GGUF file of each format, and one GGUF file from another, read again and compared with what they were made
//! of; what is reported of size, speed and loss of quality.

use std::collections::BTreeMap;
use std::path::Path;

use cairn::nn::Context;
use cairn::nn::models::{self, Network};
use cairn::nn::weights::Weights;
use cairn::tensor::{AnyTensor, Tensor, rng};
use serde_json::{Map, Value, json};

use crate::{told, written};

/// Formats, and how far the scores of random weights may be from those of the weights that they were rounded from, as a share.
const FORMATS: [(&str, f32); 10] = [
    ("q4_0", 0.4),
    ("q4_1", 0.4),
    ("q4_k", 0.4),
    ("q5_0", 0.2),
    ("q5_1", 0.2),
    ("q5_k", 0.2),
    ("q6_k", 0.1),
    ("q8_0", 0.05),
    ("bf16", 0.02),
    ("f16", 0.01),
];
/// Letters, digits, a blank, two marks and three merges.
const TOKENS: usize = 42;
/// A row of weights is a block of the longest formats.
const FEATURES: usize = 256;

/// A model of one block with random weights, and a tokenizer of the kind that GGUF files have room for.
pub(crate) fn folder() -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: &Value| std::fs::write(made.path().join(name), value.to_string()).unwrap();
    let config = json!({
        "model_type": "llama", "vocab_size": TOKENS, "hidden_size": FEATURES, "intermediate_size": FEATURES, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": true,
        "rms_norm_eps": 1e-6, "eos_token_id": 1,
    });
    write("config.json", &config);
    write("tokenizer.json", &tokenizer());
    write("tokenizer_config.json", &json!({"eos_token": "</s>"}));
    let mut draw = rng(2);
    let mut matrix =
        |rows: usize| AnyTensor::from(Tensor::<f32>::normal([rows, FEATURES], 0.0, 0.06, &mut draw).unwrap());
    let mut tensors = BTreeMap::from([("model.embed_tokens.weight".to_owned(), matrix(TOKENS))]);
    for (name, rows) in [
        ("self_attn.q_proj", FEATURES),
        ("self_attn.k_proj", FEATURES / 2),
        ("self_attn.v_proj", FEATURES / 2),
        ("self_attn.o_proj", FEATURES),
        ("mlp.gate_proj", FEATURES),
        ("mlp.up_proj", FEATURES),
        ("mlp.down_proj", FEATURES),
    ] {
        tensors.insert(format!("model.layers.0.{name}.weight"), matrix(rows));
    }
    for name in ["norm", "layers.0.input_layernorm", "layers.0.post_attention_layernorm"] {
        let ones = Tensor::<f32>::ones([FEATURES]).unwrap();
        tensors.insert(format!("model.{name}.weight"), ones.into());
    }
    Weights::from(tensors).write_safetensors(made.path().join("model.safetensors")).unwrap();
    made
}

fn tokenizer() -> Value {
    let letters = ('a'..='z').chain('0'..='9').chain(['Ġ']).map(String::from);
    let tokens = ["<s>", "</s>"].map(str::to_owned).into_iter().chain(letters);
    let tokens = tokens.chain(["th", "Ġth", "the"].map(str::to_owned));
    let vocabulary: Map<String, Value> = tokens.zip(0..).map(|(token, id)| (token, json!(id))).collect();
    assert_eq!(vocabulary.len(), TOKENS);
    let mark = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false
        })
    };
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": level, "decoder": level,
        "post_processor": null, "added_tokens": [mark(0, "<s>"), mark(1, "</s>")],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [["t", "h"], ["Ġ", "th"], ["th", "e"]]}
    })
}

fn scores(path: &Path) -> Tensor {
    let tokens: Vec<u32> = (0..40).map(|n| n * 7 % TOKENS as u32).collect();
    let tokens = Tensor::from_vec(tokens, [1, 40]).unwrap();
    let Network::Causal(model) = models::load(path).unwrap() else { panic!("it writes texts") };
    model.forward(&tokens, &mut Context::eval()).unwrap().value().clone()
}

/// How far scores are from others, as a share of their length.
fn apart(a: &Tensor, b: &Tensor) -> f32 {
    let length = |x: &Tensor| x.norm(..).unwrap().item().unwrap();
    length(&a.sub(b).unwrap()) / length(b)
}

/// What is reported of a model that was written in another format, compared on a text.
fn quantized(from: &Path, to: &Path, format: &str, text: &Path) -> Value {
    let [from, to, text] = [from, to, text].map(|path| path.to_str().unwrap());
    let line = written(&["quantize", from, to, "--format", format, "--compare", text, "--json"], "");
    serde_json::from_str(&line).unwrap()
}

/// Seven matrices are of the format, the table of tokens is of 8 bits or of 16, and three norms are floats. What was measured is numbers.
fn check_report(report: &Value, format: &str) {
    let expected = match format {
        "q8_0" | "f16" | "bf16" => json!({format: 8, "f32": 3}),
        _ => json!({format: 7, "q8_0": 1, "f32": 3}),
    };
    assert_eq!(report["tensors"], expected);
    assert!(report["largest_error"].as_f64().unwrap() > 0.0, "{report}");
    let compared = &report["comparison"];
    let number = |key: &str| {
        let number = compared[key].as_f64().unwrap_or_else(|| panic!("{format}: {key} of {report}"));
        assert!(number.is_finite() && number > 0.0, "{format}: {key} of {report}");
        number
    };
    assert!(number("tokens_a_second_before") > 0.0 && number("tokens_a_second_after") > 0.0);
    let least = if expected[format] == 8 { 0.8 } else { 0.3 };
    assert!((least..=1.0).contains(&number("agreement")), "{format}: {report}");
    let ratio = number("perplexity_after") / number("perplexity_before");
    assert!((ratio - 1.0).abs() < 0.2, "{format}: {report}");
    assert!(number("tokens") > 50.0);
}

#[test]
fn folders_become_files_of_every_format_which_become_each_other() {
    let (made, place) = (folder(), tempfile::tempdir().unwrap());
    let at = |name: &str| place.path().join(name);
    let text = at("text.txt");
    std::fs::write(&text, "the rain in spain stays mainly in the plain ".repeat(4)).unwrap();
    let exact = scores(made.path());
    let mut sizes = Vec::new();
    for (format, most) in FORMATS {
        let path = at(&format!("{format}.gguf"));
        let report = quantized(made.path(), &path, format, &text);
        check_report(&report, format);
        assert!(report["bytes_after"].as_u64() < report["bytes_before"].as_u64());
        sizes.push((std::fs::metadata(&path).unwrap().len(), format));
        let off = apart(&scores(&path), &exact);
        assert!(off > 0.0 && off < most, "{format} is off by {off}");
    }
    sizes.sort_unstable();
    let order: Vec<&str> = sizes.iter().map(|(_, format)| *format).collect();
    assert_eq!(order[6..8], ["q6_k", "q8_0"], "{sizes:?}");

    // One file from another: of 16 bits, and of 8.
    let [half, eight] = ["bf16.gguf", "q8_0.gguf"].map(at);
    let before = scores(&half);
    for (format, most) in &FORMATS[..8] {
        let path = at("again.gguf");
        check_report(&quantized(&half, &path, format, &text), format);
        let off = apart(&scores(&path), &before);
        assert!(off > 0.0 && off < *most, "{format} from bf16 is off by {off}");
    }
    let report = quantized(&eight, &at("again.gguf"), "q4_k", &text);
    check_report(&report, "q4_k");
    assert!(apart(&scores(&at("again.gguf")), &exact) < 0.4);

    // The file writes what the folder does, and reads texts as it does.
    let folder = at("half");
    quantized(made.path(), &folder, "bf16", &text);
    let generate =
        |path: &Path| written(&["generate", path.to_str().unwrap(), "the rain", "-n", "8", "--greedy"], "");
    assert_eq!(generate(&half), generate(&folder));
    let ids =
        |path: &Path| written(&["tokenize", path.to_str().unwrap(), text.to_str().unwrap(), "--json"], "");
    assert_eq!(ids(&at("again.gguf")), ids(made.path()));
}

#[test]
fn what_was_measured_is_told_to_people_too() {
    let made = folder();
    let at = |name: &str| made.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("text.txt"), "the rain in spain stays mainly in the plain").unwrap();
    let (from, to) = (made.path().to_str().unwrap(), at("small.gguf"));
    let arguments = ["quantize", from, &to, "--format", "q4_0"];
    let plain = written(&arguments, "");
    assert!(plain.contains("7 q4_0") && plain.contains("--compare measures"), "{plain}");
    let told_too = written(&[&arguments[..], &["--compare", &at("text.txt")]].concat(), "");
    for part in ["MB became", "perplexity of", "likeliest token is the same in", "tokens read a second"] {
        assert!(told_too.contains(part), "{told_too}");
    }
    let other = written(&["quantize", from, &to, "--format", "q4_0", "--tokens", "q6_k", "--json"], "");
    let report: Value = serde_json::from_str(&other).unwrap();
    assert_eq!(report["tensors"], json!({"q4_0": 7, "q6_k": 1, "f32": 3}));
    assert!(report["comparison"].is_null());
    let error = told(&["quantize", &to, &to, "--format", "q8_0"]);
    assert!(error.contains("the file to write is the one to read"), "{error}");
    assert_eq!(crate::cairn(&["quantize", from, &to, "--format", "q3_0"], "").status.code(), Some(2));
}
