//! The safetensors format: a header of names, types, shapes and offsets, then the bare elements. The `safetensors` crate
//! checks that offsets are in order, without gaps, and end with the file; what is read here never outgrows it.
//!
//! Large models come in several files and an index beside them (`model.safetensors.index.json`), which says what lies where; reading
//! the index reads them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use cairn_tensor::{AnyTensor, DType, SharedBytes};

use super::{Weights, bad, mapped};
use crate::{Error, Result, codec};

impl Weights {
    /// Reads a safetensors file, or the index of several, every tensor in its own type; types that Cairn has not are left out.
    ///
    /// # Errors
    /// [`Error::File`] when it, or a file that the index names, cannot be read, [`Error::BadFile`] when it is no such file or
    /// damaged, and when a file lacks what the index says is in it.
    pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = mapped(path)?;
        // A safetensors file begins with a length, which as text would be more bytes than there are.
        if bytes.first() == Some(&b'{') {
            return read_all(path, &bytes);
        }
        decode(&bytes).map_err(bad(path))
    }

    /// Writes a safetensors file, in one step: an old file is replaced only once the new one is safe. A link is replaced by the file,
    /// not followed.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = encode(self).map_err(bad(path))?;
        codec::write_atomically(path, &bytes)
    }
}

/// The files that an index names, in its folder, and the tensors that should be in each.
pub(super) fn parts(path: &Path, index: &[u8]) -> Result<BTreeMap<PathBuf, Vec<String>>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let Index { weight_map } = serde_json::from_slice(index)
        .map_err(|error| bad(path)(format!("neither safetensors nor an index of such files: {error}")))?;
    let mut parts: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (name, file) in weight_map {
        // An index from elsewhere names no files elsewhere.
        if Path::new(&file).file_name() != Some(file.as_ref()) {
            return Err(bad(path)(format!("the index names `{file}`, which is no file beside it")));
        }
        parts.entry(path.with_file_name(file)).or_default().push(name);
    }
    Ok(parts)
}

/// That a file has not what its index says.
pub(super) fn absent(part: &Path, name: &str) -> Error {
    bad(part)(format!("{name} is not in it, though the index says so"))
}

/// Reads the files that an index names, in its folder.
fn read_all(path: &Path, index: &[u8]) -> Result<Weights> {
    let mut all = Weights::default();
    for (part, names) in parts(path, index)? {
        let bytes = mapped(&part)?;
        let Weights { mut tensors, metadata, left_out } = decode(&bytes).map_err(bad(&part))?;
        for name in names {
            match tensors.remove(&name) {
                Some(tensor) => drop(all.tensors.insert(name, tensor)),
                None if left_out.contains(&name) => all.left_out.push(name),
                None => return Err(absent(&part, &name)),
            }
        }
        all.metadata.extend(metadata);
    }
    all.left_out.sort();
    Ok(all)
}

/// The format's types for ours.
pub(super) const TYPES: [(DType, Dtype); 11] = [
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I8, Dtype::I8),
    (DType::I16, Dtype::I16),
    (DType::I32, Dtype::I32),
    (DType::I64, Dtype::I64),
    (DType::U8, Dtype::U8),
    (DType::U32, Dtype::U32),
    (DType::Bool, Dtype::BOOL),
];

fn encode(weights: &Weights) -> Result<Vec<u8>, String> {
    let all = weights.tensors.iter().map(|(name, tensor)| {
        let bytes = tensor.to_le_bytes().map_err(|error| format!("{name}: {error}"))?;
        Ok((name, tensor, bytes))
    });
    let all = all.collect::<Result<Vec<_>, String>>()?;
    let views = all.iter().map(|(name, tensor, bytes)| {
        let theirs = TYPES.iter().find(|(ours, _)| *ours == tensor.dtype());
        let (_, theirs) = theirs.ok_or_else(|| format!("{name}: the format has no {}", tensor.dtype()))?;
        let view = TensorView::new(*theirs, tensor.shape().to_vec(), bytes);
        view.map(|view| (name, view)).map_err(|error| format!("{name}: {error}"))
    });
    let views = views.collect::<Result<Vec<_>, String>>()?;
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

fn decode(bytes: &SharedBytes) -> Result<Weights, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut weights = Weights::default();
    if let Some(metadata) = header.metadata() {
        weights.metadata = metadata.clone().into_iter().collect();
    }
    // The largest first: what is there twice for a moment is there while little else is.
    let mut in_order: Vec<_> = file.iter().collect();
    in_order.sort_by_key(|(_, view)| std::cmp::Reverse(view.data().len()));
    for (name, view) in in_order {
        let Some((ours, _)) = TYPES.iter().find(|(_, theirs)| *theirs == view.dtype()) else {
            weights.left_out.push(name.to_owned());
            continue;
        };
        let tensor = AnyTensor::from_le_bytes(*ours, view.shape(), view.data());
        weights.tensors.insert(name.to_owned(), tensor.map_err(|error| format!("{name}: {error}"))?);
        // What has been copied need not stay in memory twice.
        let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
        if let Some(part) = bytes.part(start..start + view.data().len()) {
            part.release();
        }
    }
    weights.left_out.sort();
    Ok(weights)
}
