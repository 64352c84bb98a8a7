//! The two programs that the README shows, run as they stand there; how long programs are that are said to be short; and those that
//! fine-tune published models, on tiny ones with random weights, and distil a large network into a small one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cairn_autograd::no_grad;
use cairn_nn::language::{LanguageModel, Tuning, assistant, batches, user};
use cairn_nn::weights::Weights;
use cairn_nn::{Context, Model};
use cairn_tensor::{AnyTensor, Tensor, rng};
use serde_json::{Map, Value, json};

#[path = "../../examples/distill.rs"]
#[allow(dead_code)] // its `main`
mod distill;
#[path = "../../examples/finetune_chat.rs"]
#[allow(dead_code)]
mod finetune_chat;
#[path = "../../examples/finetune_classifier.rs"]
#[allow(dead_code)]
mod finetune_classifier;
#[path = "../../examples/fit_and_resume.rs"]
#[allow(dead_code)]
mod fit_and_resume;
#[path = "../../examples/load_and_predict.rs"]
#[allow(dead_code)]
mod load_and_predict;

#[test]
fn one_program_trains_and_goes_on_and_another_uses_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.cairn");
    let name = path.to_str().unwrap();
    fit_and_resume::train(name).unwrap();
    let [drawn, read] = load_and_predict::classify(name).unwrap();
    let right = drawn.iter().zip(&read).filter(|(a, b)| a == b).count();
    assert!(right >= 7, "{drawn:?} was read as {read:?}");

    // Started again it has nothing to learn any more, and gives the same model from its checkpoint.
    let saved = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fit_and_resume::train(name).unwrap();
    assert_eq!(fs::read(&path).unwrap(), saved);
}

#[test]
fn the_readme_shows_them_in_fewer_than_forty_lines() {
    let readme = include_str!("../../README.md");
    let sources = [
        include_str!("../../examples/fit_and_resume.rs"),
        include_str!("../../examples/load_and_predict.rs"),
    ];
    let code = sources.map(|source| {
        let start = source.lines().position(|line| line.starts_with("use ")).unwrap();
        source.lines().skip(start).collect::<Vec<_>>().join("\n")
    });
    let lines: usize = code.iter().map(|code| code.lines().filter(|line| !line.is_empty()).count()).sum();
    assert!(lines < 40, "{lines} lines");
    for code in &code {
        assert!(readme.contains(code.as_str()), "the README shows something else than\n{code}");
    }
}

#[test]
fn a_gpt_is_written_in_sixty_lines() {
    // As it stands there, with its comments: what `cargo xtask e2e --only gpt` trains.
    let source = include_str!("../../examples/gpt/model.rs");
    let lines = source.lines().count();
    assert!(lines <= 60, "{lines} lines");
    let longest = source.lines().map(|line| line.chars().count()).max();
    assert!(longest.is_some_and(|longest| longest <= 140), "{longest:?} letters in a line");
    // Of public layers: nothing in it is of another example.
    assert!(!source.contains("mod ") && !source.contains("#[path"), "{source}");
}

/// A tokenizer.json of these tokens, each with its id; the first is for what is none of them.
fn tokenizer(kind: &str, words: &Value, tokens: impl IntoIterator<Item = String>) -> Value {
    let vocabulary: Map<String, Value> = (0..).zip(tokens).map(|(id, token)| (token, json!(id))).collect();
    let mut model = json!({"type": kind, "vocab": vocabulary, "unk_token": "?"});
    if kind == "BPE" {
        model["merges"] = json!([]);
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": words,
        "post_processor": null, "decoder": {"type": "Fuse"}, "model": model
    })
}

/// A chat model of two blocks with random weights, whose tokens are the characters of ASCII.
fn chat_model() -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| fs::write(made.path().join(name), value.to_string()).unwrap();
    let tokens = ["?".to_owned(), "<end>".to_owned()].into_iter();
    let tokens = tokens.chain((' '..='~').filter(|letter| *letter != '?').map(String::from));
    write("tokenizer.json", &tokenizer("BPE", &Value::Null, tokens));
    write(
        "tokenizer_config.json",
        &json!({"chat_template": "{% for m in messages %}<{{ m.role[:1] }}>{{ m.content }}|{% endfor %}"}),
    );
    let (features, hidden) = (64, 96);
    write(
        "config.json",
        &json!({
            "model_type": "llama", "vocab_size": 96, "hidden_size": features, "intermediate_size": hidden, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 256, "tie_word_embeddings": true, "eos_token_id": 1,
        }),
    );
    let (mut draw, mut tensors) = (rng(5), BTreeMap::new());
    let mut add = |name: String, shape: &[usize]| {
        let value = match *shape {
            [size] => Tensor::<f32>::ones([size]).unwrap(),
            [rows, columns] => Tensor::normal([rows, columns], 0.0, 0.1, &mut draw).unwrap(),
            _ => unreachable!("a model has lists and matrices"),
        };
        tensors.insert(format!("model.{name}.weight"), AnyTensor::from(value));
    };
    add("embed_tokens".into(), &[96, features]);
    add("norm".into(), &[features]);
    for layer in 0..2 {
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            add(format!("layers.{layer}.self_attn.{name}"), &[features, features]);
        }
        add(format!("layers.{layer}.mlp.gate_proj"), &[hidden, features]);
        add(format!("layers.{layer}.mlp.up_proj"), &[hidden, features]);
        add(format!("layers.{layer}.mlp.down_proj"), &[features, hidden]);
        add(format!("layers.{layer}.input_layernorm"), &[features]);
        add(format!("layers.{layer}.post_attention_layernorm"), &[features]);
    }
    Weights::from(tensors).write_safetensors(made.path().join("model.safetensors")).unwrap();
    made
}

#[test]
fn a_chat_model_learns_a_page_and_keeps_it_in_its_adapters() {
    let made = chat_model();
    let folder = made.path().join("adapters");
    let ([before, after], history) = finetune_chat::run(made.path(), Some(&folder)).unwrap();
    let losses = history.values("loss");
    assert!(losses.len() == 12 && losses[11] < 0.85 * losses[0], "{losses:?}");
    assert!(before.len() == 3 && before != after, "{before:?} became {after:?}");

    // Read anew, the model foretells an answer of the page better with what was saved than without it.
    let model = LanguageModel::load(made.path()).unwrap();
    let answer = "Four hundred people live on Velmora.";
    let example = model.example([user("How many people live on Velmora?"), assistant(answer)]).unwrap();
    let page = batches(&[example], 256).unwrap();
    let loss = || {
        let tuning = Tuning::whole(model.network());
        no_grad(|| tuning.forward(&page, &mut Context::eval())).unwrap().item().unwrap()
    };
    let without = loss();
    let _adapter = model.load_adapter(&folder).unwrap();
    assert!(loss() < 0.85 * without, "{without} became {}", loss());
    assert!(finetune_chat::run(&made.path().join("none"), None).is_err());
}

#[test]
fn an_encoder_of_words_learns_to_tell_praise_from_blame() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/golden/models");
    let text = finetune_classifier::TRAIN;
    let mut words = vec!["?".to_owned()];
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    assert!(words.len() <= 48, "the models have 48 tokens: {words:?}");
    let tokenizer = tokenizer("WordLevel", &json!({"type": "Whitespace"}), words);
    for name in ["bert", "roberta"] {
        let made = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(golden.join(name).join(file), made.path().join(file)).unwrap();
        }
        fs::write(made.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let [before, after] = finetune_classifier::run(made.path(), [text, text], 0.01).unwrap();
        let [first, last] = [before, after].map(|found| found.get("loss").unwrap());
        assert!(last < 0.75 * first, "{name}: {first} became {last}");
    }
    assert!(finetune_classifier::run(Path::new("/nowhere"), [text, text], 0.01).is_err());
}

#[test]
fn a_small_network_learns_from_a_large_one() {
    // Each of ten digits is right by chance in one of ten.
    let found = distill::run([3000, 300, 500]).unwrap();
    assert!(found[0] > 0.5 && found[1] > 0.3 && found[2] > 0.3, "{found:?}");
}
