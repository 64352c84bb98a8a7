//! Open models from text to text: a [`LanguageModel`] writes and scores texts, an [`Encoder`] turns them into vectors.
//!
//! [`LanguageModel::batcher`] writes the texts of many requests together, for a server.
//!
//! Both are a network of [`models`](crate::models) with the tokenizer that it was trained with and what its publisher says about its
//! use, read from one path.

mod batcher;
mod encoder;
mod instruct;
mod model;
mod perplexity;
pub(crate) mod pooling;
mod text;
mod until;

pub use batcher::{TextBatcher, TextEvent};
pub use encoder::Encoder;
pub use instruct::{Example, TextBatch, TokenLoss, Tuning, batches};
pub use model::LanguageModel;
pub use perplexity::Perplexity;
pub use pooling::Pooling;
pub use text::Text;

pub use crate::tokenizer::{Message, assistant, system, user};
