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
    broken_pipe: bool,
}

impl Failure {
    pub(crate) fn new(cause: impl Into<String>) -> Self {
        Failure { cause: cause.into(), hint: None, broken_pipe: false }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// That a file cannot be read.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Self {
        Failure::new(format!("{}: {error}", path.display()))
    }

    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
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
        let failure = Failure::new(error.to_string());
        hint.into_iter().fold(failure, Failure::hint)
    }
}

impl From<cairn::recsys::Error> for Failure {
    fn from(error: cairn::recsys::Error) -> Self {
        Failure::new(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Failure { broken_pipe, ..Failure::new(error.to_string()) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::from(io::Error::from(error))
    }
}
