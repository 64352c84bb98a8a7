//! Models in GGUF files: the same scores as from Hugging Face's folders, through the names, orders of rows and additions that the
//! conversion makes; the same ids of tokens; quantised weights stay so and train nothing but what is beside them.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_nn::models::{self, CausalModel, Config, Network};
use cairn_nn::weights::Weights;
use cairn_nn::weights::gguf::{self, Value};
use cairn_nn::{Context, Module};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name)
}

fn causal(path: &Path) -> Box<dyn CausalModel> {
    match models::load(path).unwrap() {
        Network::Causal(model) => model,
        Network::Encoder(_) => panic!("a decoder is expected"),
    }
}

/// The rows of queries or keys in the order that llama.cpp's conversion gives them: within each head, the halves interleaved.
fn neighbours(x: &Tensor, heads: usize) -> Tensor {
    let [rows, columns] = *x.shape() else { panic!() };
    let apart = x.reshape([heads, 2, rows / heads / 2, columns]).unwrap();
    apart.transpose(1, 2).unwrap().contiguous().unwrap().reshape([rows, columns]).unwrap()
}

const NAMES: [(&str, &str); 17] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("model.layers.", "blk."),
];

/// The model's folder as a GGUF file, as the conversion would write it.
pub(crate) fn converted(
    name: &str,
    architecture: &str,
    path: &Path,
    change: impl Fn(&str, AnyTensor) -> AnyTensor,
) {
    let config = Config::read(folder(name).join("config.json")).unwrap();
    let weights = Weights::read_safetensors(folder(name).join("model.safetensors")).unwrap();
    let gemma = architecture.starts_with("gemma");
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights.tensors {
        let mut to = name.clone();
        if gemma {
            to = to.replace("post_attention_layernorm", "post_attention_norm");
        }
        for (from, short) in NAMES {
            to = to.replace(from, short);
        }
        let mut x = tensor.as_f32().unwrap().clone();
        if architecture == "llama" && name.contains("q_proj") {
            x = neighbours(&x, 4);
        } else if architecture == "llama" && name.contains("k_proj") {
            x = neighbours(&x, 2);
        } else if gemma && name.contains("norm") {
            x = x.add(&Tensor::scalar(1.0)).unwrap();
        }
        tensors.insert(to.clone(), change(&to, x.into()));
    }
    gguf::write(path, &settings(architecture, &config), &tensors).unwrap();
}

/// The settings of a folder, as the conversion would write them.
fn settings(architecture: &str, config: &Config) -> BTreeMap<String, Value> {
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| Value::from(u32::try_from(config.size(name).unwrap()).unwrap());
    let mut values: BTreeMap<String, Value> = [
        ("block_count", "num_hidden_layers"),
        ("context_length", "max_position_embeddings"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("attention.head_count", "num_attention_heads"),
        ("attention.head_count_kv", "num_key_value_heads"),
    ]
    .map(|(name, ours)| (key(name), size(ours)))
    .into();
    let rope = config.part("rope_parameters").unwrap();
    let rope = rope.part("full_attention").unwrap_or(rope);
    let number = |part: &Config, name: &str| Value::from(part.number_or(name, f64::NAN).unwrap() as f32);
    values.insert("general.architecture".into(), architecture.into());
    values.insert(key("attention.layer_norm_rms_epsilon"), number(config, "rms_norm_eps"));
    values.insert(key("rope.freq_base"), number(&rope, "rope_theta"));
    if rope.text("rope_type") == Some("linear") {
        values.insert(key("rope.scaling.type"), "linear".into());
        values.insert(key("rope.scaling.factor"), number(&rope, "factor"));
    }
    if matches!(architecture, "qwen3" | "gemma2" | "gemma3") {
        values.insert(key("attention.key_length"), size("head_dim"));
    }
    if architecture.starts_with("gemma") {
        values.insert(key("attention.sliding_window"), size("sliding_window"));
    }
    if architecture == "gemma2" {
        for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
            values.insert(key(name), number(config, name));
        }
    }
    values
}

fn off(name: &str, model: &dyn CausalModel) -> f32 {
    let all = Weights::read_safetensors(folder(name).join("expected.safetensors")).unwrap();
    let tokens = all.tensors["tokens"].downcast_ref::<u32>().unwrap();
    let scores = model.forward(tokens, &mut Context::eval()).unwrap();
    let theirs = all.tensors["logits"].as_f32().unwrap();
    scores.value().iter().zip(theirs.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn files_of_llama_qwen_and_gemma_score_as_their_folders() {
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("model.gguf");
    for (name, architecture) in [
        ("llama", "llama"),
        ("qwen2", "qwen2"),
        ("qwen3", "qwen3"),
        ("gemma2", "gemma2"),
        ("gemma3_six", "gemma3"),
    ] {
        converted(name, architecture, &path, |_, tensor| tensor);
        let most = off(name, &*causal(&path));
        assert!(most < 1e-4, "{name} is off by {most}");
    }
}

/// The largest of Gemma's models divide scores otherwise than by their heads' size, which no file says.
#[test]
fn scores_of_gemma_are_divided_as_by_llama_cpp() {
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("model.gguf");
    let divisor = |kind: &str, layers: u32, head: Option<u32>| {
        let sizes = [("block_count", layers), ("embedding_length", 4608), ("attention.head_count", 32)];
        let sizes = sizes.into_iter().chain(head.map(|head| ("attention.key_length", head)));
        let mut values: BTreeMap<String, Value> =
            sizes.map(|(name, value)| (format!("{kind}.{name}"), value.into())).collect();
        values.insert("general.architecture".into(), kind.into());
        gguf::write(&path, &values, &BTreeMap::new()).unwrap();
        models::config(&path).unwrap().size("query_pre_attn_scalar").unwrap()
    };
    for (kind, largest) in [("gemma2", 46), ("gemma3", 62)] {
        assert_eq!(divisor(kind, 26, Some(256)), 256);
        assert_eq!(divisor(kind, largest, Some(128)), 144);
        assert_eq!(divisor(kind, 26, None), 144);
    }
}

#[test]
fn formats_that_are_not_known_are_named() {
    let table = AnyTensor::from(Tensor::<f32>::ones([2, 256]).unwrap());
    let values = BTreeMap::from([("general.architecture".to_owned(), Value::from("llama"))]);
    let name = "token_embd.weight";
    let mut bytes = gguf::encode(&values, &BTreeMap::from([(name.to_owned(), table)])).unwrap();
    // Behind the name: the number of axes, two sizes, and the type, here of two bits.
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let kind = at + name.len() + 4 + 16;
    bytes[kind..kind + 4].copy_from_slice(&10u32.to_le_bytes());
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let told = models::load(&path).unwrap_err().to_string();
    assert!(told.contains("weights in q2_k, as `token_embd.weight`") && told.contains("q4_k"), "{told}");
}

#[test]
fn halves_of_16_bits_are_read_from_gguf() {
    let made = tempfile::tempdir().unwrap();
    let path = made.path().join("model.gguf");
    converted("llama", "llama", &path, |_, tensor| tensor.cast(DType::F16).unwrap());
    let most = off("llama", &*causal(&path));
    assert!(most < 0.02, "off by {most}");
}

/// A model wide enough for blocks of 32, its matrices in this type.
pub(crate) fn wide(dtype: impl Into<DType>) -> (tempfile::TempDir, Box<dyn CausalModel>) {
    let dtype = dtype.into();
    let text = r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": true, "initializer_range": 0.2}"#;
    let config = models::Config::parse(text).unwrap();
    let Network::Causal(model) = models::new(&config, &mut cairn_tensor::rng(1)).unwrap() else { panic!() };
    let made = tempfile::tempdir().unwrap();
    let names = [
        ("attention.projection", "attn_q"),
        ("attention.keys", "attn_k"),
        ("attention.values", "attn_v"),
        ("attention.output", "attn_output"),
        ("feed_forward.gate", "ffn_gate"),
        ("feed_forward.up", "ffn_up"),
        ("feed_forward.down", "ffn_down"),
        ("attention_norm", "attn_norm"),
        ("feed_forward_norm", "ffn_norm"),
        ("layers", "blk"),
        ("tokens", "token_embd"),
        ("norm.weight", "output_norm.weight"),
    ];
    let mut tensors = BTreeMap::new();
    for (path, value) in model.state() {
        let mut name = path.clone();
        for (from, to) in names {
            if from != "norm.weight" || name == from {
                name = name.replace(from, to);
            }
        }
        let mut x = value.as_f32().unwrap().clone();
        if x.rank() == 2 && path != "tokens.weight" {
            x = x.t().unwrap().contiguous().unwrap();
        }
        let x = AnyTensor::from(x);
        tensors.insert(name, if x.rank() == 2 { x.cast(dtype).unwrap() } else { x });
    }
    let mut values: BTreeMap<String, Value> = [
        ("block_count", 2u32),
        ("context_length", 64),
        ("embedding_length", 64),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
    ]
    .map(|(name, value)| (format!("llama.{name}"), value.into()))
    .into();
    values.insert("general.architecture".into(), "llama".into());
    let path = made.path().join("model.gguf");
    gguf::write(&path, &values, &tensors).unwrap();
    let model = causal(&path);
    (made, model)
}

#[test]
fn quantised_weights_stay_so_and_score_nearly_the_same() {
    let tokens = Tensor::from_vec(vec![3u32, 1, 4, 1, 5, 9, 2, 6], [1, 8]).unwrap();
    let scores = |model: &dyn CausalModel| {
        model.forward(&tokens, &mut Context::eval()).unwrap().value().log_softmax(2).unwrap()
    };
    let exact = scores(&*wide(DType::F32).1);
    for (format, most) in [(BlockFormat::Q8_0, 0.2), (BlockFormat::Q4_1, 2.0)] {
        let (_file, model) = wide(format);
        let mut kinds = BTreeMap::new();
        model.for_each_parameter(&mut |path, parameter| {
            kinds.insert(path.to_owned(), parameter.any().dtype());
        });
        assert_eq!(kinds["layers.1.attention.keys.weight"], DType::Quantized(format));
        assert_eq!(kinds["tokens.weight"], DType::Quantized(format));
        assert_eq!(kinds["norm.weight"], DType::F32);
        let off = scores(&*model).sub(&exact).unwrap().iter().map(f32::abs).fold(0.0, f32::max);
        assert!(off > 0.0 && off < most, "{format} is off by {off}");
    }
}

#[test]
fn gradients_pass_through_quantised_weights() {
    let (_file, model) = wide(BlockFormat::Q8_0);
    let tokens = Tensor::from_vec(vec![3u32, 1, 4, 1], [1, 4]).unwrap();
    let loss =
        cairn_nn::cross_entropy(&model.forward(&tokens, &mut Context::eval()).unwrap(), &tokens).unwrap();
    let gradients = loss.backward().unwrap();
    let mut found = 0;
    model.for_each_parameter(&mut |path, parameter| {
        let is_norm = path.ends_with("norm.weight");
        assert_eq!(parameter.is_trainable(), is_norm, "{path}");
        if is_norm {
            assert!(gradients.of(parameter).unwrap().iter().any(|g| g != 0.0), "{path}");
            found += 1;
        }
    });
    assert_eq!(found, 5);
}

#[cfg(feature = "language")]
mod tokens {
    use super::*;
    use cairn_nn::tokenizer::Tokenizer;
    use proptest::prelude::*;
    use serde_json::json;

    use crate::tokenizer::byte_level;

    /// The tokens of a tokenizer.json as a GGUF file's, made for this kind of model.
    fn file(pre: &str) -> gguf::Gguf {
        file_with(pre, Some(true))
    }

    /// As [`file`], which says whether texts begin with a token, or does not.
    fn file_with(pre: &str, begins: Option<bool>) -> gguf::Gguf {
        let json: serde_json::Value = serde_json::from_str(&byte_level()).unwrap();
        let mut tokens: Vec<(&String, u64)> = json["model"]["vocab"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(t, id)| (t, id.as_u64().unwrap()))
            .collect();
        tokens.sort_by_key(|(_, id)| *id);
        let tokens: Vec<String> = tokens.into_iter().map(|(token, _)| token.clone()).collect();
        let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < 2 { 3 } else { 1 }).collect();
        let merges: Vec<String> = json["model"]["merges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|merge| merge.as_str().unwrap().to_owned())
            .collect();
        let mut values = BTreeMap::from([
            ("tokenizer.ggml.model".to_owned(), Value::from("gpt2")),
            ("tokenizer.ggml.pre".to_owned(), pre.into()),
            ("tokenizer.ggml.tokens".to_owned(), tokens.into()),
            ("tokenizer.ggml.token_type".to_owned(), kinds.into()),
            ("tokenizer.ggml.merges".to_owned(), merges.into()),
            ("tokenizer.ggml.bos_token_id".to_owned(), 0u32.into()),
        ]);
        if let Some(begins) = begins {
            values.insert("tokenizer.ggml.add_bos_token".to_owned(), begins.into());
        }
        gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap()
    }

    /// The published tokenizer.json of such models, but for the vocabulary.
    fn published(pre: &str) -> Tokenizer {
        let mut json: serde_json::Value = serde_json::from_str(&byte_level()).unwrap();
        let level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let words = match pre {
            "smollm" => {
                json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, level(true)]})
            }
            "llama-bpe" => json!({"type": "Sequence", "pretokenizers": [
                split("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
                level(false),
            ]}),
            "qwen2" => json!({"type": "Sequence", "pretokenizers": [
                split("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"),
                level(false),
            ]}),
            _ => level(true),
        };
        json["pre_tokenizer"] = words;
        json["model"]["ignore_merges"] = (pre == "llama-bpe").into();
        Tokenizer::parse(&json.to_string()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn ids_are_those_of_the_published_tokenizers(text in "[a-iA-C0-9 'tä☂漢🦀\\n]{0,30}", which in 0usize..4) {
            let pre = ["gpt-2", "smollm", "llama-bpe", "qwen2"][which];
            let ours = Tokenizer::of_gguf(&file(pre)).unwrap();
            prop_assert_eq!(ours.encode(&text).unwrap(), published(pre).encode(&text).unwrap());
            let ids = ours.encode(&text).unwrap();
            prop_assert_eq!(ours.decode(&ids).unwrap(), text);
        }

        #[test]
        fn pieces_are_joined_by_their_scores(text in "[ab c]{0,20}") {
            let tokens = ["<unk>", "<s>", "</s>", "▁", "a", "b", "c", "ab", "▁a", "bc", "▁ab", "abc", "▁▁"];
            let scores: Vec<f32> = (0..tokens.len()).map(|id| [0.0, 0.0, 0.0, -9.0, -8.0, -7.5, -7.0, -2.0, -3.0, -1.0, -4.0, -2.5, -5.0][id]).collect();
            let kinds: Vec<i32> = (0..tokens.len()).map(|id| if id < 3 { 3 } else { 1 }).collect();
            let values = BTreeMap::from([
                ("tokenizer.ggml.model".to_owned(), Value::from("llama")),
                ("tokenizer.ggml.tokens".to_owned(), tokens.map(str::to_owned).to_vec().into()),
                ("tokenizer.ggml.scores".to_owned(), scores.clone().into()),
                ("tokenizer.ggml.token_type".to_owned(), kinds.into()),
                ("tokenizer.ggml.bos_token_id".to_owned(), 1u32.into()),
                ("tokenizer.ggml.unknown_token_id".to_owned(), 0u32.into()),
            ]);
            let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
            let tokenizer = Tokenizer::of_gguf(&file).unwrap();
            // Of all neighbours whose joint is a piece, those of the best score are joined first, the leftmost of equals.
            let mut pieces: Vec<String> = format!(" {text}").replace(' ', "▁").chars().map(String::from).collect();
            if text.is_empty() {
                pieces.clear();
            }
            loop {
                let score = |at: usize| tokens.iter().position(|t| *t == format!("{}{}", pieces[at], pieces[at + 1])).map(|id| scores[id]);
                let best = (0..pieces.len().saturating_sub(1)).filter_map(|at| Some((score(at)?, at))).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
                let Some((_, at)) = best else { break };
                let right = pieces.remove(at + 1);
                pieces[at].push_str(&right);
            }
            let id = |piece: &String| tokens.iter().position(|t| t == piece).unwrap() as u32;
            let expected: Vec<u32> = std::iter::once(1).chain(pieces.iter().map(id)).collect();
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert_eq!(&ids, &expected);
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), &*text);
            // The bytes of the tokens are those of the text, and of the blank that is put before it.
            let bytes: Vec<u8> = ids[1..].iter().flat_map(|&id| tokenizer.bytes(id).unwrap()).collect();
            let read = if text.is_empty() { text } else { format!(" {text}") };
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), read);
        }
    }

    #[test]
    fn pieces_of_words_are_those_of_bert() {
        let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁rain", "ing", "▁a", "▁,"];
        let values = BTreeMap::from([
            ("tokenizer.ggml.model".to_owned(), Value::from("bert")),
            ("tokenizer.ggml.tokens".to_owned(), tokens.map(str::to_owned).to_vec().into()),
        ]);
        let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
        let tokenizer = Tokenizer::of_gguf(&file).unwrap();
        assert_eq!(tokenizer.encode("The raining, á xyz").unwrap(), [2, 4, 5, 6, 8, 7, 1, 3]);
        assert_eq!(tokenizer.decode(&[4, 5, 6]).unwrap(), "the raining");
    }

    /// Words of BERT with capitals, as files for llama.cpp say it.
    #[test]
    fn capitals_and_accents_stay_where_the_file_says_so() {
        let ids = |flags: &[(&str, bool)]| {
            let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁The", "▁thé", "▁Thé"];
            let mut values = BTreeMap::from([
                ("tokenizer.ggml.model".to_owned(), Value::from("bert")),
                ("tokenizer.ggml.tokens".to_owned(), tokens.map(str::to_owned).to_vec().into()),
            ]);
            for (key, value) in flags {
                values.insert(format!("tokenizer.ggml.normalizer.{key}"), (*value).into());
            }
            let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
            Tokenizer::of_gguf(&file).unwrap().encode("The Thé").unwrap()
        };
        assert_eq!(ids(&[]), [2, 4, 4, 3]);
        assert_eq!(ids(&[("lowercase", false)]), [2, 5, 7, 3]);
        assert_eq!(ids(&[("strip_accents", false)]), [2, 4, 6, 3]);
        assert_eq!(ids(&[("lowercase", false), ("strip_accents", true)]), [2, 5, 5, 3]);
    }

    /// Qwen's tokenizer.json joins accents with their letters, which no GGUF file says.
    #[test]
    fn accents_by_themselves_are_joined_where_the_models_have_read_them_so() {
        let ids = |pre: &str, text: &str| Tokenizer::of_gguf(&file(pre)).unwrap().encode(text).unwrap();
        assert_eq!(ids("qwen2", "a\u{308}"), ids("qwen2", "ä"));
        assert_ne!(ids("gpt-2", "a\u{308}"), ids("gpt-2", "ä"));
    }

    #[test]
    fn pieces_that_are_each_other_in_many_ways_are_refused() {
        let told = |longest: usize| {
            let tokens: Vec<String> = (1..=longest).map(|length| "a".repeat(length)).collect();
            let scores = vec![0f32; tokens.len()];
            let values = BTreeMap::from([
                ("tokenizer.ggml.model".to_owned(), Value::from("llama")),
                ("tokenizer.ggml.tokens".to_owned(), tokens.into()),
                ("tokenizer.ggml.scores".to_owned(), scores.into()),
            ]);
            let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
            Tokenizer::of_gguf(&file).err().map(|error| error.to_string())
        };
        // Published ones have runs of blanks of a few dozens.
        assert_eq!(told(40), None);
        assert!(told(1024).unwrap().contains("absurdly many ways"));
    }

    #[test]
    fn tokens_that_fill_a_vocabulary_up_are_no_text() {
        let tokens = ["<unk>", "▁a", "b", "[PAD3]", "▁[PAD4]"];
        let values = BTreeMap::from([
            ("tokenizer.ggml.model".to_owned(), Value::from("llama")),
            ("tokenizer.ggml.tokens".to_owned(), tokens.map(str::to_owned).to_vec().into()),
            ("tokenizer.ggml.scores".to_owned(), vec![0f32; 5].into()),
            ("tokenizer.ggml.token_type".to_owned(), vec![2i32, 1, 1, 5, 5].into()),
        ]);
        let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
        let tokenizer = Tokenizer::of_gguf(&file).unwrap();
        assert_eq!(tokenizer.decode(&[1, 3, 2, 4]).unwrap(), "ab");
        assert_eq!(tokenizer.decode_all(&[3, 4]).unwrap(), "");
        let mut pieces = tokenizer.pieces();
        let text: String = [1, 3, 2, 4].iter().map(|&id| pieces.push(id).unwrap()).collect();
        assert_eq!(text + &pieces.finish().unwrap(), "ab");
        assert_eq!((tokenizer.bytes(3), tokenizer.bytes(4)), (Some(vec![]), Some(vec![])));
        assert_eq!((tokenizer.len(), tokenizer.token(3).as_deref()), (5, Some("[PAD3]")));
        assert!(tokenizer.decode(&[5]).is_err());
    }

    #[test]
    fn texts_begin_with_a_token_where_llama_cpp_has_them_so() {
        let first = |pre: &str, said| {
            let tokenizer = Tokenizer::of_gguf(&file_with(pre, said)).unwrap();
            tokenizer.encode("the").unwrap()[0] == 0
        };
        assert!(first("llama-bpe", None) && first("llama3", None) && first("qwen2", Some(true)));
        assert!(!first("qwen2", None) && !first("gpt-2", None) && !first("llama-bpe", Some(false)));
    }

    #[test]
    fn pieces_that_are_absurdly_long_are_refused() {
        let told = |length: usize| {
            let tokens = vec!["<unk>".to_owned(), "a".to_owned(), "a".repeat(length)];
            let values = BTreeMap::from([
                ("tokenizer.ggml.model".to_owned(), Value::from("llama")),
                ("tokenizer.ggml.tokens".to_owned(), tokens.into()),
                ("tokenizer.ggml.scores".to_owned(), vec![0f32; 3].into()),
            ]);
            let file = gguf::Gguf::from_bytes(gguf::encode(&values, &BTreeMap::new()).unwrap()).unwrap();
            Tokenizer::of_gguf(&file).err().map(|error| error.to_string())
        };
        assert_eq!(told(4096), None);
        assert!(told(4097).unwrap().contains("more than 4096 bytes"));
    }

    #[test]
    fn kinds_that_are_not_known_are_refused_by_name() {
        let told = Tokenizer::of_gguf(&file("deepseek-llm")).unwrap_err().to_string();
        assert!(told.contains("a tokenizer made for `deepseek-llm`"), "{told}");
    }
}
