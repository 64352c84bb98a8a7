//! The Llama family (Touvron et al. 2023): rotary positions, gated feed-forward parts, root mean square norms before each part.
//! SmolLM2 is Llama; Mistral adds a window; Qwen 2 biases; Qwen 3 norms of heads; Gemma 2 and 3 norms after each part, a scaled
//! embedding, and windows in some of the layers.

use cairn_autograd::Var;
use cairn_tensor::{Pairs, Rng, RotaryScaling, Tensor};

use super::rope::Rope;
use super::{Architecture, CausalModel, Config, Format, Layout, Name, Names, Network};
use crate::layers::recomputed;
use crate::{
    Activation, Context, Embedding, Error, FeedForward, Init, KeyValueCache, Linear, Module,
    MultiHeadAttention, Result, RmsNorm, RotaryPositions, spec,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    names: &["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3_text"],
    build,
    causal: true,
    table: names,
};

/// A model of the Llama family.
#[derive(Debug, Clone, Module)]
pub struct Llama {
    /// `[vocabulary, features]`
    pub tokens: Embedding,
    /// The blocks.
    pub layers: Vec<LlamaBlock>,
    /// After the last block.
    pub norm: RmsNorm,
    /// `[features, vocabulary]`; the embedding's transpose where there is none.
    pub head: Option<Linear>,
    /// What embeddings are multiplied by.
    scale: Option<f32>,
    /// What scores are kept within.
    cap: Option<f32>,
    context: usize,
}

/// A block of a [`Llama`].
#[derive(Debug, Clone, Module)]
pub struct LlamaBlock {
    /// Before attention.
    pub attention_norm: RmsNorm,
    /// Attention of the text to what comes before.
    pub attention: MultiHeadAttention,
    /// Of its result, in Gemma.
    pub attention_post_norm: Option<RmsNorm>,
    /// Before the feed-forward part.
    pub feed_forward_norm: RmsNorm,
    /// The feed-forward part, gated.
    pub feed_forward: FeedForward,
    /// Of its result, in Gemma.
    pub feed_forward_post_norm: Option<RmsNorm>,
}

fn build(config: &Config, init: Init, rng: &mut Rng) -> Result<Network> {
    Ok(Network::Causal(Box::new(Llama::new(config, init, rng)?)))
}

impl Llama {
    /// Of these settings, with weights drawn so.
    ///
    /// # Errors
    /// For settings that are missing or make no sense; when memory does not hold the weights.
    pub fn new(config: &Config, init: Init, rng: &mut Rng) -> Result<Self> {
        let (features, vocabulary) = (config.size("hidden_size")?, config.size("vocab_size")?);
        let kind = config.model_type()?;
        let gemma = kind.starts_with("gemma");
        let settings = Settings { config, features, init, gemma };
        let layers = config.size("num_hidden_layers")?;
        // Layers of one kind share their tables: with and without a window they may turn otherwise.
        let rotary = [settings.rotary("full_attention")?, settings.rotary("sliding_attention")?];
        let block = |layer| {
            let window = settings.window(layer)?;
            settings.block(window, &rotary[usize::from(gemma && window.is_some())], rng)
        };
        let layers = (0..layers).map(block).collect::<Result<_>>()?;
        let tied = config.flag_or("tie_word_embeddings", gemma);
        let head = spec::Dense::new(vocabulary).bias(false).kernel_init(init);
        Ok(Llama {
            tokens: spec::Embedding::new(vocabulary, features).init(init).layer(rng)?,
            layers,
            norm: settings.norm(features)?,
            head: (!tied).then(|| head.layer(features, rng)).transpose()?,
            scale: gemma.then_some((features as f32).sqrt()),
            cap: match config.number_or("final_logit_softcapping", 0.0)? {
                0.0 => None,
                cap => Some(cap as f32),
            },
            context: config.size_or("max_position_embeddings", 2048)?,
        })
    }

    fn embedded(&self, tokens: &Tensor<u32>) -> Result<Var> {
        let x = self.tokens.forward(tokens)?;
        self.scale.map_or(Ok(x.clone()), |scale| Ok(x.scale(scale)?))
    }
}

impl LlamaBlock {
    /// The block's output, of the same shape as its input `[batch, time, features]`.
    ///
    /// # Errors
    /// When the features do not fit.
    pub fn forward(&self, x: &Var, cx: &mut Context) -> Result<Var> {
        self.run(x, cx, |x, cx| self.attention.forward(x, cx))
    }

    fn run(
        &self,
        x: &Var,
        cx: &mut Context,
        attend: impl FnOnce(&Var, &mut Context) -> Result<Var>,
    ) -> Result<Var> {
        let after =
            |norm: &Option<RmsNorm>, y: Var| norm.as_ref().map_or(Ok(y.clone()), |norm| norm.forward(&y));
        let y = attend(&self.attention_norm.forward(x)?, cx)?;
        let (x, normal) = self.feed_forward_norm.forward_sum(x, &after(&self.attention_post_norm, y)?)?;
        let y = self.feed_forward.forward(&normal, cx)?;
        Ok(x.add(&after(&self.feed_forward_post_norm, y)?)?)
    }
}

impl CausalModel for Llama {
    fn states(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let mut x = self.embedded(tokens)?;
        for block in &self.layers {
            x = recomputed(block, &x, cx, LlamaBlock::forward)?;
        }
        self.norm.forward(&x)
    }

    fn states_cached(&self, tokens: &Tensor<u32>, _: &Tensor<u32>, cache: &mut KeyValueCache) -> Result<Var> {
        let (mut x, mut cx) = (self.embedded(tokens)?, Context::eval());
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.run(&x, &mut cx, |x, _| block.attention.forward_cached(x, cache, layer))?;
        }
        self.norm.forward(&x)
    }

    fn scores(&self, states: &Var) -> Result<Var> {
        let scores = match &self.head {
            Some(head) => head.forward(states)?,
            None => self.tokens.scores(states)?,
        };
        match self.cap {
            Some(cap) => Ok(scores.scale(cap.recip())?.tanh()?.scale(cap)?),
            None => Ok(scores),
        }
    }

    fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        match self.layers.first() {
            Some(block) => block.attention.cache(self.layers.len(), rows, capacity),
            None => Err(Error::Unsupported { what: "a model without layers".into() }),
        }
    }

    fn context(&self) -> usize {
        self.context
    }
}

/// What the blocks are made by.
struct Settings<'a> {
    config: &'a Config,
    features: usize,
    init: Init,
    gemma: bool,
}

impl Settings<'_> {
    fn epsilon(&self) -> Result<f32> {
        Ok(self.config.number_or("rms_norm_eps", 1e-6)? as f32)
    }

    fn norm(&self, features: usize) -> Result<RmsNorm> {
        RmsNorm::new(features)?.epsilon(self.epsilon()?)
    }

    fn head_size(&self) -> Result<usize> {
        self.config.size_or("head_dim", self.features / self.config.size("num_attention_heads")?)
    }

    /// The window of a layer, if it has one.
    fn window(&self, layer: usize) -> Result<Option<usize>> {
        let config = self.config;
        if config.get("sliding_window").is_none() {
            return Ok(None);
        }
        let slides = match config.text_at("layer_types", layer) {
            Some(kind) => kind == "sliding_attention",
            // Gemma 3's sixth layers look at everything, as every other of Gemma 2's.
            None if self.gemma => {
                let every = if config.model_type()? == "gemma2" { 2 } else { 6 };
                !(layer + 1).is_multiple_of(config.size_or("sliding_window_pattern", every)?)
            }
            None if config.model_type()?.starts_with("qwen") => {
                config.flag_or("use_sliding_window", false)
                    && layer >= config.size_or("max_window_layers", 28)?
            }
            None => true,
        };
        slides.then(|| config.size("sliding_window")).transpose()
    }

    /// How layers of a kind turn queries and keys.
    fn rotary(&self, kind: &str) -> Result<RotaryPositions> {
        let config = self.config;
        let mut rope = Rope::read(config, kind)?;
        // Before settings were by kind of layer, Gemma 3's local layers had a base of their own, without scaling.
        if kind == "sliding_attention" && config.get("rope_local_base_freq").is_some() {
            let base = config.number_or("rope_local_base_freq", 1e4)?;
            rope = Rope { base, scaling: RotaryScaling::None };
        }
        // The conversion to GGUF changes the order of rows of Llama's queries and keys, so that neighbours are turned together.
        let neighbours =
            config.format() == Format::Gguf && matches!(config.model_type()?, "llama" | "mistral");
        let pairs = if neighbours { Pairs::Neighbours } else { Pairs::Halves };
        RotaryPositions::new(rope.rotary(self.head_size()?), pairs)
    }

    fn attention(&self, window: Option<usize>) -> Result<spec::MultiHeadAttention> {
        let (config, heads) = (self.config, self.config.size("num_attention_heads")?);
        let kind = config.model_type()?;
        let bias = config.flag_or("attention_bias", kind == "qwen2");
        let mut attention = spec::MultiHeadAttention::new(heads)
            .key_value_heads(config.size_or("num_key_value_heads", heads)?)
            .head_size(self.head_size()?)
            .bias(bias)
            .output_bias(bias && kind != "qwen2")
            .causal(true)
            .separate()
            .dropout(config.number_or("attention_dropout", 0.0)? as f32)
            .init(self.init);
        if let Some(window) = window {
            attention = attention.window(window);
        }
        if matches!(kind, "qwen3" | "gemma3" | "gemma3_text") {
            attention = attention.head_norm(self.epsilon()?);
        }
        if self.gemma {
            attention = attention.scale(config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5));
            let cap = config.number_or("attn_logit_softcapping", 0.0)?;
            attention = if cap > 0.0 { attention.soft_cap(cap) } else { attention };
        }
        Ok(attention)
    }

    fn block(&self, window: Option<usize>, rotary: &RotaryPositions, rng: &mut Rng) -> Result<LlamaBlock> {
        let (config, features) = (self.config, self.features);
        let hidden = config.size("intermediate_size")?;
        let bias = config.flag_or("mlp_bias", false);
        let dense = |inputs, outputs, rng: &mut Rng| {
            spec::Dense::new(outputs).bias(bias).kernel_init(self.init).layer(inputs, rng)
        };
        let default = if self.gemma { Activation::GeluTanh } else { Activation::Silu };
        let key = if self.gemma { "hidden_activation" } else { "hidden_act" };
        let attention = self.attention(window)?.layer(features, rng)?.rotary(rotary);
        let [gate, up] = [dense(features, hidden, rng)?, dense(features, hidden, rng)?];
        let down = dense(hidden, features, rng)?;
        let post = || self.gemma.then(|| self.norm(features)).transpose();
        Ok(LlamaBlock {
            attention_norm: self.norm(features)?,
            attention,
            attention_post_norm: post()?,
            feed_forward_norm: self.norm(features)?,
            feed_forward: FeedForward::with_gate(gate, up, down, config.activation(key, default)?),
            feed_forward_post_norm: post()?,
        })
    }
}

fn names(config: &Config) -> Names {
    use Layout::{Dense, FromOne, Same};
    let gemma = config.model_type().is_ok_and(|kind| kind.starts_with("gemma"));
    let norm = if gemma { FromOne } else { Same };
    let before: &[&str] =
        if gemma { &["layers.*.pre_feedforward_layernorm"] } else { &["layers.*.post_attention_layernorm"] };
    let name = |ours, layout, theirs, gguf| Name::new(ours, layout, theirs, gguf);
    let after = [
        name(
            "layers.*.attention_post_norm",
            norm,
            &["layers.*.post_attention_layernorm"],
            &["blk.*.post_attention_norm"],
        ),
        name(
            "layers.*.feed_forward_post_norm",
            norm,
            &["layers.*.post_feedforward_layernorm"],
            &["blk.*.post_ffw_norm"],
        ),
    ];
    Names {
        layers: [
            name("tokens", Same, &["embed_tokens"], &["token_embd"]),
            name("norm", norm, &["norm"], &["output_norm"]),
            name("head", Dense, &["lm_head"], &["output"]),
            name("layers.*.attention_norm", norm, &["layers.*.input_layernorm"], &["blk.*.attn_norm"]),
            name("layers.*.attention.projection", Dense, &["layers.*.self_attn.q_proj"], &["blk.*.attn_q"]),
            name("layers.*.attention.keys", Dense, &["layers.*.self_attn.k_proj"], &["blk.*.attn_k"]),
            name("layers.*.attention.values", Dense, &["layers.*.self_attn.v_proj"], &["blk.*.attn_v"]),
            name("layers.*.attention.output", Dense, &["layers.*.self_attn.o_proj"], &["blk.*.attn_output"]),
            name(
                "layers.*.attention.query_norm",
                norm,
                &["layers.*.self_attn.q_norm"],
                &["blk.*.attn_q_norm"],
            ),
            name("layers.*.attention.key_norm", norm, &["layers.*.self_attn.k_norm"], &["blk.*.attn_k_norm"]),
            name("layers.*.feed_forward_norm", norm, before, &["blk.*.ffn_norm"]),
            name("layers.*.feed_forward.gate", Dense, &["layers.*.mlp.gate_proj"], &["blk.*.ffn_gate"]),
            name("layers.*.feed_forward.up", Dense, &["layers.*.mlp.up_proj"], &["blk.*.ffn_up"]),
            name("layers.*.feed_forward.down", Dense, &["layers.*.mlp.down_proj"], &["blk.*.ffn_down"]),
        ]
        .into_iter()
        // One name is another's in models without norms after their parts.
        .chain(after.into_iter().filter(|_| gemma))
        .collect(),
        prefixes: &["language_model.", "model."],
        unused: if config.flag_or("tie_word_embeddings", gemma) {
            &["rotary_emb.inv_freq", "rope_freqs", "lm_head.weight"]
        } else {
            &["rotary_emb.inv_freq", "rope_freqs"]
        },
    }
}
