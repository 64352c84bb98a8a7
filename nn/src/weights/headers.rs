//! What files of weights say of their tensors, without the tensors.

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::tensor::{Metadata, SafeTensors};
use cairn_tensor::DType;

use super::safetensors::{TYPES, absent, parts};
use super::{Weights, bad, mapped};
use crate::Result;

/// What a safetensors file, or several with an index, says of its tensors: see [`Weights::headers`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Headers {
    /// The tensors by name.
    pub tensors: BTreeMap<String, TensorHeader>,
    /// What else the files say, by key.
    pub metadata: BTreeMap<String, String>,
}

/// What a file says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorHeader {
    /// The sizes along each axis.
    pub shape: Vec<usize>,
    /// The element type; `None` for one that Cairn has not.
    pub dtype: Option<DType>,
    /// The name of the element type: Cairn's, or else the file's.
    pub type_name: String,
    /// The bytes that it has in the file.
    pub bytes: usize,
}

impl Weights {
    /// What a safetensors file, or the index of several, says of its tensors, which stay where they are: as
    /// [`read_safetensors`](Self::read_safetensors), in the memory of the names.
    ///
    /// ```
    /// use cairn_nn::weights::Weights;
    /// use cairn_tensor::{DType, Tensor};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.safetensors");
    /// let mut weights = Weights::default();
    /// weights.tensors.insert("w".into(), Tensor::<f32>::zeros([2, 3])?.into());
    /// weights.write_safetensors(&path)?;
    /// let headers = Weights::headers(&path)?;
    /// assert_eq!((headers.tensors["w"].dtype, headers.tensors["w"].bytes), (Some(DType::F32), 24));
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`read_safetensors`](Self::read_safetensors), but for memory.
    pub fn headers(path: impl AsRef<Path>) -> Result<Headers> {
        let path = path.as_ref();
        let bytes = mapped(path)?;
        if bytes.first() != Some(&b'{') {
            return of_file(&bytes).map_err(bad(path));
        }
        let mut all = Headers::default();
        for (part, names) in parts(path, &bytes)? {
            let bytes = mapped(&part)?;
            let Headers { mut tensors, metadata } = of_file(&bytes).map_err(bad(&part))?;
            for name in names {
                let header = tensors.remove(&name).ok_or_else(|| absent(&part, &name))?;
                all.tensors.insert(name, header);
            }
            all.metadata.extend(metadata);
        }
        Ok(all)
    }
}

fn of_file(bytes: &[u8]) -> Result<Headers, String> {
    let (_, header): (usize, Metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let dtype = TYPES.iter().find(|(_, theirs)| *theirs == info.dtype).map(|(ours, _)| *ours);
        let type_name = dtype.map_or_else(|| info.dtype.to_string(), |dtype| dtype.to_string());
        let (begin, end) = info.data_offsets;
        (name, TensorHeader { shape: info.shape.clone(), dtype, type_name, bytes: end - begin })
    });
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Headers { tensors: tensors.collect(), metadata: metadata.into_iter().collect() })
}
