//! A published model with adapters added to its weights, from files to files: names, orders of axes and all else stay those of the
//! model's file, so that whatever reads the one reads the other.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor};

use super::peft::Files;
use crate::models::{self, Format, weights_of};
use crate::weights::Weights;
use crate::weights::gguf::{self, Gguf};
use crate::{Error, Result};

/// Writes the model at a path, a folder or a GGUF file, with the adapters of a folder added to its weights, to another path of the same
/// kind. Weights that are quantised become [`Q8_0`](BlockFormat::Q8_0), or f16 where rows are no whole blocks, since blocks of fewer bits
/// would round away much of what was learnt; all others keep their type.
///
/// # Errors
/// As [`models::load`] and [`Adapter::load`](super::Adapter::load); [`Error::File`] when the model cannot be written, or is the one to be read.
#[doc(alias = "merge_and_unload")]
pub fn merge_files(model: impl AsRef<Path>, adapter: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (model, to) = (model.as_ref(), to.as_ref());
    if let (Ok(from), Ok(same)) = (model.canonicalize(), to.canonicalize())
        && from == same
    {
        let error = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it is the model to be read");
        return Err(Error::file(to)(error));
    }
    let config = models::config(model)?;
    let mut files = Files::read(adapter.as_ref(), &config)?;
    if config.format() == Format::Gguf {
        let file = Gguf::open(model)?;
        let mut tensors = BTreeMap::new();
        for name in file.tensors().keys() {
            let tensor = file.tensor(name)?;
            tensors.insert(name.clone(), added(&mut files, name, tensor)?);
        }
        files.check_used()?;
        return gguf::write(to, file.values(), &tensors);
    }
    let mut weights = Weights::read_safetensors(weights_of(model)?)?;
    for (name, tensor) in &mut weights.tensors {
        *tensor = added(&mut files, name, tensor.clone())?;
    }
    files.check_used()?;
    fs::create_dir_all(to).map_err(Error::file(to))?;
    for entry in fs::read_dir(model).map_err(Error::file(model))? {
        let from = entry.map_err(Error::file(model))?.path();
        let (Some(name), true) = (from.file_name(), from.is_file()) else { continue };
        // The weights are one file, whatever they were.
        if !name.to_string_lossy().contains("safetensors") {
            fs::copy(&from, to.join(name)).map_err(Error::file(&from))?;
        }
    }
    weights.write_safetensors(to.join("model.safetensors"))
}

/// A weight with what its adapter adds, if it has one.
fn added(files: &mut Files, name: &str, weight: AnyTensor) -> Result<AnyTensor> {
    let Some(product) = files.take(name)? else { return Ok(weight) };
    let exact = weight.cast(DType::F32)?;
    let exact: &Tensor = exact.as_f32()?;
    if exact.shape() != product.shape() {
        let (ours, theirs) = (product.dims(), exact.dims());
        return Err(Error::StateMismatch(format!("{name}: an adapter of {ours} for a weight of {theirs}")));
    }
    let sum = AnyTensor::from(exact.add(&product)?);
    let dtype = match weight.dtype() {
        DType::Quantized(_) if product.shape()[1].is_multiple_of(32) => BlockFormat::Q8_0.into(),
        DType::Quantized(_) => DType::F16,
        other => other,
    };
    Ok(sum.cast(dtype)?)
}
