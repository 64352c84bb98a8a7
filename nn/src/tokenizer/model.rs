//! What finds the tokens of a word, as the library asks for it: ours for the commonest kind, and its own for all others. Clones share
//! the tokens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::{
    DecoderWrapper, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Token,
    TokenizerImpl,
};

use super::byte_pairs::BytePairs;

/// The library's tokenizer with our models.
pub(super) type Inner =
    TokenizerImpl<Words, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// The tokens of words.
#[derive(Debug, Clone)]
pub(super) enum Words {
    Pairs(Arc<BytePairs>),
    Library(Arc<ModelWrapper>),
}

impl From<BytePairs> for Words {
    fn from(pairs: BytePairs) -> Self {
        Words::Pairs(Arc::new(pairs))
    }
}

impl From<ModelWrapper> for Words {
    fn from(model: ModelWrapper) -> Self {
        Words::Library(Arc::new(model))
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ModelWrapper::deserialize(from).map(Words::from)
    }
}

impl Model for Words {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Words::Pairs(pairs) => pairs.tokenize(word).map_err(Into::into),
            Words::Library(model) => model.tokenize(word),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Words::Pairs(pairs) => pairs.vocabulary().id(token),
            Words::Library(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Words::Pairs(pairs) => pairs.vocabulary().token(id).map(str::to_owned),
            Words::Library(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Words::Pairs(pairs) => {
                let all = (0..pairs.vocabulary().len() as u32).map(|id| (self.id_to_token(id), id));
                all.filter_map(|(token, id)| Some((token?, id))).collect()
            }
            Words::Library(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Words::Pairs(pairs) => pairs.vocabulary().len(),
            Words::Library(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Words::Pairs(_) => Err("the tokens of a GGUF file are written with it".into()),
            Words::Library(model) => model.save(folder, prefix),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Words::Pairs(_) => BpeTrainer::default().into(),
            Words::Library(model) => model.get_trainer(),
        }
    }
}
