//! Published models written anew with other weights: names, orders of axes, settings, tokenizer and all else stay those of the files that they
//! came from, so that whatever reads the one reads the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor};

use super::{Config, Format, Modules, POOLING, Part, architecture, weights_of};
use crate::weights::Weights;
use crate::weights::gguf::{self, Gguf};
use crate::{Error, Module, Result};

/// Writes a network that was [loaded](super::load) from the model at `from`, a folder or a GGUF file, and trained, to another path of the same kind. Weights
/// that are quantised there become [`Q8_0`](BlockFormat::Q8_0), or f16 where rows are no whole blocks, since blocks of fewer bits would
/// round away much of what was learnt; all others keep the type that they have there.
///
/// ```no_run
/// use cairn_nn::models::{self, Network};
/// use cairn_tensor::DType;
/// let Network::Causal(model) = models::load_as("SmolLM2-135M-Instruct.Q4_1.gguf", DType::F32)? else { panic!() };
/// // … trained …
/// models::save_like("SmolLM2-135M-Instruct.Q4_1.gguf", &model, "mine.gguf")?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] and [`Error::BadFile`] for what cannot be read or written, and where both paths are the same; [`Error::StateMismatch`] for
/// a network of other sizes.
#[doc(alias("save_pretrained", "export"))]
pub fn save_like(
    from: impl AsRef<Path>,
    network: &(impl Module + ?Sized),
    to: impl AsRef<Path>,
) -> Result<()> {
    let (from, config) = (from.as_ref(), super::config(from.as_ref())?);
    let modules = Modules::of(&config)?;
    let names = (architecture(&config)?.table)(&config);
    let mut values = names.values(network, config.format())?;
    let table = values.get("embed_tokens.weight").or_else(|| values.get("wte.weight")).cloned();
    let changed = Changed::new(from, &config, |name, old| {
        // As compiled and data-parallel models have them, and models with a head.
        let short = name.replace("_orig_mod.", "");
        let bare = modules.bare(short.strip_prefix("module.").unwrap_or(&short));
        // A head that is the table of tokens stands in some files all the same.
        let tied = bare == "lm_head.weight" && !values.contains_key(bare);
        let value = if tied { table.clone() } else { values.remove(bare) };
        value.map_or(Ok(old.clone()), |value| like(name, &value, &old))
    })?;
    if let Some(name) = values.keys().next() {
        return Err(Error::StateMismatch(format!("{name} has no place in {}", from.display())));
    }
    changed.write(from, to.as_ref())
}

/// A value in place of one of a file, in its type.
pub(crate) fn like(name: &str, value: &Tensor, old: &AnyTensor) -> Result<AnyTensor> {
    if old.shape() != value.shape() {
        let (ours, theirs) = (value.dims(), old.dims());
        return Err(Error::StateMismatch(format!("{name}: values of {ours} for a weight of {theirs}")));
    }
    let dtype = match old.dtype() {
        DType::Quantized(_) if value.shape().last().is_some_and(|width| width.is_multiple_of(32)) => {
            BlockFormat::Q8_0.into()
        }
        DType::Quantized(_) => DType::F16,
        other => other,
    };
    Ok(AnyTensor::from(value.clone()).cast(dtype)?)
}

/// A published model with other weights, to be written.
pub(crate) enum Changed {
    Gguf(Gguf, BTreeMap<String, AnyTensor>),
    Folder(Weights),
}

impl Changed {
    /// The model at a path with each of its weights changed, by its name in the file.
    pub(crate) fn new(
        from: &Path,
        config: &Config,
        mut change: impl FnMut(&str, AnyTensor) -> Result<AnyTensor>,
    ) -> Result<Self> {
        if config.format() == Format::Gguf {
            let file = Gguf::open(from)?;
            let mut tensors = BTreeMap::new();
            for name in file.tensors().keys() {
                tensors.insert(name.clone(), change(name, file.tensor(name)?)?);
            }
            return Ok(Changed::Gguf(file, tensors));
        }
        let mut weights = Weights::read_safetensors(weights_of(from)?)?;
        for (name, tensor) in &mut weights.tensors {
            *tensor = change(name, tensor.clone())?;
        }
        Ok(Changed::Folder(weights))
    }

    /// Writes it, with all else as it is in the model that it came from.
    pub(crate) fn write(&self, from: &Path, to: &Path) -> Result<()> {
        if let (Ok(one), Ok(other)) = (from.canonicalize(), to.canonicalize())
            && one == other
        {
            let error = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is the model to be read");
            return Err(Error::file(to)(error));
        }
        let weights = match self {
            Changed::Gguf(file, tensors) => return gguf::write(to, file.values(), tensors),
            Changed::Folder(weights) => weights,
        };
        // Encoders have been read by it. For others it is a file as any, and no reason to lose what was trained.
        let parts = Part::list(from).ok().flatten().unwrap_or_default();
        copy_beside(from, to)?;
        // No other folders are looked into: some hold other formats of the model, and the new one may be among them.
        for part in parts.iter().filter(|part| part.class() == POOLING) {
            let folder = from.join(&part.path);
            if folder.is_dir() {
                copy_beside(&folder, &to.join(&part.path))?;
            }
        }
        weights.write_safetensors(to.join("model.safetensors"))
    }
}

/// What the names of files with weights end with: of PyTorch, TensorFlow, Flax, ONNX, Rust and others; and of
/// OpenVINO's graphs (`xml`), which are nothing without the weights beside them.
const OF_WEIGHTS: [&str; 14] = [
    "bin",
    "ckpt",
    "gguf",
    "h5",
    "mlmodel",
    "msgpack",
    "npz",
    "onnx",
    "onnx_data",
    "ot",
    "pb",
    "pt",
    "pth",
    "xml",
];

/// Whether a file's name says that it has weights, in whichever program's format, or is the index or the graph of files that have. Beside a model that
/// is written anew, those of the old one would be taken for its own.
///
/// ```
/// use cairn_nn::models::holds_weights;
/// assert!(holds_weights("pytorch_model.bin") && holds_weights("pytorch_model.bin.index.json") && holds_weights("tf_model.h5"));
/// assert!(holds_weights("openvino/openvino_model.xml"));
/// assert!(!holds_weights("tokenizer.json") && !holds_weights("spiece.model"));
/// ```
pub fn holds_weights(path: impl AsRef<Path>) -> bool {
    let name = path.as_ref().file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name = name.unwrap_or_default();
    let name = name.strip_suffix(".index.json").unwrap_or(&name);
    let end = name.rsplit_once('.').map(|(_, end)| end);
    name.contains("safetensors") || end.is_some_and(|end| OF_WEIGHTS.contains(&end))
}

/// The files of a folder but for its weights, which are one file afterwards, whatever they were.
fn copy_beside(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in fs::read_dir(from).map_err(Error::file(from))? {
        let path = entry.map_err(Error::file(from))?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        if !holds_weights(&path) {
            fs::copy(&path, to.join(name)).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}
