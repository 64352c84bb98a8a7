//! The tokens that a vocabulary has whatever the texts are: padding, the unknown token, and marks of the caller's. Numbered in
//! this order from 0. The same for every kind of vocabulary, as are the setters for them.

use crate::error::{Error, Result};

/// The default padding token.
pub const PADDING: &str = "<pad>";

/// The default token for what is not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";

/// Which tokens are there in any case.
#[derive(Debug, Clone)]
pub(super) struct SpecialTokens {
    pub(super) padding: Option<String>,
    pub(super) unknown: Option<String>,
    pub(super) others: Vec<String>,
}

impl Default for SpecialTokens {
    /// Padding and the unknown token.
    fn default() -> Self {
        SpecialTokens {
            padding: Some(PADDING.to_owned()),
            unknown: Some(UNKNOWN.to_owned()),
            others: Vec::new(),
        }
    }
}

impl SpecialTokens {
    /// The number of the padding token.
    pub(super) fn padding_id(&self) -> Option<u32> {
        self.padding.as_ref().map(|_| 0)
    }

    /// The number of the unknown token.
    pub(super) fn unknown_id(&self) -> Option<u32> {
        self.unknown.as_ref().map(|_| u32::from(self.padding.is_some()))
    }

    /// All of them by number, for a vocabulary of at most `max_size` tokens, `reserved` of which are others that it cannot do
    /// without.
    ///
    /// # Errors
    /// [`Error::Argument`] when one is named twice, or the limit leaves no room.
    pub(super) fn names(
        &self,
        vocabulary: &'static str,
        max_size: usize,
        reserved: usize,
    ) -> Result<Vec<String>> {
        let names: Vec<String> =
            self.padding.iter().chain(&self.unknown).chain(&self.others).cloned().collect();
        if let Some((i, name)) = names.iter().enumerate().find(|&(i, name)| names[..i].contains(name)) {
            let message = format!("the special token `{name}` is named twice, the second time as number {i}");
            return Err(Error::argument(vocabulary, message));
        }
        if max_size < names.len().saturating_add(reserved) {
            let bytes = if reserved > 0 { format!(" and {reserved} bytes") } else { String::new() };
            let message =
                format!("{max_size} tokens leave no room for the {} special ones{bytes}", names.len());
            return Err(Error::argument(vocabulary, message));
        }
        Ok(names)
    }
}

/// The setters of a builder with a field `special: SpecialTokens`.
macro_rules! setters {
    () => {
        /// The padding token, `<pad>` unless given; or none.
        #[must_use]
        #[doc(alias = "pad_token")]
        pub fn padding(mut self, token: Option<&str>) -> Self {
            self.special.padding = token.map(str::to_owned);
            self
        }

        /// The token for what is not in the vocabulary, `<unk>` unless given; or none, and then it is an error to look such a
        /// token up.
        #[must_use]
        #[doc(alias("unk_token", "oov_token"))]
        pub fn unknown(mut self, token: Option<&str>) -> Self {
            self.special.unknown = token.map(str::to_owned);
            self
        }

        /// Further tokens that are there in any case, such as marks for the begin and the end of a text.
        #[must_use]
        #[doc(alias("bos_token", "eos_token", "additional_special_tokens"))]
        pub fn special<'a>(mut self, tokens: impl IntoIterator<Item = &'a str>) -> Self {
            self.special.others.extend(tokens.into_iter().map(str::to_owned));
            self
        }
    };
}
pub(super) use setters;
