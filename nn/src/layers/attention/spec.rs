//! The description of attention layers.

use cairn_tensor::{AttentionOptions, AttentionRules, Causal, Pairs, Rng, Rotary, Shape};
use serde::{Deserialize, Serialize};

use super::super::config::{Extended, LayerConfig, Plan};
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
    pub(super) alibi: bool,
    init: Init,
    rotary: Option<(Rotary, Pairs)>,
    head_norm: Option<f32>,
    separate: bool,
    output_bias: Option<bool>,
    #[serde(skip)]
    further: Further,
}

/// Settings that files of the first form do not have.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Further {
    value_size: Option<usize>,
    pytorch_init: bool,
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
            further: Further::default(),
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

    /// Heads of values of another size than those of queries and keys.
    #[must_use]
    #[doc(alias = "value_dim")]
    pub fn value_size(self, size: usize) -> Self {
        let further = Further { value_size: Some(size), ..self.further };
        MultiHeadAttention { further, ..self }
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

    /// Draws the weights as PyTorch does, in place of [`init`](Self::init): queries, keys and values uniformly by Glorot's rule, as one matrix
    /// where they are of sequences of the same features, and what joins the heads uniformly within 1/√inputs, like its dense layers. Biases
    /// are 0 there, too.
    ///
    /// Without it all is drawn by Glorot's rule, each layer for itself: what joins the heads within √(6 / (inputs + outputs)), which is √3 times
    /// as wide.
    #[must_use]
    #[doc(alias("reset_parameters", "xavier_uniform_", "kaiming_uniform_"))]
    pub fn pytorch_init(self) -> Self {
        let further = Further { pytorch_init: true, ..self.further };
        MultiHeadAttention { further, ..self }
    }

    /// Without any bias.
    pub(in super::super) fn without_biases(self) -> Self {
        MultiHeadAttention { bias: false, output_bias: None, ..self }
    }

    /// For attention to another sequence beside attention of this kind: without what is about steps of one sequence.
    pub(in super::super) fn across(self) -> Self {
        MultiHeadAttention {
            causal: false,
            window: None,
            alibi: false,
            rotary: None,
            head_norm: None,
            separate: false,
            ..self
        }
    }

    /// The layer for sequences of so many features, which attend to themselves.
    ///
    /// # Errors
    /// [`Error::BadSetting`] for heads that do not divide the features or are not divided by the key heads, for sizes of 0, and for
    /// more rotary positions than a head has elements; those of [`AttentionRules::check`]; when memory does not hold the weights.
    pub fn layer(&self, features: usize, rng: &mut Rng) -> Result<super::MultiHeadAttention> {
        let heads = self.heads_of(features)?;
        let [queries, keys, values] = heads.widths();
        let all = queries + keys + values;
        let first = if self.separate { queries } else { all };
        let mut layer = self.joined(features, heads, self.dense([features, first], all, rng)?, rng)?;
        if self.separate {
            layer.keys = Some(self.dense([features, keys], all, rng)?);
            layer.values = Some(self.dense([features, values], all, rng)?);
        }
        let size = heads.size;
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
        let heads = self.cross_heads(features)?;
        let [queries, keys, values] = heads.widths();
        // What PyTorch draws as one matrix.
        let alike = memory == features;
        let [first, second] = if alike { [queries + keys + values; 2] } else { [queries, keys] };
        let projection = self.dense([features, queries], first, rng)?;
        let memory = self.dense([memory, keys + values], second, rng)?;
        let layer = self.joined(features, heads, projection, rng)?;
        Ok(super::MultiHeadAttention { memory: Some(memory), cross: true, ..layer })
    }

    /// The layer for sequences of so many features whose keys and values are of two other sequences, of as many steps and of these features:
    /// see [`keys_values_apart`](crate::MultiHeadAttention::keys_values_apart).
    ///
    /// ```
    /// use cairn_nn::{Context, spec::MultiHeadAttention};
    /// use cairn_tensor::{Tensor, rng};
    /// // As `MultiheadAttention(8, 2, kdim=6, vdim=10)` of PyTorch.
    /// let layer = MultiHeadAttention::new(2).cross_layer_apart(8, [6, 10], &mut rng(0))?;
    /// let [x, keys, values] = [[1, 3, 8], [1, 5, 6], [1, 5, 10]].map(|shape| Tensor::<f32>::ones(shape));
    /// let (keys, values) = layer.keys_values_apart(&keys?.into(), &values?.into())?;
    /// let y = layer.attend_to(&x?.into(), &keys, &values, None, &mut Context::eval())?;
    /// assert_eq!(y.shape(), [1, 3, 8]);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`cross_layer`](Self::cross_layer).
    #[doc(alias("kdim", "vdim"))]
    pub fn cross_layer_apart(
        &self,
        features: usize,
        [key_features, value_features]: [usize; 2],
        rng: &mut Rng,
    ) -> Result<super::MultiHeadAttention> {
        let heads = self.cross_heads(features)?;
        let [queries, keys, values] = heads.widths();
        let alike = [key_features, value_features] == [features; 2];
        let all = |own| if alike { queries + keys + values } else { own };
        let projection = self.dense([features, queries], all(queries), rng)?;
        let key = Some(self.dense([key_features, keys], all(keys), rng)?);
        let value = Some(self.dense([value_features, values], all(values), rng)?);
        let layer = self.joined(features, heads, projection, rng)?;
        Ok(super::MultiHeadAttention { keys: key, values: value, cross: true, ..layer })
    }

    /// The heads of a layer that attends to another sequence, if there can be one of this description.
    fn cross_heads(&self, features: usize) -> Result<Heads> {
        // Steps of two sequences are at no distance from each other.
        let placed = self.rotary.is_some() || self.window.is_some() || self.alibi;
        if self.separate || self.head_norm.is_some() || placed {
            let what = "rotary positions, windows, linear biases, norms of heads or separate projections in attention to another sequence";
            return Err(Error::Unsupported { what: what.into() });
        }
        self.heads_of(features)
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
        let inputs = heads.queries * heads.value_size;
        let init = match self.further.pytorch_init {
            true => Init::Uniform(1.0 / (inputs as f32).sqrt()),
            false => self.init,
        };
        let output = crate::spec::Dense::new(features).bias(bias).kernel_init(init);
        Ok(super::MultiHeadAttention {
            projection,
            keys: None,
            values: None,
            memory: None,
            query_norm: None,
            key_norm: None,
            relative: None,
            output: output.layer(inputs, rng)?,
            rotary: None,
            cross: false,
            heads,
            config: self.clone(),
        })
    }

    /// A projection; `all` are the outputs of what PyTorch draws as one matrix with it.
    fn dense(&self, [inputs, outputs]: [usize; 2], all: usize, rng: &mut Rng) -> Result<Linear> {
        let init = match self.further.pytorch_init {
            true => Init::Uniform((6.0 / inputs.saturating_add(all).max(1) as f32).sqrt()),
            false => self.init,
        };
        crate::spec::Dense::new(outputs).bias(self.bias).kernel_init(init).layer(inputs, rng)
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
        let value_size = self.further.value_size.unwrap_or(size);
        for size in [size, value_size] {
            // Both layers' outputs have to be counted by a usize.
            let most = queries.checked_mul(3).and_then(|heads| heads.checked_mul(size));
            if size == 0 || most.is_none() {
                return bad("the size of a head", size, "at least 1, and such that all heads fit in memory");
            }
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
        Ok(Heads { queries, keys, size, value_size })
    }
}

impl LayerConfig for MultiHeadAttention {
    const KIND: &'static str = "multi_head_attention";

    fn plan(&self, input: &Shape) -> Result<Plan> {
        let [_, features] = sequence(input, "attention")?;
        let heads = self.heads_of(features)?;
        let [queries, keys, values] = heads.widths();
        let dense = |inputs: usize, outputs: usize, bias: bool| {
            inputs.saturating_add(bias.into()).saturating_mul(outputs)
        };
        let output = dense(heads.queries * heads.value_size, features, self.output_bias.unwrap_or(self.bias));
        let norms = if self.head_norm.is_some() { 2 * heads.size } else { 0 };
        let values =
            dense(features, queries + keys + values, self.bias).saturating_add(output).saturating_add(norms);
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
            Framework::PyTorch => {
                self.heads_of(flow.input[1])?.check_pytorch()?;
                Ok(pytorch("", ".", self.bias))
            }
            _ => Ok(keras(self.heads_of(flow.input[1])?, self.bias)),
        }
    }
}

impl Extended for MultiHeadAttention {
    const FORM: &'static str = "multi_head_attention_2";
    type Further = Further;

    fn further(&self) -> Option<Further> {
        (self.further != Further::default()).then_some(self.further)
    }

    fn with_further(self, further: Further) -> Self {
        MultiHeadAttention { further, ..self }
    }
}

impl Heads {
    /// How wide queries, keys and values are, each with all its heads.
    pub(super) fn widths(self) -> [usize; 3] {
        let Heads { queries, keys, size, value_size } = self;
        [queries * size, keys * size, keys * value_size]
    }

    /// That PyTorch has such heads.
    pub(super) fn check_pytorch(self) -> Result<()> {
        let Heads { queries, keys, size, value_size } = self;
        let refused = |variant| Err(no_rule("multi-head attention", variant, "PyTorch"));
        if keys != queries {
            return refused(" with shared heads");
        }
        if value_size == size { Ok(()) } else { refused(" with values of another size") }
    }
}

/// Keras's names: queries, keys and values are by head and each for itself there.
fn keras(Heads { queries, keys, size, value_size }: Heads, bias: bool) -> Vec<Rule> {
    let names = |value: &str| ["query", "key", "value"].map(|part| format!("/{part}/{value}")).to_vec();
    let projection = |own: &str, value| Rule {
        own: own.into(),
        foreign: names(value),
        permutation: Permutation::Heads([[queries, size], [keys, size], [keys, value_size]]),
    };
    let mut rules = vec![projection("projection.weight", "kernel")];
    rules.extend(bias.then(|| projection("projection.bias", "bias")));
    let joined = Permutation::JoinedHeads(queries, value_size);
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
