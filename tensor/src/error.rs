//! What can go wrong, in one enum.

use std::fmt::Display;

use crate::{DType, Setting, Shape};

/// The result of a tensor operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a tensor operation could not be done.
///
/// Every variant names the operation and what it was given, so that a message can be read without a debugger. Operators
/// (`+`, `-`, …) panic with the same text.
///
/// ```
/// use cairn_tensor::Tensor;
/// let a = Tensor::<f32>::ones([2, 3])?;
/// let error = a.matmul(&a).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "matmul: shapes [2, 3] and [2, 3] do not match: \
///      the last axis of the left must be as long as the last but one of the right",
/// );
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands whose shapes do not go together.
    #[error("{op}: shapes {lhs:?} and {rhs:?} do not match: {why}")]
    ShapeMismatch {
        /// The operation.
        op: &'static str,
        /// Shape of the left operand.
        lhs: Shape,
        /// Shape of the right operand.
        rhs: Shape,
        /// What the operation asks of the two.
        why: &'static str,
    },
    /// One operand whose shape the operation cannot work with.
    #[error("{op}: cannot be done on shape {shape:?}: {why}")]
    BadShape {
        /// The operation.
        op: &'static str,
        /// Shape of the operand.
        shape: Shape,
        /// What the operation asks of it.
        why: &'static str,
    },
    /// The number of values does not equal the product of the shape.
    #[error("{op}: shape {shape:?} holds {} values, {len} were given", shape.count())]
    WrongLength {
        /// The operation.
        op: &'static str,
        /// The shape asked for.
        shape: Shape,
        /// The number of values given.
        len: usize,
    },
    /// An axis that the tensor does not have.
    #[error("{op}: axis {axis} is out of range for shape {shape:?}")]
    AxisOutOfRange {
        /// The operation.
        op: &'static str,
        /// The axis as given (negative ones count from the end).
        axis: isize,
        /// Shape of the operand.
        shape: Shape,
    },
    /// An axis named twice.
    #[error("{op}: axis {axis} is named twice for shape {shape:?}")]
    RepeatedAxis {
        /// The operation.
        op: &'static str,
        /// The axis, counted from the front.
        axis: usize,
        /// Shape of the operand.
        shape: Shape,
    },
    /// An index beyond the end of an axis.
    #[error("{op}: index {index} at position {position} is out of range for an axis of {size}")]
    IndexOutOfRange {
        /// The operation.
        op: &'static str,
        /// The offending index.
        index: usize,
        /// Where it stands among the indices given.
        position: usize,
        /// Length of the indexed axis.
        size: usize,
    },
    /// The length of a sequence is beyond the steps there are.
    #[error("{op}: sequence {sequence} has length {length}, which must be at most {steps}")]
    BadLength {
        /// The operation.
        op: &'static str,
        /// The sequence's number in the batch.
        sequence: usize,
        /// Its length as given.
        length: usize,
        /// The steps of the batch.
        steps: usize,
    },
    /// A sequence that begins after it has ended.
    #[error("{op}: sequence {sequence} begins at step {start}, which must not be beyond its length {length}")]
    BadStart {
        /// The operation.
        op: &'static str,
        /// The sequence's number in the batch.
        sequence: usize,
        /// Its first step as given.
        start: usize,
        /// Its length.
        length: usize,
    },
    /// A maximum, minimum or the like of no values at all.
    #[error("{op}: no values to choose from along an axis of length 0, shape {shape:?}")]
    EmptyReduction {
        /// The operation.
        op: &'static str,
        /// Shape of the operand.
        shape: Shape,
    },
    /// A tensor of another element type than the one asked for.
    #[error("{op}: the elements are {found}, not {expected}")]
    WrongDType {
        /// The operation.
        op: &'static str,
        /// The type asked for.
        expected: DType,
        /// The type that the tensor has.
        found: DType,
    },
    /// Bytes that are not the elements they are said to be.
    #[error("{op}: {len} bytes are not a tensor of {dtype} of shape {shape:?}: {why}")]
    BadBytes {
        /// The operation.
        op: &'static str,
        /// The element type.
        dtype: DType,
        /// The shape.
        shape: Shape,
        /// The number of bytes given.
        len: usize,
        /// What is wrong with them.
        why: &'static str,
    },
    /// Integer arithmetic left the range of its type, or divided by zero.
    #[error("{op}: a result does not fit into {dtype}, or a divisor is zero")]
    IntegerOverflow {
        /// The operation.
        op: &'static str,
        /// Element type of the operands.
        dtype: DType,
    },
    /// A value that the type it was to be converted into does not hold.
    #[error("{op}: {value} does not fit into {dtype}; `clamp` it first, or replace it")]
    DoesNotFit {
        /// The operation.
        op: &'static str,
        /// The first such value.
        value: String,
        /// The type.
        dtype: DType,
    },
    /// An argument that makes no sense.
    #[error("{op}: {setting}")]
    BadSetting {
        /// The operation.
        op: &'static str,
        /// The argument, and what it must be.
        setting: Setting,
    },
    /// A matrix whose values the operation cannot work with.
    #[error("{op}: matrix {matrix} of the batch {why}")]
    BadMatrix {
        /// The operation.
        op: &'static str,
        /// Its number in the batch; 0 for a single matrix.
        matrix: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A formula of axis names that cannot be read, or does not fit its operands.
    #[error("{op}: {formula:?}: {why}")]
    BadFormula {
        /// The operation.
        op: &'static str,
        /// The formula as given.
        formula: String,
        /// What it must be.
        why: &'static str,
    },
    /// A file that cannot be read or written, or does not hold what it should.
    #[error("{op}: {path}: {why}")]
    File {
        /// The operation.
        op: &'static str,
        /// The file's path.
        path: String,
        /// What kind of problem it is: `InvalidData` for contents.
        kind: std::io::ErrorKind,
        /// What is wrong with it.
        why: String,
    },
    /// More elements or bytes than the address space or the memory holds.
    #[error("{op}: no memory for {elements} elements of {dtype}")]
    OutOfMemory {
        /// The operation.
        op: &'static str,
        /// The number of elements asked for (saturated).
        elements: usize,
        /// Their type.
        dtype: DType,
    },
}

/// The text of [`Display`](std::fmt::Display): it is what `fn main() -> Result` prints.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn bad_setting(
        op: &'static str,
        what: &'static str,
        value: impl Display,
        must: &'static str,
    ) -> Self {
        Error::BadSetting { op, setting: Setting { what, value: value.to_string(), must } }
    }

    pub(crate) fn mismatch(op: &'static str, lhs: &[usize], rhs: &[usize], why: &'static str) -> Self {
        Error::ShapeMismatch { op, lhs: lhs.into(), rhs: rhs.into(), why }
    }

    pub(crate) fn bad_shape(op: &'static str, shape: &[usize], why: &'static str) -> Self {
        Error::BadShape { op, shape: shape.into(), why }
    }
}

/// The value, or a panic with the error's own text: what operators do, which cannot return a `Result`.
#[track_caller]
pub(crate) fn or_panic<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}
