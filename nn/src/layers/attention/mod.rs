//! Multi-head attention (Vaswani et al. 2017): each step of a sequence takes in a weighted mean of the steps it attends to, in several
//! subspaces (heads) at once.
//!
//! One dense layer makes queries, keys and values of a sequence, side by side, since one product of three times the width is
//! faster than three, and attention takes parts of it as they lie. Where another sequence is attended to, it makes the queries
//! alone, and a second one the keys and values of the other. Values that belong to padding are not looked at: lengths go to the
//! kernel, and no mask of the size of the scores is made.
//!
//! What may be attended to is said in words here, as libraries disagree about what `true` in a mask means: causal or not, a
//! window, and the valid steps of each sequence ([`SequenceMask`]).

mod cache;

use cairn_autograd::Var;
use cairn_tensor::{AttentionOptions, AttentionRules, Causal, Rng, Shape, Tensor};
use rand::RngExt;
use serde::{Deserialize, Serialize};

pub use cache::KeyValueCache;

use super::config::{LayerConfig, Plan};
use super::{Layer, Linear, SequenceMask, Value};
use crate::weights::{Flow, Framework, Permutation, Rule, no_rule};
use crate::{Context, Error, Init, Module, Result};

/// Multi-head attention of a sequence `[batch, time, features]` to itself, or to another.
///
/// ```
/// use cairn_nn::{Context, MultiHeadAttention};
/// use cairn_tensor::{Tensor, rng};
/// let attention = MultiHeadAttention::new(64, 8, &mut rng(0))?;
/// let x = Tensor::normal([2, 10, 64], 0.0, 1.0, &mut rng(1))?;
/// assert_eq!(attention.forward(&x.into(), &mut Context::eval())?.shape(), [2, 10, 64]);
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// Grouped queries, a causal mask, a window and the rest are set in the [description](crate::spec::MultiHeadAttention), whose
/// [`layer`](crate::spec::MultiHeadAttention::layer) makes the same type.
#[derive(Debug, Clone, Module)]
#[doc(alias("MultiheadAttention", "GroupedQueryAttention", "SelfAttention"))]
pub struct MultiHeadAttention {
    /// Makes queries, keys and values, side by side: `[features, (heads + 2 · key heads) · size]`; the queries alone where
    /// [`memory`](Self::memory) makes the others.
    pub projection: Linear,
    /// Makes keys and values of another sequence, side by side: `[memory features, 2 · key heads · size]`.
    pub memory: Option<Linear>,
    /// Joins the heads: `[heads · size, features]`.
    pub output: Linear,
    #[module(skip)]
    heads: Heads,
    #[module(skip)]
    config: spec::MultiHeadAttention,
}

/// Numbers of heads, and the size of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Heads {
    queries: usize,
    keys: usize,
    size: usize,
}

impl MultiHeadAttention {
    /// Attention of a sequence to itself, with heads of `features / heads`; weights by Glorot's uniform rule, biases 0.
    ///
    /// # Errors
    /// [`Error::BadSetting`] when the heads do not divide the features; when memory does not hold the weights.
    pub fn new(features: usize, heads: usize, rng: &mut Rng) -> Result<Self> {
        spec::MultiHeadAttention::new(heads).layer(features, rng)
    }

    /// Attends from each step of `[batch, time, features]` to the steps of the same sequence. Steps that the context's mask leaves out
    /// are not attended to.
    ///
    /// # Errors
    /// When the features do not fit; [`Error::Unsupported`] for a layer that attends to another sequence.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        let [q, k, v] = self.projected(x)?;
        let mask = cx.mask().cloned();
        self.attended(&q, &k, &v, mask.as_ref(), cx)
    }

    /// Attends from each step of `[batch, time, features]` to the steps of `memory` `[batch, steps, memory features]`, of which `mask`
    /// says which are valid; all if there is none. A causal layer is not causal here.
    ///
    /// # Errors
    /// When sizes do not fit; [`Error::Unsupported`] for a layer that attends to its own sequence.
    pub fn attend(
        &self,
        x: &Var,
        memory: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let (keys, values) = self.keys_values(memory)?;
        self.attend_to(x, &keys, &values, mask, cx)
    }

    /// The keys and values of another sequence `[batch, steps, memory features]`, each `[batch, steps, key heads, size]`: computed
    /// once where one memory is attended to many times, as in generation.
    ///
    /// # Errors
    /// As [`attend`](Self::attend).
    pub fn keys_values(&self, memory: &Var) -> Result<(Var, Var)> {
        let Some(projection) = &self.memory else {
            return Err(Error::Unsupported {
                what: "attention to another sequence by a layer for its own".into(),
            });
        };
        let both = self.by_head(&projection.forward(memory)?, 2 * self.heads.keys)?;
        let of = |first| both.narrow(2, first, self.heads.keys);
        Ok((of(0)?, of(self.heads.keys)?))
    }

    /// As [`attend`](Self::attend), to what [`keys_values`](Self::keys_values) made.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn attend_to(
        &self,
        x: &Var,
        keys: &Var,
        values: &Var,
        mask: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let q = self.by_head(&self.projection.forward(x)?, self.heads.queries)?;
        self.attended(&q, keys, values, mask, cx)
    }

    /// As [`forward`](Self::forward) for new steps `[rows, time, features]` after those in a cache, which it adds them to: as causal
    /// attention over the whole would give, with the same bits. `layer` is this layer's place in the cache.
    ///
    /// # Errors
    /// When the shapes do not fit what the cache was told by [`KeyValueCache::begin`].
    pub fn forward_cached(&self, x: &Var, cache: &mut KeyValueCache, layer: usize) -> Result<Var> {
        let [q, k, v] = self.projected(x)?;
        let (keys, values) = cache.extended(layer, k.value(), v.value())?;
        let options = AttentionOptions::new(self.config.rules(self.heads)).causal(Causal::BottomRight);
        let options = options.key_lengths(cache.key_lengths()).query_lengths(cache.new_lengths());
        let y = q.attention(&Var::constant(keys), &Var::constant(values), None, &options)?;
        self.joined(&y)
    }

    /// An empty cache for the keys and values of `layers` layers like this one, with `rows` rows of `capacity` tokens each.
    ///
    /// # Errors
    /// When memory does not hold it.
    pub fn cache(&self, layers: usize, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        KeyValueCache::new(layers, rows, capacity, self.heads.keys, self.heads.size)
    }

    /// Queries, keys and values of a sequence.
    fn projected(&self, x: &Var) -> Result<[Var; 3]> {
        let Heads { queries, keys, .. } = self.heads;
        if self.memory.is_some() {
            let what = "attention to its own sequence by a layer for another".into();
            return Err(Error::Unsupported { what });
        }
        let all = self.by_head(&self.projection.forward(x)?, queries + 2 * keys)?;
        let of = |first, heads| all.narrow(2, first, heads);
        Ok([of(0, queries)?, of(queries, keys)?, of(queries + keys, keys)?])
    }

    /// `[batch, time, heads · size]` as `[batch, time, heads, size]`.
    fn by_head(&self, x: &Var, heads: usize) -> Result<Var> {
        match *x.shape() {
            [batch, time, _] => Ok(x.reshape([batch, time, heads, self.heads.size])?),
            _ => Err(Error::BadInput {
                input: x.dims().clone(),
                why: "attention is between the steps of sequences: [batch, time, features]".into(),
            }),
        }
    }

    fn attended(
        &self,
        q: &Var,
        k: &Var,
        v: &Var,
        keys: Option<&SequenceMask>,
        cx: &mut Context,
    ) -> Result<Var> {
        let mut rules = self.config.rules(self.heads);
        if self.memory.is_some() {
            rules.causal = None;
        }
        let rate = f64::from(self.config.dropout);
        rules.dropout = (cx.is_training() && rate != 0.0).then(|| (rate, cx.draw().random()));
        let mut options = AttentionOptions::new(rules);
        options.query_lengths = cx.mask().map(|mask| mask.ends.clone());
        options.key_lengths = keys.map(|mask| mask.ends.clone());
        let before = keys.and_then(|mask| mask.starts.as_ref().map(|_| mask));
        let bias = before.map(|mask| mask.hiding_bias(k.shape()[1])).transpose()?;
        self.joined(&q.attention(k, v, bias.as_ref(), &options)?)
    }

    /// The heads' results, `[batch, time, heads, size]`, as the layer's.
    fn joined(&self, y: &Var) -> Result<Var> {
        let [batch, time] = [y.shape()[0], y.shape()[1]];
        self.output.forward(&y.reshape([batch, time, self.heads.queries * self.heads.size])?)
    }
}

impl Layer for MultiHeadAttention {
    fn forward(&self, input: Value, cx: &mut Context) -> Result<Var> {
        MultiHeadAttention::forward(self, &input.floats()?, cx)
    }
}

impl SequenceMask {
    /// What is added to scores so that steps outside the sequences get no weight, `[batch, 1, 1, time]`: 0 or -∞.
    fn hiding_bias(&self, time: usize) -> Result<Var> {
        let valid = self.valid(time)?;
        let batch = valid.shape()[0];
        Ok(valid.log()?.reshape([batch, 1, 1, time])?)
    }
}

pub(super) mod spec {
    use super::*;

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
        /// [`Error::BadSetting`] for heads that do not divide the features or are not divided by the key heads, and for sizes of 0;
        /// when memory does not hold the weights.
        pub fn layer(&self, features: usize, rng: &mut Rng) -> Result<super::MultiHeadAttention> {
            let heads = self.heads_of(features)?;
            let projection = self.dense(features, (heads.queries + 2 * heads.keys) * heads.size, rng)?;
            self.joined(features, heads, projection, None, rng)
        }

        /// The layer for sequences of so many features that attend to others, of `memory` features.
        ///
        /// # Errors
        /// As [`layer`](Self::layer).
        #[doc(alias("kdim", "vdim", "cross_attention"))]
        pub fn cross_layer(
            &self,
            features: usize,
            memory: usize,
            rng: &mut Rng,
        ) -> Result<super::MultiHeadAttention> {
            let heads = self.heads_of(features)?;
            let projection = self.dense(features, heads.queries * heads.size, rng)?;
            let memory = self.dense(memory, 2 * heads.keys * heads.size, rng)?;
            self.joined(features, heads, projection, Some(memory), rng)
        }

        fn joined(
            &self,
            features: usize,
            heads: Heads,
            projection: Linear,
            memory: Option<Linear>,
            rng: &mut Rng,
        ) -> Result<super::MultiHeadAttention> {
            let output = self.dense(heads.queries * heads.size, features, rng)?;
            Ok(super::MultiHeadAttention { projection, memory, output, heads, config: self.clone() })
        }

        fn dense(&self, inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Linear> {
            crate::spec::Dense::new(outputs).bias(self.bias).kernel_init(self.init).layer(inputs, rng)
        }

        /// What is done with the scores, but for dropout.
        pub(super) fn rules(&self, heads: Heads) -> AttentionRules {
            let mut options = AttentionOptions::default();
            options.rules.scale = self.scale;
            options.rules.window = self.window;
            options.rules.soft_cap = self.soft_cap;
            options.rules.causal = self.causal.then_some(Causal::TopLeft);
            if self.alibi {
                options = options.alibi(heads.queries);
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
            Ok(Heads { queries, keys, size })
        }
    }

    impl LayerConfig for MultiHeadAttention {
        const KIND: &'static str = "multi_head_attention";

        fn plan(&self, input: &Shape) -> Result<Plan> {
            let [_, features] = sequence(input, "attention")?;
            let Heads { queries, keys, size } = self.heads_of(features)?;
            let dense = |inputs: usize, outputs: usize| {
                inputs.saturating_add(self.bias.into()).saturating_mul(outputs)
            };
            let values =
                dense(features, (queries + 2 * keys) * size).saturating_add(dense(queries * size, features));
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
        let values = [
            ("projection", "in_proj_weight", "in_proj_bias"),
            ("output", "out_proj.weight", "out_proj.bias"),
        ];
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
}

/// Row lengths as a tensor.
fn lengths(of: impl Iterator<Item = usize>) -> Result<Tensor<u32>> {
    let of: Vec<u32> = of.map(|n| n as u32).collect();
    let rows = of.len();
    Ok(Tensor::from_vec(of, [rows])?)
}
