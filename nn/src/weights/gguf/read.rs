//! The header of a GGUF file, read from bytes that anybody may have made.

use std::collections::BTreeMap;

use cairn_tensor::{Shape, SharedBytes};

use super::value::{Array, Type, Value, numbers};
use super::{ALIGNMENT, ALIGNMENT_KEY, Kind, TensorInfo, Texts};

/// As many axes as ggml's tensors have at most.
const MOST_AXES: u32 = 4;
/// How deep lists may lie in lists.
const MOST_NESTED: u32 = 4;
/// No file has a larger alignment.
const MOST_ALIGNED: u64 = 1 << 20;

/// What comes before the tensors' bytes.
pub(super) struct Header {
    pub(super) values: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    /// Where the tensors' bytes begin.
    pub(super) data_start: usize,
}

/// Reads the header, and checks that the tensors lie within the file and apart.
pub(super) fn header(file: &SharedBytes) -> Result<Header, String> {
    let bytes: &[u8] = file;
    let mut input = Cursor { file, bytes, at: 0 };
    if input.take(4) != Ok(b"GGUF") {
        return Err("it does not begin with `GGUF`".into());
    }
    match input.u32()? {
        2 | 3 => {}
        0x0200_0000 | 0x0300_0000 => return Err("its numbers have the most significant byte first".into()),
        version => return Err(format!("it is of version {version}; versions 2 and 3 are read")),
    }
    let (tensor_count, value_count) = (input.u64()?, input.u64()?);
    // A tensor takes a length, the number of axes, a type and an offset at least; a value a length, a type and a byte.
    let (tensor_count, value_count) =
        (input.count(tensor_count, 24, "tensors")?, input.count(value_count, 13, "values")?);
    let mut values = BTreeMap::new();
    for _ in 0..value_count {
        let start = input.at;
        let key = input.text()?;
        let value = input.value().map_err(|why| format!("the value of `{key}`: {why}"))?;
        if values.insert(key.clone(), value).is_some() {
            return Err(format!("at byte {start}: `{key}` is there twice"));
        }
    }
    let alignment = alignment(&values)?;
    let mut tensors = BTreeMap::new();
    for _ in 0..tensor_count {
        let start = input.at;
        let name = input.text()?;
        let info = input.tensor(alignment).map_err(|why| format!("tensor `{name}`: {why}"))?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(format!("at byte {start}: there are two tensors `{name}`"));
        }
    }
    let data_start = input.at.checked_next_multiple_of(alignment as usize);
    // Without tensors nothing has to follow, not even what aligns it.
    let data_start = data_start
        .map_or(bytes.len(), |start| if tensors.is_empty() { start.min(bytes.len()) } else { start });
    let length = bytes.len().checked_sub(data_start).ok_or("it ends before the tensors' bytes begin")?;
    lie_apart(&tensors, length)?;
    Ok(Header { values, tensors, data_start })
}

fn alignment(values: &BTreeMap<String, Value>) -> Result<u64, String> {
    let Some(value) = values.get(ALIGNMENT_KEY) else { return Ok(ALIGNMENT) };
    let fits = |&alignment: &u64| alignment > 0 && alignment <= MOST_ALIGNED && alignment.is_multiple_of(8);
    let must = format!("`{ALIGNMENT_KEY}` must be a multiple of 8, at most {MOST_ALIGNED}");
    value.as_u64().filter(fits).ok_or(must)
}

/// That the tensors end within `length` bytes, and no two share any.
fn lie_apart(tensors: &BTreeMap<String, TensorInfo>, length: usize) -> Result<(), String> {
    let mut in_order: Vec<(&String, &TensorInfo)> = tensors.iter().collect();
    in_order.sort_by_key(|(_, info)| info.offset);
    let (mut end, mut before) = (0, "");
    for (name, info) in in_order {
        if info.offset < end {
            return Err(format!("tensors `{before}` and `{name}` share bytes"));
        }
        (end, before) = (info.offset.saturating_add(info.bytes), name);
        if end > length {
            return Err(format!("tensor `{name}` ends at byte {end} of the tensors' {length}"));
        }
    }
    Ok(())
}

/// Bytes, read from the front.
struct Cursor<'a> {
    file: &'a SharedBytes,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            format!(
                "at byte {}: {count} bytes are needed, the file has {}",
                self.at,
                self.bytes.len() - self.at
            )
        })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things of at least so many bytes each, which the rest of the file must have room for.
    fn count(&self, count: u64, least: usize, what: &str) -> Result<usize, String> {
        let left = self.bytes.len() - self.at;
        let fits = |&count: &usize| count.checked_mul(least).is_some_and(|bytes| bytes <= left);
        let count_here = usize::try_from(count).ok().filter(fits);
        count_here
            .ok_or_else(|| format!("at byte {}: {count} {what} do not fit the {left} bytes left", self.at))
    }

    fn text(&mut self) -> Result<String, String> {
        self.text_in_place().map(str::to_owned)
    }

    fn text_in_place(&mut self) -> Result<&'a str, String> {
        let start = self.at;
        let length = self.u64()?;
        let length = self.count(length, 1, "bytes of text")?;
        let text = std::str::from_utf8(self.take(length)?);
        text.map_err(|error| format!("at byte {start}: a text that is not UTF-8: {error}"))
    }

    /// Texts, which stay where they are.
    fn texts(&mut self, count: usize) -> Result<Texts, String> {
        let start = self.at;
        let end = |_| self.text_in_place().map(|_| self.at - start);
        let ends = (0..count).map(end).collect::<Result<_, _>>()?;
        let bytes = self.file.part(start..self.at).ok_or("texts lie outside the file")?;
        Ok(Texts::checked(bytes, ends))
    }

    fn kind(&mut self) -> Result<Type, String> {
        let (start, id) = (self.at, self.u32()?);
        Type::of_id(id).ok_or_else(|| format!("at byte {start}: there is no type {id}"))
    }

    fn value(&mut self) -> Result<Value, String> {
        let kind = self.kind()?;
        macro_rules! read {
            ($($variant:ident $t:ty),*) => {
                match kind {
                    $(Type::$variant => self.array().map(<$t>::from_le_bytes).map(Value::$variant),)*
                    Type::Bool => self.truth().map(Value::Bool),
                    Type::Text => self.text().map(Value::Text),
                    Type::Array => self.list(0).map(Value::Array),
                }
            };
        }
        numbers!(read)
    }

    fn truth(&mut self) -> Result<bool, String> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("at byte {}: {other} is no truth value", self.at - 1)),
        }
    }

    fn list(&mut self, depth: u32) -> Result<Array, String> {
        let start = self.at;
        if depth >= MOST_NESTED {
            return Err(format!("at byte {start}: lists in lists, more than {MOST_NESTED} deep"));
        }
        let kind = self.kind()?;
        let count = self.u64()?;
        let count = self.count(count, kind.least_bytes(), "values of a list")?;
        macro_rules! read {
            ($($variant:ident $t:ty),*) => {
                match kind {
                    $(Type::$variant => {
                        let bytes = self.take(count * size_of::<$t>())?;
                        let (each, _) = bytes.as_chunks();
                        Array::$variant(each.iter().map(|each| <$t>::from_le_bytes(*each)).collect())
                    })*
                    Type::Bool => Array::Bool((0..count).map(|_| self.truth()).collect::<Result<_, _>>()?),
                    Type::Text => Array::Text(self.texts(count)?),
                    Type::Array => {
                        Array::Array((0..count).map(|_| self.list(depth + 1)).collect::<Result<_, _>>()?)
                    }
                }
            };
        }
        Ok(numbers!(read))
    }

    fn tensor(&mut self, alignment: u64) -> Result<TensorInfo, String> {
        let start = self.at;
        let axes = self.u32()?;
        if axes > MOST_AXES {
            return Err(format!("at byte {start}: {axes} axes, of which there are at most {MOST_AXES}"));
        }
        let mut sizes = Vec::with_capacity(axes as usize);
        for _ in 0..axes {
            let (start, size) = (self.at, self.u64()?);
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            sizes.push(size.ok_or_else(|| format!("at byte {start}: a size of 0, or beyond any memory"))?);
        }
        let (start, id) = (self.at, self.u32()?);
        let kind =
            Kind::of_id(id).ok_or_else(|| format!("at byte {start}: there is no element type {id}"))?;
        let (start, offset) = (self.at, self.u64()?);
        if !offset.is_multiple_of(alignment) {
            return Err(format!("at byte {start}: offset {offset} is no multiple of {alignment}"));
        }
        let (elements, size) = kind.block;
        let row = sizes.first().copied().unwrap_or(1);
        if !row.is_multiple_of(elements) {
            return Err(format!("rows of {row} are no blocks of {elements}, as {} has them", kind.name));
        }
        let count = sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let bytes = count.and_then(|count| (count / elements).checked_mul(size));
        let bytes = bytes.ok_or("more bytes than any memory")?;
        let offset = usize::try_from(offset)
            .map_err(|_| format!("at byte {start}: offset {offset} is beyond any memory"))?;
        sizes.reverse();
        Ok(TensorInfo { shape: Shape::from(sizes.as_slice()), kind, file: 0, offset, bytes })
    }
}
