//! What can go wrong in building, running, saving and loading models.

use std::path::{Path, PathBuf};

use cairn_tensor::Shape;

/// The result of an operation on models.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be built, run, saved or loaded.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error within a part of the model, with the path to it: `encoder.dense_1: linear: …`.
    #[error("{path}: {error}")]
    At {
        /// Dotted path of the part.
        path: String,
        /// What went wrong there. It is in the text, and so not told again as a source.
        error: Box<Error>,
    },
    /// An operation on variables failed.
    #[error(transparent)]
    Autograd(#[from] cairn_autograd::Error),
    /// A layer cannot work on what it is given.
    #[error("input of shape {input:?} does not fit: {why}")]
    BadInput {
        /// The shape, without the batch axis where the layer is being built.
        input: Shape,
        /// What the layer needs.
        why: String,
    },
    /// A setting that makes no sense.
    #[error("{what} is {value}, which must be {must}")]
    BadSetting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// A layer name that is taken or cannot be part of a path.
    #[error("`{name}` cannot name a layer: names are unique in a model, not empty, and contain no dot")]
    BadName {
        /// The name.
        name: String,
    },
    /// A layer asked for by a name that the model has not.
    #[error("there is no layer `{name}`")]
    NoLayer {
        /// The name.
        name: String,
    },
    /// Named values that are not those of the model.
    #[error("the values do not fit the model: {0}")]
    StateMismatch(String),
    /// Something that there is no rule for: a kind of layer in another library's layout, say.
    #[error("no rule for {what}")]
    Unsupported {
        /// What it is.
        what: String,
    },
    /// As many requests wait as may: another time.
    #[error("{waiting} requests wait already")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said; in the text as above.
        error: std::io::Error,
    },
    /// A file that is no Cairn model, is damaged, or of another version.
    #[error("{}: {why}", path.display())]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The text of [`Display`](std::fmt::Display): it is what `fn main() -> Result` prints.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<cairn_files::Error> for Error {
    fn from(error: cairn_files::Error) -> Self {
        match error {
            cairn_files::Error::Io { path, source, .. } => Error::File { path, error: source },
            cairn_files::Error::Contents { path, message } => Error::BadFile { path, why: message },
        }
    }
}

impl From<cairn_tensor::Error> for Error {
    fn from(error: cairn_tensor::Error) -> Self {
        Error::Autograd(error.into())
    }
}

impl Error {
    /// The same error, said to have happened in the part called `name`.
    #[must_use]
    pub fn at(self, name: &str) -> Self {
        match self {
            Error::At { path, error } => Error::At { path: format!("{name}.{path}"), error },
            other => Error::At { path: name.to_owned(), error: Box::new(other) },
        }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Error::File { path: path.to_owned(), error }
    }
}
