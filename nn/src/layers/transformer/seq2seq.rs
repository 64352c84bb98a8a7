//! The transformer of Vaswani et al. 2017 as a whole: an encoder that reads a sequence of tokens, and a decoder that writes another.
//!
//! Tokens are embedded, times √features, and their positions added, as in the paper; tables are shared, by default one for both
//! sequences and the output. The output layer is left to the caller in training, since
//! [`Var::linear_cross_entropy`] computes it together with the loss, without an array of all scores. Generation goes
//! through [`Decoder`], as for every other model: sampled, or searched by beams.

use cairn_autograd::{Parameter, Var, no_grad};
use cairn_tensor::{Rng, Tensor};

use super::super::{Activation, Dropout, Embedding, SequenceMask};
use super::positions::Sinusoids;
use super::{Memory, TransformerDecoder, TransformerEncoder, sinusoids};
use crate::generate::Decoder;
use crate::{Context, Error, Init, Module, Result};

/// An encoder and a decoder of tokens.
///
/// ```
/// use cairn_nn::generate::BeamSearch;
/// use cairn_nn::{Context, SequenceMask, spec};
/// use cairn_tensor::{LinearCrossEntropyOptions, Tensor, rng};
/// // 20 tokens, of which 0 is padding, 1 begins a text and 2 ends it.
/// let model = spec::Transformer::new(20).features(16).heads(2).layers(2, 2).hidden(32).layer(&mut rng(0))?;
/// let source = Tensor::from_vec(vec![5, 6, 2, 7, 2, 0], [2, 3])?;
/// let mask = SequenceMask::of_lengths(&Tensor::from_vec(vec![3, 2], [2])?);
///
/// // A training step: what the decoder reads, and what it should write.
/// let (read, write) = (Tensor::from_vec(vec![1, 8, 1, 9], [2, 2])?, Tensor::from_vec(vec![8, 2, 9, 2], [2, 2])?);
/// let states = model.forward(&source, Some(&mask), &read, &mut Context::train(0))?;
/// let options = LinearCrossEntropyOptions::default().ignored(0).smoothing(0.1);
/// let (sum, tokens) = states.linear_cross_entropy(&model.head.var(), None, &write, &options)?;
/// let gradients = sum.mean_over(tokens)?.backward()?;
/// assert!(gradients.get(&model.head).is_some());
///
/// // Translations of at most 8 tokens.
/// let memory = model.read(&source, Some(&mask), 9)?;
/// let best = BeamSearch::new(3, 8).stop_at([2]).search(&model, memory, &[&[1], &[1]])?;
/// assert!(best[0][0].tokens.len() <= 8);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("nn.Transformer", "seq2seq", "encoder-decoder", "translator"))]
pub struct Transformer {
    /// The embedding of the tokens that are read, `[vocabulary, features]`.
    pub source: Embedding,
    /// That of those that are written; unless set apart the same.
    pub target: Embedding,
    /// Reads.
    pub encoder: TransformerEncoder,
    /// Writes.
    pub decoder: TransformerDecoder,
    /// The output layer's weight, `[vocabulary, features]`; unless set apart that of the target's embedding.
    pub head: Parameter,
    /// Learned positions of both, `[length, features]`; sines and cosines where there are none.
    pub positions: Option<Embedding>,
    #[module(skip)]
    sinusoids: Sinusoids,
    #[module(skip)]
    scale: f32,
    #[module(skip)]
    dropout: Dropout,
}

impl Transformer {
    /// What the decoder makes of `target` `[batch, time]`, the text so far, given `source` `[batch, steps]` and which of its steps
    /// are valid: states `[batch, time, features]`, whose product with [`head`](Self::head) are the scores of each next token. The
    /// context's masks are those of the target; a mask of pairs within the source goes to [`encode`](Self::encode).
    ///
    /// # Errors
    /// For tokens beyond the vocabulary, and what does not fit together.
    pub fn forward(
        &self,
        source: &Tensor<u32>,
        mask: Option<&SequenceMask>,
        target: &Tensor<u32>,
        cx: &mut Context,
    ) -> Result<Var> {
        let (own, pairs) = (cx.mask().cloned(), cx.attention_mask().cloned());
        cx.set_mask(mask.cloned());
        cx.set_attention_mask(None);
        let memory = self.encode(source, cx)?;
        cx.set_mask(own);
        cx.set_attention_mask(pairs);
        self.decode(target, &memory, mask, cx)
    }

    /// The encoder's output for `[batch, steps]`, `[batch, steps, features]`. The context's mask says which steps are valid.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn encode(&self, source: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let x = self.embed(&self.source, source, &steps(source)?)?;
        self.encoder.forward(&self.dropout.forward(&x, cx)?, cx)
    }

    /// The decoder's states for the text so far, given the encoder's output and which of its steps are valid.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn decode(
        &self,
        target: &Tensor<u32>,
        memory: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let x = self.embed(&self.target, target, &steps(target)?)?;
        self.decoder.forward(&self.dropout.forward(&x, cx)?, memory, mask, cx)
    }

    /// The scores of all tokens, `[…, vocabulary]`, for states `[…, features]`.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn scores(&self, states: &Var) -> Result<Var> {
        Ok(states.matmul(&self.head.var().t()?)?)
    }

    /// Reads sources, of which `mask` says the valid steps: what generation begins with, texts of at most `capacity` tokens with the
    /// one that begins them. Texts go on from it by [`Generate`](crate::generate::Generate) and
    /// [`BeamSearch`](crate::generate::BeamSearch).
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and when memory does not hold the cache.
    pub fn read(&self, source: &Tensor<u32>, mask: Option<&SequenceMask>, capacity: usize) -> Result<Memory> {
        let mut cx = Context::eval();
        cx.set_mask(mask.cloned());
        no_grad(|| self.decoder.memory(&self.encode(source, &mut cx)?, mask, capacity))
    }

    /// Embeddings of ids, `[batch, time]`, at positions `[time]` or `[batch, time]`.
    fn embed(&self, table: &Embedding, ids: &Tensor<u32>, at: &Tensor<u32>) -> Result<Var> {
        let x = table.forward(ids)?.scale(self.scale)?;
        let positions = match &self.positions {
            Some(table) => table.forward(at)?,
            None => {
                let longest = at.iter().max().map_or(0, |last| last as usize + 1);
                Var::constant(self.sinusoids.first(longest)?).lookup(at)?
            }
        };
        Ok(x.add(&positions)?)
    }
}

impl Decoder for Transformer {
    type State = Memory;

    fn next(&self, tokens: &[&[u32]], memory: &mut Memory) -> Result<Tensor> {
        no_grad(|| {
            let (ids, at) = memory.cache.read(tokens)?;
            let y = self.decoder.forward_cached(&self.embed(&self.target, &ids, &at)?, memory)?;
            let last = memory.cache.last(&y)?;
            Ok(self.scores(&last)?.value().clone())
        })
    }

    fn pick(&self, memory: &mut Memory, rows: &[usize]) -> Result<()> {
        memory.pick(rows)
    }
}

/// The positions of a batch of ids `[batch, time]`, `[time]`.
fn steps(ids: &Tensor<u32>) -> Result<Tensor<u32>> {
    match *ids.shape() {
        [_, time] => Ok(Tensor::arange(0, time as u32, 1)?),
        _ => Err(Error::BadInput { input: ids.dims().clone(), why: "ids are to be [batch, time]".into() }),
    }
}

pub(in super::super) mod spec {
    use super::super::spec::{TransformerDecoderLayer, TransformerEncoderLayer};
    use super::*;

    /// Description of a [`Transformer`](crate::Transformer), with the defaults of PyTorch's, which are the paper's: 512 features, 8
    /// heads, 6 + 6 layers, a feed-forward part of 2048, dropout 0.1, ReLU, normalisation last. It is for structs: a
    /// [`Sequential`](crate::Sequential) has one input.
    ///
    /// Embeddings are drawn normally with a standard deviation of 1/√features, weights by Glorot's uniform rule, biases from 0.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Transformer {
        vocabulary: usize,
        target: Option<usize>,
        tied: bool,
        features: usize,
        heads: usize,
        layers: [usize; 2],
        hidden: usize,
        dropout: f32,
        activation: Activation,
        norm_first: bool,
        epsilon: f32,
        positions: Option<usize>,
        bias: bool,
        last_norms: Option<bool>,
    }

    impl Transformer {
        /// With one vocabulary of this size, whose table serves both sequences and the output.
        pub fn new(vocabulary: usize) -> Self {
            Transformer {
                vocabulary,
                target: None,
                tied: true,
                features: 512,
                heads: 8,
                layers: [6, 6],
                hidden: 2048,
                dropout: 0.1,
                activation: Activation::Relu,
                norm_first: false,
                epsilon: 1e-5,
                positions: None,
                bias: true,
                last_norms: None,
            }
        }

        /// With a vocabulary of its own for what is written, in a table of its own.
        #[must_use]
        pub fn target_vocabulary(self, vocabulary: usize) -> Self {
            Transformer { target: Some(vocabulary), ..self }
        }

        /// Whether the output layer's weight is the target's embedding (Press and Wolf 2017).
        #[must_use]
        #[doc(alias("tie_word_embeddings", "share_decoder_input_output_embed"))]
        pub fn tied_head(self, tied: bool) -> Self {
            Transformer { tied, ..self }
        }

        /// So many features of each step.
        #[must_use]
        #[doc(alias = "d_model")]
        pub fn features(self, features: usize) -> Self {
            Transformer { features, ..self }
        }

        /// So many heads in each attention.
        #[must_use]
        #[doc(alias = "nhead")]
        pub fn heads(self, heads: usize) -> Self {
            Transformer { heads, ..self }
        }

        /// So many layers of encoder and decoder.
        #[must_use]
        #[doc(alias("num_encoder_layers", "num_decoder_layers"))]
        pub fn layers(self, encoder: usize, decoder: usize) -> Self {
            Transformer { layers: [encoder, decoder], ..self }
        }

        /// The width within the feed-forward parts.
        #[must_use]
        #[doc(alias = "dim_feedforward")]
        pub fn hidden(self, hidden: usize) -> Self {
            Transformer { hidden, ..self }
        }

        /// Drops embeddings, attention weights, hidden values and the parts' outputs in training with this probability.
        #[must_use]
        pub fn dropout(self, dropout: f32) -> Self {
            Transformer { dropout, ..self }
        }

        /// With another activation in the feed-forward parts.
        #[must_use]
        pub fn activation(self, activation: Activation) -> Self {
            Transformer { activation, ..self }
        }

        /// Whether normalisation comes before each part, or after the sum.
        #[must_use]
        pub fn norm_first(self, norm_first: bool) -> Self {
            Transformer { norm_first, ..self }
        }

        /// With this ε in the normalisations.
        #[must_use]
        #[doc(alias = "layer_norm_eps")]
        pub fn epsilon(self, epsilon: f32) -> Self {
            Transformer { epsilon, ..self }
        }

        /// With or without biases in the layers.
        #[must_use]
        #[doc(alias = "use_bias")]
        pub fn bias(self, bias: bool) -> Self {
            Transformer { bias, ..self }
        }

        /// Whether encoder and decoder end with a normalisation. `torch.nn.Transformer` always has both; the paper's has none, since its blocks
        /// end with one. Unless told, there are such where [blocks normalise first](Self::norm_first), which need them.
        #[must_use]
        #[doc(alias("encoder_norm", "decoder_norm", "final norm"))]
        pub fn last_norms(self, last_norms: bool) -> Self {
            Transformer { last_norms: Some(last_norms), ..self }
        }

        /// Learns a vector for each of so many positions, for both sequences, in place of sines and cosines. Longer texts are errors.
        #[must_use]
        #[doc(alias("max_source_positions", "position embedding"))]
        pub fn learned_positions(self, length: usize) -> Self {
            Transformer { positions: Some(length), ..self }
        }

        /// The model.
        ///
        /// # Errors
        /// [`Error::BadSetting`] for heads that do not divide the features, sizes of 0, an odd number of features without learned
        /// positions; when memory does not hold the weights.
        pub fn layer(&self, rng: &mut Rng) -> Result<super::Transformer> {
            let features = self.features;
            if self.positions.is_none() {
                sinusoids(0, features)?;
            }
            let init = Init::Normal(1.0 / (features as f32).sqrt());
            let table =
                |rows, rng: &mut Rng| crate::spec::Embedding::new(rows, features).init(init).layer(rng);
            let source = table(self.vocabulary, rng)?;
            let target = match self.target {
                Some(vocabulary) => table(vocabulary, rng)?,
                None => source.clone(),
            };
            let head = match self.tied {
                true => target.weight.clone(),
                false => table(target.weight.shape()[0], rng)?.weight,
            };
            let positions = self.positions.map(|length| table(length, rng)).transpose()?;
            let encoder = TransformerEncoderLayer::new(self.heads, self.hidden).activation(self.activation);
            let encoder = encoder.dropout(self.dropout).norm_first(self.norm_first).epsilon(self.epsilon);
            let encoder = encoder.bias(self.bias);
            let decoder = TransformerDecoderLayer::new(self.heads, self.hidden).activation(self.activation);
            let decoder = decoder.dropout(self.dropout).norm_first(self.norm_first).epsilon(self.epsilon);
            let decoder = decoder.bias(self.bias);
            let mut reads = TransformerEncoder::new(self.layers[0], &encoder, features, rng)?;
            let mut writes = TransformerDecoder::new(self.layers[1], &decoder, features, rng)?;
            if let Some(last) = self.last_norms {
                reads.norm = last.then(|| encoder.norm(features)).transpose()?;
                writes.norm = last.then(|| decoder.norm(features)).transpose()?;
            }
            Ok(super::Transformer {
                source,
                target,
                encoder: reads,
                decoder: writes,
                head,
                positions,
                sinusoids: Sinusoids::new(features),
                scale: (features as f32).sqrt(),
                dropout: Dropout::new(self.dropout),
            })
        }
    }
}
