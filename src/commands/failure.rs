//! Why a command could not be done, in one line, and what to do about it.

use std::fmt;
use std::io;
use std::path::Path;

use cairn::nn;

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    cause: String,
    hint: Option<String>,
    kind: Kind,
}

/// What a failure is of, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    /// Whoever reads has had enough.
    BrokenPipe,
    /// There is too little memory; another time there may be more.
    Memory,
}

impl Failure {
    pub(crate) fn new(cause: impl Into<String>) -> Self {
        Failure { cause: cause.into(), hint: None, kind: Kind::Other }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// That a file cannot be read.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Failure::new(format!("{}: {error}", path.display()))
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.kind == Kind::BrokenPipe
    }

    /// Whether it is memory that there was too little of.
    #[cfg(feature = "serve")]
    pub(crate) fn is_of_memory(&self) -> bool {
        self.kind == Kind::Memory
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        f.write_str(&line(&self.cause))?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {})", line(hint)),
            None => Ok(()),
        }
    }
}

impl From<nn::Error> for Failure {
    fn from(error: nn::Error) -> Self {
        let hint = match &error {
            nn::Error::File { error, .. } if error.kind() == io::ErrorKind::NotFound => Some(
                "a model is a folder with config.json, safetensors and tokenizer.json, a GGUF file, or a published one, `organisation/name`",
            ),
            nn::Error::BadFile { .. } => Some("`cairn inspect` says what is in a file"),
            nn::Error::StateMismatch(_) => {
                Some("the weights are those of another model, or of a part of one")
            }
            _ => None,
        };
        let kind = if is_of_memory(&error) { Kind::Memory } else { Kind::Other };
        let failure = Failure { kind, ..Failure::new(error.to_string()) };
        hint.into_iter().fold(failure, Failure::hint)
    }
}

/// Whether it is memory that there was too little of, in whichever part of a model.
pub(crate) fn is_of_memory(error: &nn::Error) -> bool {
    use cairn::{autograd, tensor};
    match error {
        nn::Error::At { error, .. } => is_of_memory(error),
        nn::Error::Autograd(autograd::Error::Tensor(error)) => {
            matches!(error, tensor::Error::OutOfMemory { .. })
        }
        _ => false,
    }
}

impl From<cairn::recsys::Error> for Failure {
    fn from(error: cairn::recsys::Error) -> Self {
        let of_memory = matches!(error, cairn::recsys::Error::Memory { .. });
        let kind = if of_memory { Kind::Memory } else { Kind::Other };
        Failure { kind, ..Failure::new(error.to_string()) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::BrokenPipe } else { Kind::Other };
        Failure { kind, ..Failure::new(error.to_string()) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(io::Error::from(error))
    }
}
