//! The description of attention layers.

use cairn_tensor::{AttentionOptions, AttentionRules, Causal, Pairs, Rng, Rotary, Shape};
use serde::{Deserialize, Serialize};

use super::super::config::{LayerConfig, Plan};
use super::super::{Layer, Linear, RmsNorm};
use super::{Heads, RotaryPositions};
use crate::weights::{Flow, Framework, Permutation, Rule, no_rule};
use crate::{Error, Init, Result};

/// Description of a [`MultiHeadAttention`](crate::MultiHeadAttention) layer.
///
/// Defaults as in PyTorch: as many key heads as heads, of features / heads each, with biases, no dropout, not causal.
///
/// ```
/// use cairn_nn::spec::MultiHeadAttention;
/// // As in Mistral: four query heads share one of keys, and look 4,096 tokens back.
/// let attention = MultiHeadAttention::new(32).key_value_heads(8).bias(false).causal(true).window(4096);
/// let layer = attention.layer(256, &mut cairn_tensor::rng(0))?;
/// assert_eq!(layer.projection.weight.shape(), [256, (32 + 8 + 8) * 8].into());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultiHeadAttention {
    heads: usize,
    key_value_heads: Option<usize>,
    head_size: Option<usize>,
    bias: bool,
    pub(super) dropout: f32,
    causal: bool,
    window: Option<usize>,
    scale: Option<f64>,
    soft_cap: Option<f64>,
    alibi: bool,
    init: Init,
    rotary: Option<(Rotary, Pairs)>,
    head_norm: Option<f32>,
    separate: bool,
    output_bias: Option<bool>,
}

impl MultiHeadAttention {
    /// Attention with so many heads.
    #[doc(alias = "num_heads")]
    pub fn new(heads: usize) -> Self {
        MultiHeadAttention {
            heads,
            key_value_heads: None,
            head_size: None,
            bias: true,
            dropout: 0.0,
            causal: false,
            window: None,
            scale: None,
            soft_cap: None,
            alibi: false,
            init: Init::GlorotUniform,
            rotary: None,
            head_norm: None,
            separate: false,
            output_bias: None,
        }
    }

    /// Fewer heads of keys and values, each shared by as many query heads (Ainslie et al. 2023); one is multi-query attention.
    #[must_use]
    #[doc(alias("num_key_value_heads", "num_kv_heads", "GroupedQueryAttention"))]
    pub fn key_value_heads(self, heads: usize) -> Self {
        MultiHeadAttention { key_value_heads: Some(heads), ..self }
    }

    /// Heads of another size than features / heads.
    #[must_use]
    #[doc(alias("head_dim", "key_dim"))]
    pub fn head_size(self, size: usize) -> Self {
        MultiHeadAttention { head_size: Some(size), ..self }
    }

    /// With or without biases.
    #[must_use]
    #[doc(alias = "use_bias")]
    pub fn bias(self, bias: bool) -> Self {
        MultiHeadAttention { bias, ..self }
    }

    /// Drops attention weights in training with this probability, 0 to below 1.
    #[must_use]
    pub fn dropout(self, dropout: f32) -> Self {
        MultiHeadAttention { dropout, ..self }
    }

    /// Whether a step attends to none after it.
    #[must_use]
    #[doc(alias("is_causal", "use_causal_mask"))]
    pub fn causal(self, causal: bool) -> Self {
        MultiHeadAttention { causal, ..self }
    }

    /// Attends to so many steps back, its own included, and unless causal to as many ahead.
    #[must_use]
    #[doc(alias = "sliding_window")]
    pub fn window(self, window: usize) -> Self {
        MultiHeadAttention { window: Some(window), ..self }
    }

    /// Multiplies products of queries and keys by this in place of 1/√size.
    #[must_use]
    pub fn scale(self, scale: f64) -> Self {
        MultiHeadAttention { scale: Some(scale), ..self }
    }

    /// Keeps scores within ±`cap` by cap · tanh(score / cap), as in Gemma 2.
    #[must_use]
    #[doc(alias("softcap", "attn_logit_softcapping"))]
    pub fn soft_cap(self, cap: f64) -> Self {
        MultiHeadAttention { soft_cap: Some(cap), ..self }
    }

    /// Subtracts a multiple of the distance from each score (ALiBi, Press et al. 2022), with the slopes of the paper: positions
    /// without an embedding of them.
    #[must_use]
    pub fn alibi(self) -> Self {
        MultiHeadAttention { alibi: true, ..self }
    }

    /// Turns queries and keys by their positions (rotary positions, Su et al. 2021), these elements of a head together. Layers of one
    /// model that share tables are made without, and given them by [`rotary`](crate::MultiHeadAttention::rotary).
    ///
    /// ```
    /// use cairn_nn::spec::MultiHeadAttention;
    /// use cairn_tensor::{Pairs, Rotary};
    /// // As in Qwen 3: heads of 128, normalised and then turned.
    /// let attention = MultiHeadAttention::new(16).key_value_heads(8).head_size(128).bias(false).causal(true);
    /// let attention = attention.head_norm(1e-6).rotary(Rotary::new(128).base(1e6), Pairs::Halves);
    /// let layer = attention.layer(1024, &mut cairn_tensor::rng(0))?;
    /// assert_eq!(layer.query_norm.unwrap().weight.shape(), [128].into());
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    #[must_use]
    #[doc(alias("rope", "RotaryEmbedding"))]
    pub fn rotary(self, rotary: Rotary, pairs: Pairs) -> Self {
        MultiHeadAttention { rotary: Some((rotary, pairs)), ..self }
    }

    /// Normalises each head of queries and keys by its root mean square with this ε, before it is turned (Dehghani et al. 2023), as in
    /// Qwen 3 and Gemma 3.
    #[must_use]
    #[doc(alias("qk_norm", "q_norm", "k_norm"))]
    pub fn head_norm(self, epsilon: f32) -> Self {
        MultiHeadAttention { head_norm: Some(epsilon), ..self }
    }

    /// Makes queries, keys and values each by a dense layer of its own, as open language models have them in their files, so that each can be
    /// stored in a type of its own.
    #[must_use]
    pub fn separate(self) -> Self {
        MultiHeadAttention { separate: true, ..self }
    }

    /// With or without a bias in the layer that joins the heads, if it is otherwise than in the others.
    #[must_use]
    pub fn output_bias(self, bias: bool) -> Self {
        MultiHeadAttention { output_bias: Some(bias), ..self }
    }

    pub(in super::super) fn has_bias(&self) -> bool {
        self.bias
    }

    /// With other initial weights.
    #[must_use]
    #[doc(alias = "kernel_initializer")]
    pub fn init(self, init: Init) -> Self {
        MultiHeadAttention { init, ..self }
    }

    /// The layer for sequences of so many features, which attend to themselves.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for heads that do not divide the features or are not divided by the key heads, for sizes of 0, and for
    /// more rotary positions than a head has elements; those of [`AttentionRules::check`]; when memory does not hold the weights.
    pub fn layer(&self, features: usize, rng: &mut Rng) -> Result<super::MultiHeadAttention> {
        let heads = self.heads_of(features)?;
        let Heads { queries, keys, size } = heads;
        let first = if self.separate { queries } else { queries + 2 * keys };
        let mut layer = self.joined(features, heads, self.dense(features, first * size, rng)?, rng)?;
        if self.separate {
            layer.keys = Some(self.dense(features, keys * size, rng)?);
            layer.values = Some(self.dense(features, keys * size, rng)?);
        }
        if let Some(epsilon) = self.head_norm {
            layer.query_norm = Some(RmsNorm::new(size)?.epsilon(epsilon)?);
            layer.key_norm = Some(RmsNorm::new(size)?.epsilon(epsilon)?);
        }
        if let Some((rotary, pairs)) = self.rotary {
            layer.rotary = Some(RotaryPositions::new(rotary, pairs)?);
        }
        Ok(layer)
    }

    /// The layer for sequences of so many features that attend to others, of `memory` features.
    ///
    /// # Errors
    /// As [`layer`](Self::layer); [`Error::Unsupported`] for what a layer for its own sequence has alone: rotary positions, a window,
    /// linear biases, norms of heads and separate projections.
    #[doc(alias("kdim", "vdim", "cross_attention"))]
    pub fn cross_layer(
        &self,
        features: usize,
        memory: usize,
        rng: &mut Rng,
    ) -> Result<super::MultiHeadAttention> {
        // Steps of two sequences are at no distance from each other.
        let placed = self.rotary.is_some() || self.window.is_some() || self.alibi;
        if self.separate || self.head_norm.is_some() || placed {
            let what = "rotary positions, windows, linear biases, norms of heads or separate projections in attention to another sequence";
            return Err(Error::Unsupported { what: what.into() });
        }
        let heads = self.heads_of(features)?;
        let projection = self.dense(features, heads.queries * heads.size, rng)?;
        let memory = self.dense(memory, 2 * heads.keys * heads.size, rng)?;
        let layer = self.joined(features, heads, projection, rng)?;
        Ok(super::MultiHeadAttention { memory: Some(memory), ..layer })
    }

    /// The layer that makes only what this projection makes.
    fn joined(
        &self,
        features: usize,
        heads: Heads,
        projection: Linear,
        rng: &mut Rng,
    ) -> Result<super::MultiHeadAttention> {
        let bias = self.output_bias.unwrap_or(self.bias);
        let output = crate::spec::Dense::new(features).bias(bias).kernel_init(self.init);
        Ok(super::MultiHeadAttention {
            projection,
            keys: None,
            values: None,
            memory: None,
            query_norm: None,
            key_norm: None,
            relative: None,
            output: output.layer(heads.queries * heads.size, rng)?,
            rotary: None,
            heads,
            config: self.clone(),
        })
    }

    fn dense(&self, inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Linear> {
        crate::spec::Dense::new(outputs).bias(self.bias).kernel_init(self.init).layer(inputs, rng)
    }

    /// What is done with the scores, but for dropout.
    pub(super) fn rules(&self, heads: usize) -> AttentionRules {
        let mut options = AttentionOptions::default();
        options.rules.scale = self.scale;
        options.rules.window = self.window;
        options.rules.soft_cap = self.soft_cap;
        options.rules.causal = self.causal.then_some(Causal::TopLeft);
        if self.alibi {
            options = options.alibi(heads);
        }
        options.rules
    }

    fn heads_of(&self, features: usize) -> Result<Heads> {
        let bad = |what, value: usize, must| Err(Error::BadSetting { what, value: value as f64, must });
        let (queries, keys) = (self.heads, self.key_value_heads.unwrap_or(self.heads));
        if queries == 0 {
            return bad("the number of heads", 0, "at least 1");
        }
        if keys == 0 || !queries.is_multiple_of(keys) {
            return bad("the number of key heads", keys, "a divisor of the number of heads");
        }
        if self.head_size.is_none() && !features.is_multiple_of(queries) {
            return bad("the number of heads", queries, "a divisor of the number of features");
        }
        let size = self.head_size.unwrap_or(features / queries);
        // Both layers' outputs have to be counted by a usize.
        let most = queries.checked_mul(3).and_then(|heads| heads.checked_mul(size));
        if size == 0 || most.is_none() {
            return bad("the size of a head", size, "at least 1, and such that all heads fit in memory");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let (what, value) = ("the dropout rate", self.dropout.into());
            return Err(Error::BadSetting { what, value, must: "from 0 to below 1" });
        }
        let turned = self.rotary.map_or(0, |(rotary, _)| rotary.turned());
        if turned > size {
            return bad("the number of turned elements", turned, "at most the size of a head");
        }
        self.rules(0).check::<f32>()?;
        Ok(Heads { queries, keys, size })
    }
}

impl LayerConfig for MultiHeadAttention {
    const KIND: &'static str = "multi_head_attention";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [_, features] = sequence(input, "attention")?;
        let Heads { queries, keys, size } = self.heads_of(features)?;
        let dense = |inputs: usize, outputs: usize, bias: bool| {
            inputs.saturating_add(bias.into()).saturating_mul(outputs)
        };
        let output = dense(queries * size, features, self.output_bias.unwrap_or(self.bias));
        let norms = if self.head_norm.is_some() { 2 * size } else { 0 };
        let values = dense(features, (queries + 2 * keys) * size, self.bias)
            .saturating_add(output)
            .saturating_add(norms);
        Ok(Plan { output: input.clone(), values })
    }

    fn build(&self, input: &Shape, rng: &mut Rng) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.layer(input[1], rng)?))
    }

    fn keeps_steps(&self) -> bool {
        true
    }

    fn rules(&self, framework: Framework, flow: &mut Flow) -> Result<Vec<Rule>> {
        flow.steps_first = true;
        let bias = self.output_bias.unwrap_or(self.bias);
        if self.separate || self.head_norm.is_some() || bias != self.bias {
            return Err(no_rule("multi-head attention", " with parts of its own", "other libraries"));
        }
        match framework {
            Framework::PyTorch if self.key_value_heads.is_none_or(|heads| heads == self.heads) => {
                Ok(pytorch("", ".", self.bias))
            }
            Framework::PyTorch => Err(no_rule("multi-head attention", " with shared heads", "PyTorch")),
            _ => Ok(keras(self.heads_of(flow.input[1])?, self.bias)),
        }
    }
}

/// Keras's names: queries, keys and values are by head and each for itself there.
fn keras(Heads { queries, keys, size }: Heads, bias: bool) -> Vec<Rule> {
    let names = |value: &str| ["query", "key", "value"].map(|part| format!("/{part}/{value}")).to_vec();
    let projection = |own: &str, value| Rule {
        own: own.into(),
        foreign: names(value),
        permutation: Permutation::Heads([queries, keys, keys], size),
    };
    let mut rules = vec![projection("projection.weight", "kernel")];
    rules.extend(bias.then(|| projection("projection.bias", "bias")));
    let joined = Permutation::JoinedHeads(queries, size);
    rules.push(Rule::new("output.weight", "/attention_output/kernel", joined));
    rules.extend(bias.then(|| Rule::new("output.bias", "/attention_output/bias", Permutation::Same)));
    rules
}

/// PyTorch's names of an attention layer's values: queries, keys and values are in one matrix there, too.
pub(in super::super) fn pytorch(own: &str, foreign: &str, bias: bool) -> Vec<Rule> {
    let values =
        [("projection", "in_proj_weight", "in_proj_bias"), ("output", "out_proj.weight", "out_proj.bias")];
    let rules = values.into_iter().flat_map(|(name, weight, values)| {
        [("weight", weight, Permutation::Transposed), ("bias", values, Permutation::Same)].map(
            |(value, there, permutation)| {
                Rule::new(format!("{own}{name}.{value}"), format!("{foreign}{there}"), permutation)
            },
        )
    });
    rules.filter(|rule| bias || rule.permutation != Permutation::Same).collect()
}

/// Time and features of an input of sequences.
pub(in super::super) fn sequence(input: &Shape, what: &str) -> Result<[usize; 2]> {
    match **input {
        [time, features] => Ok([time, features]),
        _ => Err(Error::BadInput {
            input: input.clone(),
            why: format!("{what} needs sequences: [time, features]"),
        }),
    }
}
