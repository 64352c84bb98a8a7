//! From text to token ids: tokenizers, vocabularies, padded batches.
//!
//! ```
//! use cairn_datasets::text::{pad, Padding, Vocabulary, WordTokenizer};
//!
//! let texts = ["The cat sat.", "The cat sat on the mat."];
//! let words = WordTokenizer::new();
//! let vocabulary = Vocabulary::builder().max_size(10_000).texts(texts, &words).build()?;
//! let ids = texts.iter().map(|text| vocabulary.encode(text, &words)).collect::<Result<Vec<_>, _>>()?;
//! let batch = pad(&ids, &Padding::new())?;
//! assert_eq!(batch.ids.shape(), [2, 6]);
//! assert_eq!(batch.lengths, [3, 6]);
//! # Ok::<(), cairn_datasets::Error>(())
//! ```

#[cfg(feature = "bpe")]
mod bpe;
mod labelled;
mod padding;
mod parallel;
mod sequences;
mod special_tokens;
mod token_file;
mod tokenize;
mod vocabulary;
mod windows;

#[cfg(feature = "bpe")]
pub use bpe::{Bpe, BpeBuilder};
pub use labelled::LabelledReader;
pub use padding::{Padded, Padding, Side, pad};
pub use parallel::{Parallel, ParallelDataset};
pub use sequences::SequenceDataset;
pub use special_tokens::{PADDING, UNKNOWN};
pub use token_file::TokenFile;
pub use tokenize::{CharTokenizer, Tokenizer, WhitespaceTokenizer, WordTokenizer};
pub use vocabulary::{Vocabulary, VocabularyBuilder};
pub use windows::WindowDataset;

/// A text and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// The text.
    pub text: String,
    /// The class, from 0.
    pub label: u32,
}
