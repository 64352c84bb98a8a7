//! GGUF, the files of llama.cpp: a model's settings and tokenizer as typed values, and its tensors, quantised ones too.
//!
//! A file is a header of values and of the tensors' names, shapes, types and offsets, then the tensors' bytes. [`Gguf`] reads the
//! header and leaves the rest where it is: quantised tensors are used in place, in the memory that the system maps the file
//! into, and only what is asked for is read. [`write()`] writes such a file.
//!
//! Files are not trusted: every length, count, offset and type is checked against what the file has before memory is taken, and
//! no two tensors share bytes, so that what is read is never more than a small multiple of the file.
//!
//! The format is that of `docs/gguf.md` of ggml, version 3, and 2, which differs in nothing that is read here.

mod read;
mod report;
mod split;
mod texts;
mod value;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cairn_tensor::{AnyTensor, BlockFormat, DType, QuantizedTensor, Shape, SharedBytes};

pub use report::{TensorReport, kernel_for};
pub use texts::Texts;
pub use value::{Array, Value};
pub use write::{encode, write};

use super::{Weights, bad, mapped};
use crate::{Error, Result};

/// The alignment of tensors where a file does not state it.
const ALIGNMENT: u64 = 32;
/// The key that states it.
const ALIGNMENT_KEY: &str = "general.alignment";

/// A GGUF file: its values, and its tensors by name.
///
/// ```
/// use std::collections::BTreeMap;
/// use cairn_nn::weights::gguf::{self, Gguf, Value};
/// use cairn_tensor::{AnyTensor, BlockFormat, DType, Tensor, rng};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.gguf");
/// let w = AnyTensor::from(Tensor::<f32>::normal([6, 64], 0.0, 1.0, &mut rng(0))?).cast(BlockFormat::Q4_1.into())?;
/// let values = BTreeMap::from([("general.architecture".to_owned(), Value::from("llama"))]);
/// gguf::write(&path, &values, &BTreeMap::from([("blk.0.attn_q.weight".to_owned(), w.clone())]))?;
///
/// let file = Gguf::open(&path)?;
/// assert_eq!(file.text("general.architecture")?, "llama");
/// assert!(file.tensor("blk.0.attn_q.weight")?.bits_eq(&w)); // its bytes are the file's
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gguf {
    path: PathBuf,
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
    /// From the start of the tensors' bytes on, of each file of the model.
    data: Vec<SharedBytes>,
}

/// What a file says of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorInfo {
    /// The sizes along each axis, rows first, as everywhere in Cairn; files have them the other way around.
    pub shape: Shape,
    /// The element type as files number it.
    kind: Kind,
    /// In which of the model's files it is, from 0.
    file: usize,
    /// Where the bytes begin, from the start of all tensors' bytes.
    offset: usize,
    /// The number of bytes.
    pub bytes: usize,
}

impl TensorInfo {
    /// The element type; `None` for one that Cairn has not.
    pub fn dtype(&self) -> Option<DType> {
        self.kind.dtype
    }

    /// The name of the element type.
    pub fn type_name(&self) -> &'static str {
        self.kind.name
    }
}

impl Gguf {
    /// Reads the header of a file; the tensors stay in the file until they are asked for. See
    /// [`SharedBytes::map_file`] for what must not happen to the file meanwhile. Of a model in several files
    /// (`model-00001-of-00003.gguf`) it is the first that is to be opened; the others are found beside it.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read; [`Error::BadFile`], with what is wrong and where, when it is no GGUF file or damaged, or
    /// another than the first of several.
    #[doc(alias("load", "read_gguf"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path, &mapped(path)?)?.joined()
    }

    /// As [`open`](Self::open), of the bytes of one file.
    ///
    /// # Errors
    /// [`Error::BadFile`], with what is wrong and where.
    pub fn from_bytes(bytes: impl Into<SharedBytes>) -> Result<Self> {
        Self::parse(Path::new("(memory)"), &bytes.into())
    }

    fn parse(path: &Path, bytes: &SharedBytes) -> Result<Self> {
        let read::Header { values, tensors, data_start } = read::header(bytes).map_err(bad(path))?;
        let data = bytes.part(data_start..bytes.len());
        let data = data.ok_or_else(|| bad(path)("it ends before the tensors' bytes begin".into()))?;
        Ok(Gguf { path: path.to_owned(), values, tensors, data: vec![data] })
    }

    /// The values by key, as `general.architecture`.
    pub fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The text that must be under a key.
    ///
    /// # Errors
    /// [`Error::BadFile`] when there is none, or something else.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.required(key, "a text", Value::as_str)
    }

    /// The whole number, not negative, that must be under a key.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn number(&self, key: &str) -> Result<u64> {
        self.required(key, "a whole number that is not negative", Value::as_u64)
    }

    /// The number that must be under a key.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn float(&self, key: &str) -> Result<f64> {
        self.required(key, "a number", Value::as_f64)
    }

    /// The texts that must be under a key: the tokens of a tokenizer.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn texts(&self, key: &str) -> Result<&Texts> {
        self.required(key, "a list of texts", Value::as_texts)
    }

    fn required<'a, T>(&'a self, key: &str, what: &str, of: impl Fn(&'a Value) -> Option<T>) -> Result<T> {
        let value =
            self.get(key).ok_or_else(|| self.bad(format!("there is no `{key}`, which should be {what}")))?;
        of(value).ok_or_else(|| self.bad(format!("`{key}` is {}, not {what}", value.kind())))
    }

    fn bad(&self, why: String) -> Error {
        Error::BadFile { path: self.path.clone(), why }
    }

    /// What the file says of its tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// A tensor by name: quantised ones share the file's bytes, others are copied.
    ///
    /// # Errors
    /// [`Error::BadFile`] when there is none of the name; [`Error::Unsupported`] for an element type that Cairn has not; when memory
    /// does not hold it.
    pub fn tensor(&self, name: &str) -> Result<AnyTensor> {
        let info = self.tensors.get(name).ok_or_else(|| self.bad(format!("there is no tensor `{name}`")))?;
        let Some(dtype) = info.dtype() else {
            return Err(Error::Unsupported {
                what: format!("tensors of {}, as `{name}` is", info.type_name()),
            });
        };
        let bytes =
            self.bytes_of(info).ok_or_else(|| self.bad(format!("the bytes of `{name}` lie outside it")))?;
        Ok(match dtype {
            DType::Quantized(format) => {
                QuantizedTensor::from_bytes(format, info.shape.clone(), bytes)?.into()
            }
            other => AnyTensor::from_le_bytes(other, info.shape.clone(), &bytes)?,
        })
    }

    /// That all tensors are of types that Cairn has.
    pub(crate) fn check_types(&self) -> Result<()> {
        let foreign = || self.tensors.iter().filter(|(_, info)| info.dtype().is_none());
        let Some((name, _)) = foreign().next() else { return Ok(()) };
        let theirs: BTreeSet<&str> = foreign().map(|(_, info)| info.type_name()).collect();
        let ours = [DType::F32, DType::F16, DType::BF16].map(DType::name).into_iter();
        let ours: Vec<&str> = ours.chain(BlockFormat::ALL.map(BlockFormat::name)).collect();
        let theirs: Vec<&str> = theirs.into_iter().collect();
        let what = format!(
            "weights in {}, as `{name}` is in {}; there are {}",
            theirs.join(" and "),
            self.path.display(),
            ours.join(", ")
        );
        Err(Error::Unsupported { what })
    }

    fn bytes_of(&self, info: &TensorInfo) -> Option<SharedBytes> {
        self.data[info.file].part(info.offset..info.offset + info.bytes)
    }

    /// All tensors, quantised matrices [packed](QuantizedTensor::packed) for products; those of types that Cairn has not are
    /// [left out](Weights::left_out).
    ///
    /// # Errors
    /// When memory does not hold them.
    pub fn weights(&self) -> Result<Weights> {
        let mut weights = Weights::default();
        let (mut matrices, mut quantized) = (Vec::new(), Vec::new());
        // The largest first: what is there twice for a moment is there while little else is.
        let mut in_order: Vec<(&String, &TensorInfo)> = self.tensors.iter().collect();
        in_order.sort_by_key(|(_, info)| std::cmp::Reverse(info.bytes));
        for (name, info) in in_order {
            if info.dtype().is_none() {
                weights.left_out.push(name.clone());
                continue;
            }
            let tensor = match self.tensor(name)? {
                AnyTensor::Quantized(q) if q.shape().len() == 2 => {
                    matrices.push(name.clone());
                    quantized.push(q);
                    continue;
                }
                other => other,
            };
            // What has been copied need not stay in memory twice.
            if let Some(part) = self.bytes_of(info) {
                part.release();
            }
            weights.tensors.insert(name.clone(), tensor);
        }
        let packed = QuantizedTensor::packed_together(&quantized)?;
        weights.tensors.extend(matrices.into_iter().zip(packed.into_iter().map(AnyTensor::from)));
        weights.left_out.sort();
        Ok(weights)
    }

    /// What there is to say of each tensor, in order of names: shape, type, bytes, and what computes with it.
    pub fn report(&self) -> Vec<TensorReport> {
        self.tensors.iter().map(|(name, info)| TensorReport::new(name, info)).collect()
    }
}

/// An element type of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    id: u32,
    name: &'static str,
    dtype: Option<DType>,
    /// Elements of a block, and its bytes.
    block: (usize, usize),
}

const fn plain(id: u32, dtype: DType) -> Kind {
    Kind { id, name: dtype.name(), dtype: Some(dtype), block: (1, dtype.size_in_bytes()) }
}

const fn blocks(id: u32, format: BlockFormat) -> Kind {
    let dtype = Some(DType::Quantized(format));
    Kind { id, name: format.name(), dtype, block: (format.weights(), format.bytes()) }
}

const fn foreign(id: u32, name: &'static str, elements: usize, bytes: usize) -> Kind {
    Kind { id, name, dtype: None, block: (elements, bytes) }
}

/// The element types (`ggml.h`, `ggml-common.h`).
const KINDS: [Kind; 31] = [
    plain(0, DType::F32),
    plain(1, DType::F16),
    blocks(2, BlockFormat::Q4_0),
    blocks(3, BlockFormat::Q4_1),
    blocks(6, BlockFormat::Q5_0),
    blocks(7, BlockFormat::Q5_1),
    blocks(8, BlockFormat::Q8_0),
    foreign(9, "q8_1", 32, 36),
    foreign(10, "q2_k", 256, 84),
    foreign(11, "q3_k", 256, 110),
    blocks(12, BlockFormat::Q4K),
    blocks(13, BlockFormat::Q5K),
    blocks(14, BlockFormat::Q6K),
    foreign(15, "q8_k", 256, 292),
    foreign(16, "iq2_xxs", 256, 66),
    foreign(17, "iq2_xs", 256, 74),
    foreign(18, "iq3_xxs", 256, 98),
    foreign(19, "iq1_s", 256, 50),
    foreign(20, "iq4_nl", 32, 18),
    foreign(21, "iq3_s", 256, 110),
    foreign(22, "iq2_s", 256, 82),
    foreign(23, "iq4_xs", 256, 136),
    plain(24, DType::I8),
    plain(25, DType::I16),
    plain(26, DType::I32),
    plain(27, DType::I64),
    plain(28, DType::F64),
    foreign(29, "iq1_m", 256, 56),
    plain(30, DType::BF16),
    foreign(39, "mxfp4", 32, 17),
    foreign(40, "nvfp4", 64, 36),
];

impl Kind {
    fn of_id(id: u32) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.id == id)
    }

    fn of(dtype: DType) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.dtype == Some(dtype))
    }
}
