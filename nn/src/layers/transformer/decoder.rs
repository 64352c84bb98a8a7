//! The decoder block of a model that reads one sequence and writes another, and a stack of them.

use cairn_autograd::Var;
use cairn_tensor::Rng;

use super::super::{Activation, Dropout, KeyValueCache, LayerNorm, MultiHeadAttention, SequenceMask};
use super::{FeedForward, Further, Kind, Part, residual, settings, stack};
use crate::{Context, Error, Init, Module, Result};

/// A block of causal self-attention, attention to an encoder's output, and a feed-forward part, for sequences `[batch, time,
/// features]`.
///
/// ```
/// use cairn_nn::{Context, spec};
/// use cairn_tensor::{Tensor, rng};
/// let block = spec::TransformerDecoderLayer::new(4, 128).layer(64, &mut rng(0))?;
/// let (x, memory) = (Tensor::ones([2, 5, 64])?.into(), Tensor::ones([2, 9, 64])?.into());
/// assert_eq!(block.forward(&x, &memory, None, &mut Context::eval())?.shape(), [2, 5, 64]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
pub struct TransformerDecoderLayer {
    /// Attention of the sequence to itself, causal unless the description says otherwise.
    pub attention: MultiHeadAttention,
    /// The normalisation that goes with it.
    pub attention_norm: LayerNorm,
    /// Attention to the encoder's output.
    pub cross_attention: MultiHeadAttention,
    /// The normalisation that goes with it.
    pub cross_attention_norm: LayerNorm,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// The normalisation that goes with it.
    pub feed_forward_norm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    norm_first: bool,
}

impl TransformerDecoderLayer {
    /// The block's output for `x`, given the encoder's output `memory` `[batch, steps, features]` and which of its steps are valid. The
    /// context's mask is that of `x`; its masks of pairs are those [within `x`](Context::with_attention_mask) and
    /// [with the memory](Context::with_memory_mask).
    ///
    /// # Errors
    /// When the inputs do not fit.
    pub fn forward(
        &self,
        x: &Var,
        memory: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let own = |x: &Var, cx: &mut Context| self.attention.forward(x, cx);
        self.run(x, cx, own, |x, cx| self.cross_attention.attend(x, memory, mask, cx))
    }

    fn forward_cached(
        &self,
        x: &Var,
        (keys, values): &(Var, Var),
        memory: &mut Memory,
        layer: usize,
    ) -> Result<Var> {
        let Memory { cache, mask, .. } = memory;
        let own = |x: &Var, _: &mut Context| self.attention.forward_cached(x, cache, layer);
        let cross =
            |x: &Var, cx: &mut Context| self.cross_attention.attend_to(x, keys, values, mask.as_ref(), cx);
        self.run(x, &mut Context::eval(), own, cross)
    }

    fn run(
        &self,
        x: &Var,
        cx: &mut Context,
        own: impl FnOnce(&Var, &mut Context) -> Result<Var>,
        cross: impl FnOnce(&Var, &mut Context) -> Result<Var>,
    ) -> Result<Var> {
        let parts: [Part<'_>; 3] = [
            (&self.attention_norm, Box::new(own)),
            (&self.cross_attention_norm, Box::new(cross)),
            (&self.feed_forward_norm, Box::new(|x: &Var, cx: &mut Context| self.feed_forward.forward(x, cx))),
        ];
        residual(x, self.norm_first, &self.dropout, cx, parts)
    }
}

/// Blocks one after the other, and a last normalisation if there is one.
#[derive(Debug, Clone, Module)]
pub struct TransformerDecoder {
    /// The blocks.
    pub layers: Vec<TransformerDecoderLayer>,
    /// What ends a stack of blocks that normalise first.
    pub norm: Option<LayerNorm>,
}

/// What a decoder keeps while it writes: the encoder's output as keys and values of each block, and those of its own tokens.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The keys and values of the tokens so far.
    pub cache: KeyValueCache,
    /// Keys and values of the encoder's output, for each block.
    memory: Vec<(Var, Var)>,
    mask: Option<SequenceMask>,
}

impl Memory {
    /// Makes row `i` what row `rows[i]` was; see [`Decoder::pick`](crate::generate::Decoder::pick).
    ///
    /// # Errors
    /// For a row that is not there; when memory does not hold the rows.
    pub fn pick(&mut self, rows: &[usize]) -> Result<()> {
        self.cache.pick(rows)?;
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        for (keys, values) in &mut self.memory {
            for side in [keys, values] {
                *side = Var::constant(side.value().index_select(0, &rows)?);
            }
        }
        if let Some(mask) = &mut self.mask {
            mask.ends = mask.ends.index_select(0, &rows)?;
            mask.starts = mask.starts.as_ref().map(|starts| starts.index_select(0, &rows)).transpose()?;
        }
        Ok(())
    }
}

impl TransformerDecoder {
    /// So many blocks of this description. A last normalisation is added where blocks normalise first.
    ///
    /// # Errors
    /// As [`spec::TransformerDecoderLayer::layer`](crate::spec::TransformerDecoderLayer::layer), and [`Error::BadSetting`] for more
    /// blocks than memory holds.
    pub fn new(
        blocks: usize,
        block: &spec::TransformerDecoderLayer,
        features: usize,
        rng: &mut Rng,
    ) -> Result<Self> {
        Ok(TransformerDecoder {
            layers: stack(blocks, || block.layer(features, rng))?,
            norm: block.last_norm(features)?,
        })
    }

    /// The output for `x` `[batch, time, features]`, given the encoder's and which of its steps are valid.
    ///
    /// # Errors
    /// When the inputs do not fit.
    pub fn forward(
        &self,
        x: &Var,
        memory: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let x = self.layers.iter().try_fold(x.clone(), |x, block| block.forward(&x, memory, mask, cx))?;
        self.normalised(x)
    }

    /// What generation from this output of the encoder, `[rows, steps, features]`, begins with: texts of at most `capacity` tokens.
    ///
    /// # Errors
    /// When the output does not fit the blocks, or memory does not hold the cache.
    pub fn memory(&self, memory: &Var, mask: Option<&SequenceMask>, capacity: usize) -> Result<Memory> {
        let rows = memory.shape().first().copied().unwrap_or(0);
        let cache = match self.layers.first() {
            Some(block) => block.attention.cache(self.layers.len(), rows, capacity)?,
            None => KeyValueCache::without_layers(rows, capacity)?,
        };
        let pairs = self.layers.iter().map(|block| block.cross_attention.keys_values(memory));
        Ok(Memory { cache, memory: pairs.collect::<Result<_>>()?, mask: mask.cloned() })
    }

    /// The output for new steps `[rows, time, features]` after those that were read, between the cache's
    /// [`begin`](KeyValueCache::begin) and [`end`](KeyValueCache::end).
    ///
    /// # Errors
    /// When the input does not fit the cache.
    pub fn forward_cached(&self, x: &Var, memory: &mut Memory) -> Result<Var> {
        let mut x = x.clone();
        for (layer, block) in self.layers.iter().enumerate() {
            let Some(pair) = memory.memory.get(layer).cloned() else {
                let (what, must) =
                    ("the place of a block", "below the number of blocks that made the memory");
                return Err(Error::BadSetting { what, value: layer as f64, must });
            };
            x = block.forward_cached(&x, &pair, memory, layer)?;
        }
        self.normalised(x)
    }

    fn normalised(&self, x: Var) -> Result<Var> {
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => Ok(x),
        }
    }
}

pub(in super::super) mod spec {
    use super::*;

    /// Description of a [`TransformerDecoderLayer`](crate::TransformerDecoderLayer), with PyTorch's defaults: dropout 0.1, ReLU,
    /// normalisation last with ε = 1e-5. It is for structs: a [`Sequential`](crate::Sequential) has one input.
    ///
    /// ```
    /// use cairn_nn::{Activation::Silu, spec};
    /// use cairn_tensor::{Pairs, Rotary, rng};
    /// // Two heads of keys for eight of queries, rotary positions, SwiGLU, and no biases.
    /// let attention = spec::MultiHeadAttention::new(8).key_value_heads(2).rotary(Rotary::new(8), Pairs::Halves);
    /// let block = spec::TransformerDecoderLayer::new(8, 172).attention(attention).activation(Silu).gated(true);
    /// let layer = block.bias(false).norm_first(true).layer(64, &mut rng(0))?;
    /// assert_eq!(layer.cross_attention.memory.unwrap().weight.shape(), [64, 2 * 2 * 8].into());
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[derive(Debug, Clone, PartialEq)]
    pub struct TransformerDecoderLayer {
        attention: crate::spec::MultiHeadAttention,
        hidden: usize,
        dropout: f32,
        activation: Activation,
        norm_first: bool,
        epsilon: f32,
        init: Init,
        further: Further,
    }

    settings!(TransformerDecoderLayer);

    impl TransformerDecoderLayer {
        /// With so many heads, and a feed-forward part that is `hidden` wide.
        #[doc(alias("nhead", "dim_feedforward"))]
        pub fn new(heads: usize, hidden: usize) -> Self {
            TransformerDecoderLayer {
                attention: crate::spec::MultiHeadAttention::new(heads).causal(true),
                hidden,
                dropout: 0.1,
                activation: Activation::Relu,
                norm_first: false,
                epsilon: 1e-5,
                init: Init::GlorotUniform,
                further: Further::default(),
            }
        }

        /// With other settings of attention: grouped queries, a window, rotary positions. Its dropout is the block's, and it is causal
        /// whatever it says: see [`causal`](Self::causal). Attention to the encoder's output is like it but for what is about steps of one
        /// sequence: it has neither a window nor positions, norms of heads nor separate projections.
        #[must_use]
        pub fn attention(self, attention: crate::spec::MultiHeadAttention) -> Self {
            TransformerDecoderLayer { attention: attention.causal(true), ..self }
        }

        /// Whether a step of the sequence attends to none after it, as it does unless told otherwise. Only what is causal goes on with a
        /// cache as it began.
        #[must_use]
        #[doc(alias = "tgt_is_causal")]
        pub fn causal(self, causal: bool) -> Self {
            TransformerDecoderLayer { attention: self.attention.causal(causal), ..self }
        }

        /// The block for so many features, of both sequences.
        ///
        /// # Errors
        /// As [`MultiHeadAttention::layer`](crate::spec::MultiHeadAttention::layer).
        pub fn layer(&self, features: usize, rng: &mut Rng) -> Result<super::TransformerDecoderLayer> {
            let attention = self.whole_attention();
            Ok(super::TransformerDecoderLayer {
                attention: attention.layer(features, rng)?,
                attention_norm: self.norm(features)?,
                cross_attention: attention.across().cross_layer(features, features, rng)?,
                cross_attention_norm: self.norm(features)?,
                feed_forward: self.feed_forward(features, rng)?,
                feed_forward_norm: self.norm(features)?,
                dropout: Dropout::new(self.dropout),
                norm_first: self.norm_first,
            })
        }
    }
}
