//! Quantised weights as a tensor: blocks along the last axis, their bytes shared.
//!
//! The bytes are those of a file, read in place, or *packed*: blocks of 16 rows interleaved, as products read them. Both are
//! the same weights, and every operation takes either; a product with bytes that are not packed packs them as it goes, each
//! time.
//!
//! Blocks run along the inputs of a layer, whose weight has the shape `[inputs, outputs]`, so a tensor of `[outputs, inputs]`, as
//! files have it, is used [transposed](QuantizedTensor::t). That is a mark, and no bytes move.

use std::borrow::Cow;
use std::fmt;

use crate::cpu::quantized::{self, Matrix};
use crate::cpu::shared_bytes::SharedBytes;
use crate::{BlockFormat, Error, Result, Shape};

/// Weights of a few bits: a matrix of blocks along the last axis, or its transpose.
///
/// ```
/// use cairn_tensor::{BlockFormat, QuantizedTensor, Tensor, rng};
/// let w = Tensor::normal([10, 64], 0.0, 1.0, &mut rng(0))?;
/// let q = QuantizedTensor::quantize(&w, BlockFormat::Q8_0)?.packed()?;
/// assert_eq!((q.shape(), q.byte_count()), (&[10, 64][..], 10 * 2 * 34));
/// let x = Tensor::<f32>::normal([3, 64], 0.0, 1.0, &mut rng(1))?;
/// let (y, exact) = (x.linear_quantized(&q.t()?, None, false)?, x.matmul(&w.t()?)?);
/// assert!(y.sub(&exact)?.norm(..)?.item()? < 0.02 * exact.norm(..)?.item()?);
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
///
/// Two are equal when format, shape and blocks are, packed or not.
#[derive(Clone)]
pub struct QuantizedTensor {
    format: BlockFormat,
    /// As seen: of a transposed one, blocks run along the first axis.
    shape: Shape,
    transposed: bool,
    packed: bool,
    bytes: SharedBytes,
}

impl QuantizedTensor {
    /// Weights from the bytes of their blocks, in row-major order.
    ///
    /// # Errors
    /// [`Error::BadShape`] for a shape whose last axis is not one or more whole blocks; [`Error::BadBytes`] for more or fewer bytes
    /// than the shape has.
    pub fn from_bytes(format: BlockFormat, shape: impl Into<Shape>, bytes: SharedBytes) -> Result<Self> {
        let op = "from_bytes";
        let shape = shape.into();
        check_shape(op, format, &shape)?;
        if format.bytes_of(shape.count()) != Some(bytes.len()) {
            let (dtype, why, len) = (format.into(), "the length is another", bytes.len());
            return Err(Error::BadBytes { op, dtype, shape, len, why });
        }
        Ok(QuantizedTensor { format, shape, transposed: false, packed: false, bytes })
    }

    /// All weights 0.
    ///
    /// # Errors
    /// [`Error::BadShape`] for a shape whose last axis is not one or more whole blocks; [`Error::OutOfMemory`].
    pub fn zeros(format: BlockFormat, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        check_shape("zeros", format, &shape)?;
        let elements = shape.count();
        let missing = || Error::OutOfMemory { op: "zeros", elements, dtype: format.into() };
        let mut memory = quantized::memory(format.bytes_of(elements).ok_or_else(missing)?)?;
        memory.fill(0);
        Self::from_bytes(format, shape, SharedBytes::from_buffer(memory))
    }

    /// The format of the blocks.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// The sizes along each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The sizes as a [`Shape`].
    pub fn dims(&self) -> &Shape {
        &self.shape
    }

    /// The bytes of the blocks.
    #[doc(alias = "nbytes")]
    pub fn byte_count(&self) -> usize {
        self.format.bytes_of(self.shape.count()).unwrap_or(usize::MAX)
    }

    /// Whether the blocks run along the first axis of the two, as [`t`](Self::t) makes it.
    pub fn is_transposed(&self) -> bool {
        self.transposed
    }

    /// Whether the bytes are laid out for products: see [`packed`](Self::packed).
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Whether both hold the same bytes in memory.
    pub fn shares_storage(&self, other: &Self) -> bool {
        std::ptr::eq(self.bytes.as_ptr(), other.bytes.as_ptr()) && self.bytes.len() == other.bytes.len()
    }

    /// The transpose of a matrix: the same bytes.
    ///
    /// # Errors
    /// [`Error::BadShape`] for anything but a matrix.
    #[doc(alias("transpose", "T"))]
    pub fn t(&self) -> Result<Self> {
        let &[rows, columns] = self.shape() else {
            return Err(Error::bad_shape("t", self.shape(), "a matrix is needed"));
        };
        Ok(QuantizedTensor { shape: [columns, rows].into(), transposed: !self.transposed, ..self.clone() })
    }

    /// The same weights laid out for products, where the rows of 16 results at a time are read together; itself if they are
    /// already. The memory is new, and that of the file is no longer held on to.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    #[doc(alias("repack", "prepack"))]
    pub fn packed(&self) -> Result<Self> {
        if self.packed {
            return Ok(self.clone());
        }
        let matrix = self.matrix();
        let bytes = SharedBytes::filled(matrix.packed_bytes(), |memory| matrix.pack(memory))?;
        Ok(QuantizedTensor { packed: true, bytes, ..self.clone() })
    }

    /// Several [packed](Self::packed) one after the other into memory that they share, as is best for those of a whole model: it
    /// is taken once, in large pages, and of a file that is mapped no more than one tensor is in memory twice.
    ///
    /// ```
    /// use cairn_tensor::{BlockFormat, QuantizedTensor, Tensor, rng};
    /// let w = Tensor::normal([20, 64], 0.0, 1.0, &mut rng(0))?;
    /// let all = BlockFormat::ALL[..2].iter().map(|&format| QuantizedTensor::quantize(&w, format)).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(QuantizedTensor::packed_together(&all)?, all);
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn packed_together(all: &[Self]) -> Result<Vec<Self>> {
        // Each begins where a register does.
        let size = |q: &Self| if q.packed { 0 } else { q.matrix().packed_bytes().next_multiple_of(64) };
        let memory = SharedBytes::filled(all.iter().map(size).sum(), |mut memory| {
            for q in all.iter().filter(|q| !q.packed) {
                let matrix = q.matrix();
                let (own, rest) = memory.split_at_mut(size(q));
                matrix.pack(&mut own[..matrix.packed_bytes()]);
                q.bytes.release();
                memory = rest;
            }
        })?;
        let mut at = 0;
        let packed = all.iter().map(|q| {
            let start = at;
            at += size(q);
            let part = if q.packed { None } else { memory.part(start..start + q.matrix().packed_bytes()) };
            part.map_or_else(|| q.clone(), |bytes| QuantizedTensor { packed: true, bytes, ..q.clone() })
        });
        Ok(packed.collect())
    }

    /// The bytes of the blocks in row-major order, of a transposed one those of its transpose; without a copy unless they are packed.
    ///
    /// ```
    /// use cairn_tensor::{BlockFormat, QuantizedTensor, Tensor, rng};
    /// let w = Tensor::normal([20, 256], 0.0, 1.0, &mut rng(0))?;
    /// let q = QuantizedTensor::quantize(&w, BlockFormat::Q6K)?;
    /// assert_eq!(q.to_bytes(), q.packed()?.to_bytes());
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        if !self.packed {
            return Cow::Borrowed(&self.bytes);
        }
        let mut bytes = vec![0; self.byte_count()];
        self.matrix().unpack(&mut bytes);
        Cow::Owned(bytes)
    }

    /// The instructions that products with quantised weights are computed with on this machine: `"amx-int8"` (for 16 rows and more,
    /// else as the next), `"avx512-vnni"`, `"avx-vnni"`, `"avx2"`, `"neon"` or `"portable"`. Results are the same with all of them. `CAIRN_ISA` chooses a lower one, as for
    /// [`instruction_set`](crate::instruction_set).
    pub fn kernel() -> &'static str {
        quantized::Engine::best().name()
    }

    /// The blocks as a matrix, whatever the number of axes.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        let columns = if self.transposed { self.shape[0] } else { self.shape[self.shape.rank() - 1] };
        Matrix {
            format: self.format,
            rows: self.shape.count() / columns,
            blocks: columns / self.format.weights(),
            packed: self.packed,
            bytes: &self.bytes,
        }
    }
}

/// That a shape's last axis is of whole blocks, at least one.
pub(crate) fn check_shape(op: &'static str, format: BlockFormat, shape: &[usize]) -> Result<()> {
    let whole = shape.last().is_some_and(|&columns| columns > 0 && columns.is_multiple_of(format.weights()));
    let why = match format.weights() {
        32 => "the last axis must be one or more blocks of 32",
        _ => "the last axis must be one or more blocks of 256",
    };
    if whole { Ok(()) } else { Err(Error::bad_shape(op, shape, why)) }
}

impl PartialEq for QuantizedTensor {
    fn eq(&self, other: &Self) -> bool {
        let same =
            self.format == other.format && self.shape == other.shape && self.transposed == other.transposed;
        same && (self.shares_storage(other) || self.to_bytes() == other.to_bytes())
    }
}

impl fmt::Debug for QuantizedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The format and the shape; the weights are those of [`dequantize`](Self::dequantize).
impl fmt::Display for QuantizedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuantizedTensor({}, {:?}", self.format, self.shape)?;
        f.write_str(if self.transposed { ", transposed)" } else { ")" })
    }
}
