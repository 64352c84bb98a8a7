//! What can go wrong in differentiation.

use cairn_tensor::{DType, Shape};

/// The result of an operation on variables.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on variables, or a backward pass, could not be done.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tensors underneath did not fit; the message says which operation and shapes.
    #[error(transparent)]
    Tensor(#[from] cairn_tensor::Error),
    /// `backward` was called on something other than one number.
    #[error(
        "backward: a gradient starts from one number, this variable has shape {shape:?}; reduce it, or use backward_from"
    )]
    NotScalar {
        /// Shape of the variable.
        shape: Shape,
    },
    /// `backward` was called on a variable that no parameter had a part in.
    #[error("backward: no parameter had a part in this variable, so there is nothing to differentiate by")]
    NothingToDifferentiate,
    /// A part of the graph was already used, and freed, by an earlier backward pass.
    #[error(
        "backward: the graph through `{op}` was used by an earlier backward pass; add the losses and call backward once"
    )]
    AlreadyUsed {
        /// The operation whose record is gone.
        op: &'static str,
    },
    /// A gradient was asked for that does not exist.
    #[error("no gradient for a variable of shape {shape:?}: the loss does not depend on it, or it is frozen")]
    NoGradient {
        /// Shape of the variable.
        shape: Shape,
    },
    /// An operation was evaluated with operands of another kind or number.
    #[error("{op}: operand {position} must be {expected}")]
    BadOperand {
        /// The operation.
        op: &'static str,
        /// Which operand, from 0.
        position: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// An operation of a user's own cannot be evaluated: only its derivative is known.
    #[error("{op}: only its derivative is known, so it cannot be evaluated again")]
    NoEvaluation {
        /// The operation.
        op: &'static str,
    },
    /// A parameter was to be trained whose value is stored in another element type.
    #[error("a parameter stored as {stored} cannot be trained: convert it to {trained} first")]
    NotTrainable {
        /// The type it is stored in.
        stored: DType,
        /// The type it would be trained in.
        trained: DType,
    },
    /// What a checkpoint is to compute a second time, for its derivative, failed then.
    #[error("checkpoint: what was computed once could not be computed again: {why}")]
    NotAgain {
        /// What went wrong.
        why: String,
    },
    /// An operation whose analytic derivative differs from the numeric one.
    #[error(
        "gradcheck: input {input}, element {element}: the derivative is {analytic}, differences give {numeric}"
    )]
    GradientMismatch {
        /// Number of the input.
        input: usize,
        /// Number of the element, in row-major order.
        element: usize,
        /// What backward computed.
        analytic: f64,
        /// What central differences give.
        numeric: f64,
    },
}

/// The text of [`Display`](std::fmt::Display): it is what `fn main() -> Result` prints.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
