//! What finds the tokens of a word, as the library asks for it: ours for the commonest kinds, and its own for all others. Clones share
//! the tokens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::{
    DecoderWrapper, Model, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper, Token, TokenizerImpl,
};

use super::byte_pairs::BytePairs;
use super::growth::Changes;
use super::json;
use super::vocabulary::Vocabulary;
use super::word_pieces::WordPieces;

/// The library's tokenizer with our models, and with changes of texts that are checked.
pub(super) type Inner =
    TokenizerImpl<Words, Changes, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// The tokens of words.
#[derive(Debug, Clone)]
pub(super) enum Words {
    Pairs(Arc<BytePairs>),
    Pieces(Arc<WordPieces>),
    Library(Arc<ModelWrapper>),
}

impl From<BytePairs> for Words {
    fn from(pairs: BytePairs) -> Self {
        Words::Pairs(Arc::new(pairs))
    }
}

impl From<WordPieces> for Words {
    fn from(pieces: WordPieces) -> Self {
        Words::Pieces(Arc::new(pieces))
    }
}

impl From<ModelWrapper> for Words {
    fn from(model: ModelWrapper) -> Self {
        Words::Library(Arc::new(model))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let part: &'de RawValue = Deserialize::deserialize(from)?;
        json::model(part.get()).map_err(D::Error::custom)
    }
}

impl Words {
    /// The tokens; `None` where the library has them.
    fn vocabulary(&self) -> Option<&Vocabulary> {
        match self {
            Words::Pairs(pairs) => Some(pairs.vocabulary()),
            Words::Pieces(pieces) => Some(pieces.vocabulary()),
            Words::Library(_) => None,
        }
    }
}

impl Model for Words {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Words::Pairs(pairs) => pairs.tokenize(word).map_err(Into::into),
            Words::Pieces(pieces) => pieces.tokenize(word).map_err(Into::into),
            Words::Library(model) => model.tokenize(word),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Words::Library(model) => model.token_to_id(token),
            _ => self.vocabulary()?.id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Words::Library(model) => model.id_to_token(id),
            _ => self.vocabulary()?.token(id).map(str::to_owned),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Words::Library(model) => model.get_vocab(),
            _ => {
                (0..self.get_vocab_size() as u32).filter_map(|id| Some((self.id_to_token(id)?, id))).collect()
            }
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Words::Library(model) => model.get_vocab_size(),
            _ => self.vocabulary().map_or(0, Vocabulary::len),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Words::Library(model) => model.save(folder, prefix),
            _ => Err("these tokens are not written alone".into()),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Words::Pairs(_) => BpeTrainer::default().into(),
            Words::Pieces(_) => WordPieceTrainer::default().into(),
            Words::Library(model) => model.get_trainer(),
        }
    }
}
