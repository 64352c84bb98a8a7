//! Serde: a tensor is its shape and its elements in row-major order. A tensor of any type is the name of the type, the
//! shape and the elements' bytes: numbers would lose the bits of a NaN in text formats. A length that does not fit the
//! shape is an error of the format that is read.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AnyTensor, DType, Element, QuantizedTensor, Shape, Tensor};

/// After the name of a type: the blocks of the quantised weights run along the first axis, and shape and bytes are those of the
/// transpose.
const TRANSPOSED: &str = " transposed";

impl<T: Element + Serialize> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("Tensor", 2)?;
        state.serialize_field("shape", self.dims())?;
        match self.as_slice() {
            Some(data) => state.serialize_field("data", data)?,
            None => state.serialize_field("data", &self.to_vec())?,
        }
        state.end()
    }
}

impl<'de, T: Element + Deserialize<'de>> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Tensor")]
        struct Parts<T> {
            shape: Shape,
            data: Vec<T>,
        }
        let Parts { shape, data } = Parts::deserialize(deserializer)?;
        Tensor::from_vec(data, shape).map_err(D::Error::custom)
    }
}

impl Serialize for AnyTensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.to_le_bytes().map_err(S::Error::custom)?;
        let mut state = serializer.serialize_struct("AnyTensor", 3)?;
        match self {
            AnyTensor::Quantized(q) if q.is_transposed() => {
                state.serialize_field("dtype", &format!("{}{TRANSPOSED}", self.dtype()))?;
                let [columns, rows] = [q.shape()[0], q.shape()[1]];
                state.serialize_field("shape", &Shape::from([rows, columns]))?;
            }
            _ => {
                state.serialize_field("dtype", &self.dtype())?;
                state.serialize_field("shape", self.dims())?;
            }
        }
        state.serialize_field("bytes", &Bytes(&bytes))?;
        state.end()
    }
}

impl<'de> Deserialize<'de> for AnyTensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "AnyTensor")]
        struct Parts {
            dtype: String,
            shape: Shape,
            bytes: OwnedBytes,
        }
        let Parts { dtype, shape, bytes } = Parts::deserialize(deserializer)?;
        let (name, transposed) = match dtype.strip_suffix(TRANSPOSED) {
            Some(name) => (name, true),
            None => (dtype.as_str(), false),
        };
        match (name.parse().map_err(D::Error::custom)?, transposed) {
            (DType::Quantized(format), _) => {
                let q = QuantizedTensor::from_bytes(format, shape, bytes.0.into());
                let q = if transposed { q.and_then(|q| q.t()) } else { q };
                q.map(Self::from).map_err(D::Error::custom)
            }
            (dtype, false) => AnyTensor::from_le_bytes(dtype, shape, &bytes.0).map_err(D::Error::custom),
            (dtype, true) => {
                Err(D::Error::custom(format!("tensors of {dtype} are not marked as transposed")))
            }
        }
    }
}

/// Bytes in the format's own form for them, which a slice of `u8` would not get.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// As [`Bytes`], read; formats without a form for bytes write a sequence.
struct OwnedBytes(Vec<u8>);

impl<'de> Deserialize<'de> for OwnedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadBytes;
        impl<'de> Visitor<'de> for ReadBytes {
            type Value = OwnedBytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<OwnedBytes, E> {
                Ok(OwnedBytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<OwnedBytes, E> {
                Ok(OwnedBytes(bytes))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<OwnedBytes, A::Error> {
                // Grown as bytes come: a length that a file states is not believed.
                let mut bytes = Vec::new();
                while let Some(byte) = sequence.next_element()? {
                    bytes.push(byte);
                }
                Ok(OwnedBytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(ReadBytes)
    }
}
