//! `cairn inspect`: what is in a file or folder of weights.

use std::path::{Path, PathBuf};

use cairn::nn::models::Config;
use cairn::nn::weights::gguf::{Gguf, Value as Setting, kernel_for};
use cairn::nn::weights::{Headers, Weights};
use cairn::nn::{Error, Sequential};
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A GGUF file, a safetensors file or its index, a folder with one, or a network that Cairn saved.
    pub(super) path: PathBuf,
}

/// What there is to say of a file.
#[derive(Debug, Serialize)]
struct Found {
    kind: &'static str,
    /// Settings of the model.
    about: Vec<(String, Value)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    dtype: String,
    bytes: usize,
    /// What computes with it here.
    kernel: String,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<(), Failure> {
    let found = look(&args.path)?;
    out.result(&found, || found.to_text())
}

fn look(path: &Path) -> Result<Found, Failure> {
    if path.is_dir() {
        let files = ["model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"];
        let file = files.iter().map(|file| path.join(file)).find(|file| file.is_file());
        let file = file.ok_or_else(|| {
            Failure::new(format!("{}: there is no model.safetensors in the folder", path.display()))
        })?;
        let config = path.join("config.json");
        let about = if config.is_file() { settings(&Config::read(config)?) } else { Vec::new() };
        return Ok(Found { about, ..look(&file)? });
    }
    std::fs::metadata(path).map_err(|error| Failure::file(path, &error))?;
    if starts_with(path, b"GGUF") {
        return Ok(of_gguf(&Gguf::open(path)?));
    }
    match Weights::headers(path) {
        Ok(headers) => Ok(of_headers(headers)),
        Err(error) => match Sequential::load(path) {
            Ok(model) => Ok(of_network(&Weights::of(&model))),
            // What a damaged file of Cairn's own is told better by its own reader.
            Err(other) if starts_with(path, b"CAIRN") => Err(other.into()),
            Err(_) => Err(Failure::new(match error {
                Error::BadFile { path, why } => {
                    format!("{}: neither safetensors nor Cairn's: {why}", path.display())
                }
                other => other.to_string(),
            })),
        },
    }
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    let read = || -> std::io::Result<bool> {
        let mut bytes = vec![0; magic.len()];
        std::io::Read::read_exact(&mut std::fs::File::open(path)?, &mut bytes)?;
        Ok(bytes.eq_ignore_ascii_case(magic))
    };
    read().unwrap_or(false)
}

/// What is asked first of a model's settings.
fn settings(config: &Config) -> Vec<(String, Value)> {
    let keys = [
        "model_type",
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "sliding_window",
    ];
    keys.iter().filter_map(|&key| Some((key.to_owned(), config.get(key)?.clone()))).collect()
}

/// A GGUF file: its settings, but for long lists, and its tensors.
fn of_gguf(file: &Gguf) -> Found {
    let about = file.values().iter().map(|(key, value)| (key.clone(), setting(value))).collect();
    let tensors = file.report().into_iter().map(|tensor| Tensor {
        name: tensor.name,
        shape: tensor.shape.to_vec(),
        dtype: tensor.dtype.to_owned(),
        bytes: tensor.bytes,
        kernel: tensor.kernel,
    });
    Found { kind: "GGUF", about, tensors: tensors.collect() }
}

fn setting(value: &Setting) -> Value {
    match value {
        Setting::Text(text) => json!(text),
        Setting::Bool(value) => json!(value),
        Setting::Array(_) => match value.as_texts() {
            Some(texts) => json!(format!("{} texts", texts.len())),
            None => json!("a list"),
        },
        Setting::F32(x) => json!(x),
        other => other.as_u64().map_or_else(|| json!(other.as_f64()), |whole| json!(whole)),
    }
}

/// Safetensors, of which nothing but the headers is read.
fn of_headers(headers: Headers) -> Found {
    let tensors = headers.tensors.into_iter().map(|(name, tensor)| Tensor {
        name,
        kernel: match tensor.dtype {
            Some(dtype) => kernel_for(dtype, &tensor.shape),
            None => "none: not supported".to_owned(),
        },
        shape: tensor.shape,
        dtype: tensor.type_name,
        bytes: tensor.bytes,
    });
    let about = headers.metadata.into_iter().map(|(key, value)| (key, json!(value))).collect();
    Found { kind: "safetensors", about, tensors: tensors.collect() }
}

fn of_network(weights: &Weights) -> Found {
    let tensors = weights.tensors.iter().map(|(name, tensor)| Tensor {
        name: name.clone(),
        shape: tensor.shape().to_vec(),
        dtype: tensor.dtype().to_string(),
        bytes: tensor.byte_count(),
        kernel: kernel_for(tensor.dtype(), tensor.shape()),
    });
    Found { kind: "a network of Cairn", about: Vec::new(), tensors: tensors.collect() }
}

impl Found {
    fn to_text(&self) -> String {
        let values: usize = self.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        let bytes: usize = self.tensors.iter().map(|tensor| tensor.bytes).sum();
        let mut lines = vec![format!(
            "{}: {} tensors, {values} values, {:.1} MB",
            self.kind,
            self.tensors.len(),
            bytes as f64 / 1e6
        )];
        lines.extend(self.about.iter().map(|(key, value)| match value {
            Value::String(text) if text.contains('\n') => format!("  {key} = {text:?}"),
            Value::String(text) => format!("  {key} = {text}"),
            other => format!("  {key} = {other}"),
        }));
        let wide = self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
        lines.extend(self.tensors.iter().map(|Tensor { name, shape, dtype, kernel, .. }| {
            let shape = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
            format!("{name:wide$}  {dtype:>5}  {shape:<12}  {kernel}")
        }));
        lines.join("\n")
    }
}
