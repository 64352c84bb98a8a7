//! What models are called.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::source::dir::is_below;

/// The name of a published model: `organisation/name`, then, where it is not the newest, `@revision`, and, of several files, `:` with a
/// file's name or with the quantisation at its end.
///
/// ```
/// use cairn_datasets::hub::ModelName;
/// let name: ModelName = "Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0".parse()?;
/// assert_eq!(name.repository(), "Qwen/Qwen2.5-0.5B-Instruct-GGUF");
/// assert!("models/../secret".parse::<ModelName>().is_err());
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("repo_id", "hf_repo"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    repository: String,
    revision: Option<String>,
    choice: Option<String>,
}

impl ModelName {
    /// `organisation/name`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Where it lies below the data folder, with `/` between folders.
    pub(super) fn place(&self) -> String {
        let revision = self.revision.as_ref().map_or_else(String::new, |revision| format!("@{revision}"));
        format!("models/{}{revision}", self.repository)
    }

    pub(super) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// A file's name or a quantisation.
    pub(super) fn choice(&self) -> Option<&str> {
        self.choice.as_deref()
    }
}

impl FromStr for ModelName {
    type Err = Error;

    /// # Errors
    /// [`Error::Argument`] for what is no such name.
    fn from_str(text: &str) -> Result<Self> {
        let (rest, choice) = match text.split_once(':') {
            Some((rest, choice)) => (rest, Some(choice)),
            None => (text, None),
        };
        let (repository, revision) = match rest.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (rest, None),
        };
        let parts: Vec<&str> = repository.split('/').collect();
        let sound = parts.len() == 2
            && parts.iter().all(|part| is_word(part))
            && revision.is_none_or(is_word)
            && choice.is_none_or(is_below);
        if !sound {
            let expected = "a model's name is `organisation/name`, with `@revision` and `:file` where needed";
            return Err(Error::argument("hub", format!("`{text}`: {expected}")));
        }
        let [revision, choice] = [revision, choice].map(|part| part.map(str::to_owned));
        Ok(ModelName { repository: repository.to_owned(), revision, choice })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.choice.iter().try_for_each(|choice| write!(f, ":{choice}"))
    }
}

/// What names on a hub are made of. None begins with a point, so that none leads out of a folder.
pub(super) fn is_word(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 96
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
