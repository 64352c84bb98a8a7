//! Sentence embeddings: texts as vectors whose cosine says how alike they are in meaning (Reimers and Gurevych 2019).

use std::path::Path;

use cairn_autograd::no_grad;
use cairn_tensor::Tensor;

use super::pooling::{Pooling, Said};
use crate::models::{EncoderModel, Network, Opened};
use crate::tokenizer::Tokenizer;
use crate::{Context, Error, Result};

/// Tokens, padding included, that are computed at a time: enough for products to be worth dividing, and no more, so that what lies
/// between layers stays in the cache.
const AT_ONCE: usize = 2048;

/// An encoder of sentences with its tokenizer.
///
/// ```no_run
/// use cairn_nn::language::Encoder;
/// let encoder = Encoder::load("all-MiniLM-L6-v2")?;
/// let vectors = encoder.embed(&["A cat sits on the mat.", "A feline rests on a rug."])?; // [2, 384], of length 1
/// let cosine = vectors.index(0, 0)?.mul(&vectors.index(0, 1)?)?.sum(..)?.item()?;
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias("SentenceTransformer", "SentenceEncoder"))]
pub struct Encoder {
    network: Box<dyn EncoderModel>,
    tokenizer: Tokenizer,
    longest: usize,
    pooling: Pooling,
    normalized: bool,
    /// Of a vector, where settings say it.
    features: Option<usize>,
}

impl Encoder {
    /// Reads a folder as Hugging Face publishes encoders, with what sentence-transformers says beside it: how vectors are made of those
    /// of tokens, and how many are read of a text; or a GGUF file of BERT. Where nothing is said, the vector is the mean, brought to length 1.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::BadFile`] for what cannot be read, and for vectors that are made as is not known here: by several kinds of
    /// pooling, or with layers after it; [`Error::Unsupported`] for an architecture that is not known
    /// here or writes texts.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opened = Opened::open(path)?;
        let said = Said::read(path, &opened.config);
        let (network, tokenizer, _) = opened.parts(path, None)?;
        let Network::Encoder(network) = network else {
            return Err(Error::Unsupported { what: "embedding texts with a model that writes them".into() });
        };
        let Said { pooling, normalized, longest } = said?;
        let features = ["hidden_size", "dim"].into_iter().find_map(|key| opened.config.size(key).ok());
        let encoder = Encoder { features, ..Self::new(network, tokenizer) };
        Ok(encoder.pooling(pooling).normalized(normalized).longest(longest))
    }

    /// Of parts: the mean of the tokens' vectors, brought to length 1, of as many tokens as the network reads.
    pub fn new(network: Box<dyn EncoderModel>, tokenizer: Tokenizer) -> Self {
        let longest = network.context().max(1);
        Encoder { network, tokenizer, longest, pooling: Pooling::Mean, normalized: true, features: None }
    }

    /// With vectors made otherwise.
    #[must_use]
    pub fn pooling(self, pooling: Pooling) -> Self {
        Encoder { pooling, ..self }
    }

    /// Whether vectors are brought to length 1, so that their product is the cosine.
    #[must_use]
    #[doc(alias = "normalize_embeddings")]
    pub fn normalized(self, normalized: bool) -> Self {
        Encoder { normalized, ..self }
    }

    /// Reads at most so many tokens of a text, those around it included; what is beyond has no part in its vector.
    #[must_use]
    #[doc(alias("max_seq_length", "truncation"))]
    pub fn longest(self, tokens: usize) -> Self {
        // Two are those around a text, unless the network reads fewer.
        let longest = tokens.max(2).min(self.network.context()).max(1);
        Encoder { longest, ..self }
    }

    /// How many tokens of a text are read, those around it included.
    pub fn context(&self) -> usize {
        self.longest
    }

    /// How many numbers a vector has, where the encoder was read from files.
    #[doc(alias("get_sentence_embedding_dimension", "dimensions"))]
    pub fn features(&self) -> Option<usize> {
        self.features
    }

    /// The network, to be trained or looked at.
    pub fn network(&self) -> &dyn EncoderModel {
        &*self.network
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The vectors of texts, `[texts, features]`. A text's does not depend on the others: those of like length are computed together,
    /// and their padding has no part in it.
    ///
    /// # Errors
    /// For a text without a token; when memory does not hold the vectors.
    #[doc(alias("encode", "sentence embedding"))]
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Tensor> {
        let ids =
            texts.iter().map(|text| self.tokenizer.encode(text.as_ref())).collect::<Result<Vec<_>>>()?;
        self.embed_tokens(&ids)
    }

    /// As [`embed`](Self::embed), of texts that are tokens already, those around them included.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and for ids that are no tokens.
    pub fn embed_tokens<T: AsRef<[u32]>>(&self, texts: &[T]) -> Result<Tensor> {
        let ids = texts.iter().map(|ids| self.cut(ids.as_ref())).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&text| ids[text].len());
        let mut vectors: Vec<(usize, Vec<f32>)> = Vec::with_capacity(ids.len());
        let mut rest = &order[..];
        while !rest.is_empty() {
            // The longest of a batch is its last.
            let fits = |&count: &usize| count * ids[rest[count - 1]].len() <= AT_ONCE;
            let count = (1..=rest.len()).take_while(fits).last().unwrap_or(1);
            let (batch, later) = rest.split_at(count);
            let rows: Vec<&[u32]> = batch.iter().map(|&text| &ids[text][..]).collect();
            vectors.extend(batch.iter().copied().zip(self.batch(&rows)?));
            rest = later;
        }
        vectors.sort_by_key(|(text, _)| *text);
        let features = vectors.first().map_or(0, |(_, vector)| vector.len());
        let all: Vec<f32> = vectors.into_iter().flat_map(|(_, vector)| vector).collect();
        Ok(Tensor::from_vec(all, [texts.len(), features])?)
    }

    /// A text's tokens, cut before the one that ends it.
    fn cut(&self, ids: &[u32]) -> Result<Vec<u32>> {
        let Some(&end) = ids.last() else {
            return Err(Error::BadSetting {
                what: "the number of tokens of a text",
                value: 0.0,
                must: "at least 1",
            });
        };
        if ids.len() <= self.longest {
            return Ok(ids.to_vec());
        }
        Ok(ids[..self.longest - 1].iter().copied().chain([end]).collect())
    }

    fn batch(&self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let padded = rows.iter().flat_map(|row| row.iter().copied().chain(std::iter::repeat(0)).take(time));
        let ids = Tensor::from_vec(padded.collect(), [rows.len(), time])?;
        let lengths = Tensor::from_vec(rows.iter().map(|row| row.len() as u32).collect(), [rows.len()])?;
        let mut cx = Context::eval().with_lengths(&lengths);
        let states = no_grad(|| self.network.forward(&ids, &mut cx))?;
        let features = states.shape()[2];
        let states = states.value().row_major()?;
        let texts = states.chunks_exact((time * features).max(1)).zip(rows);
        Ok(texts.map(|(states, row)| self.pooled(&states[..row.len() * features], features)).collect())
    }

    /// The vector of a text, from those of its tokens, one after the other.
    fn pooled(&self, states: &[f32], features: usize) -> Vec<f32> {
        let tokens = states.chunks_exact(features.max(1));
        let count = tokens.len() as f32;
        let mut vector = match self.pooling {
            Pooling::First => states[..features].to_vec(),
            Pooling::Last => states[states.len() - features..].to_vec(),
            Pooling::Max => joined(tokens, features, f32::NEG_INFINITY, f32::max),
            Pooling::Mean => {
                joined(tokens, features, 0.0, |a, b| a + b).into_iter().map(|sum| sum / count).collect()
            }
        };
        if self.normalized {
            let length = vector.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt().max(1e-12) as f32;
            vector.iter_mut().for_each(|x| *x /= length);
        }
        vector
    }
}

/// The tokens' values joined feature by feature.
fn joined<'a>(
    tokens: impl Iterator<Item = &'a [f32]>,
    features: usize,
    first: f32,
    join: impl Fn(f32, f32) -> f32,
) -> Vec<f32> {
    let mut vector = vec![first; features];
    for token in tokens {
        vector.iter_mut().zip(token).for_each(|(sum, &x)| *sum = join(*sum, x));
    }
    vector
}
