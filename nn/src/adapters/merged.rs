//! A published model with adapters added to its weights, from files to files.

use std::path::Path;

use cairn_tensor::DType;

use super::peft::Files;
use crate::models::{self, Changed, like};
use crate::{Error, Result};

/// Writes the model at a path, a folder or a GGUF file, with the adapters of a folder added to its weights, to another path of the same
/// kind. Weights that are quantised become [`Q8_0`](cairn_tensor::BlockFormat::Q8_0), or f16 where rows are no whole blocks, since blocks of fewer bits
/// would round away much of what was learnt; all others keep their type.
///
/// # Errors
/// As [`models::load`] and [`Adapter::load`](super::Adapter::load); [`Error::File`] when the model cannot be written, or is the one to be read.
#[doc(alias = "merge_and_unload")]
pub fn merge_files(model: impl AsRef<Path>, adapter: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let model = model.as_ref();
    let config = models::config(model)?;
    let mut files = Files::read(adapter.as_ref(), &config)?;
    let changed = Changed::new(model, &config, |name, weight| {
        let Some(product) = files.take(name)? else { return Ok(weight) };
        let exact = weight.cast(DType::F32)?;
        let exact = exact.as_f32()?;
        if exact.shape() != product.shape() {
            let (ours, theirs) = (product.dims(), exact.dims());
            return Err(Error::StateMismatch(format!(
                "{name}: an adapter of {ours} for a weight of {theirs}"
            )));
        }
        like(name, &exact.add(&product)?, &weight)
    })?;
    files.check_used()?;
    changed.write(model, to.as_ref())
}
