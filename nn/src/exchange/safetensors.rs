//! The safetensors format: a header of names, types, shapes and offsets, then the bare elements. The `safetensors` crate
//! checks that offsets are in order, without gaps, and end with the file; what is converted here never outgrows it.

use std::fs;
use std::path::Path;

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use cairn_tensor::{Tensor, bf16, f16};

use super::{Weights, bad};
use crate::{Error, Result, codec};

impl Weights {
    /// Reads a safetensors file. Elements of f16, bf16 and f64 are converted; other types are left out.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::BadFile`] when it is no such file or damaged.
    pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(Error::file(path))?;
        decode(&bytes).map_err(bad(path))
    }

    /// Writes a safetensors file, in one step: an old file is replaced only once the new one is safe.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = encode(self).map_err(bad(path))?;
        codec::write_atomically(path, &bytes)
    }
}

fn encode(weights: &Weights) -> Result<Vec<u8>, String> {
    let bytes: Vec<Vec<u8>> = weights
        .tensors
        .values()
        .map(|tensor| tensor.iter().flat_map(|x: f32| x.to_le_bytes()).collect())
        .collect();
    let views = weights.tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape().to_vec(), bytes);
        view.map(|view| (name, view)).map_err(|error| format!("{name}: {error}"))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>()?;
    let bytes = serialize(views, None).map_err(|error| error.to_string())?;
    if weights.metadata.is_empty() { Ok(bytes) } else { with_metadata(&bytes, weights) }
}

/// The file with metadata at the start of its header. The crate would write it in the order of a hash map, which differs
/// from run to run; the same weights make the same bytes.
fn with_metadata(bytes: &[u8], weights: &Weights) -> Result<Vec<u8>, String> {
    let (size, _) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let (header, elements) = bytes[8..].split_at(size);
    let metadata = serde_json::to_string(&weights.metadata).map_err(|error| error.to_string())?;
    let comma = if weights.tensors.is_empty() { "" } else { "," };
    let mut header =
        [b"{\"__metadata__\":", metadata.as_bytes(), comma.as_bytes(), header[1..].trim_ascii_end()].concat();
    // The elements start at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice(), elements].concat())
}

fn decode(bytes: &[u8]) -> Result<Weights, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut weights = Weights::default();
    if let Some(metadata) = header.metadata() {
        weights.metadata = metadata.clone().into_iter().collect();
    }
    for (name, view) in file.iter() {
        let tensor = match view.dtype() {
            Dtype::F32 => tensor(&view, f32::from_le_bytes),
            Dtype::F64 => tensor(&view, |bytes| f64::from_le_bytes(bytes) as f32),
            Dtype::F16 => tensor(&view, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => tensor(&view, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => {
                weights.left_out.push(name.to_owned());
                continue;
            }
        };
        weights.tensors.insert(name.to_owned(), tensor.map_err(|error| format!("{name}: {error}"))?);
    }
    weights.left_out.sort();
    Ok(weights)
}

/// A tensor of elements of `N` bytes each.
fn tensor<const N: usize>(
    view: &TensorView<'_>,
    element: impl Fn([u8; N]) -> f32,
) -> cairn_tensor::Result<Tensor> {
    let elements = view.data().as_chunks::<N>().0.iter().map(|&bytes| element(bytes)).collect();
    Tensor::from_vec(elements, view.shape())
}
