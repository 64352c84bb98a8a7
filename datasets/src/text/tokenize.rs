//! Dividing text into tokens.
//!
//! Words are found by the rules of Unicode (UAX #29), which hold for all scripts that put spaces between words and keep
//! `don't` and `3.14` whole. Tokens are handed to a closure instead of being collected, so that counting the words of a
//! million texts allocates nothing for each.

use unicode_segmentation::UnicodeSegmentation;

/// A way to divide text into tokens.
pub trait Tokenizer {
    /// Calls `each` with every token of the text, in order.
    fn tokenize(&self, text: &str, each: &mut dyn FnMut(&str));

    /// The tokens of a text.
    fn tokens(&self, text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        self.tokenize(text, &mut |token| tokens.push(token.to_owned()));
        tokens
    }
}

/// Words by Unicode's rules, in lower case, without punctuation unless asked for.
///
/// ```
/// use cairn_datasets::text::{Tokenizer, WordTokenizer};
/// let text = "Don't panic: it's only 3.5 €!";
/// assert_eq!(WordTokenizer::new().tokens(text), ["don't", "panic", "it's", "only", "3.5"]);
/// let all = WordTokenizer::new().lowercase(false).punctuation(true);
/// assert_eq!(all.tokens(text), ["Don't", "panic", ":", "it's", "only", "3.5", "€", "!"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordTokenizer {
    lowercase: bool,
    punctuation: bool,
}

impl Default for WordTokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl WordTokenizer {
    /// Lower case, no punctuation.
    pub fn new() -> Self {
        WordTokenizer { lowercase: true, punctuation: false }
    }

    /// Whether to turn words to lower case.
    #[must_use]
    pub fn lowercase(mut self, lowercase: bool) -> Self {
        self.lowercase = lowercase;
        self
    }

    /// Whether marks and symbols are tokens too, rather than left out.
    #[must_use]
    pub fn punctuation(mut self, keep: bool) -> Self {
        self.punctuation = keep;
        self
    }
}

impl Tokenizer for WordTokenizer {
    fn tokenize(&self, text: &str, each: &mut dyn FnMut(&str)) {
        for piece in text.split_word_bounds() {
            let is_word = piece.contains(char::is_alphanumeric);
            if !is_word && (!self.punctuation || piece.trim().is_empty()) {
                continue;
            }
            if self.lowercase && piece.contains(|c: char| !c.is_lowercase()) {
                each(&piece.to_lowercase());
            } else {
                each(piece);
            }
        }
    }
}

/// What is between white space, unchanged: for text that is already tokenised.
///
/// ```
/// use cairn_datasets::text::{Tokenizer, WhitespaceTokenizer};
/// assert_eq!(WhitespaceTokenizer.tokens(" the <unk> sat . "), ["the", "<unk>", "sat", "."]);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WhitespaceTokenizer;

impl Tokenizer for WhitespaceTokenizer {
    fn tokenize(&self, text: &str, each: &mut dyn FnMut(&str)) {
        text.split_whitespace().for_each(each);
    }
}

/// Single characters (Unicode scalar values), white space included. Joined together they give the text again.
///
/// ```
/// use cairn_datasets::text::{CharTokenizer, Tokenizer};
/// assert_eq!(CharTokenizer.tokens("né?\n"), ["n", "é", "?", "\n"]);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CharTokenizer;

impl Tokenizer for CharTokenizer {
    fn tokenize(&self, text: &str, each: &mut dyn FnMut(&str)) {
        let mut buffer = [0; 4];
        text.chars().for_each(|c| each(c.encode_utf8(&mut buffer)));
    }
}
