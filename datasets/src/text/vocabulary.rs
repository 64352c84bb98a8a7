//! Vocabularies: the ids of tokens.
//!
//! Ids are given by falling frequency, ties by the token's own order, so a vocabulary depends on the texts alone and
//! not on the order of a hash table. Padding is 0 and the unknown token 1, unless left out; further special tokens follow.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use cairn_files::Budget;

use super::Tokenizer;
use super::special_tokens::{self, SpecialTokens};
use crate::error::{Error, Result};
use crate::files;

/// First line of a saved vocabulary.
const HEADER: &str = "cairn vocabulary 1";

/// Largest file to load.
const MAX_BYTES: u64 = 1 << 30;

/// Tokens and their ids.
///
/// ```
/// use cairn_datasets::text::{Vocabulary, WhitespaceTokenizer};
/// let words = WhitespaceTokenizer;
/// let vocabulary = Vocabulary::builder().max_size(4).texts(["a rose is a rose"], &words).build()?;
/// assert_eq!(vocabulary.iter().collect::<Vec<_>>(), ["<pad>", "<unk>", "a", "rose"]);
/// assert_eq!(vocabulary.encode("a rose is", &words)?, [2, 3, 1]);
/// assert_eq!(vocabulary.decode(&[3, 0])?, ["rose", "<pad>"]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("TextVectorization", "StringLookup", "Vocab"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    counts: Vec<u64>,
    ids: HashMap<String, u32>,
    padding: Option<u32>,
    unknown: Option<u32>,
}

impl Vocabulary {
    /// Begins a vocabulary.
    pub fn builder() -> VocabularyBuilder {
        VocabularyBuilder::new()
    }

    /// The number of tokens, special ones included.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The id of a token that is in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// How often each token was seen, by id; special tokens 0 unless they occur in the texts.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The id of the padding token.
    pub fn padding(&self) -> Option<u32> {
        self.padding
    }

    /// The id for tokens that are not in the vocabulary.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// The tokens by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }

    /// The id of a token, or of the unknown token.
    ///
    /// # Errors
    /// [`Error::Argument`] for a token that is not in a vocabulary without an unknown token.
    pub fn lookup(&self, token: &str) -> Result<u32> {
        self.id(token).or(self.unknown).ok_or_else(|| {
            Error::argument("Vocabulary", format!("`{token}` is not in the vocabulary of {}", self.len()))
        })
    }

    /// The ids of a text's tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] for a token that is not in a vocabulary without an unknown token.
    pub fn encode(&self, text: &str, tokenizer: &dyn Tokenizer) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut fault = None;
        tokenizer.tokenize(text, &mut |token| match self.lookup(token) {
            Ok(id) => ids.push(id),
            Err(error) => fault = fault.take().or(Some(error)),
        });
        fault.map_or(Ok(ids), Err)
    }

    /// The tokens of these ids.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id outside the vocabulary, with its position.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<&str>> {
        let each = ids.iter().enumerate().map(|(i, &id)| {
            self.token(id).ok_or_else(|| {
                let message = format!("id {id} at position {i} is outside the vocabulary of {}", self.len());
                Error::argument("Vocabulary", message)
            })
        });
        each.collect()
    }

    /// Writes the vocabulary to a file, as text with one token a line, in one step. A link in its place is replaced, not followed.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(cairn_files::write(path, self.to_text().as_bytes())?)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::Format`] with the line of what does not read; [`Error::Io`] when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let (text, budget) = files::text(path, MAX_BYTES)?;
        Self::parse(&text, path, budget)
    }

    /// The contents of a saved vocabulary: a heading, the ids of the padding and unknown tokens (`-` for none), then
    /// count and token of each id, with line ends, carriage returns and backslashes in tokens escaped.
    pub fn to_text(&self) -> String {
        let special = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let mut text = format!("{HEADER}\n{} {}\n", special(self.padding), special(self.unknown));
        for (token, count) in self.tokens.iter().zip(&self.counts) {
            let token = token.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{count}\t{token}");
        }
        text
    }

    /// Reads what [`to_text`](Self::to_text) gave; `path` is for messages.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_text(text: &str, path: &Path) -> Result<Self> {
        Self::parse(text, path, Budget::of_length(text.len() as u64))
    }

    fn parse(text: &str, path: &Path, mut budget: Budget) -> Result<Self> {
        let mut lines = text.split_terminator('\n').enumerate();
        let mut next =
            |what: &str| lines.next().ok_or_else(|| Error::format(path, format!("{what} is missing")));
        if next("the heading")?.1 != HEADER {
            return Err(Error::line(path, 1, format!("not `{HEADER}`")));
        }
        let special = next("the line of special tokens")?.1;
        let (mut tokens, mut counts) = (Vec::new(), Vec::new());
        for (i, line) in lines {
            let fault = |message: &str| Error::line(path, i + 1, message);
            let (count, token) =
                line.split_once('\t').ok_or_else(|| fault("not a count, a tab and a token"))?;
            // The token twice, in the list and in the table of ids.
            files::count::<(u64, String, String, u32, u32)>(&mut budget, path, 2, 2 * token.len())?;
            counts.push(count.parse().map_err(|_| fault("the count is not a number"))?);
            tokens.push(unescape(token).ok_or_else(|| fault("a backslash begins nothing known"))?);
        }
        let (padding, unknown) = read_special(special, tokens.len())
            .ok_or_else(|| Error::line(path, 2, "not the numbers of two tokens or `-`"))?;
        let mut vocabulary = Vocabulary { tokens, counts, ids: HashMap::new(), padding, unknown };
        if let Some(repeated) = vocabulary.number()? {
            return Err(Error::line(path, repeated + 3, "the token comes a second time"));
        }
        Ok(vocabulary)
    }

    /// Fills `ids`; gives the number of a token that comes a second time.
    fn number(&mut self) -> Result<Option<usize>> {
        for (i, token) in self.tokens.iter().enumerate() {
            let id = u32::try_from(i).map_err(|_| Error::argument("Vocabulary", "more than 2^32 tokens"))?;
            if self.ids.insert(token.clone(), id).is_some() {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }
}

fn read_special(line: &str, len: usize) -> Option<(Option<u32>, Option<u32>)> {
    let one = |text: &str| match text {
        "-" => Some(None),
        number => number.parse().ok().filter(|&id: &u32| (id as usize) < len).map(Some),
    };
    let (padding, unknown) = line.split_once(' ')?;
    Some((one(padding)?, one(unknown)?))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

/// Counts tokens and makes a [`Vocabulary`] of them.
#[derive(Debug, Clone)]
pub struct VocabularyBuilder {
    counts: HashMap<String, u64>,
    max_size: usize,
    min_count: u64,
    special: SpecialTokens,
}

impl Default for VocabularyBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl VocabularyBuilder {
    /// No limits, with padding and unknown tokens.
    pub fn new() -> Self {
        VocabularyBuilder {
            counts: HashMap::new(),
            max_size: usize::MAX,
            min_count: 1,
            special: SpecialTokens::default(),
        }
    }

    /// The largest number of tokens, special ones included; the rarest are left out.
    #[must_use]
    pub fn max_size(mut self, tokens: usize) -> Self {
        self.max_size = tokens;
        self
    }

    /// The least count of a token that is not left out; 1 unless given.
    #[must_use]
    pub fn min_count(mut self, count: u64) -> Self {
        self.min_count = count;
        self
    }

    special_tokens::setters!();

    /// Counts the tokens of these texts.
    #[must_use]
    pub fn texts<T: AsRef<str>>(
        mut self,
        texts: impl IntoIterator<Item = T>,
        tokenizer: &dyn Tokenizer,
    ) -> Self {
        for text in texts {
            tokenizer.tokenize(text.as_ref(), &mut |token| self.count(token));
        }
        self
    }

    /// Counts one token.
    pub fn count(&mut self, token: &str) {
        match self.counts.get_mut(token) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(token.to_owned(), 1);
            }
        }
    }

    /// The vocabulary of what has been counted.
    ///
    /// # Errors
    /// [`Error::Argument`] when a special token is named twice or the limit leaves no room for the special ones.
    pub fn build(self) -> Result<Vocabulary> {
        let VocabularyBuilder { mut counts, max_size, min_count, special } = self;
        let mut tokens = special.names("Vocabulary", max_size, 0)?;
        let mut seen: Vec<u64> = tokens.iter().map(|token| counts.remove(token).unwrap_or(0)).collect();
        let mut ordinary: Vec<(String, u64)> =
            counts.into_iter().filter(|&(_, count)| count >= min_count).collect();
        ordinary.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ordinary.truncate(max_size - tokens.len());
        for (token, count) in ordinary {
            tokens.push(token);
            seen.push(count);
        }
        let (padding, unknown) = (special.padding_id(), special.unknown_id());
        let mut vocabulary = Vocabulary { tokens, counts: seen, ids: HashMap::new(), padding, unknown };
        vocabulary.number()?;
        Ok(vocabulary)
    }
}
