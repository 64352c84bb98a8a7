//! Damaged and hostile files: an error or a sound model, never a panic, and no more memory than a small multiple of the
//! file's size; of a sound model, hardly more than its weights take. Twenty thousand mutations in the ordinary run; 100,000 of each kind by
//! `cargo test --release -p cairn-nn --all-features --test hostile -- --ignored`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cairn_nn::spec::{BatchNorm, Conv2d, Dense};
use cairn_nn::weights::Weights;
use cairn_nn::weights::gguf::{self, Array, Gguf, Value};
use cairn_nn::{Activation::Relu, Flatten, Module, Sequential, models};
use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, rng};
use peak_alloc::PeakAlloc;

/// The splitmix64 sequence.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// One to four changes: bytes, digits and lengths overwritten, pieces cut, doubled or inserted.
fn mutate(good: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=draw.below(3) {
        if bytes.is_empty() {
            break;
        }
        // Headers are a small part of a file, and the part that decides: half of the changes go there.
        let reach = if draw.below(2) == 0 { bytes.len() } else { bytes.len().min(300) };
        let at = draw.below(reach);
        match draw.below(8) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.next() as u8,
            2 => bytes[at] = b"0123456789\"{}[],:"[draw.below(17)],
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + draw.below(16)).min(bytes.len()))),
            5 => {
                let piece = bytes[at..(at + 1 + draw.below(32)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            6 => {
                let digits = b"99999999999999999"[..1 + draw.below(17)].to_vec();
                bytes.splice(at..at, digits);
            }
            _ => {
                let large = [u64::MAX, 1 << 62, 1 << 40, 1 << 31, 0][draw.below(5)].to_le_bytes();
                let width = 1 + draw.below(8);
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&large[8 - width..8 - width + end - at]);
            }
        }
    }
    bytes
}

fn model() -> Sequential {
    let builder = Sequential::new([5, 5, 2])
        .add(Conv2d::new(3, 3).activation(Relu))
        .add(BatchNorm::new())
        .add(Flatten)
        .add(Dense::new(4));
    builder.build(&mut rng(0)).unwrap()
}

/// Counts what is asked of the system's allocator.
#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;
/// One attack at a time: the counters are those of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs mutations of a file through a reader, which says how many values it read. Reading may take `most` for a file's
/// size.
fn attack(
    name: &str,
    count: usize,
    most: impl Fn(usize) -> usize,
    good: impl Fn(&Path),
    repair: impl Fn(&mut Vec<u8>, &mut Draw),
    read: impl Fn(&Path) -> Option<usize>,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    good(&path);
    let bytes = fs::read(&path).unwrap();
    let values = read(&path).expect("the file is good before it is changed");
    let (mut accepted, mut worst) = (0, 0);
    let mut draw = Draw(7);
    for _ in 0..count {
        let mut changed = mutate(&bytes, &mut draw);
        repair(&mut changed, &mut draw);
        fs::write(&path, &changed).unwrap();
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let read = read(&path);
        let taken = HEAP.peak_usage() - before;
        worst = worst.max(taken);
        assert!(taken <= most(changed.len()), "{taken} bytes of memory for a file of {}", changed.len());
        if let Some(values) = read {
            accepted += 1;
            assert!(values * 4 <= most(changed.len()), "{values} values from {} bytes", changed.len());
        }
    }
    assert!(accepted < count && values > 0);
    println!("{name}, {} bytes: {accepted} of {count} mutations accepted, {worst} bytes taken", bytes.len());
}

fn safetensors(count: usize) {
    let total = |weights: Weights| weights.tensors.values().map(AnyTensor::len).sum();
    attack(
        "model.safetensors",
        count,
        |size| 32 * size + (64 << 10),
        |path| Weights::of(&model()).note("by", "test").write_safetensors(path).unwrap(),
        |_, _| {},
        |path| Weights::read_safetensors(path).ok().map(total),
    );
}

fn cairn(count: usize) {
    attack(
        "model.cairn",
        count,
        // serde reserves up to a mebibyte for a sequence before it has seen it.
        |size| 32 * size + (4 << 20),
        |path| model().save(path).unwrap(),
        |bytes, draw| {
            // Mostly with the right length and checksum, so that the content itself is read.
            if bytes.len() > 32 && draw.below(8) > 0 {
                bytes[..16].copy_from_slice(b"CAIRN\r\n\0\x02\0\0\0\x01\0\0\0");
                let (length, sum) = ((bytes.len() - 32) as u64, crc32fast::hash(&bytes[32..]));
                bytes[16..24].copy_from_slice(&length.to_le_bytes());
                bytes[24..28].copy_from_slice(&sum.to_le_bytes());
                bytes[28..32].fill(0);
            }
        },
        |path| Sequential::load(path).ok().map(|model| model.parameter_count()),
    );
}

/// A small file with values of every kind and tensors of several types.
fn small_gguf() -> Vec<u8> {
    let nested = Array::Array(vec![Array::U8(vec![1, 2]), Array::Text(["a", ""].into_iter().collect())]);
    let values: [(&str, Value); 6] = [
        ("a", "text".into()),
        ("b", true.into()),
        ("c", vec![1.5f32, 2.0].into()),
        ("d", Value::Array(nested)),
        ("e", vec!["x".to_owned(), "yz".to_owned()].into()),
        ("general.alignment", 32u32.into()),
    ];
    let x = AnyTensor::from(Tensor::<f32>::normal([3, 256], 0.0, 1.0, &mut rng(0)).unwrap());
    let types = [
        DType::F32,
        DType::BF16,
        BlockFormat::Q4_1.into(),
        BlockFormat::Q8_0.into(),
        BlockFormat::Q6K.into(),
    ];
    let tensors = types.map(|dtype| (dtype.to_string(), x.cast(dtype).unwrap()));
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    gguf::encode(&values, &tensors.into_iter().collect()).unwrap()
}

/// All values of a file's tensors, each taken out as it is and packed; and products with those that can be multiplied.
fn read_gguf(bytes: &[u8]) -> Option<usize> {
    let file = Gguf::from_bytes(bytes.to_vec()).ok()?;
    let weights = file.weights().ok()?;
    for tensor in weights.tensors.values().filter_map(AnyTensor::as_quantized).filter(|q| q.is_packed()) {
        let x = Tensor::<f32>::ones([2, tensor.shape()[1]]).unwrap();
        x.linear_quantized(&tensor.t().unwrap(), None, false).unwrap();
    }
    Some(weights.tensors.values().map(AnyTensor::len).sum())
}

fn gguf_files(count: usize) {
    let path_of = |path: &Path| read_gguf(&fs::read(path).unwrap());
    let good = |path: &Path| fs::write(path, small_gguf()).unwrap();
    attack("model.gguf", count, |size| 64 * size + (256 << 10), good, |_, _| {}, path_of);
}

#[test]
fn mutated_gguf_files() {
    gguf_files(20_000);
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_mutated_gguf_files() {
    gguf_files(100_000);
}

/// Every byte of the header, and every eight of them as a number, at the ends of its range and beside what it is.
#[test]
fn every_field_of_a_gguf_file() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let good = small_gguf();
    let (mut accepted, mut refused) = (0, 0);
    let mut attempt = |changed: &[u8]| {
        HEAP.reset_peak_usage();
        let before = HEAP.current_usage();
        let read = read_gguf(changed);
        let taken = HEAP.peak_usage() - before;
        assert!(taken <= 64 * changed.len() + (256 << 10), "{taken} bytes of memory for {}", changed.len());
        *if read.is_some() { &mut accepted } else { &mut refused } += 1;
    };
    // The header: what comes before the tensors' bytes, which are all but the last thousands.
    let header = good.len() - (3 * 256 * 6 + 3 * 8 * (20 + 34) + 3 * 210);
    for at in 0..header.min(700) {
        for byte in [0, 1, 2, 0x7f, 0x80, 0xff, good[at].wrapping_add(1), good[at].wrapping_sub(1)] {
            let mut changed = good.clone();
            changed[at] = byte;
            attempt(&changed);
        }
        for number in [0, 1, 1 << 20, 1 << 31, 1 << 40, i64::MAX as u64, u64::MAX] {
            let mut changed = good.clone();
            changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
            attempt(&changed);
        }
        attempt(&good[..at]);
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} accepted, {refused} refused");
}

/// The weights of a small Llama, by the names of a folder or of a GGUF file, matrices in a type.
fn llama(gguf: bool, dtype: DType) -> BTreeMap<String, AnyTensor> {
    const FEATURES: usize = 480;
    let names = [("self_attn.q_proj", "attn_q", [1, 1]), ("self_attn.k_proj", "attn_k", [1, 1])];
    let names = names.into_iter().chain([("self_attn.v_proj", "attn_v", [1, 1])]);
    let names =
        names.chain([("self_attn.o_proj", "attn_output", [1, 1]), ("mlp.gate_proj", "ffn_gate", [2, 1])]);
    let names = names.chain([("mlp.up_proj", "ffn_up", [2, 1]), ("mlp.down_proj", "ffn_down", [1, 2])]);
    let names: Vec<_> = names.collect();
    let of = |theirs: &str, ours: &str| format!("{}.weight", if gguf { ours } else { theirs });
    let matrix = |[rows, columns]: [usize; 2]| {
        let shape = [rows * FEATURES, columns * FEATURES];
        AnyTensor::from(Tensor::<f32>::ones(shape).unwrap()).cast(dtype).unwrap()
    };
    let norm = || AnyTensor::from(Tensor::<f32>::ones([FEATURES]).unwrap());
    let mut all = BTreeMap::from([
        (of("model.embed_tokens", "token_embd"), matrix([1, 1])),
        (of("model.norm", "output_norm"), norm()),
    ]);
    for layer in 0..4 {
        let of = |theirs: &str, ours: &str| {
            of(&format!("model.layers.{layer}.{theirs}"), &format!("blk.{layer}.{ours}"))
        };
        for (theirs, ours, sizes) in &names {
            all.insert(of(theirs, ours), matrix(*sizes));
        }
        all.insert(of("input_layernorm", "attn_norm"), norm());
        all.insert(of("post_attention_layernorm", "ffn_norm"), norm());
    }
    all
}

/// Layers are built without the values that a file brings, and the file is not held beside them.
#[test]
fn a_model_takes_the_memory_of_its_weights() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let settings = serde_json::json!({
        "model_type": "llama", "vocab_size": 480, "hidden_size": 480, "intermediate_size": 960,
        "num_hidden_layers": 4, "num_attention_heads": 8, "tie_word_embeddings": true, "max_position_embeddings": 64,
    });
    fs::write(folder.path().join("config.json"), settings.to_string()).unwrap();
    let measured = |path: &Path, file: &Path| {
        cairn_tensor::trim_memory();
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let model = models::load(path).unwrap();
        let (taken, size) = (HEAP.peak_usage() - before, fs::metadata(file).unwrap().len());
        drop(model);
        taken as f64 / size as f64
    };
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let file = folder.path().join("model.safetensors");
        Weights::from(llama(false, dtype)).write_safetensors(&file).unwrap();
        let share = measured(folder.path(), &file);
        assert!(share < 1.3, "{dtype} takes {share} of the file");
    }
    let mut values: BTreeMap<String, Value> = [
        ("block_count", 4u32),
        ("context_length", 64),
        ("embedding_length", 480),
        ("feed_forward_length", 960),
        ("attention.head_count", 8),
    ]
    .map(|(name, value)| (format!("llama.{name}"), value.into()))
    .into();
    values.insert("general.architecture".into(), "llama".into());
    for format in [BlockFormat::Q4_1, BlockFormat::Q8_0] {
        let file = folder.path().join("model.gguf");
        gguf::write(&file, &values, &llama(true, format.into())).unwrap();
        let share = measured(&file, &file);
        // Blocks are given out in sizes a quarter apart, of which the rest is never touched.
        assert!(share < 1.4, "{format} takes {share} of the file");
    }
}

#[test]
fn headers_of_weights_take_no_memory_of_theirs() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    Weights::from(llama(false, DType::F32)).write_safetensors(&path).unwrap();
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let headers = Weights::headers(&path).unwrap();
    let taken = HEAP.peak_usage() - before;
    assert!(headers.tensors.len() > 30 && taken < 1 << 20, "{taken} bytes of memory");
    assert!(fs::metadata(&path).unwrap().len() > 10 << 20);
}

#[test]
fn mutated_safetensors() {
    safetensors(20_000);
}

#[test]
fn mutated_models() {
    cairn(3000);
}

#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_mutated_safetensors() {
    safetensors(100_000);
}

#[test]
#[ignore = "a quarter of a minute"]
fn a_hundred_thousand_mutated_models() {
    cairn(100_000);
}

/// Pairs of bytes with a template around texts, and pieces of words with rules for what they are made of.
#[cfg(feature = "language")]
mod tokenizers {
    use cairn_nn::tokenizer::Tokenizer;

    use super::{attack, fs};

    const PAIRS: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [{"id": 0, "content": "<s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "t": 1, "h": 2, "e": 3, "th": 4, "the": 5, "Ġ": 6}, "merges": [["t", "h"], ["th", "e"]]}}"#;
    const WORDS: &str = r###"{"version": "1.0", "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "added_tokens": [], "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "the": 2, "rain": 3, "##ing": 4}}}"###;

    /// Read, and used both ways; what it gives it may not take back.
    fn read(path: &std::path::Path) -> Option<usize> {
        let tokenizer = Tokenizer::load(path).ok()?;
        if let Ok(ids) = tokenizer.encode("the raining <s>, théthe\u{1f980}") {
            let _ = tokenizer.decode(&ids);
        }
        let _ = tokenizer.decode(&[0, 3, u32::MAX]);
        Some(tokenizer.len())
    }

    #[test]
    fn mutated_tokenizers() {
        for json in [PAIRS, WORDS] {
            let good = |path: &std::path::Path| fs::write(path, json).unwrap();
            attack("tokenizer.json", 10_000, |size| 64 * size + (8 << 20), good, |_, _| {}, read);
        }
    }
}

#[cfg(feature = "npz")]
mod archives {
    use cairn_tensor::{AnyTensor, Tensor};

    use super::{Draw, Weights, attack, fs, model};

    /// A zip archive of one uncompressed file with the right checksum: what is wrong is inside.
    fn stored(name: &str, content: &[u8]) -> Vec<u8> {
        let (sum, size) = (crc32fast::hash(content).to_le_bytes(), (content.len() as u32).to_le_bytes());
        let length = (name.len() as u16).to_le_bytes();
        // Version, flags, method, time and date, then checksum, sizes and length of the name.
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &sum, &size, &size, &length, &[0, 0]].concat();
        let local = [b"PK\x03\x04", common.as_slice(), name.as_bytes(), content].concat();
        let central = [b"PK\x01\x02\x14\0", common.as_slice(), &[0; 14], name.as_bytes()].concat();
        let (at, extent) = ((local.len() as u32).to_le_bytes(), (central.len() as u32).to_le_bytes());
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", extent.as_slice(), &at, &[0, 0]].concat();
        [local, central, end].concat()
    }

    fn both(count: usize) {
        let total = |weights: Weights| weights.tensors.values().map(AnyTensor::len).sum();
        let read = |path: &std::path::Path| Weights::read_npz(path).ok().map(total);
        // What is unpacked, converted, and the tables of the decompressor.
        let most = |size: usize| 2 * (16 * size + (1 << 20)) + (1 << 18);
        let good = |path: &std::path::Path| Weights::of(&model()).write_npz(path).unwrap();
        attack("model.npz", count, most, good, |_, _| {}, read);

        let folder = tempfile::tempdir().unwrap();
        let npy = folder.path().join("x.npy");
        Tensor::<f32>::ones([30, 20]).unwrap().write_npy(&npy).unwrap();
        let content = fs::read(&npy).unwrap();
        let inside = |bytes: &mut Vec<u8>, draw: &mut Draw| {
            *bytes = stored("x.npy", &super::mutate(&content, draw));
        };
        attack(
            "stored.npz",
            count,
            most,
            |path| fs::write(path, stored("x.npy", &content)).unwrap(),
            inside,
            read,
        );
    }

    #[test]
    fn mutated_archives() {
        both(1500);
    }

    #[test]
    #[ignore = "takes a minute"]
    fn a_hundred_thousand_mutated_archives() {
        both(100_000);
    }
}
