//! Byte-pair encoding: pieces of words learnt from texts, from single bytes up to whole words (Sennrich et al. 2016), over
//! bytes as in GPT-2 (Radford et al. 2019), so that every text has an encoding and decodes to itself.
//!
//! The `tokenizers` crate does the work, and its JSON is the file format, which other programs read and write. What is ours
//! is the shape that vocabularies have here: the same names for limits and special tokens, the same ids for padding
//! and unknown, and errors of this crate.

use std::path::Path;
use std::str::FromStr as _;

use cairn_files::quietly;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper, PaddingParams, PaddingStrategy, Tokenizer as Inner};

use super::Tokenizer;
use super::special_tokens::{self, SpecialTokens};
use crate::error::{Error, Result};
use crate::files;

/// Largest file to load.
const MAX_BYTES: u64 = 1 << 30;
/// Most tokens to learn; the library takes memory for as many as are asked for.
const MAX_TOKENS: usize = 1 << 22;
/// Bytes, each of which is a token.
const ALPHABET: usize = 256;

/// Subwords and their ids, by byte-pair encoding.
///
/// ```
/// use cairn_datasets::text::{Bpe, Padding, pad};
///
/// let texts = ["low lower lowest", "new newer newest", "wide wider widest"];
/// let bpe = Bpe::builder().max_size(280).special(["<bos>"]).train(texts)?;
/// let ids = bpe.encode("the newest, widest ☂")?; // of words and signs never seen, the bytes
/// assert_eq!(bpe.decode(&ids)?, "the newest, widest ☂");
/// assert_eq!((bpe.padding(), bpe.unknown(), bpe.id("<bos>")), (Some(0), Some(1), Some(2)));
/// let batch = pad(&[ids, bpe.encode("low")?], &Padding::new())?;
/// assert_eq!(batch.ids.shape()[0], 2);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("BpeTokenizer", "ByteLevelBPETokenizer"))]
#[derive(Debug, Clone)]
pub struct Bpe {
    inner: Inner,
}

impl Bpe {
    /// Begins an encoding.
    pub fn builder() -> BpeBuilder {
        BpeBuilder::new()
    }

    /// The number of tokens, special ones included.
    pub fn len(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id of a token. Bytes are written as in GPT-2: a space is `Ġ`, so ` the` is `Ġthe`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of the padding token.
    pub fn padding(&self) -> Option<u32> {
        self.inner.get_padding().map(|padding| padding.pad_id)
    }

    /// The id of the token for what has no encoding. Trained here, an encoding has one for every text; the token is for
    /// tasks that put it instead of words, and for files of others.
    pub fn unknown(&self) -> Option<u32> {
        match self.inner.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.as_ref().and_then(|token| self.id(token)),
            _ => None,
        }
    }

    /// The ids of a text's tokens. What looks like a special token is encoded as any other text, so that no text can
    /// bring one in; their ids are added by hand.
    ///
    /// # Errors
    /// [`Error::Argument`] when the text has no encoding, which can be with files of others.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false);
        Ok(encoding.map_err(|e| Error::argument("Bpe", e.to_string()))?.get_ids().to_vec())
    }

    /// The text of these ids, in which special tokens are left out. Bytes that are not UTF-8, as where a character was
    /// cut, become `�`.
    ///
    /// # Errors
    /// [`Error::Argument`] for an id outside the vocabulary, with its position.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        if let Some(i) = ids.iter().position(|&id| self.inner.id_to_token(id).is_none()) {
            let message =
                format!("id {} at position {i} is outside the vocabulary of {}", ids[i], self.len());
            return Err(Error::argument("Bpe", message));
        }
        self.inner.decode(ids, true).map_err(|e| Error::argument("Bpe", e.to_string()))
    }

    /// Writes the encoding to a file, as the JSON of the `tokenizers` library, in one step. A link in its place is replaced, not
    /// followed.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = self.inner.to_string(false).map_err(|e| Error::argument("Bpe", e.to_string()))?;
        Ok(cairn_files::write(path, text.as_bytes())?)
    }

    /// Reads what [`save`](Self::save) or another program wrote.
    ///
    /// # Errors
    /// [`Error::Format`] for what does not read or is of another kind; [`Error::Io`] when the file cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let (text, _) = files::text(path, MAX_BYTES)?;
        let mut inner = parse(&text).map_err(|message| Error::format(path, message))?;
        if !matches!(inner.get_model(), ModelWrapper::BPE(_)) {
            return Err(Error::format(path, "the tokens are not of byte-pair encoding"));
        }
        // The file does not say so.
        inner.set_encode_special_tokens(true);
        // Texts are encoded whole and as long as they are, whatever the file would cut them to or fill them up to; of its padding the
        // token is kept.
        inner.with_truncation(None).map_err(|e| Error::format(path, e.to_string()))?;
        if let Some(padding) = inner.get_padding_mut() {
            *padding = PaddingParams {
                strategy: PaddingStrategy::BatchLongest,
                pad_to_multiple_of: None,
                ..padding.clone()
            };
        }
        Ok(Bpe { inner })
    }
}

/// Reads the library's JSON. It panics on parts that are cut or of another shape; that is an error like any other here.
fn parse(text: &str) -> std::result::Result<Inner, String> {
    // What is no JSON at all, such as a file that was cut, is told so with the place, and never reaches the parts that panic.
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| e.to_string())?;
    match quietly(|| Inner::from_str(text)) {
        Some(parsed) => parsed.map_err(|e| e.to_string()),
        None => Err("a part of it is not what it should be".to_owned()),
    }
}

/// The pieces as text, bytes written as in GPT-2, for a [`Vocabulary`](super::Vocabulary) that should leave out rare ones. A
/// text without an encoding, which can be with files of others, is one token.
impl Tokenizer for Bpe {
    fn tokenize(&self, text: &str, each: &mut dyn FnMut(&str)) {
        match self.inner.encode(text, false) {
            Ok(encoding) => encoding.get_tokens().iter().for_each(|token| each(token)),
            Err(_) => each(text),
        }
    }
}

/// Trains a [`Bpe`].
#[derive(Debug, Clone)]
pub struct BpeBuilder {
    max_size: usize,
    min_count: u64,
    special: SpecialTokens,
}

impl Default for BpeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BpeBuilder {
    /// At most 30,000 tokens, with padding and unknown ones.
    pub fn new() -> Self {
        BpeBuilder { max_size: 30_000, min_count: 2, special: SpecialTokens::default() }
    }

    /// The largest number of tokens, special ones and the 256 bytes included.
    #[must_use]
    pub fn max_size(mut self, tokens: usize) -> Self {
        self.max_size = tokens;
        self
    }

    /// The least count of a pair that is joined; 2 unless given.
    #[must_use]
    pub fn min_count(mut self, count: u64) -> Self {
        self.min_count = count;
        self
    }

    special_tokens::setters!();

    /// Learns the pieces of these texts. The same texts give the same pieces.
    ///
    /// # Errors
    /// [`Error::Argument`] when a special token is named twice, or the limit leaves no room for them and the bytes or is above four
    /// million.
    pub fn train<T: AsRef<str> + Send>(
        self,
        texts: impl IntoIterator<Item = T, IntoIter: Send>,
    ) -> Result<Bpe> {
        let BpeBuilder { max_size, min_count, special } = self;
        if max_size > MAX_TOKENS {
            return Err(Error::argument(
                "Bpe",
                format!("max_size is {max_size}, which must be at most {MAX_TOKENS}"),
            ));
        }
        let names = special.names("Bpe", max_size, ALPHABET)?;
        let SpecialTokens { padding, unknown, .. } = special;
        let failed = |e: tokenizers::Error| Error::argument("Bpe", e.to_string());
        let mut model = BPE::builder();
        if let Some(unknown) = unknown {
            model = model.unk_token(unknown);
        }
        let mut inner = Inner::new(model.build().map_err(failed)?);
        // Words with the space before them, no space before the first.
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::default()));
        let trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(max_size)
            .min_frequency(min_count)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(names.iter().map(|name| AddedToken::from(name.as_str(), true)).collect())
            .build();
        inner.train(&mut TrainerWrapper::from(trainer), texts.into_iter()).map_err(failed)?;
        if let Some(pad_token) = padding {
            let pad_id = inner.token_to_id(&pad_token).unwrap_or(0);
            inner.with_padding(Some(PaddingParams { pad_id, pad_token, ..PaddingParams::default() }));
        }
        inner.set_encode_special_tokens(true);
        Ok(Bpe { inner })
    }
}
