//! Open models: each architecture computes what transformers computes with the same files; names, types and parts of files; what is
//! wrong with a file is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn_autograd::{Parameter, no_grad};
use cairn_nn::generate::{Decoder, Generate, Sampling};
use cairn_nn::models::{self, CausalModel, Config, EncoderModel, Network};
use cairn_nn::weights::Weights;
use cairn_nn::{Context, Module, cross_entropy};
use cairn_tensor::{DType, Tensor, rng};

const DECODERS: [&str; 10] =
    ["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3_six", "gpt2", "gpt2_scaled"];
const ENCODERS: [&str; 3] = ["bert", "roberta", "distilbert"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name)
}

fn causal(path: impl AsRef<Path>) -> Box<dyn CausalModel> {
    match models::load(path).unwrap() {
        Network::Causal(model) => model,
        Network::Encoder(_) => panic!("a decoder is expected"),
    }
}

fn encoder(name: &str) -> Box<dyn EncoderModel> {
    match models::load(folder(name)).unwrap() {
        Network::Encoder(model) => model,
        Network::Causal(_) => panic!("an encoder is expected"),
    }
}

fn expected(name: &str) -> Weights {
    Weights::read_safetensors(folder(name).join("expected.safetensors")).unwrap()
}

fn floats(all: &Weights, name: &str) -> Tensor {
    all.tensors[name].as_f32().unwrap().clone()
}

fn ids(all: &Weights, name: &str) -> Tensor<u32> {
    all.tensors[name].downcast_ref::<u32>().unwrap().clone()
}

fn assert_near(name: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.shape(), theirs.shape(), "{name}");
    let most = ours.iter().zip(theirs.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(most < 1e-4, "{name} is off by {most}");
}

/// The model's files in a new folder, with its weights changed.
fn changed(name: &str, change: impl FnOnce(Weights) -> Weights) -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    std::fs::copy(folder(name).join("config.json"), made.path().join("config.json")).unwrap();
    let weights = Weights::read_safetensors(folder(name).join("model.safetensors")).unwrap();
    change(weights).write_safetensors(made.path().join("model.safetensors")).unwrap();
    made
}

#[test]
fn decoders_score_as_transformers_does() {
    for name in DECODERS {
        let (model, all) = (causal(folder(name)), expected(name));
        let scores = model.forward(&ids(&all, "tokens"), &mut Context::eval()).unwrap();
        assert_near(name, scores.value(), &floats(&all, "logits"));
    }
}

#[test]
fn decoders_write_what_transformers_writes() {
    for name in DECODERS {
        let (model, all) = (causal(folder(name)), expected(name));
        let prompt = ids(&all, "tokens").index(0, 0).unwrap().to_vec();
        let cache = model.cache(1, 20).unwrap();
        let generate = Generate::new(8).sampling(Sampling::greedy());
        let text: Vec<u32> = generate.stream(&model, cache, &prompt).map(Result::unwrap).collect();
        assert_eq!(text, ids(&all, "greedy").to_vec(), "{name}");
    }
}

#[test]
fn scores_are_the_same_bits_with_a_cache_and_in_any_batch() {
    for name in DECODERS {
        let (model, all) = (causal(folder(name)), expected(name));
        let tokens = ids(&all, "tokens");
        let rows = [tokens.index(0, 0).unwrap().to_vec(), tokens.index(0, 1).unwrap().to_vec()[..7].to_vec()];
        let last = |row: &[u32]| {
            let ids = Tensor::from_slice(row, [1, row.len()]).unwrap();
            let all = model.forward(&ids, &mut Context::eval()).unwrap();
            all.value().index(1, row.len() - 1).unwrap().to_vec()
        };
        // In two steps, of different lengths.
        let mut cache = model.cache(2, 16).unwrap();
        model.next(&[&rows[0][..5], &rows[1][..1]], &mut cache).unwrap();
        let scores = model.next(&[&rows[0][5..], &rows[1][1..]], &mut cache).unwrap();
        for (row, tokens) in rows.iter().enumerate() {
            assert_eq!(scores.index(0, row).unwrap().to_vec(), last(tokens), "{name}");
        }
    }
}

#[test]
fn encoders_describe_as_transformers_does_and_padding_changes_nothing() {
    for name in ENCODERS {
        let (model, all) = (encoder(name), expected(name));
        let tokens = ids(&all, "tokens");
        let states = no_grad(|| model.forward(&tokens, &mut Context::eval())).unwrap();
        assert_near(name, states.value(), &floats(&all, "states"));
        let lengths = Tensor::from_vec(vec![12, 7], [2]).unwrap();
        let states = model.forward(&tokens, &mut Context::eval().with_lengths(&lengths)).unwrap();
        let second = states.value().index(0, 1).unwrap().narrow(0, 0, 7).unwrap();
        assert_near(name, &second, &floats(&all, "padded"));
    }
}

#[test]
fn what_is_loaded_trains() {
    for name in DECODERS {
        let (model, all) = (causal(folder(name)), expected(name));
        let tokens = ids(&all, "tokens");
        let loss = || {
            let x = tokens.narrow(1, 0, 11).unwrap().contiguous().unwrap();
            let y = tokens.narrow(1, 1, 11).unwrap().contiguous().unwrap();
            cross_entropy(&model.forward(&x, &mut Context::eval()).unwrap(), &y).unwrap()
        };
        let before = loss();
        let gradients = before.backward().unwrap();
        model.for_each_parameter(&mut |path, parameter| {
            let gradient = gradients.of(parameter).unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
            parameter.update(|value| value.add_assign(&gradient.scale(-0.01)?)).unwrap();
        });
        assert!(loss().item().unwrap() < before.item().unwrap(), "{name}");
    }
}

/// Along the gradient of all values together the loss changes by its length, in every architecture.
#[test]
fn gradients_of_whole_models_are_those_of_small_differences() {
    for name in DECODERS.into_iter().chain(ENCODERS) {
        let (network, tokens) = (models::load(folder(name)).unwrap(), ids(&expected(name), "tokens"));
        let module: &dyn Module = match &network {
            Network::Causal(model) => model,
            Network::Encoder(model) => model,
        };
        let x = tokens.narrow(1, 0, 11).unwrap().contiguous().unwrap();
        let loss = || {
            let (scores, labels) = match &network {
                Network::Causal(model) => {
                    (model.forward(&x, &mut Context::eval()), tokens.narrow(1, 1, 11).unwrap())
                }
                // What describes a token is taken for the scores of 16 classes.
                Network::Encoder(model) => {
                    (model.forward(&x, &mut Context::eval()), x.map(|id: u32| id % 16).unwrap())
                }
            };
            cross_entropy(&scores.unwrap(), &labels.contiguous().unwrap()).unwrap()
        };
        let gradients = loss().backward().unwrap();
        let gradient = |path: &str, parameter: &Parameter| {
            gradients.of(parameter).unwrap_or_else(|error| panic!("{name}: {path}: {error}"))
        };
        let mut square = 0.0;
        module.for_each_parameter(&mut |path, parameter| {
            square += gradient(path, parameter).iter().map(|g| f64::from(g * g)).sum::<f64>();
        });
        let moved = |share: f64| {
            module.for_each_parameter(&mut |path, parameter| {
                let change = gradient(path, parameter).scale(share as f32).unwrap();
                parameter.update(|value| value.add_assign(&change)).unwrap();
            });
            f64::from(loss().item().unwrap())
        };
        let step = 5e-4 / square.sqrt();
        let slope = (moved(step) - moved(-2.0 * step)) / (2.0 * step);
        assert!((slope / square - 1.0).abs() < 0.03, "{name}: {slope} and {square}");
    }
}

#[test]
fn names_of_parallel_and_compiled_models_are_understood() {
    let plain = causal(folder("llama"));
    let made = changed("llama", |weights| weights.rename(&[("", "module._orig_mod")]).unwrap());
    assert_eq!(causal(made.path()).state(), plain.state());
}

/// Two generations of names of models that also see.
#[test]
fn models_that_also_see_are_read_without_what_they_see_with() {
    let plain = causal(folder("gemma3"));
    let settings = std::fs::read_to_string(folder("gemma3").join("config.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    for (texts, before) in [("language_model.model", ""), ("model.language_model", "model.")] {
        let made = changed("gemma3", |weights| {
            let mut weights = weights.rename(&[("model", texts)]).unwrap();
            for name in [
                "vision_tower.vision_model.post_layernorm.weight",
                "multi_modal_projector.mm_soft_emb_norm.weight",
            ] {
                weights.tensors.insert(format!("{before}{name}"), Tensor::<f32>::ones([5]).unwrap().into());
            }
            weights
        });
        let whole = serde_json::json!({"model_type": "gemma3", "text_config": settings});
        std::fs::write(made.path().join("config.json"), whole.to_string()).unwrap();
        assert_eq!(causal(made.path()).state(), plain.state(), "{texts}");
        // Written anew they keep all of it.
        let to = made.path().join("again");
        models::save_like(made.path(), &plain, &to).unwrap();
        assert_eq!(causal(&to).state(), plain.state());
        let weights = Weights::read_safetensors(to.join("model.safetensors")).unwrap();
        assert!(weights.tensors.keys().any(|name| name.contains("vision_tower")));
    }
}

#[test]
fn what_settings_of_gemma_3_leave_out_is_as_in_transformers() {
    let made = tempfile::tempdir().unwrap();
    // As published with 4 billion values.
    let whole = serde_json::json!({
        "model_type": "gemma3", "eos_token_id": [1, 106], "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        },
    });
    std::fs::write(made.path().join("config.json"), whole.to_string()).unwrap();
    let config = models::config(made.path()).unwrap();
    let size = |key: &str| config.size(key).unwrap();
    assert_eq!((size("hidden_size"), size("sliding_window"), size("vocab_size")), (2560, 1024, 262_208));
    assert_eq!((size("num_attention_heads"), size("num_key_value_heads"), size("head_dim")), (8, 4, 256));
    let number = |key: &str| config.number_or(key, 0.0).unwrap();
    assert_eq!((number("rope_theta"), number("rope_local_base_freq")), (1e6, 1e4));
    assert_eq!(config.ids("eos_token_id"), [1, 106]);
}

#[test]
fn attention_in_both_directions_is_refused() {
    let mut config = Config::read(folder("gemma3").join("config.json")).unwrap();
    config.set("use_bidirectional_attention", true);
    let told = models::new(&config, &mut rng(0)).unwrap_err().to_string();
    assert!(told.contains("use_bidirectional_attention"), "{told}");
}

/// A head of its own is used, and one that is said to be the table of tokens is passed over.
#[test]
fn heads_of_gpt2_are_used_where_they_are_not_the_embedding() {
    let all = expected("gpt2");
    let settings = std::fs::read_to_string(folder("gpt2").join("config.json")).unwrap();
    for (tied, factor) in [("true", 1.0), ("false", 2.0)] {
        let made = changed("gpt2", |mut weights| {
            let table = floats(&weights, "transformer.wte.weight");
            weights.tensors.insert("lm_head.weight".into(), table.scale(2.0).unwrap().into());
            weights
        });
        let settings =
            settings.replace("\"tie_word_embeddings\": true", &format!("\"tie_word_embeddings\": {tied}"));
        std::fs::write(made.path().join("config.json"), settings).unwrap();
        let scores = causal(made.path()).forward(&ids(&all, "tokens"), &mut Context::eval()).unwrap();
        let once = scores.value().scale(1.0 / factor).unwrap();
        assert_near("gpt2", &once, &floats(&all, "logits"));
    }
}

#[test]
fn weights_of_types_that_are_not_known_are_named_so() {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
    let made = changed("llama", |weights| weights);
    let path = made.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let eighths = vec![0u8; 48 * 16];
    let views = file.iter().map(|(name, view)| match name {
        "lm_head.weight" => (name, TensorView::new(Dtype::F8_E4M3, vec![48, 16], &eighths).unwrap()),
        _ => (name, view),
    });
    let changed = serialize(views.collect::<Vec<_>>(), None).unwrap();
    std::fs::write(&path, changed).unwrap();
    let told = models::load(made.path()).unwrap_err().to_string();
    assert!(told.contains("lm_head.weight of an element type that is not known here"), "{told}");
}

#[test]
fn a_model_in_several_files_is_read_by_its_index() {
    let plain = causal(folder("qwen3"));
    let made = changed("qwen3", |weights| weights);
    let whole = Weights::read_safetensors(made.path().join("model.safetensors")).unwrap();
    let (mut parts, mut map) = (vec![BTreeMap::new(), BTreeMap::new()], serde_json::Map::new());
    for (at, (name, tensor)) in whole.tensors.into_iter().enumerate() {
        map.insert(name.clone(), format!("part-{}.safetensors", at % 2).into());
        parts[at % 2].insert(name, tensor);
    }
    for (at, part) in parts.into_iter().enumerate() {
        Weights::from(part).write_safetensors(made.path().join(format!("part-{at}.safetensors"))).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(made.path().join("model.safetensors.index.json"), index).unwrap();
    std::fs::remove_file(made.path().join("model.safetensors")).unwrap();
    assert_eq!(causal(made.path()).state(), plain.state());
}

#[test]
fn weights_of_16_bits_are_read() {
    for dtype in [DType::F16, DType::BF16] {
        let made = changed("gpt2", |weights| weights.cast(dtype).unwrap());
        let all = expected("gpt2");
        let scores = causal(made.path()).forward(&ids(&all, "tokens"), &mut Context::eval()).unwrap();
        let most =
            scores.value().sub(&floats(&all, "logits")).unwrap().iter().map(f32::abs).fold(0.0, f32::max);
        assert!(most > 1e-5 && most < 0.2, "{dtype} is off by {most}");
    }
}

#[test]
fn weights_keep_their_type_unless_another_is_wanted() {
    let types = |network: &Network| {
        let module: &dyn Module = match network {
            Network::Causal(model) => model,
            Network::Encoder(model) => model,
        };
        let mut types = BTreeMap::new();
        module.for_each_parameter(&mut |path, parameter| {
            types.insert(path.to_owned(), (parameter.any().rank(), parameter.any().dtype()));
        });
        types
    };
    for name in ["llama", "gpt2", "bert"] {
        let made = changed(name, |weights| weights.cast(DType::BF16).unwrap());
        let (kept, floats) =
            (models::load(made.path()).unwrap(), models::load_as(made.path(), DType::F32).unwrap());
        for (path, (rank, dtype)) in types(&kept) {
            assert_eq!(dtype, if rank == 2 { DType::BF16 } else { DType::F32 }, "{name}: {path}");
        }
        assert!(types(&floats).values().all(|(_, dtype)| *dtype == DType::F32), "{name}");
        let scores = |network: &Network| {
            let tokens = ids(&expected(name), "tokens");
            let y = match network {
                Network::Causal(model) => model.forward(&tokens, &mut Context::eval()),
                Network::Encoder(model) => model.forward(&tokens, &mut Context::eval()),
            };
            y.unwrap().value().clone()
        };
        assert_near(name, &scores(&kept), &scores(&floats));
    }
    let blocks = models::load_as(folder("llama"), DType::F16).unwrap();
    assert_eq!(types(&blocks)["layers.0.feed_forward.up.weight"].1, DType::F16);
    let whole = models::load_as(folder("llama"), DType::I64).unwrap_err().to_string();
    assert!(whole.contains("models with weights of i64"), "{whole}");
}

#[test]
fn a_model_drawn_from_its_settings_is_the_same_for_the_same_seed() {
    let config = Config::read(folder("gemma3").join("config.json")).unwrap();
    let drawn = |seed| match models::new(&config, &mut rng(seed)).unwrap() {
        Network::Causal(model) => model.state(),
        Network::Encoder(_) => panic!("Gemma is a decoder"),
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}

/// What loading says about these weights.
fn refusal(name: &str, change: impl FnOnce(&mut Weights)) -> String {
    let made = changed(name, |mut weights| {
        change(&mut weights);
        weights
    });
    models::load(made.path()).unwrap_err().to_string()
}

#[test]
fn weights_that_are_missing_or_have_no_place_are_named() {
    let missing =
        refusal("llama", |weights| drop(weights.tensors.remove("model.layers.1.mlp.up_proj.weight")));
    assert!(missing.contains("layers.1.mlp.up_proj.weight missing in the file"), "{missing}");
    let more = refusal("llama", |weights| {
        let bias = Tensor::<f32>::zeros([16]).unwrap();
        weights.tensors.insert("model.layers.0.self_attn.q_proj.bias".into(), bias.into());
    });
    assert!(more.contains("layers.0.self_attn.q_proj.bias not expected in the file"), "{more}");
    let other = refusal("gpt2", |weights| {
        let short = Tensor::<f32>::zeros([15]).unwrap();
        weights.tensors.insert("transformer.ln_f.bias".into(), short.into());
    });
    assert!(other.contains("blocks.norm.bias has shape [15]"), "{other}");
}

#[test]
fn settings_that_make_no_sense_are_named_before_memory_is_taken() {
    let text = std::fs::read_to_string(folder("llama").join("config.json")).unwrap();
    let told = |from: &str, to: &str| {
        let made = changed("llama", |weights| weights);
        assert!(text.contains(from), "{from}");
        std::fs::write(made.path().join("config.json"), text.replace(from, to)).unwrap();
        models::load(made.path()).unwrap_err().to_string()
    };
    let layers = told("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 200000000");
    assert!(layers.contains("more layers than there are weights"), "{layers}");
    let words = told("\"vocab_size\": 48", "\"vocab_size\": 100000000");
    assert!(words.contains("`vocab_size` is more than any weight has values"), "{words}");
    let size = told("\"hidden_size\": 16", "\"hidden_size\": -1");
    assert!(size.contains("`hidden_size` is -1, which is no size"), "{size}");
    let kind = told("\"model_type\": \"llama\"", "\"model_type\": \"mamba\"");
    assert!(kind.contains("the architecture `mamba`; there are llama, mistral"), "{kind}");
    let rope = told("\"rope_type\": \"default\"", "\"rope_type\": \"yarn\"");
    assert!(rope.contains("rotary positions of type `yarn`"), "{rope}");
    let heads = told("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3");
    assert!(heads.contains("the number of key heads is 3"), "{heads}");
    let head = told("\"head_dim\": 4", "\"head_dim\": 100000000");
    assert!(head.contains("`head_dim` is more than any weight has values"), "{head}");
    let heads = told("\"num_attention_heads\": 4", "\"num_attention_heads\": 700");
    assert!(heads.contains("its heads together are wider"), "{heads}");
    // Of one large weight and many small ones not every layer can be as wide as the large one.
    let wide = told("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 20, \"intermediate_size\": 760");
    assert!(wide.contains("its layers have more values than the weights"), "{wide}");
}

#[test]
fn positions_behind_an_absurd_padding_are_refused() {
    let mut config = Config::read(folder("roberta").join("config.json")).unwrap();
    for padding in [1e300, -1.0, 0.5, 19.0] {
        config.set("pad_token_id", padding);
        let told = models::new(&config, &mut rng(0)).unwrap_err().to_string();
        assert!(told.contains("`pad_token_id` is"), "{told}");
    }
    config.set("pad_token_id", 18.0);
    let Network::Encoder(model) = models::new(&config, &mut rng(0)).unwrap() else { panic!() };
    assert_eq!(model.context(), 1);
}

#[test]
fn classifiers_score_as_transformers_does_and_padding_changes_nothing() {
    for name in ENCODERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/classifiers").join(name);
        let all = Weights::read_safetensors(folder.join("expected.safetensors")).unwrap();
        let model = models::SequenceClassifier::load(&folder).unwrap();
        assert_eq!(model.labels(), ["bad", "middling", "good"]);
        let tokens = ids(&all, "tokens");
        let scores = model.forward(&tokens, &mut Context::eval()).unwrap();
        assert_near(name, scores.value(), &floats(&all, "logits"));
        let lengths = Tensor::from_vec(vec![12, 7], [2]).unwrap();
        let scores = model.forward(&tokens, &mut Context::eval().with_lengths(&lengths)).unwrap();
        assert_near(name, &scores.value().index(0, 1).unwrap(), &floats(&all, "padded"));

        // The mean of the tokens that there are, alone and padded.
        let mean = model.mean();
        let alone = mean.forward(
            &tokens.narrow(0, 1, 1).unwrap().narrow(1, 0, 7).unwrap().contiguous().unwrap(),
            &mut Context::eval(),
        );
        let padded = mean.forward(&tokens, &mut Context::eval().with_lengths(&lengths)).unwrap();
        assert_near(name, &padded.value().narrow(0, 1, 1).unwrap(), alone.unwrap().value());
        // Of no tokens at all, scores are numbers still.
        let empty = Tensor::from_vec(vec![12, 0], [2]).unwrap();
        let scores = mean.forward(&tokens, &mut Context::eval().with_lengths(&empty)).unwrap();
        assert!(scores.value().iter().all(f32::is_finite));
    }
}

#[test]
fn an_encoder_gets_a_head_that_learns() {
    use cairn_nn::models::SequenceClassifier;
    for name in ENCODERS {
        let told = SequenceClassifier::load(folder(name)).unwrap_err().to_string();
        assert!(told.contains("an encoder without a head"), "{name}: {told}");
        let model = SequenceClassifier::of_encoder(folder(name), 2, &mut rng(1)).unwrap().mean();
        assert_eq!(model.trainable_count(), model.parameter_count(), "{name}");
        let (tokens, labels) = (ids(&expected(name), "tokens"), Tensor::from_vec(vec![0, 1], [2]).unwrap());
        let loss = || cross_entropy(&model.forward(&tokens, &mut Context::eval()).unwrap(), &labels).unwrap();
        let before = loss().item().unwrap();
        for _ in 0..20 {
            let gradients = loss().backward().unwrap();
            model.for_each_parameter(&mut |path, parameter| {
                let gradient = gradients.of(parameter);
                let gradient = gradient.unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
                let change = gradient.map(|g: f32| -0.01 * g.signum()).unwrap();
                parameter.update(|value| value.add_assign(&change)).unwrap();
            });
        }
        let after = loss().item().unwrap();
        assert!(after < 0.5 * before, "{name}: {before} became {after}");
    }
}
