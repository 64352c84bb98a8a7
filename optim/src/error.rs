//! What can go wrong in training.

use std::path::Path;

use cairn_tensor::Setting;

/// The result of a training operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why training could not go on.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model failed; the message names the layer.
    #[error(transparent)]
    Model(#[from] cairn_nn::Error),
    /// The data failed; the message names the file or sample. Boxed, so that errors stay small.
    #[error(transparent)]
    Data(Box<cairn_datasets::Error>),
    /// The loss is NaN or infinite, so that a further step would destroy the model.
    #[error("the loss is {loss} in epoch {epoch}, step {step}; the model is as before this step. {hint}")]
    NonFiniteLoss {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// The loss.
        loss: f32,
        /// What usually helps.
        hint: &'static str,
    },
    /// A gradient, or a loss outside a run, is NaN or infinite, so that a step would destroy the model. Nothing was changed.
    #[error(
        "{what} is {value}; the model is as before this step. Look for NaN in the data, a root or logarithm at 0, or lower the learning rate"
    )]
    NonFinite {
        /// What it is, with the parameter's path: `the gradient of dense.weight`.
        what: String,
        /// The first such value.
        value: f64,
    },
    /// A step of a run could not be made.
    #[error("epoch {epoch}, step {step}: {error}")]
    InStep {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// Why. It is in the text, and so not told again as a source.
        error: Box<Error>,
    },
    /// Parameters that the loss does not depend on.
    #[error("no gradient for {}: the loss does not depend on them; use them, or freeze them", paths.join(", "))]
    NoGradient {
        /// Their paths.
        paths: Vec<String>,
    },
    /// An optimiser that has state for one model was given another.
    #[error("the optimiser's state is of another model: {0}")]
    OtherModel(String),
    /// A word without a vector.
    #[error("there is no vector for `{0}`")]
    UnknownWord(String),
    /// Words and vectors that do not go together.
    #[error("word vectors: {0}")]
    WordVectors(String),
    /// A group of parameters whose pattern fits none.
    #[error("the pattern `{pattern}` fits no parameter of the model")]
    NoSuchParameter {
        /// The pattern.
        pattern: String,
    },
    /// A saved state that cannot be gone on from.
    #[error("the state does not fit: {0}")]
    BadState(String),
    /// A callback watches a value that the run does not have.
    #[error("no value `{name}` is reported; there are {known}")]
    NoSuchValue {
        /// The value's name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// Other processes cannot go on, or do not do the same.
    #[error(transparent)]
    Processes(#[from] cairn_processes::Error),
    /// A setting that makes no sense.
    #[error(transparent)]
    BadSetting(#[from] Setting),
}

/// The text of [`Display`](std::fmt::Display): it is what `fn main() -> Result` prints.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Error::Model(cairn_nn::Error::File { path: path.to_owned(), error })
    }

    pub(crate) fn bad_file(path: &Path, why: String) -> Self {
        Error::Model(cairn_nn::Error::BadFile { path: path.to_owned(), why })
    }
}

impl From<cairn_datasets::Error> for Error {
    fn from(error: cairn_datasets::Error) -> Self {
        Error::Data(Box::new(error))
    }
}

impl From<cairn_autograd::Error> for Error {
    fn from(error: cairn_autograd::Error) -> Self {
        Error::Model(error.into())
    }
}

impl From<cairn_tensor::Error> for Error {
    fn from(error: cairn_tensor::Error) -> Self {
        Error::Model(error.into())
    }
}
