//! The encoder block, and a stack of them.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Shape};
use serde::{Deserialize, Serialize};

use super::super::attention::spec::{Further as OfAttention, pytorch, sequence};
use super::super::config::{Extended, LayerConfig, Plan};
use super::super::{Activation, Dropout, KeyValueCache, Layer, LayerNorm, MultiHeadAttention, Value};
use super::{FeedForward, Further, Kind, Part, recomputed, residual, settings, stack};
use crate::weights::{Flow, Framework, Permutation, Rule, no_rule};
use crate::{Context, Init, Module, Result};

/// A block of self-attention and a feed-forward part, for sequences `[batch, time, features]`. Causal, it is the block of a GPT.
///
/// ```
/// use cairn_nn::{Context, spec};
/// use cairn_tensor::{Tensor, rng};
/// let block = spec::TransformerEncoderLayer::new(8, 2048).layer(512, &mut rng(0))?;
/// let x = Tensor::normal([2, 10, 512], 0.0, 1.0, &mut rng(1))?;
/// assert_eq!(block.forward(&x.into(), &mut Context::eval())?.shape(), [2, 10, 512]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, Module)]
#[doc(alias("TransformerBlock", "GPT block"))]
pub struct TransformerEncoderLayer {
    /// Attention of the sequence to itself.
    pub attention: MultiHeadAttention,
    /// The normalisation that goes with it.
    pub attention_norm: LayerNorm,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// The normalisation that goes with it.
    pub feed_forward_norm: LayerNorm,
    #[module(skip)]
    dropout: Dropout,
    #[module(skip)]
    norm_first: bool,
}

impl TransformerEncoderLayer {
    /// The block's output, of the same shape. The context's mask says which steps are valid.
    ///
    /// # Errors
    /// When the input does not fit.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.run(x, cx, MultiHeadAttention::forward)
    }

    /// The output for new steps after those in a cache, of which this is layer `layer`: see
    /// [`MultiHeadAttention::forward_cached`].
    ///
    /// # Errors
    /// When the input does not fit the cache.
    pub fn forward_cached(&self, x: &Var, cache: &mut KeyValueCache, layer: usize) -> Result<Var> {
        self.run(x, &mut Context::eval(), |attention, x, _| attention.forward_cached(x, cache, layer))
    }

    fn run(
        &self,
        x: &Var,
        cx: &mut Context,
        attend: impl FnOnce(&MultiHeadAttention, &Var, &mut Context) -> Result<Var>,
    ) -> Result<Var> {
        let parts: [Part<'_>; 2] = [
            (&self.attention_norm, Box::new(|x: &Var, cx: &mut Context| attend(&self.attention, x, cx))),
            (&self.feed_forward_norm, Box::new(|x: &Var, cx: &mut Context| self.feed_forward.forward(x, cx))),
        ];
        residual(x, self.norm_first, &self.dropout, cx, parts)
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        TransformerEncoderLayer::forward(self, &input.floats()?, cx)
    }
}

/// Blocks one after the other, and a last normalisation if there is one.
#[derive(Debug, Clone, Module)]
pub struct TransformerEncoder {
    /// The blocks.
    pub layers: Vec<TransformerEncoderLayer>,
    /// What ends a stack of blocks that normalise first.
    pub norm: Option<LayerNorm>,
}

impl TransformerEncoder {
    /// So many blocks of this description. A last normalisation is added where blocks normalise first, whose sum is else never
    /// normalised.
    ///
    /// # Errors
    /// As [`spec::TransformerEncoderLayer::layer`](crate::spec::TransformerEncoderLayer::layer), and [`Error::BadSetting`](crate::Error)
    /// for more blocks than memory holds.
    pub fn new(
        blocks: usize,
        block: &spec::TransformerEncoderLayer,
        features: usize,
        rng: &mut Rng,
    ) -> Result<Self> {
        Ok(TransformerEncoder {
            layers: stack(blocks, || block.layer(features, rng))?,
            norm: block.last_norm(features)?,
        })
    }

    /// The output for `[batch, time, features]`, of the same shape.
    ///
    /// # Errors
    /// When the input does not fit.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let forward = TransformerEncoderLayer::forward;
        let x = self.layers.iter().try_fold(x.clone(), |x, block| recomputed(block, &x, cx, forward))?;
        self.normalised(x)
    }

    /// The output for new steps after those in a cache, whose first layers are this stack's.
    ///
    /// # Errors
    /// When the input does not fit the cache.
    pub fn forward_cached(&self, x: &Var, cache: &mut KeyValueCache) -> Result<Var> {
        let mut blocks = self.layers.iter().enumerate();
        let x = blocks.try_fold(x.clone(), |x, (layer, block)| block.forward_cached(&x, cache, layer))?;
        self.normalised(x)
    }

    /// An empty cache for the stack, with `rows` rows of `capacity` tokens.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        match self.layers.first() {
            Some(block) => block.attention.cache(self.layers.len(), rows, capacity),
            None => KeyValueCache::without_layers(rows, capacity),
        }
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

    /// Description of a [`TransformerEncoderLayer`](crate::TransformerEncoderLayer), with PyTorch's defaults: dropout 0.1, ReLU,
    /// normalisation last with ε = 1e-5, not causal.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct TransformerEncoderLayer {
        attention: super::super::super::attention::spec::MultiHeadAttention,
        hidden: usize,
        dropout: f32,
        activation: Activation,
        norm_first: bool,
        epsilon: f32,
        init: Init,
        #[serde(skip)]
        further: Further,
    }

    settings!(TransformerEncoderLayer);

    impl TransformerEncoderLayer {
        /// With so many heads, and a feed-forward part that is `hidden` wide.
        #[doc(alias("nhead", "dim_feedforward"))]
        pub fn new(heads: usize, hidden: usize) -> Self {
            TransformerEncoderLayer {
                attention: crate::spec::MultiHeadAttention::new(heads),
                hidden,
                dropout: 0.1,
                activation: Activation::Relu,
                norm_first: false,
                epsilon: 1e-5,
                init: Init::GlorotUniform,
                further: Further::default(),
            }
        }

        /// With other settings of attention: grouped queries, a window, ALiBi. Its dropout is the block's.
        #[must_use]
        pub fn attention(self, attention: crate::spec::MultiHeadAttention) -> Self {
            TransformerEncoderLayer { attention, ..self }
        }

        /// Whether a step attends to none after it.
        #[must_use]
        #[doc(alias = "is_causal")]
        pub fn causal(self, causal: bool) -> Self {
            TransformerEncoderLayer { attention: self.attention.causal(causal), ..self }
        }

        /// The block for so many features.
        ///
        /// # Errors
        /// As [`MultiHeadAttention::layer`](crate::spec::MultiHeadAttention::layer).
        pub fn layer(&self, features: usize, rng: &mut Rng) -> Result<super::TransformerEncoderLayer> {
            Ok(super::TransformerEncoderLayer {
                attention: self.whole_attention().layer(features, rng)?,
                attention_norm: self.norm(features)?,
                feed_forward: self.feed_forward(features, rng)?,
                feed_forward_norm: self.norm(features)?,
                dropout: Dropout::new(self.dropout),
                norm_first: self.norm_first,
            })
        }
    }

    impl LayerConfig for TransformerEncoderLayer {
        const KIND: &'static str = "transformer_encoder_layer";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let [_, features] = sequence(input, "a transformer block")?;
            let attention = self.whole_attention().plan(input)?.values;
            let biases = |count: usize| if self.further.without_biases { 0 } else { count };
            let up = self.hidden.saturating_mul(if self.further.gated { 2 } else { 1 });
            let weights = features.saturating_mul(up.saturating_add(self.hidden));
            let feed_forward = weights.saturating_add(biases(up.saturating_add(features)));
            let norms = features.saturating_mul(2).saturating_add(biases(features.saturating_mul(2)));
            let values = attention.saturating_add(feed_forward).saturating_add(norms);
            Ok(Plan { output: input.clone(), values })
        }

        fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
            Ok(Box::new(self.layer(input[1], rng)?))
        }

        fn keeps_steps(&self) -> bool {
            true
        }

        fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
            let biases = !self.further.without_biases;
            if self.further.gated {
                return Err(no_rule("transformer encoder", " with a gate", "other libraries"));
            }
            let attention = self.whole_attention();
            let of_attention = attention.rules(framework, flow)?;
            if framework == Framework::Keras {
                return Ok(keras(of_attention, biases));
            }
            // A weight and, if there are any, a bias.
            let pair = |own: &str, foreign: &str, weight| {
                let rule = |name: &str, permutation| {
                    Rule::new(format!("{own}.{name}"), format!("{foreign}.{name}"), permutation)
                };
                let bias = biases.then(|| rule("bias", Permutation::Same));
                [rule("weight", weight)].into_iter().chain(bias)
            };
            let mut rules = pytorch("attention.", ".self_attn.", attention.has_bias());
            rules.extend(pair("attention_norm", ".norm1", Permutation::Same));
            rules.extend(pair("feed_forward.up", ".linear1", Permutation::Transposed));
            rules.extend(pair("feed_forward.down", ".linear2", Permutation::Transposed));
            rules.extend(pair("feed_forward_norm", ".norm2", Permutation::Same));
            Ok(rules)
        }
    }

    /// The names of keras_hub's `TransformerEncoder`, given those of attention.
    fn keras(attention: Vec<Rule>, biases: bool) -> Vec<Rule> {
        let mut rules: Vec<Rule> = attention
            .into_iter()
            .map(|rule| Rule {
                own: format!("attention.{}", rule.own),
                foreign: rule.foreign.iter().map(|name| format!("/self_attention_layer{name}")).collect(),
                permutation: rule.permutation,
            })
            .collect();
        let parts = [
            ("attention_norm", "self_attention_layer_norm", ["gamma", "beta"]),
            ("feed_forward.up", "feedforward_intermediate_dense", ["kernel", "bias"]),
            ("feed_forward.down", "feedforward_output_dense", ["kernel", "bias"]),
            ("feed_forward_norm", "feedforward_layer_norm", ["gamma", "beta"]),
        ];
        for (own, foreign, names) in parts {
            let values = ["weight", "bias"].into_iter().zip(names).take(if biases { 2 } else { 1 });
            rules.extend(values.map(|(value, name)| {
                Rule::new(format!("{own}.{value}"), format!("/{foreign}/{name}"), Permutation::Same)
            }));
        }
        rules
    }

    impl Extended for TransformerEncoderLayer {
        const FORM: &'static str = "transformer_encoder_layer_2";
        type Further = (Further, OfAttention);

        fn further(&self) -> Option<Self::Further> {
            let both = (self.further, self.attention.further().unwrap_or_default());
            (both != Self::Further::default()).then_some(both)
        }

        fn with_further(self, (further, of_attention): Self::Further) -> Self {
            let attention = self.attention.with_further(of_attention);
            TransformerEncoderLayer { attention, further, ..self }
        }
    }
}
