//! From a folder as Hugging Face publishes models to what a GGUF file has: names, orders of rows, settings, tokenizer, as llama.cpp's own
//! conversion makes them.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_tensor::{AnyTensor, DType, RotaryScaling, Tensor};

use super::gguf::{GPT2, KEYS};
use super::names::Layout;
use super::rope::Rope;
use super::{Config, Modules, Opened, architecture, gpt2};
use crate::language::Pooling;
use crate::language::pooling::Said;
use crate::tokenizer;
use crate::weights::gguf::Value;
use crate::{Error, Result};

/// The kind of layers that a file has one setting for.
const GLOBAL: &str = "full_attention";

/// What a GGUF file has of a model: its values, and its tensors.
pub type GgufParts = (BTreeMap<String, Value>, BTreeMap<String, AnyTensor>);

/// The values and tensors of a GGUF file for the model in a folder with config.json, safetensors and tokenizer.json, of the architectures
/// that llama.cpp reads from the same settings: Llama (SmolLM2, Mistral), Qwen 2 and 3, GPT-2, BERT. Matrices keep their type, and can be
/// [quantised](AnyTensor::cast); all else is f32. What is done with a text before it is cut into words, where other programs do it
/// otherwise or have no key for it, stands under `cairn.tokenizer.normalizer`, which Cairn alone reads.
///
/// ```no_run
/// let (values, tensors) = cairn_nn::models::to_gguf("SmolLM2-135M-Instruct")?;
/// cairn_nn::weights::gguf::write("SmolLM2-135M-Instruct.gguf", &values, &tensors)?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] and [`Error::BadFile`] for what cannot be read; [`Error::Unsupported`] for another architecture, settings that GGUF has no
/// place for, and a tokenizer of another kind than pairs of bytes and BERT's words; [`Error::StateMismatch`] for a weight without a name there.
#[doc(alias("convert_hf_to_gguf", "export"))]
pub fn to_gguf(folder: impl AsRef<Path>) -> Result<GgufParts> {
    let folder = folder.as_ref();
    let opened = Opened::open(folder)?;
    let (config, weights) = (&opened.config, opened.weights()?);
    let kind = match config.model_type()? {
        "mistral" => "llama",
        kind @ ("llama" | "qwen2" | "qwen3" | "gpt2" | "bert") => kind,
        other => return Err(Error::Unsupported { what: format!("writing `{other}` as GGUF") }),
    };
    if kind == "gpt2" && !gpt2::scales_as_usual(config) {
        return Err(Error::Unsupported { what: "scores of attention divided as in no GGUF file".into() });
    }
    let names = (architecture(config)?.table)(config);
    let modules = Modules::for_gguf(config)?;
    // A model without some of its weights is another.
    let is_used = |name: &&String| !names.unused.iter().any(|part| name.contains(part));
    if let Some(name) = weights.left_out.iter().find(is_used) {
        return Err(Error::Unsupported { what: format!("tensors of the type that `{name}` is of") });
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in weights.tensors {
        let short = name.replace("_orig_mod.", "");
        let bare = modules.bare(short.strip_prefix("module.").unwrap_or(&short));
        if let Some((to, layout)) = names.placed(bare) {
            tensors.insert(to, converted(bare, tensor, layout, &modules)?);
        } else if !names.unused.iter().any(|part| bare.contains(part)) {
            return Err(Error::StateMismatch(format!("{name} has no name in GGUF")));
        }
    }
    let mut values = settings(folder, config, kind)?;
    if let Some(factors) = factors(config, kind, &mut values)? {
        tensors.insert("rope_freqs.weight".into(), factors.into());
    }
    let name =
        folder.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    values.insert("general.name".into(), name.unwrap_or_else(|| kind.into()).into());
    let rows = tensors.get("token_embd.weight").and_then(|table| table.shape().first().copied());
    values.extend(tokenizer::gguf_values(folder, config, rows.unwrap_or(0))?);
    Ok((values, tensors))
}

fn converted(bare: &str, tensor: AnyTensor, layout: Layout, modules: &Modules) -> Result<AnyTensor> {
    if tensor.rank() != 2 {
        return Ok(tensor.cast(DType::F32)?);
    }
    let layer = bare.strip_suffix(".weight").unwrap_or(bare);
    let exact = tensor.cast(DType::F32)?;
    let exact = exact.as_f32()?;
    let other = match layout {
        Layout::Convolution => exact.t()?.contiguous()?,
        _ => modules.turned(layer, exact)?,
    };
    // What did not change keeps its bits.
    Ok(if other.shares_storage(exact) { tensor } else { AnyTensor::from(other).cast(tensor.dtype())? })
}

/// The settings, in GGUF's names and types.
fn settings(folder: &Path, config: &Config, kind: &str) -> Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    let mut put = |key: &str, value: Value| values.insert(format!("{kind}.{key}"), value);
    for (gguf, ours) in KEYS {
        let theirs =
            GPT2.iter().find(|(long, _)| kind == "gpt2" && *long == ours).map_or(ours, |(_, short)| short);
        let Some(number) = config.get(theirs).and_then(serde_json::Value::as_f64) else { continue };
        let fraction =
            gguf.ends_with("epsilon") || gguf.ends_with("freq_base") || gguf.ends_with("softcapping");
        put(gguf, if fraction { (number as f32).into() } else { (number as u32).into() });
    }
    if kind == "gpt2" && config.get("n_inner").is_none() {
        put("feed_forward_length", (4 * config.size("n_embd")? as u32).into());
    }
    if matches!(kind, "llama" | "qwen2" | "qwen3") {
        let heads = config.size("num_attention_heads")?;
        let head = config.size_or("head_dim", config.size("hidden_size")? / heads)? as u32;
        put("attention.head_count_kv", (config.size_or("num_key_value_heads", heads)? as u32).into());
        put("rope.dimension_count", head.into());
        put("attention.key_length", head.into());
        put("attention.value_length", head.into());
        put("rope.freq_base", (Rope::read(config, GLOBAL)?.base as f32).into());
    }
    if kind == "bert" {
        put("attention.causal", false.into());
        put("pooling_type", pooling(folder, config)?.into());
    }
    values.insert("general.architecture".into(), kind.into());
    values.insert("general.quantization_version".into(), 2u32.into());
    Ok(values)
}

/// The number of how vectors are made of those of tokens.
fn pooling(folder: &Path, config: &Config) -> Result<u32> {
    match Said::read(folder, config)?.pooling {
        Pooling::Mean => Ok(1),
        Pooling::First => Ok(2),
        Pooling::Last => Ok(3),
        Pooling::Max => Err(Error::Unsupported { what: "vectors of the largest values, as GGUF".into() }),
    }
}

/// How angles are slowed: a factor in the values, or of Llama 3 a tensor of factors.
fn factors(config: &Config, kind: &str, values: &mut BTreeMap<String, Value>) -> Result<Option<Tensor>> {
    let rope = Rope::read(config, GLOBAL)?;
    match rope.scaling {
        RotaryScaling::None => return Ok(None),
        RotaryScaling::Linear { factor } => {
            values.insert(format!("{kind}.rope.scaling.type"), "linear".into());
            values.insert(format!("{kind}.rope.scaling.factor"), (factor as f32).into());
            return Ok(None);
        }
        _ => {}
    }
    let head = config.size("hidden_size")? / config.size("num_attention_heads")?;
    let scaled = rope.rotary(config.size_or("head_dim", head)?);
    let plain = scaled.scaling(RotaryScaling::None);
    let pairs = plain.frequencies()?.into_iter().zip(scaled.frequencies()?);
    let factors: Vec<f32> = pairs.map(|(plain, scaled)| (plain / scaled) as f32).collect();
    let count = factors.len();
    Ok(Some(Tensor::from_vec(factors, [count])?))
}
