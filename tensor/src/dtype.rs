//! The names of element types, as values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::BlockFormat;

/// The list of element types: variant, name, size in bytes, documentation.
macro_rules! dtypes {
    ($($variant:ident, $name:literal, $bytes:literal, $doc:literal;)*) => {
        /// The type of a tensor's elements, where it is only known at run time: in error messages, file headers and
        /// [`AnyTensor`](crate::AnyTensor).
        ///
        /// Printed, parsed and serialised by the name that Rust gives the type, quantised ones by that of their
        /// [`BlockFormat`].
        ///
        /// ```
        /// use cairn_tensor::DType;
        /// assert_eq!("bf16".parse(), Ok(DType::BF16));
        /// assert_eq!(DType::BF16.to_string(), "bf16");
        /// assert_eq!(DType::BF16.size_in_bytes(), 2);
        /// assert!("float".parse::<DType>().unwrap_err().to_string().contains("f32"));
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum DType {
            $(#[doc = $doc] $variant,)*
            /// Quantised weights in blocks of this format.
            Quantized(BlockFormat),
        }

        impl DType {
            /// All of them but the quantised ones, which [`BlockFormat::ALL`] lists.
            pub const ALL: &[DType] = &[$(DType::$variant),*];

            /// The name: `f32`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DType::$variant => $name,)*
                    DType::Quantized(format) => format.name(),
                }
            }

            /// The bytes of one element; of quantised ones, those of a block.
            #[doc(alias("itemsize", "element_size"))]
            pub const fn size_in_bytes(self) -> usize {
                match self {
                    $(DType::$variant => $bytes,)*
                    DType::Quantized(format) => format.bytes(),
                }
            }
        }
    };
}
dtypes! {
    F32, "f32", 4, "32-bit IEEE 754 floating point.";
    F64, "f64", 8, "64-bit IEEE 754 floating point.";
    BF16, "bf16", 2, "The upper half of an `f32`, for storage.";
    F16, "f16", 2, "16-bit IEEE 754 floating point, for storage.";
    I8, "i8", 1, "8-bit signed integer, for storage: quantised weights.";
    I16, "i16", 2, "16-bit signed integer, for storage: samples of sound.";
    I32, "i32", 4, "32-bit signed integer, for storage.";
    I64, "i64", 8, "64-bit signed integer.";
    U8, "u8", 1, "8-bit unsigned integer: pixels.";
    U32, "u32", 4, "32-bit unsigned integer: class labels, token ids, indices.";
    Bool, "bool", 1, "Truth value.";
}

impl DType {
    /// The bytes of so many elements. `None` for quantised ones that are no whole blocks, and where the address space has not as many.
    pub const fn bytes_of(self, elements: usize) -> Option<usize> {
        match self {
            DType::Quantized(format) => format.bytes_of(elements),
            other => elements.checked_mul(other.size_in_bytes()),
        }
    }

    /// Whether the type is a floating-point one; quantised ones are not.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no element type has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no element type {name:?}; there are {}", all().map(DType::name).collect::<Vec<_>>().join(", "))]
pub struct UnknownDType {
    /// The name as given.
    pub name: String,
}

/// All types, quantised ones too.
fn all() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().chain(BlockFormat::ALL.map(DType::Quantized))
}

impl From<BlockFormat> for DType {
    fn from(format: BlockFormat) -> Self {
        DType::Quantized(format)
    }
}

impl FromStr for DType {
    type Err = UnknownDType;
    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        // Upper case is usual for quantised ones: `Q4_K`.
        let named = |dtype: &DType| match dtype {
            DType::Quantized(format) => format.name().eq_ignore_ascii_case(name),
            other => other.name() == name,
        };
        all().find(named).ok_or_else(|| UnknownDType { name: name.to_owned() })
    }
}

impl Serialize for DType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
