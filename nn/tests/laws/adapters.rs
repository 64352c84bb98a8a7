//! Adapters: what peft computes with the same files, both ways; only they train, beside weights of any type; merged they are the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn_nn::adapters::{Adapter, Lora};
use cairn_nn::models::{self, Config, Network};
use cairn_nn::spec::Dense;
use cairn_nn::weights::Weights;
use cairn_nn::{Activation, Context, Model, Module, Sequential, cross_entropy};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, rng};

use crate::gguf_models::{converted, wide};

const CASES: [&str; 3] = ["llama", "gpt2", "bert"];

fn golden(part: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(part).join(name)
}

fn config(name: &str) -> Config {
    Config::read(golden("models", name).join("config.json")).unwrap()
}

fn module(network: &Network) -> &dyn Module {
    match network {
        Network::Causal(model) => model,
        Network::Encoder(model) => model,
    }
}

fn outputs(network: &Network, tokens: &Tensor<u32>, cx: &mut Context) -> Tensor {
    let outputs = match network {
        Network::Causal(model) => model.forward(tokens, cx),
        Network::Encoder(model) => model.forward(tokens, cx),
    };
    outputs.unwrap().value().clone()
}

fn off(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The tokens that peft was given, and what it computed.
fn expected(name: &str) -> (Tensor<u32>, Tensor) {
    let all =
        Weights::read_safetensors(golden("adapters", name).join("expected.safetensors")).unwrap().tensors;
    let tokens = all["tokens"].cast(DType::U32).unwrap().downcast_ref::<u32>().unwrap().clone();
    (tokens, all["outputs"].as_f32().unwrap().clone())
}

#[test]
fn adapters_of_peft_compute_what_peft_computes_and_merged_the_same() {
    for name in CASES {
        let network = models::load(golden("models", name)).unwrap();
        let (tokens, theirs) = expected(name);
        let before = outputs(&network, &tokens, &mut Context::eval());
        let count = module(&network).parameter_count();
        let adapter = Adapter::load(golden("adapters", name), module(&network), &config(name)).unwrap();
        assert_eq!(module(&network).trainable_count(), adapter.parameter_count(), "{name}");
        let adapted = outputs(&network, &tokens, &mut Context::eval());
        assert!(off(&before, &theirs) > 0.1, "{name}: adapters change nothing");
        assert!(off(&adapted, &theirs) < 1e-4, "{name} is off by {}", off(&adapted, &theirs));
        adapter.merge().unwrap();
        let merged = outputs(&network, &tokens, &mut Context::eval());
        let most = adapted.iter().map(f32::abs).fold(1.0, f32::max);
        let share = off(&merged, &adapted) / most;
        assert!(share < 1e-5, "{name}, merged, is off by {share} of the largest");
        assert_eq!(module(&network).parameter_count(), count, "{name}");
    }
}

#[test]
fn what_is_saved_is_what_peft_would_save() {
    for name in CASES {
        let network = models::load(golden("models", name)).unwrap();
        let adapter = Adapter::load(golden("adapters", name), module(&network), &config(name)).unwrap();
        let made = tempfile::tempdir().unwrap();
        adapter.save(made.path(), name).unwrap();
        let read = |folder: &Path| {
            let weights = Weights::read_safetensors(folder.join("adapter_model.safetensors")).unwrap();
            let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
            (weights.tensors, serde_json::from_str::<serde_json::Value>(&text).unwrap())
        };
        let (ours, theirs) = (read(made.path()), read(&golden("adapters", name)));
        assert_eq!(ours.0, theirs.0, "{name}");
        for key in
            ["peft_type", "task_type", "base_model_name_or_path", "r", "use_rslora", "fan_in_fan_out", "bias"]
        {
            assert_eq!(ours.1[key], theirs.1[key], "{name}: {key}");
        }
        assert_eq!(ours.1["lora_alpha"].as_f64(), theirs.1["lora_alpha"].as_f64(), "{name}");
        adapter.detach();
        let again = Adapter::load(made.path(), module(&network), &config(name)).unwrap();
        let (tokens, theirs) = expected(name);
        assert!(off(&outputs(&network, &tokens, &mut Context::eval()), &theirs) < 1e-4, "{name}");
        assert_eq!(Adapter::base_of(made.path()).unwrap().as_deref(), Some(name));
        assert_eq!(
            again.layers().count(),
            if name == "llama" {
                8
            } else if name == "gpt2" {
                2
            } else {
                4
            }
        );
    }
}

/// Keys of `alpha_pattern` that peft takes for the same as those of the golden file, and some that it does not.
#[test]
fn alphas_are_those_of_the_patterns_as_peft_reads_them() {
    let network = models::load(golden("models", "llama")).unwrap();
    let (tokens, theirs) = expected("llama");
    let off_with = |patterns: &str| {
        let made = tempfile::tempdir().unwrap();
        let from = golden("adapters", "llama");
        std::fs::copy(from.join("adapter_model.safetensors"), made.path().join("adapter_model.safetensors"))
            .unwrap();
        let text = std::fs::read_to_string(from.join("adapter_config.json")).unwrap();
        let begin = text.find("\"alpha_pattern\": {").unwrap();
        let end = begin + text[begin..].find('}').unwrap() + 1;
        let text = format!("{}\"alpha_pattern\": {patterns}{}", &text[..begin], &text[end..]);
        std::fs::write(made.path().join("adapter_config.json"), text).unwrap();
        let adapter = Adapter::load(made.path(), module(&network), &config("llama")).unwrap();
        let ours = outputs(&network, &tokens, &mut Context::eval());
        adapter.detach();
        off(&ours, &theirs)
    };
    for patterns in [
        r#"{"layers.1.self_attn.v_proj": 3}"#,
        r#"{"model.layers.1.self_attn.v_proj": 3}"#,
        // The first that fits counts; all others have six anyhow.
        r#"{"layers.1.self_attn.v_proj": 3, "v_proj": 6}"#,
        r#"{"k_proj": 6, "layers.1.self_attn.v_proj": 3}"#,
    ] {
        assert!(off_with(patterns) < 1e-4, "{patterns}");
    }
    for patterns in
        ["{}", r#"{"v_proj": 6, "layers.1.self_attn.v_proj": 3}"#, r#"{"layers.0.self_attn.v_proj": 3}"#]
    {
        assert!(off_with(patterns) > 1e-3, "{patterns}");
    }
    #[cfg(feature = "language")]
    for patterns in [
        r#"{"^model\\.layers\\.1\\.self_attn\\.v_proj": 3}"#,
        r#"{"layers\\.[1-9]\\..*v_proj": 3}"#,
        r#"{".*\\.1\\.self_attn\\.(v|o)_proj": 3}"#,
    ] {
        assert!(off_with(patterns) < 1e-4, "{patterns}");
    }
}

#[test]
fn weights_of_other_formats_are_not_written_beside_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::create_dir(&from).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("models", "gpt2").join(name), from.join(name)).unwrap();
    }
    let left = [
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "tf_model.h5",
        "flax_model.msgpack",
        "model.onnx",
    ];
    for name in left.iter().chain(&["vocab.json", "spiece.model"]) {
        std::fs::write(from.join(name), "x").unwrap();
    }
    let network = models::load(&from).unwrap();
    models::save_like(&from, module(&network), &to).unwrap();
    assert!(left.iter().all(|name| !to.join(name).exists()));
    assert!(["config.json", "vocab.json", "spiece.model"].iter().all(|name| to.join(name).is_file()));
}

/// The conversion to GGUF changes the order of rows of queries and keys, and that of adapters' with them.
#[test]
fn adapters_fit_a_model_from_gguf() {
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("model.gguf");
    converted("llama", "llama", &path, |_, tensor| tensor);
    let model = cairn_nn::models::load(&path).unwrap();
    let settings = models::config(&path).unwrap();
    let adapter = Adapter::load(golden("adapters", "llama"), module(&model), &settings).unwrap();
    let (tokens, theirs) = expected("llama");
    let ours = outputs(&model, &tokens, &mut Context::eval());
    assert!(off(&ours, &theirs) < 1e-4, "off by {}", off(&ours, &theirs));
    adapter.save(made.path(), "model.gguf").unwrap();
    let file =
        |folder: &Path| Weights::read_safetensors(folder.join("adapter_model.safetensors")).unwrap().tensors;
    assert_eq!(file(made.path()), file(&golden("adapters", "llama")));
}

#[test]
fn files_with_adapters_added_compute_the_same() {
    let made = tempfile::tempdir().unwrap();
    let gguf = made.path().join("model.gguf");
    converted("llama", "llama", &gguf, |_, tensor| tensor);
    for (name, from) in [
        ("llama", golden("models", "llama")),
        ("gpt2", golden("models", "gpt2")),
        ("bert", golden("models", "bert")),
        ("llama", gguf.clone()),
    ] {
        let to = made.path().join(if from.is_dir() { name } else { "merged.gguf" });
        cairn_nn::adapters::merge_files(&from, golden("adapters", name), &to).unwrap();
        let (tokens, theirs) = expected(name);
        let ours = outputs(&models::load(&to).unwrap(), &tokens, &mut Context::eval());
        assert!(off(&ours, &theirs) < 1e-4, "{name} is off by {}", off(&ours, &theirs));
        let (network, settings) = (models::load(&from).unwrap(), models::config(&from).unwrap());
        let _adapter = Adapter::load(golden("adapters", name), module(&network), &settings).unwrap();
        let beside = outputs(&network, &tokens, &mut Context::eval());
        let share = off(&ours, &beside) / beside.iter().map(f32::abs).fold(1.0, f32::max);
        assert!(share < 1e-5, "{name}, merged, is off by {share} of the largest");
    }
    let same =
        cairn_nn::adapters::merge_files(&gguf, golden("adapters", "llama"), &gguf).unwrap_err().to_string();
    assert!(same.contains("it is the model to be read"), "{same}");
    let other = cairn_nn::adapters::merge_files(&gguf, golden("adapters", "gpt2"), made.path().join("x"))
        .unwrap_err();
    assert!(other.to_string().contains("there is no such layer"), "{other}");
}

#[test]
fn trained_models_are_written_as_they_were_published() {
    let made = tempfile::tempdir().unwrap();
    let gguf = made.path().join("model.gguf");
    converted("llama", "llama", &gguf, |_, tensor| tensor);
    let folders = ["llama", "gpt2", "bert", "gemma3", "qwen3"].map(|name| golden("models", name));
    for from in folders.iter().chain([&gguf]) {
        let network = models::load_as(from, DType::F32).unwrap();
        let mut draw = rng(7);
        module(&network).for_each_parameter(&mut |_, parameter| {
            let noise = Tensor::normal(parameter.shape(), 0.0, 0.1, &mut draw).unwrap();
            parameter.set(parameter.value().add(&noise).unwrap());
        });
        let to = made.path().join("trained");
        models::save_like(from, module(&network), &to).unwrap();
        let tokens = Tensor::from_vec(vec![3, 1, 4, 1, 5, 9], [1, 6]).unwrap();
        let [ours, theirs] = [&network, &models::load(&to).unwrap()]
            .map(|network| outputs(network, &tokens, &mut Context::eval()));
        assert!(off(&ours, &theirs) < 1e-4, "{}: off by {}", from.display(), off(&ours, &theirs));
        let same = models::save_like(from, module(&network), from).unwrap_err().to_string();
        assert!(same.contains("it is the model to be read"), "{same}");
        if to.is_dir() { std::fs::remove_dir_all(to).unwrap() } else { std::fs::remove_file(to).unwrap() }
    }
}

fn tokens() -> (Tensor<u32>, Tensor<u32>) {
    let of = |ids: Vec<u32>| Tensor::from_vec(ids, [2, 5]).unwrap();
    (of(vec![3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), of(vec![1, 4, 1, 5, 9, 2, 6, 5, 3, 8]))
}

#[test]
fn only_adapters_train_beside_weights_of_any_type() {
    let blocks = [BlockFormat::Q8_0, BlockFormat::Q4_1].map(DType::from);
    for dtype in [DType::F32, DType::BF16, DType::F16].into_iter().chain(blocks) {
        let (file, network) = wide(dtype);
        let settings = models::config(file.path().join("model.gguf")).unwrap();
        let base = network.state();
        let adapter = Lora::new(4).alpha(8.0).attach_as(&network, &settings, &mut rng(3)).unwrap();
        assert_eq!(network.trainable_count(), adapter.parameter_count());
        // All dense layers of two blocks: q, k, v, o, gate, up and down.
        assert_eq!(adapter.layers().count(), 14);
        let (x, y) = tokens();
        let loss = || cross_entropy(&network.forward(&x, &mut Context::train(1)).unwrap(), &y).unwrap();
        let first = loss().item().unwrap();
        for _ in 0..30 {
            let gradients = loss().backward().unwrap();
            adapter.for_each_parameter(&mut |path, parameter| {
                let gradient = gradients.of(parameter).unwrap_or_else(|error| panic!("{path}: {error}"));
                parameter.update(|value| value.add_assign(&gradient.scale(-0.1)?)).unwrap();
            });
        }
        let last = loss().item().unwrap();
        assert!(last < 0.8 * first, "{dtype}: {first} became {last}");
        let after = network.state();
        assert_eq!(after["layers.0.attention.keys.weight"].dtype(), dtype);
        assert!(base.iter().all(|(name, value)| after[name].bits_eq(value)), "{dtype}");
        adapter.detach();
        assert_eq!(network.state().len(), base.len());
    }
}

/// Adapters for all layers of a model of 64 features, with both of their matrices drawn.
fn drawn(network: &dyn Module, settings: &Config) -> Adapter {
    let adapter = Lora::new(4).alpha(8.0).attach_as(network, settings, &mut rng(3)).unwrap();
    for (path, parameter) in adapter.parameters() {
        let mut draw = rng(path.len() as u64);
        parameter.set(Tensor::normal(parameter.shape(), 0.0, 0.1, &mut draw).unwrap());
    }
    adapter
}

/// Merged, a layer that was stored in fewer bits has floats: those of its weights with the adapter's product. In a file these become 8 bits,
/// or 16 where the model has 16.
#[test]
fn models_of_fewer_bits_merge_to_their_floats_with_adapters_beside_them() {
    let blocks = [BlockFormat::Q4_1, BlockFormat::Q8_0].map(DType::from);
    for dtype in blocks.into_iter().chain([DType::BF16, DType::F16]) {
        let (file, network) = wide(dtype);
        let [path, folder, to] = ["model.gguf", "adapter", "merged.gguf"].map(|name| file.path().join(name));
        let (settings, tokens) = (models::config(&path).unwrap(), tokens().0);
        let floats = models::load_as(&path, DType::F32).unwrap();
        let adapter = drawn(module(&floats), &settings);
        adapter.save(&folder, "model.gguf").unwrap();
        let beside = outputs(&floats, &tokens, &mut Context::eval());
        let most = beside.iter().map(f32::abs).fold(1.0, f32::max);

        let network = Network::Causal(network);
        drawn(module(&network), &settings).merge().unwrap();
        let state = module(&network).state();
        assert_eq!(state["layers.0.attention.keys.weight"].dtype(), DType::F32, "{dtype}");
        assert_eq!(state["tokens.weight"].dtype(), dtype, "without an adapter");
        // The table of tokens, whose products are rounded too, as floats.
        module(&network).for_each_parameter(&mut |_, parameter| parameter.set(parameter.value()));
        let merged = outputs(&network, &tokens, &mut Context::eval());
        let share = off(&merged, &beside) / most;
        assert!(share < 1e-5, "{dtype}, merged, is off by {share} of the largest");

        cairn_nn::adapters::merge_files(&path, &folder, &to).unwrap();
        adapter.merge().unwrap();
        let (exact, kept) =
            (module(&floats).state(), module(&models::load_as(&to, DType::F32).unwrap()).state());
        for (name, exact) in exact {
            let (exact, kept) = (exact.as_f32().unwrap(), kept[&name].as_f32().unwrap());
            // Half a step of 8 bits, and what its scale is rounded by.
            let bound = 0.005 * exact.iter().map(f32::abs).fold(0.0, f32::max);
            assert!(off(exact, kept) <= bound, "{dtype}: {name} is off by {}", off(exact, kept));
        }
        let expected = if matches!(dtype, DType::Quantized(_)) { BlockFormat::Q8_0.into() } else { dtype };
        let kept = module(&models::load(&to).unwrap()).state();
        assert_eq!(kept["layers.1.feed_forward.up.weight"].dtype(), expected);
    }
}

#[test]
fn gradients_of_adapters_are_those_of_small_differences() {
    let network = models::load(golden("models", "llama")).unwrap();
    let adapter = Adapter::load(golden("adapters", "llama"), module(&network), &config("llama")).unwrap();
    let Network::Causal(model) = &network else { panic!() };
    let (x, y) = tokens();
    let loss = || cross_entropy(&model.forward(&x, &mut Context::train(0)).unwrap(), &y).unwrap();
    let gradients = loss().backward().unwrap();
    for (path, parameter) in adapter.parameters() {
        let gradient = gradients.of(&parameter).unwrap();
        // Along the gradient the loss changes by its length.
        let length = gradient.norm(..).unwrap().item().unwrap();
        let step = 2e-3 / length;
        let at = |sign: f32| {
            let before = parameter.value();
            parameter.update(|value| value.add_assign(&gradient.scale(sign * step)?)).unwrap();
            let found = loss().item().unwrap();
            parameter.set(before);
            found
        };
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
        assert!((slope / (length * length) - 1.0).abs() < 0.02, "{path}: {slope} and {}", length * length);
    }
}

#[test]
fn a_drawn_adapter_changes_nothing_before_it_is_trained_and_is_the_same_for_a_seed() {
    let network = models::load(golden("models", "qwen2")).unwrap();
    let tokens = tokens().0;
    let before = outputs(&network, &tokens, &mut Context::eval());
    let draw = |seed| {
        let settings = Lora::new(2).targets(["q_proj", "layers.1.mlp.up_proj"]);
        let adapter = settings.attach_as(module(&network), &config("qwen2"), &mut rng(seed)).unwrap();
        assert_eq!(outputs(&network, &tokens, &mut Context::eval()), before);
        assert_eq!(adapter.layers().count(), 3);
        let state = adapter.state();
        adapter.detach();
        state
    };
    assert_eq!(draw(5), draw(5));
    assert_ne!(draw(5), draw(6));
}

#[test]
fn inputs_are_dropped_in_training_alone_and_by_the_seed() {
    let network = models::load(golden("models", "llama")).unwrap();
    let made = tempfile::tempdir().unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(golden("adapters", "llama").join(file), made.path().join(file)).unwrap();
    }
    let path = made.path().join("adapter_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"lora_dropout\": 0.0", "\"lora_dropout\": 0.5")).unwrap();
    let _adapter = Adapter::load(made.path(), module(&network), &config("llama")).unwrap();
    let (tokens, theirs) = expected("llama");
    let with = |cx: &mut Context| outputs(&network, &tokens, cx);
    assert!(off(&with(&mut Context::eval()), &theirs) < 1e-4);
    assert!(off(&with(&mut Context::train(1)), &theirs) > 1e-2);
    assert_eq!(with(&mut Context::train(1)), with(&mut Context::train(1)));
    assert_ne!(with(&mut Context::train(1)), with(&mut Context::train(2)));
}

/// A model of one's own: layers by their paths in it; an activation comes after what the adapter adds.
#[test]
fn adapters_go_beside_the_layers_of_any_model() {
    let model = Sequential::new([6])
        .add(Dense::new(5).activation(Activation::Relu))
        .add(Dense::new(3))
        .build(&mut rng(0))
        .unwrap();
    let x = Tensor::<f32>::normal([7, 6], 0.0, 1.0, &mut rng(1)).unwrap();
    let adapter = Lora::new(2).attach(&model, &mut rng(2)).unwrap();
    let names: Vec<&str> = adapter.layers().map(|(name, _)| name).collect();
    assert_eq!(names, ["dense", "dense_1"]);
    for (path, parameter) in adapter.parameters() {
        let value = Tensor::normal(parameter.shape(), 0.0, 1.0, &mut rng(path.len() as u64)).unwrap();
        parameter.set(value);
    }
    let adapted = model.predict_batch(&x).unwrap();
    let naive = |layer: &str, x: &Tensor| {
        let state = model.state();
        let of = |name: &str| state[&format!("{layer}.{name}")].as_f32().unwrap().clone();
        let weight = of("weight").add(&of("lora.0.a").matmul(&of("lora.0.b")).unwrap()).unwrap();
        x.matmul(&weight).unwrap().add(&of("bias")).unwrap()
    };
    let expected = naive("dense_1", &naive("dense", &x).relu().unwrap());
    assert!(off(&adapted, &expected) < 1e-4, "off by {}", off(&adapted, &expected));
    adapter.merge().unwrap();
    assert!(off(&model.predict_batch(&x).unwrap(), &adapted) < 1e-5);
}

#[test]
fn what_cannot_be_adapted_is_said() {
    let network = models::load(golden("models", "llama")).unwrap();
    let told = |settings: Lora| {
        settings.attach_as(module(&network), &config("llama"), &mut rng(0)).unwrap_err().to_string()
    };
    let unknown = told(Lora::new(2).targets(["qproj"]));
    assert!(
        unknown.contains("adapters of `qproj`: dense layers are called") && unknown.contains("q_proj"),
        "{unknown}"
    );
    assert!(told(Lora::new(0)).contains("the rank of adapters"));
    assert!(told(Lora::new(1).alpha(f32::NAN)).contains("the α of adapters"));
    assert!(told(Lora::new(1).dropout(1.0)).contains("the dropout rate"));
    assert!(told(Lora::new(1).layers([7])).contains("adapters without a layer"));

    let load = |change: &dyn Fn(&mut BTreeMap<String, AnyTensor>), settings: &dyn Fn(String) -> String| {
        let made = tempfile::tempdir().unwrap();
        let from = golden("adapters", "llama");
        let mut weights = Weights::read_safetensors(from.join("adapter_model.safetensors")).unwrap();
        change(&mut weights.tensors);
        weights.write_safetensors(made.path().join("adapter_model.safetensors")).unwrap();
        let text = std::fs::read_to_string(from.join("adapter_config.json")).unwrap();
        std::fs::write(made.path().join("adapter_config.json"), settings(text)).unwrap();
        let error = Adapter::load(made.path(), module(&network), &config("llama")).unwrap_err();
        assert_eq!(module(&network).state().len(), base_count(), "nothing is attached");
        error.to_string()
    };
    let same = |text: String| text;
    let key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let alone = load(&|all| drop(all.remove(key)), &same);
    assert!(alone.contains("layers.0.self_attn.q_proj has but one of two matrices"), "{alone}");
    let wide = load(&|all| drop(all.insert(key.into(), Tensor::<f32>::ones([4, 17]).unwrap().into())), &same);
    assert!(wide.contains("layers.0.self_attn.q_proj: adapters of [4, 17]"), "{wide}");
    let stranger = load(
        &|all| {
            for side in ["A", "B"] {
                let moved = all.remove(&key.replace("_A", &format!("_{side}"))).unwrap();
                all.insert(
                    format!("base_model.model.model.layers.9.self_attn.q_proj.lora_{side}.weight"),
                    moved,
                );
            }
        },
        &same,
    );
    assert!(stranger.contains("layers.9.self_attn.q_proj: there is no such layer"), "{stranger}");
    let embedding = load(
        &|all| {
            let name = "base_model.model.model.embed_tokens.lora_embedding_A";
            all.insert(name.into(), Tensor::<f32>::ones([4, 4]).unwrap().into());
        },
        &same,
    );
    assert!(embedding.contains("lora_embedding_A"), "{embedding}");
    let other = load(&|_| {}, &|text| text.replace("\"LORA\"", "\"IA3\""));
    assert!(other.contains("adapters of type `IA3`"), "{other}");
    let dora = load(&|_| {}, &|text| text.replace("\"use_dora\": false", "\"use_dora\": true"));
    assert!(dora.contains("DoRA"), "{dora}");
    let cut = load(&|_| {}, &|text| text[..40].to_owned());
    assert!(cut.contains("adapter_config.json"), "{cut}");
}

fn base_count() -> usize {
    module(&models::load(golden("models", "llama")).unwrap()).state().len()
}
