//! The program `cairn`, run as a user runs it, on a tiny model made here.

#[cfg(all(feature = "serve", unix))]
mod browser;
mod compress;
#[cfg(feature = "serve")]
mod crowd;
#[cfg(feature = "serve")]
mod http;
#[cfg(feature = "serve")]
mod page;
mod published;
mod saved;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "serve")]
mod shop;
mod whole;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Map, Value, json};

/// A model of the Llama family with random weights, whose tokens are characters.
fn model() -> tempfile::TempDir {
    copied("llama")
}

fn copied(name: &str) -> tempfile::TempDir {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("nn/tests/golden/models").join(name);
    let made = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join(file), made.path().join(file)).unwrap();
    }
    with_letters(made.path());
    made
}

/// Gives a model of 48 tokens a tokenizer of letters and a template of conversations.
fn with_letters(folder: &Path) {
    let letters = "?abcdefghijklmnopqrstuvwxyz .,!0123456789'-:;()";
    assert_eq!(letters.chars().count(), 47);
    let mut vocabulary: Map<String, Value> =
        (1..).zip(letters.chars()).map(|(id, letter)| (letter.to_string(), json!(id))).collect();
    vocabulary.insert("<end>".into(), json!(0));
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "?"}
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let settings =
        json!({"chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}"});
    std::fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
}

/// A model of the same kind that reads a million tokens: what it writes takes long.
#[cfg(feature = "serve")]
fn long_model() -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    let (features, hidden) = (32, 64);
    let config = json!({
        "model_type": "llama", "vocab_size": 48, "hidden_size": features, "intermediate_size": hidden, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 1_000_000, "tie_word_embeddings": true,
    });
    std::fs::write(made.path().join("config.json"), config.to_string()).unwrap();
    let mut shapes =
        vec![("embed_tokens".to_owned(), vec![48, features]), ("norm".to_owned(), vec![features])];
    let layer = |name: &str, shape: Vec<usize>| (format!("layers.0.{name}"), shape);
    for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
        shapes.push(layer(&format!("self_attn.{name}"), vec![features, features]));
    }
    shapes.push(layer("mlp.gate_proj", vec![hidden, features]));
    shapes.push(layer("mlp.up_proj", vec![hidden, features]));
    shapes.push(layer("mlp.down_proj", vec![features, hidden]));
    shapes.push(layer("input_layernorm", vec![features]));
    shapes.push(layer("post_attention_layernorm", vec![features]));
    let (mut header, mut data) = (Map::new(), Vec::new());
    let mut state = 1u32;
    for (name, shape) in shapes {
        let begin = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            data.extend((state as f32 / u32::MAX as f32 - 0.5).to_le_bytes());
        }
        let offsets = [begin, data.len()];
        header.insert(
            format!("model.{name}.weight"),
            json!({"dtype": "F32", "shape": shape, "data_offsets": offsets}),
        );
    }
    let header = Value::Object(header).to_string().into_bytes();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    std::fs::write(made.path().join("model.safetensors"), file).unwrap();
    with_letters(made.path());
    made
}

fn cairn(arguments: &[&str], input: &str) -> Output {
    let program = Command::new(env!("CARGO_BIN_EXE_cairn"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut program = program.unwrap();
    // It may end before it has read all.
    let _ = program.stdin.take().unwrap().write_all(input.as_bytes());
    program.wait_with_output().unwrap()
}

/// What a command that succeeds writes.
fn written(arguments: &[&str], input: &str) -> String {
    let output = cairn(arguments, input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a command that fails.
fn told(arguments: &[&str]) -> String {
    let output = cairn(arguments, "");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn texts_are_continued_the_same_for_the_same_seed() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let run = |seed: &str| written(&["generate", path, "the rain", "-n", "20", "--seed", seed], "");
    assert_eq!(run("1"), run("1"));
    assert_ne!(run("1"), run("2"));
    let greedy = written(&["generate", path, "-", "-n", "9", "--greedy", "--json"], "the rain");
    let value: Value = serde_json::from_str(&greedy).unwrap();
    let text = value["text"].as_str().unwrap();
    assert_eq!(value["tokens"], 9);
    assert_eq!(
        written(&["--threads", "1", "generate", path, "the rain", "-n", "9", "--greedy"], ""),
        format!("{text}\n")
    );
    let stop: String = text.chars().skip(3).take(2).collect();
    let stopped = written(&["generate", path, "the rain", "-n", "9", "--greedy", "--stop", &stop], "");
    assert_eq!(stopped.trim_end_matches('\n'), &text[..text.find(&stop).unwrap()]);
}

#[test]
fn conversations_answer_each_line() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let answers = written(&["chat", path, "-n", "5", "--greedy", "--json"], "hello\n\nbye\n");
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    let one = written(&["chat", path, "-n", "5", "--greedy", "-m", "hello"], "");
    assert_eq!(one.trim_end_matches('\n'), answers[0]["text"].as_str().unwrap());
    std::fs::remove_file(made.path().join("tokenizer_config.json")).unwrap();
    let error = told(&["chat", path, "-m", "hello"]);
    assert!(
        error.contains("no template of conversations") && error.contains("hint: `cairn generate`"),
        "{error}"
    );
}

#[test]
fn sentences_become_vectors() {
    let made = copied("bert");
    let path = made.path().to_str().unwrap();
    let lines = written(&["embed", path, "--json"], "a cat\na dog sits\n");
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), rows[1]["text"].as_str()), (2, Some("a dog sits")));
    let vector: Vec<f64> = serde_json::from_value(rows[0]["embedding"].clone()).unwrap();
    assert_eq!(vector.len(), 16);
    assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5);
    let text = written(&["embed", path, "a cat"], "");
    assert_eq!(text.split_whitespace().filter(|x| x.parse::<f32>().is_ok()).count(), 16);
}

#[test]
fn perplexity_is_measured() {
    let made = model();
    let file = made.path().join("text.txt");
    std::fs::write(&file, "the rain in spain stays mainly in the plain. ".repeat(4)).unwrap();
    let (path, file) = (made.path().to_str().unwrap(), file.to_str().unwrap());
    let value: Value =
        serde_json::from_str(&written(&["perplexity", path, file, "--window", "32", "--json"], "")).unwrap();
    // Each window foretells all but the first of its tokens.
    assert_eq!(value["tokens"], 180 - 180u32.div_ceil(32));
    assert!(value["perplexity"].as_f64().unwrap() > 1.0);
    let error = told(&["perplexity", path, file, "--window", "65"]);
    assert!(error.contains("the window is 65"), "{error}");
}

#[test]
fn files_are_described() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let text = written(&["inspect", path], "");
    assert!(
        text.contains("model_type = llama") && text.contains("model.layers.1.mlp.up_proj.weight"),
        "{text}"
    );
    let file = made.path().join("model.safetensors");
    let value: Value =
        serde_json::from_str(&written(&["inspect", file.to_str().unwrap(), "--json"], "")).unwrap();
    assert_eq!(value["tensors"].as_array().unwrap().len(), 21);
}

#[test]
fn the_machine_is_described_to_people_and_programs() {
    let value: Value = serde_json::from_str(&written(&["doctor", "--json"], "")).unwrap();
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(value["instruction_set"], cairn::tensor::instruction_set());
    assert_eq!(value["quantized_products"], cairn::tensor::QuantizedTensor::kernel());
    let number = |key: &str| value[key].as_u64().unwrap_or_else(|| panic!("{key}: {value}"));
    let [processors, threads] = ["processors", "threads"].map(number);
    assert!(processors >= 1 && threads >= 1);
    let speed = value["memory_gigabytes_per_second"].as_f64().unwrap();
    assert!(speed.is_finite() && speed > 0.0);
    // What the system tells of caches: level, kind and size, as in "L1d 48K".
    let caches: Vec<&str> =
        value["caches"].as_array().unwrap().iter().map(|cache| cache.as_str().unwrap()).collect();
    for cache in &caches {
        let (name, size) = cache.split_once(' ').unwrap();
        let level =
            name.strip_prefix('L').and_then(|name| name.trim_end_matches(['d', 'i']).parse::<u8>().ok());
        assert!(level.is_some() && size.starts_with(|digit: char| digit.is_ascii_digit()), "{cache}");
    }
    let listed = Path::new("/sys/devices/system/cpu/cpu0/cache/index0/size").exists();
    assert_eq!(!caches.is_empty(), listed);

    let text = written(&["doctor", "--threads", "1"], "");
    let line = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).trim_start()
    };
    assert_eq!(line("cairn "), env!("CARGO_PKG_VERSION"));
    assert!(line("instructions ").starts_with(cairn::tensor::instruction_set()), "{text}");
    assert_eq!(line("quantised "), cairn::tensor::QuantizedTensor::kernel());
    assert!(line("threads ").starts_with(&format!("1 on {processors} processors")), "{text}");
    assert_eq!(text.contains("caches "), listed);
    assert!(!listed || line("caches ") == caches.join(", "));
    let speed = line("memory ").split_once(" GB/s").unwrap().0.parse::<f64>().unwrap();
    assert!(speed.is_finite() && speed > 0.0);
}

#[test]
fn texts_are_drawn_as_the_publisher_suggests_unless_told_otherwise() {
    let made = model();
    let path = made.path().to_str().unwrap();
    let generate =
        |more: &[&str]| written(&[&["generate", path, "the rain", "-n", "20"][..], more].concat(), "");
    let greedy = generate(&["--greedy"]);
    assert_ne!(generate(&[]), greedy);
    std::fs::write(made.path().join("generation_config.json"), r#"{"do_sample": false}"#).unwrap();
    assert_eq!(generate(&[]), greedy);
    assert_ne!(generate(&["--temperature", "1.5"]), greedy);
}

#[test]
fn what_is_wrong_is_one_line_with_a_hint() {
    let error = told(&["generate", "/nowhere/at/all", "x"]);
    assert!(
        error.starts_with("cairn: /nowhere/at/all: ") && error.contains("(hint: a model is a folder"),
        "{error}"
    );
    let made = model();
    std::fs::write(made.path().join("model.safetensors"), [0xff; 64]).unwrap();
    let error = told(&["generate", made.path().to_str().unwrap(), "x"]);
    assert!(error.contains("model.safetensors") && error.contains("hint: `cairn inspect`"), "{error}");
    for wrong in [&["sing"][..], &["generate"], &["generate", "x", "y", "--temperature", "warm"], &[]] {
        assert_eq!(cairn(wrong, "").status.code(), Some(2), "{wrong:?}");
    }
    assert!(written(&["help"], "").contains("perplexity"));
}

#[test]
fn adapters_are_trained_gone_on_with_used_and_merged() {
    let made = model();
    let at = |name: &str| made.path().join(name).to_str().unwrap().to_owned();
    let talk = |question: &str, answer: &str| {
        json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
            .to_string()
    };
    let lines = [
        talk("hi", "the rain"),
        talk("and where", "in spain"),
        json!({"prompt": "a", "completion": "b"}).to_string(),
    ];
    std::fs::write(at("data.jsonl"), lines.join("\n")).unwrap();
    let (path, data) = (made.path().to_str().unwrap().to_owned(), at("data.jsonl"));
    let tune = |out: &str, epochs: &str, more: &[&str]| -> Value {
        let out = at(out);
        let arguments =
            ["finetune", &path, "--data", &data, "--out", &out, "--epochs", epochs, "--json", "--quiet"];
        let more = [&["--batch-tokens", "30", "--lora", "4", "--learning-rate", "0.01"], more].concat();
        serde_json::from_str(&written(&[&arguments[..], &more].concat(), "")).unwrap()
    };
    let report = tune("whole", "4", &["--validation", &data, "--merged", &at("merged")]);
    assert_eq!((report["examples"].as_u64(), report["left_out"].as_u64()), (Some(3), Some(0)));
    let loss = |key: &str| report[key].as_f64().unwrap();
    assert!(loss("loss") < 0.9 * loss("loss_before"), "{report}");
    assert_eq!(
        (loss("loss"), loss("loss_before")),
        (loss("validation_loss"), loss("validation_loss_before"))
    );
    // Interrupted after two epochs.
    tune("parts", "2", &[]);
    tune("parts", "4", &["--resume"]);
    let adapters =
        |folder: &str| std::fs::read(made.path().join(folder).join("adapter_model.safetensors")).unwrap();
    assert!(adapters("whole") == adapters("parts"));
    let generate = |model: &str, more: &[&str]| {
        written(&[&["generate", model, "hi", "-n", "12", "--greedy"], more].concat(), "")
    };
    let adapted = generate(&path, &["--adapter", &at("whole")]);
    assert_ne!(adapted, generate(&path, &[]));
    assert_eq!(adapted, generate(&at("merged"), &[]));
    // All of the model, without adapters.
    let full = ["finetune", &path, "--data", &data, "--out", &at("full"), "--full", "--epochs", "4"];
    let more = ["--json", "--quiet", "--batch-tokens", "30", "--learning-rate", "0.003"];
    let report: Value = serde_json::from_str(&written(&[&full[..], &more].concat(), "")).unwrap();
    assert_eq!(report["trained_values"], report["values"]);
    assert!(report["loss"].as_f64() < report["loss_before"].as_f64(), "{report}");
    assert_ne!(generate(&at("full"), &[]), generate(&path, &[]));
    let chat = written(&["chat", &path, "--adapter", &at("whole"), "-m", "hi", "-n", "8", "--greedy"], "");
    assert!(!chat.is_empty());

    for name in ["--out", "--merged"] {
        let more = if name == "--merged" {
            vec!["--out", "elsewhere", "--merged", &path]
        } else {
            vec!["--out", &path]
        };
        let error = told(&[&["finetune", &path, "--data", &data][..], &more].concat());
        assert!(error.contains(&format!("{name} is the model")), "{error}");
    }
    // Refused before the training: neither of the two is there, nor begun.
    let both = |merged: &str| {
        told(&["finetune", &path, "--data", &data, "--out", &at("new"), "--merged", &at(merged)])
    };
    for (merged, why) in [
        ("new", "--out and --merged are both"),
        ("other/../new", "--out and --merged are both"),
        ("new/adapter_config.json", "over what --out writes"),
    ] {
        let error = both(merged);
        assert!(error.contains(why) && error.contains("hint: name another path"), "{error}");
        assert!(!Path::new(&at("new")).exists());
    }

    std::fs::write(at("data.jsonl"), "{\"prompt\": \"a\"}\n").unwrap();
    let error = told(&["finetune", &path, "--data", &data, "--out", &at("no")]);
    assert!(error.contains("data.jsonl: line 1: it has neither"), "{error}");
    let error = told(&["generate", &path, "hi", "--adapter", &at("nowhere")]);
    assert!(error.contains("adapter_config.json"), "{error}");
}

#[test]
fn folders_are_halved_and_what_that_changes_is_measured() {
    for (name, key) in [("llama", "agreement"), ("bert", "mean_cosine")] {
        let made = copied(name);
        let at = |name: &str| made.path().join(name).to_str().unwrap().to_owned();
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "the rain in spain\nstays mainly in the plain\n".repeat(3)).unwrap();
        let other = tempfile::tempdir().unwrap();
        let (from, to) = (made.path().to_str().unwrap(), other.path().join("half"));
        let to = to.to_str().unwrap();
        let compare = ["--compare", text.path().to_str().unwrap(), "--json"];
        let line = written(&[&["quantize", from, to, "--format", "bf16"][..], &compare].concat(), "");
        let report: Value = serde_json::from_str(&line).unwrap();
        assert!(report["bytes_after"].as_u64() < report["bytes_before"].as_u64());
        let alike = report["comparison"][key].as_f64().unwrap();
        assert!(alike > 0.9 && alike <= 1.0 + 1e-6, "{report}");
        assert!(std::path::Path::new(to).join("tokenizer.json").is_file());
        let error = told(&["quantize", from, &at("small"), "--format", "q4_1"]);
        assert!(error.contains("safetensors have no q4_1") && error.contains("hint"), "{error}");
        // Copying a folder into itself would not end.
        let error = told(&["quantize", from, &at("small"), "--format", "bf16"]);
        assert!(error.contains("lies in the folder"), "{error}");
        assert!(!std::path::Path::new(&at("small")).exists());
    }
}

#[test]
fn halves_become_the_other_halves() {
    let made = copied("llama");
    std::fs::write(made.path().join("pytorch_model.bin"), "x").unwrap();
    let other = tempfile::tempdir().unwrap();
    let at = |name: &str| other.path().join(name).to_str().unwrap().to_owned();
    let halved = |from: &str, to: &str, format: &str| -> Value {
        serde_json::from_str(&written(&["quantize", from, to, "--format", format, "--json"], "")).unwrap()
    };
    let first = halved(made.path().to_str().unwrap(), &at("one"), "bf16");
    let second = halved(&at("one"), &at("two"), "f16");
    assert!(first["tensors"]["bf16"].as_u64() > Some(10), "{first}");
    assert_eq!(
        (&second["tensors"]["f16"], &second["tensors"]["bf16"]),
        (&first["tensors"]["bf16"], &Value::Null)
    );
    assert!(Path::new(&at("one")).join("tokenizer.json").is_file());
    assert!(!Path::new(&at("one")).join("pytorch_model.bin").exists());
}

#[test]
fn texts_become_ids() {
    let made = model();
    let file = made.path().join("text.txt");
    std::fs::write(&file, "ab c").unwrap();
    let (path, file) = (made.path().to_str().unwrap(), file.to_str().unwrap());
    assert_eq!(written(&["tokenize", path, file], ""), "2 3 28 4\n");
    let value: Value = serde_json::from_str(&written(&["tokenize", path, file, "--json"], "")).unwrap();
    assert_eq!(value["ids"], json!([2, 3, 28, 4]));
}
