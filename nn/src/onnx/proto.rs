//! As much of protocol buffers as an ONNX file needs, written by hand: the messages of `onnx.proto` (IR version 8) that a
//! graph of tensors is made of, by their field numbers there. Writing is a few lines; a generator would bring a compiler.

use std::borrow::Cow;

use cairn_tensor::Tensor;

/// A message being written.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A whole number; negative ones take ten bytes, as the format has it.
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A text, bytes, or a message within this one.
    pub(super) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A repeated field of texts, bytes or messages.
    pub(super) fn all<B: AsRef<[u8]>>(self, field: u64, values: impl IntoIterator<Item = B>) -> Self {
        values.into_iter().fold(self, |message, value| message.bytes(field, value))
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A setting of a node.
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(Cow<'static, str>),
    Texts(Vec<&'static str>),
}

impl Attribute {
    pub(super) fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Attribute::Text(text.into())
    }
}

/// `AttributeProto`: name 1, then a value in the field of its type, and the type, 20.
fn attribute(name: &str, value: &Attribute) -> Message {
    let message = Message::default().bytes(1, name);
    match value {
        Attribute::Float(value) => message.float(2, *value).int(20, 1),
        Attribute::Int(value) => message.int(3, *value).int(20, 2),
        Attribute::Text(value) => message.bytes(4, value.as_bytes()).int(20, 3),
        Attribute::Ints(values) => {
            values.iter().fold(message, |message, &value| message.int(8, value)).int(20, 7)
        }
        Attribute::Texts(values) => message.all(9, values).int(20, 8),
    }
}

/// `NodeProto`: inputs 1, outputs 2, name 3, operator 4, attributes 5.
pub(super) fn node(
    operator: &str,
    name: &str,
    inputs: &[String],
    outputs: &[&str],
    attributes: &[(&str, Attribute)],
) -> Message {
    Message::default()
        .all(1, inputs)
        .all(2, outputs)
        .bytes(3, name)
        .bytes(4, operator)
        .all(5, attributes.iter().map(|(name, value)| attribute(name, value)))
}

/// Element types.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT32: i64 = 6;
pub(super) const INT64: i64 = 7;
const BOOL: i64 = 9;

/// `TensorProto`: sizes 1, element type 2, name 8, elements 9 (little-endian, in order).
fn tensor(name: &str, shape: &[usize], kind: i64, elements: &[u8]) -> Message {
    let sizes = shape.iter().fold(Message::default(), |message, &size| message.int(1, size as i64));
    sizes.int(2, kind).bytes(8, name).bytes(9, elements)
}

pub(super) fn floats(name: &str, values: &Tensor) -> Message {
    let elements: Vec<u8> = values.iter().flat_map(|x: f32| x.to_le_bytes()).collect();
    tensor(name, values.shape(), FLOAT, &elements)
}

pub(super) fn integers(name: &str, values: &[i64]) -> Message {
    let elements: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    tensor(name, &[values.len()], INT64, &elements)
}

pub(super) fn booleans(name: &str, values: &Tensor<bool>) -> Message {
    let elements: Vec<u8> = values.iter().map(u8::from).collect();
    tensor(name, values.shape(), BOOL, &elements)
}

/// A size of an input or output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Axis {
    Size(usize),
    /// Left open, under a name: equal names are equal sizes.
    Named(&'static str),
    /// Left open.
    Any,
}

/// `ValueInfoProto`: name 1, type 2; the type is a tensor's (1) with element type 1 and shape 2, whose axes (1) have a size
/// (1), a name (2), or neither.
pub(super) fn value(name: &str, element: i64, axes: &[Axis]) -> Message {
    let axis = |axis: &Axis| match *axis {
        Axis::Size(size) => Message::default().int(1, size as i64),
        Axis::Named(name) => Message::default().bytes(2, name),
        Axis::Any => Message::default(),
    };
    let shape = Message::default().all(1, axes.iter().map(axis));
    let kind = Message::default().int(1, element).bytes(2, shape);
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, kind))
}
