//! From text to the ids of a language model's tokens and back, and from a conversation to text.
//!
//! What a model was trained with is in files: a `tokenizer.json` as Hugging Face's library writes it, or the tokens and merges in a
//! GGUF file. The `tokenizers` crate computes with both, so that the ids are those of transformers. Here is what lies around it:
//! errors in place of panics, text as it is written ([`Pieces`]), and the templates of conversations ([`ChatTemplate`]).

mod byte_pairs;
mod clock;
mod gguf;
mod growth;
mod into_gguf;
mod json;
mod longest;
mod model;
mod pieces;
mod template;
mod vocabulary;
mod word_pieces;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;

use cairn_files::quietly;
use tokenizers::DecoderWrapper;

pub(crate) use into_gguf::gguf_values;
use model::Inner;
pub use pieces::Pieces;
pub use template::{ChatTemplate, Message, assistant, system, user};

use crate::{Error, Result};

/// A model's tokens: from text to ids, and back.
///
/// ```
/// use cairn_nn::tokenizer::Tokenizer;
/// let json = r#"{
///     "version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "Lowercase"},
///     "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
///     "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "sky": 2}, "unk_token": "[UNK]"}
/// }"#;
/// let tokenizer = Tokenizer::parse(json)?;
/// assert_eq!(tokenizer.encode("The blue sky")?, [1, 0, 2]);
/// assert_eq!(tokenizer.decode(&[1, 2])?, "the sky");
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("AutoTokenizer", "PreTrainedTokenizer"))]
pub struct Tokenizer {
    inner: Inner,
    /// The number of rows that the model's table of tokens is known to have; those beyond the tokens are without a text.
    table: usize,
    /// Tokens that are without a text, too, in the order of their ids: they have names, and fill a vocabulary up.
    unused: Arc<[u32]>,
}

impl Tokenizer {
    /// From a `tokenizer.json`, or a folder with one. That it cuts texts or fills them up is passed over: that is for the model to say.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::BadFile`] when it is none.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let path = if path.is_dir() { path.join("tokenizer.json") } else { path.to_owned() };
        let text = fs::read_to_string(&path).map_err(Error::file(&path))?;
        parsed(&text).map_err(|why| Error::BadFile { path, why })
    }

    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is none.
    pub fn parse(json: &str) -> Result<Self> {
        parsed(json).map_err(|why| Error::BadFile { path: "tokenizer.json".into(), why })
    }

    /// The ids of a text, with what the model expects around it. Special tokens that are written out in the text are those tokens.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a text that has no tokens, which can be where there is none for unknown ones.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encoded(text, true)?.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode), without what the model expects around a text: for what goes on from others, and for conversations,
    /// whose template has written it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[doc(alias = "add_special_tokens")]
    pub fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encoded(text, false)?.get_ids().to_vec())
    }

    /// As [`encode`](Self::encode), where what looks like a special token is text like any other: of what a stranger wrote.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_untrusted(&self, text: &str) -> Result<Vec<u32>> {
        let special = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let encoded = self.encoded(text, false)?;
        let ids = encoded.get_ids();
        // Nearly always: a tokenizer that takes them for text has to be a copy, vocabulary and all.
        if !ids.iter().any(|id| special.get(id).is_some_and(|token| token.special)) {
            return Ok(ids.to_vec());
        }
        let mut plain = self.inner.clone();
        plain.set_encode_special_tokens(true);
        Ok(Tokenizer::of(plain).encoded(text, false)?.get_ids().to_vec())
    }

    /// The ids, and the bytes of the text that each is of; of what was put around it, none.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[doc(alias("offsets", "return_offsets_mapping"))]
    pub fn encode_with_offsets(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>> {
        self.placed(text, true)
    }

    /// As [`encode_with_offsets`](Self::encode_with_offsets), with what the model expects around the text, or without.
    pub(crate) fn placed(&self, text: &str, around: bool) -> Result<Vec<(u32, Range<usize>)>> {
        let encoded = self.encoded(text, around)?;
        let offsets = encoded.get_offsets().iter().map(|&(start, end)| start..end);
        Ok(encoded.get_ids().iter().copied().zip(offsets).collect())
    }

    fn of(inner: Inner) -> Self {
        Tokenizer { inner, table: 0, unused: Arc::default() }
    }

    fn encoded(&self, text: &str, around: bool) -> Result<tokenizers::Encoding> {
        let done = quietly(|| self.inner.encode(text, around));
        let done = done.unwrap_or_else(|| Err("the tokenizer's settings do not go together".into()));
        done.map_err(|error| Error::Unsupported { what: format!("the text's tokens: {error}") })
    }

    /// For a model whose table of tokens has so many rows. Some are longer than the list of tokens, so that products are of even sizes; a model
    /// may write the ids that nothing belongs to, and they are no text, as in transformers.
    pub(crate) fn within_table(self, rows: usize) -> Self {
        Tokenizer { table: rows, ..self }
    }

    /// The text of these ids, without special tokens. Bytes that are no UTF-8, as where a character was cut, become `�`. Of an id that is no
    /// token, but has a row in the table of the model that the tokenizer was read with, there is no text, nor of one that a GGUF file
    /// says is unused.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for any other id that is no token.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.decoded(ids, true)
    }

    /// As [`decode`](Self::decode), with the special tokens.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_all(&self, ids: &[u32]) -> Result<String> {
        self.decoded(ids, false)
    }

    fn decoded(&self, ids: &[u32], skip: bool) -> Result<String> {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.table && self.token(id).is_none()) {
            let (what, must) = ("the id of a token", "below the size of the vocabulary");
            return Err(Error::BadSetting { what, value: id.into(), must });
        }
        let used: Vec<u32>;
        let ids = if self.unused.is_empty() {
            ids
        } else {
            used = ids.iter().copied().filter(|&id| !self.is_unused(id)).collect();
            &used[..]
        };
        let done = quietly(|| self.inner.decode(ids, skip));
        let done = done.unwrap_or_else(|| Err("the tokenizer's settings do not go together".into()));
        done.map_err(|error| Error::Unsupported { what: format!("the tokens' text: {error}") })
    }

    fn is_unused(&self, id: u32) -> bool {
        self.unused.binary_search(&id).is_ok()
    }

    /// The bytes of a token: as text those of a part of a character are `�`. `None` for an id that is no token.
    pub fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        let (token, text) = (self.token(id)?, self.decode_all(&[id]).ok()?);
        let by_bytes = matches!(self.inner.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        // Of a text the first token is decoded without the blank before it.
        if !by_bytes && token.contains(BLANK) && !self.is_unused(id) {
            return Some(token.replace(BLANK, " ").into_bytes());
        }
        if !text.contains('\u{fffd}') {
            return Some(text.into_bytes());
        }
        let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            return Some(vec![byte]);
        }
        let bytes = by_bytes.then(|| token.chars().map(byte).collect::<Option<Vec<u8>>>()).flatten();
        Some(bytes.unwrap_or_else(|| text.into_bytes()))
    }

    /// Whether a blank is put before texts, as SentencePiece does: what follows another text is other tokens then than it is alone.
    pub(crate) fn puts_blank_before(&self) -> bool {
        let first = self.encode_bare("x").ok().and_then(|ids| self.bytes(*ids.first()?));
        first.is_some_and(|bytes| bytes.starts_with(b" "))
    }

    /// Text as its tokens come in, one by one.
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces::new(self)
    }

    /// The id of a token.
    #[doc(alias = "token_to_id")]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, as the vocabulary has it.
    #[doc(alias = "id_to_token")]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The number of tokens, special ones included.
    #[doc(alias = "vocab_size")]
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How SentencePiece writes a blank.
const BLANK: char = '\u{2581}';

/// The byte that is written as a character where tokens are of bytes: those that can be printed as themselves, the others in turn from U+0100.
fn byte(written: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match u8::try_from(written) {
        Ok(byte) => Some(byte).filter(printable),
        Err(_) => (0..=u8::MAX).filter(|byte| !printable(byte)).nth((u32::from(written) - 0x100) as usize),
    }
}

/// Reads the library's JSON. It panics on parts of another shape than it expects; that is an error like any other here.
fn parsed(json: &str) -> Result<Tokenizer, String> {
    let read = quietly(|| Inner::from_str(json));
    let mut inner =
        read.unwrap_or_else(|| Err("a part of it is not what it should be".into())).map_err(|error| {
            // What is no JSON at all is better told by its reader.
            let json = serde_json::from_str::<serde::de::IgnoredAny>(json);
            json.err().map_or_else(|| error.to_string(), |error| error.to_string())
        })?;
    let words = serde_json::to_value(inner.get_pre_tokenizer());
    let decoder = serde_json::to_value(inner.get_decoder());
    let around = serde_json::to_value(inner.get_post_processor());
    growth::check_both(inner.get_normalizer(), &words.map_err(|error| error.to_string())?)?;
    growth::check(&decoder.map_err(|error| error.to_string())?)?;
    growth::check_around(&around.map_err(|error| error.to_string())?)?;
    inner.with_padding(None);
    inner.with_truncation(None).map_err(|error| error.to_string())?;
    Ok(Tokenizer::of(inner))
}
