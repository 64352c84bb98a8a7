//! Writing a GGUF file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use cairn_tensor::{AnyTensor, DType};

use super::super::bad;
use super::value::{Array, Type, Value, numbers};
use super::{ALIGNMENT, ALIGNMENT_KEY, Kind};
use crate::{Error, Result};

/// The longest name that ggml has room for.
const MOST_NAME: usize = 63;

/// Writes a file of values and tensors, version 3, in one step: an old file is replaced only once the new one is safe.
///
/// `general.architecture` says which model it is; llama.cpp reads no file without it.
///
/// # Errors
/// [`Error::File`] when it cannot be written; [`Error::BadFile`] for what the format has not: tensors of `u8`, `u32` and `bool`, of more
/// than four axes or no elements, transposed quantised ones, names of more than 63 bytes.
pub fn write(
    path: impl AsRef<Path>,
    values: &BTreeMap<String, Value>,
    tensors: &BTreeMap<String, AnyTensor>,
) -> Result<()> {
    let path = path.as_ref();
    let header = header(values, tensors).map_err(bad(path))?;
    let mut file = cairn_files::AtomicFile::create(path)?;
    let written = into(&mut file, &header, tensors);
    written.map_err(|error| Error::File { path: path.to_owned(), error })?;
    Ok(file.commit()?)
}

/// The bytes of a file of values and tensors.
///
/// # Errors
/// What the format has not: see [`write()`].
pub fn encode(
    values: &BTreeMap<String, Value>,
    tensors: &BTreeMap<String, AnyTensor>,
) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    into(&mut bytes, &header(values, tensors)?, tensors).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn into(out: &mut impl Write, header: &[u8], tensors: &BTreeMap<String, AnyTensor>) -> std::io::Result<()> {
    out.write_all(header)?;
    for tensor in tensors.values() {
        let bytes = tensor.to_le_bytes().map_err(std::io::Error::other)?;
        out.write_all(&bytes)?;
        out.write_all(&vec![0; padding(bytes.len())])?;
    }
    Ok(())
}

/// The bytes up to where the next tensor may begin.
fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT as usize) - length
}

fn header(
    values: &BTreeMap<String, Value>,
    tensors: &BTreeMap<String, AnyTensor>,
) -> std::result::Result<Vec<u8>, String> {
    // Tensors are aligned as files are that do not state it.
    let values: Vec<_> = values.iter().filter(|(key, _)| *key != ALIGNMENT_KEY).collect();
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    for (key, value) in values {
        put_text(&mut out, key);
        put_value(&mut out, value);
    }
    let mut offset = 0u64;
    for (name, tensor) in tensors {
        let bytes =
            put_tensor(&mut out, name, tensor, offset).map_err(|why| format!("tensor `{name}`: {why}"))?;
        offset += (bytes + padding(bytes)) as u64;
    }
    let missing = padding(out.len());
    out.resize(out.len() + missing, 0);
    Ok(out)
}

/// The entry of a tensor; returns the number of its bytes.
fn put_tensor(
    out: &mut Vec<u8>,
    name: &str,
    tensor: &AnyTensor,
    offset: u64,
) -> std::result::Result<usize, String> {
    let dtype: DType = tensor.dtype();
    let kind = Kind::of(dtype).ok_or_else(|| format!("the format has no elements of {dtype}"))?;
    let why = match tensor {
        _ if name.len() > MOST_NAME => Some("a name has at most 63 bytes"),
        _ if tensor.rank() > 4 => Some("there are at most four axes"),
        _ if tensor.is_empty() => Some("there are no elements"),
        AnyTensor::Quantized(q) if q.is_transposed() => {
            Some("its blocks run along the first axis: transpose it back")
        }
        _ => None,
    };
    if let Some(why) = why {
        return Err(why.into());
    }
    put_text(out, name);
    out.extend((tensor.rank() as u32).to_le_bytes());
    tensor.shape().iter().rev().for_each(|&size| out.extend((size as u64).to_le_bytes()));
    out.extend(kind.id.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(tensor.byte_count())
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_kind(out: &mut Vec<u8>, kind: Type) {
    out.extend((kind as u32).to_le_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    macro_rules! put {
        ($($variant:ident $t:ty),*) => {
            match value {
                $(Value::$variant(x) => {
                    put_kind(out, Type::$variant);
                    out.extend(x.to_le_bytes());
                })*
                Value::Bool(x) => {
                    put_kind(out, Type::Bool);
                    out.push(u8::from(*x));
                }
                Value::Text(text) => {
                    put_kind(out, Type::Text);
                    put_text(out, text);
                }
                Value::Array(list) => {
                    put_kind(out, Type::Array);
                    put_list(out, list);
                }
            }
        };
    }
    numbers!(put);
}

fn put_list(out: &mut Vec<u8>, list: &Array) {
    let start = |out: &mut Vec<u8>, kind: Type, count: usize| {
        put_kind(out, kind);
        out.extend((count as u64).to_le_bytes());
    };
    macro_rules! put {
        ($($variant:ident $t:ty),*) => {
            match list {
                $(Array::$variant(list) => {
                    start(out, Type::$variant, list.len());
                    list.iter().for_each(|x| out.extend(x.to_le_bytes()));
                })*
                Array::Bool(list) => {
                    start(out, Type::Bool, list.len());
                    out.extend(list.iter().map(|&x| u8::from(x)));
                }
                Array::Text(list) => {
                    start(out, Type::Text, list.len());
                    list.iter().for_each(|text| put_text(out, text));
                }
                Array::Array(list) => {
                    start(out, Type::Array, list.len());
                    list.iter().for_each(|list| put_list(out, list));
                }
            }
        };
    }
    numbers!(put);
}
