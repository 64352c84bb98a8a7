//! A tensor whose element type is known at run time: what a model's state and a file hold.
//!
//! One list names the types, and every match over them is a macro made from it, so that a new type is one line here (and
//! its line in `dtype.rs` and `element.rs`). Quantised weights, whose elements have no Rust type of their own, are one more
//! variant. The enum is open, and code outside asks for a type ([`AnyTensor::downcast_ref`]), converts ([`AnyTensor::cast`])
//! or takes bytes rather than listing the variants.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use crate::cpu::bytes;
use crate::{DType, Element, Error, QuantizedTensor, Result, Shape, Tensor, bf16, f16, npy};

macro_rules! any_tensor {
    ($($variant:ident($t:ty)),*) => {
        /// A [`Tensor`] of any element type.
        ///
        /// For what is stored rather than computed: parameters and buffers of a model, tensors in a file, in the type that they
        /// have there. Cloning shares the storage. Arithmetic needs a type: [`downcast_ref`](Self::downcast_ref) asks for one,
        /// [`cast`](Self::cast) converts, quantised weights too, in both directions.
        ///
        /// ```
        /// use cairn_tensor::{AnyTensor, DType, Tensor};
        /// let weights = AnyTensor::from(Tensor::from_vec(vec![1.0f32, -2.5], [2])?);
        /// let half = weights.cast(DType::BF16)?;
        /// assert_eq!((half.dtype(), half.shape(), half.byte_count()), (DType::BF16, &[2][..], 4));
        /// assert_eq!(half.as_f32().unwrap_err().to_string(), "downcast: the elements are bf16, not f32");
        /// assert_eq!(half.cast(DType::F32)?.as_f32()?.to_vec(), [1.0, -2.5]);
        /// # Ok::<(), cairn_tensor::Error>(())
        /// ```
        ///
        /// Serialised as the name of the type, the shape and the elements' bytes, so that every bit pattern is kept in every format.
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        pub enum AnyTensor {
            $(#[doc = concat!("Of `", stringify!($t), "`.")] $variant(Tensor<$t>),)*
            /// Quantised weights.
            Quantized(QuantizedTensor),
        }

        /// An expression of the tensor, whatever its type; another one, if it is given, of a quantised one.
        macro_rules! with_tensor {
            ($any:expr, $x:ident => $value:expr) => {
                with_tensor!($any, $x => $value, $x => $value)
            };
            ($any:expr, $x:ident => $value:expr, $q:ident => $quantized:expr) => {
                match $any {
                    $(AnyTensor::$variant($x) => $value,)*
                    AnyTensor::Quantized($q) => $quantized,
                }
            };
        }

        /// An expression of the Rust type that a [`DType`] names, and one of the format of a quantised one.
        macro_rules! with_type {
            ($dtype:expr, $T:ident => $value:expr, $format:pat => $quantized:expr) => {
                match $dtype {
                    $(DType::$variant => {
                        type $T = $t;
                        $value
                    })*
                    DType::Quantized($format) => $quantized,
                }
            };
        }
    };
}
any_tensor! {
    F32(f32), F64(f64), BF16(bf16), F16(f16), I8(i8), I16(i16), I32(i32), I64(i64), U8(u8), U32(u32), Bool(bool)
}

impl AnyTensor {
    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        fn of<T: Element>(_: &Tensor<T>) -> DType {
            T::DTYPE
        }
        with_tensor!(self, x => of(x), q => q.format().into())
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> &[usize] {
        with_tensor!(self, x => x.shape())
    }

    /// The sizes as a [`Shape`].
    pub fn dims(&self) -> &Shape {
        with_tensor!(self, x => x.dims())
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// The number of elements.
    #[doc(alias = "numel")]
    pub fn len(&self) -> usize {
        self.dims().count()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all elements together.
    #[doc(alias = "nbytes")]
    pub fn byte_count(&self) -> usize {
        self.dtype().bytes_of(self.len()).unwrap_or(usize::MAX)
    }

    /// All elements 0 (`false` for truth values).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a shape that memory cannot hold; [`Error::BadShape`] for quantised ones whose last axis is no
    /// whole blocks.
    pub fn zeros(dtype: DType, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        with_type!(dtype, T => Tensor::<T>::zeros(shape).map(Self::from), format => QuantizedTensor::zeros(format, shape).map(Self::from))
    }

    /// The tensor of type `T` that this is, without a copy.
    ///
    /// # Errors
    /// [`Error::WrongDType`], with both types, when the elements are of another.
    pub fn downcast_ref<T: Element>(&self) -> Result<&Tensor<T>> {
        let found = with_tensor!(self, x => (x as &dyn Any).downcast_ref(), _q => None);
        found.ok_or_else(|| Error::WrongDType { op: "downcast", expected: T::DTYPE, found: self.dtype() })
    }

    /// The quantised weights that this is; `None` for elements of a type of their own.
    pub fn as_quantized(&self) -> Option<&QuantizedTensor> {
        match self {
            AnyTensor::Quantized(q) => Some(q),
            _ => None,
        }
    }

    /// As [`downcast_ref`](Self::downcast_ref), for writing.
    ///
    /// # Errors
    /// [`Error::WrongDType`], with both types, when the elements are of another.
    pub fn downcast_mut<T: Element>(&mut self) -> Result<&mut Tensor<T>> {
        let found = self.dtype();
        let tensor = with_tensor!(self, x => (x as &mut dyn Any).downcast_mut(), _q => None);
        tensor.ok_or(Error::WrongDType { op: "downcast", expected: T::DTYPE, found })
    }

    /// The tensor of `f32` that this is: [`downcast_ref::<f32>`](Self::downcast_ref).
    ///
    /// # Errors
    /// [`Error::WrongDType`] when the elements are of another type.
    pub fn as_f32(&self) -> Result<&Tensor<f32>> {
        self.downcast_ref()
    }

    /// The elements converted to another type, as [`Tensor::cast`] converts them; of the same type, the tensor itself. Quantised
    /// ones are [dequantised](QuantizedTensor::dequantize), and [made](QuantizedTensor::quantize) of the elements as `f32`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] for a value that an integer type does not hold; [`Error::BadShape`] for quantised ones whose last axis
    /// is no whole blocks; [`Error::OutOfMemory`] when memory cannot hold the result.
    #[doc(alias("to", "astype", "type_as", "quantize", "dequantize"))]
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        match (self, dtype) {
            _ if self.dtype() == dtype => Ok(self.clone()),
            (AnyTensor::Quantized(q), _) => Self::from(q.dequantize()?).cast(dtype),
            (AnyTensor::F32(x), DType::Quantized(format)) => {
                QuantizedTensor::quantize(x, format).map(Self::from)
            }
            (_, DType::Quantized(_)) => self.cast(DType::F32)?.cast(dtype),
            // What weights are stored as, and computed in: by the kernels.
            (AnyTensor::BF16(x), DType::F32) => Ok(x.cast::<f32>()?.into()),
            (AnyTensor::F16(x), DType::F32) => Ok(x.cast::<f32>()?.into()),
            (AnyTensor::F64(x), DType::F32) => Ok(x.cast::<f32>()?.into()),
            (AnyTensor::F32(x), DType::BF16) => Ok(x.cast::<bf16>()?.into()),
            (AnyTensor::F32(x), DType::F16) => Ok(x.cast::<f16>()?.into()),
            (AnyTensor::F32(x), DType::F64) => Ok(x.cast::<f64>()?.into()),
            _ => {
                with_type!(dtype, T => self.cast_by_parts::<T>().map(Self::from), _ => self.cast(DType::F32)?.cast(dtype))
            }
        }
    }

    /// As [`Tensor::cast`], by way of [`Wide`]: a function for each type on either side, and not for each pair of types.
    fn cast_by_parts<T: Element>(&self) -> Result<Tensor<T>> {
        const PART: usize = 1 << 12;
        let x = self.contiguous()?;
        Tensor::try_build(self.dims(), |out| {
            for (i, out) in out.chunks_mut(PART).enumerate() {
                let (start, end) = (i * PART, i * PART + out.len());
                let wide = with_tensor!(&x, x => Wide::of(&x.row_major()?[start..end]), q => {
                    Wide::of(&q.dequantize()?.row_major()?[start..end])
                });
                match wide {
                    Wide::Whole(x) => fill(out, &x, T::from_i64, T::holds_i64)?,
                    Wide::Float(x) => fill(out, &x, T::from_f64, T::holds_f64)?,
                }
            }
            Ok(())
        })
    }

    /// The transpose of a matrix, a view.
    ///
    /// # Errors
    /// [`Error::BadShape`] for anything but a matrix.
    #[doc(alias("transpose", "T"))]
    pub fn t(&self) -> Result<Self> {
        with_tensor!(self, x => x.t().map(Self::from), q => q.t().map(Self::from))
    }

    /// Some rows of a matrix, as floats of single precision: `[ids, columns]`.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`] for a row that it has not; [`Error::BadShape`] for quantised weights that are no matrix of
    /// rows of blocks.
    #[doc(alias("index_select", "embedding"))]
    pub fn rows(&self, ids: &[u32]) -> Result<Tensor<f32>> {
        fn of<T: Element>(x: &Tensor<T>, ids: &[u32]) -> Result<AnyTensor> {
            x.index_select(0, ids).map(AnyTensor::from)
        }
        let rows = with_tensor!(self, x => of(x, ids)?, q => q.rows(ids)?.into());
        rows.cast(DType::F32)?.try_into()
    }

    /// The same elements in row-major order: this tensor itself if they are stored so, else a copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when a copy is needed and memory cannot hold it.
    pub fn contiguous(&self) -> Result<Self> {
        with_tensor!(self, x => x.contiguous().map(Self::from), q => Ok(q.clone().into()))
    }

    /// The elements in row-major order as bytes, the least significant first; without a copy where memory holds them so. Of quantised
    /// ones, [the blocks](QuantizedTensor::to_bytes).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when a copy is needed and memory cannot hold it.
    #[doc(alias = "tobytes")]
    pub fn to_le_bytes(&self) -> Result<Cow<'_, [u8]>> {
        with_tensor!(self, x => match x.as_slice() {
            Some(slice) => Ok(bytes::little_endian(slice)),
            None => x.contiguous().map(|x| Cow::Owned(bytes::little_endian(x.row_major_storage()).into_owned())),
        }, q => Ok(q.to_bytes()))
    }

    /// A tensor from what [`to_le_bytes`](Self::to_le_bytes) gives.
    ///
    /// # Errors
    /// [`Error::BadBytes`] when there are more or fewer bytes than the shape has, or one that is no truth value;
    /// [`Error::OutOfMemory`] when memory cannot hold the tensor.
    #[doc(alias = "frombuffer")]
    pub fn from_le_bytes(dtype: DType, shape: impl Into<Shape>, bytes: &[u8]) -> Result<Self> {
        let op = "from_le_bytes";
        let shape = shape.into();
        let bad =
            |shape: &Shape, why| Error::BadBytes { op, dtype, shape: shape.clone(), len: bytes.len(), why };
        if dtype.bytes_of(shape.count()) != Some(bytes.len()) {
            return Err(bad(&shape, "the length is another"));
        }
        with_type!(dtype, T => {
            let tensor = Tensor::<T>::try_build(&shape, |out| {
                bytes::from_little_endian(bytes, out).ok_or_else(|| bad(&shape, "a truth value is 0 or 1"))
            });
            tensor.map(Self::from)
        }, format => Ok(QuantizedTensor::from_bytes(format, shape, bytes.to_vec().into())?.into()))
    }

    /// Whether both have the same type, shape and bits. Unlike `==`, NaN is the same as itself, and 0 is not -0.
    pub fn bits_eq(&self, other: &Self) -> bool {
        let same = || Ok::<_, Error>(self.to_le_bytes()? == other.to_le_bytes()?);
        match (self, other) {
            (AnyTensor::Quantized(x), AnyTensor::Quantized(y)) => x == y,
            _ => self.dtype() == other.dtype() && self.shape() == other.shape() && same().unwrap_or(false),
        }
    }

    /// Reads a `.npy` file, in the type that it has there.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, is no such file, is cut short, or has elements of no type here.
    pub fn read_npy(path: impl AsRef<Path>) -> Result<Self> {
        npy::read_any(path.as_ref())
    }

    /// Writes a `.npy` file.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be written, or NumPy has no such element type, as for `bf16`.
    pub fn write_npy(&self, path: impl AsRef<Path>) -> Result<()> {
        with_tensor!(self, x => x.write_npy(path), q => q.dequantize()?.write_npy(path))
    }

    /// Adds the tensor to an archive under a name.
    #[cfg(feature = "npz")]
    pub(crate) fn add_to(&self, archive: &mut npy::NpzWriter, name: &str) -> Result<()> {
        with_tensor!(self, x => archive.add(name, x), q => archive.add(name, &q.dequantize()?))
    }

    /// The tensor that `read` makes for a type that Rust has.
    pub(crate) fn try_of<E>(dtype: DType, read: impl ReadTyped<E>) -> Option<Result<Self, E>> {
        with_type!(dtype, T => Some(read.read::<T>().map(Self::from)), _ => None)
    }
}

/// A type's name in the header of a `.npy` file, without the byte order; `None` where NumPy has no such type.
pub(crate) fn npy_name(dtype: DType) -> Option<&'static str> {
    with_type!(dtype, T => T::NPY, _ => None)
}

/// A function of a type that makes a tensor of it.
pub(crate) trait ReadTyped<E> {
    fn read<T: Element>(self) -> Result<Tensor<T>, E>;
}

/// Converts some elements, each of which `T` must hold.
fn fill<W: Copy + std::fmt::Display, T: Element>(
    out: &mut [T],
    x: &[W],
    convert: impl Fn(W) -> T,
    holds: impl Fn(W) -> bool,
) -> Result<()> {
    if let Some(x) = x.iter().find(|x| !holds(**x)) {
        return Err(Error::DoesNotFit { op: "cast", value: x.to_string(), dtype: T::DTYPE });
    }
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = convert(x));
    Ok(())
}

/// Elements of any type in one that holds all of them: integers as `i64`, floats as `f64`.
enum Wide {
    Whole(Vec<i64>),
    Float(Vec<f64>),
}

impl Wide {
    fn of<T: Element>(x: &[T]) -> Self {
        if T::default().whole().is_some() {
            Wide::Whole(x.iter().map(|x| x.whole().unwrap_or_default()).collect())
        } else {
            Wide::Float(x.iter().map(|x| x.to_f64()).collect())
        }
    }
}

impl<T: Element> From<Tensor<T>> for AnyTensor {
    fn from(tensor: Tensor<T>) -> Self {
        T::into_any(tensor)
    }
}

impl From<QuantizedTensor> for AnyTensor {
    fn from(q: QuantizedTensor) -> Self {
        AnyTensor::Quantized(q)
    }
}

impl<T: Element> TryFrom<AnyTensor> for Tensor<T> {
    type Error = Error;
    /// [`Error::WrongDType`] when the elements are of another type.
    fn try_from(any: AnyTensor) -> Result<Self> {
        // A view of the same storage: `any`, dropped on return, leaves it to this one alone.
        any.downcast_ref().cloned()
    }
}

impl<'a, T: Element> TryFrom<&'a AnyTensor> for &'a Tensor<T> {
    type Error = Error;
    fn try_from(any: &'a AnyTensor) -> Result<Self> {
        any.downcast_ref()
    }
}

impl fmt::Debug for AnyTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_tensor!(self, x => fmt::Debug::fmt(x, f))
    }
}

impl fmt::Display for AnyTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_tensor!(self, x => fmt::Display::fmt(x, f))
    }
}
