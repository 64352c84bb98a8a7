//! The Llama family (Touvron et al. 2023): rotary positions, gated feed-forward parts, root mean square norms before each part.
//! SmolLM2 is Llama; Mistral adds a window; Qwen 2 biases; Qwen 3 norms of heads; Gemma 2 and 3 norms after each part, a scaled
//! embedding, and windows in some of the layers.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Tensor};

use super::llama_settings::Settings;
use super::{Architecture, CausalModel, Config, Layout, Name, Names, Network};
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

/// What is computed; of models that also see, what makes tokens of pictures; and a head that is the table of tokens.
const UNUSED: &[&str] =
    &["rotary_emb.inv_freq", "rope_freqs", "vision_tower.", "multi_modal_projector.", "lm_head.weight"];

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
        let settings = Settings::of(config, init)?;
        let (features, vocabulary, gemma) = (settings.features, config.size("vocab_size")?, settings.gemma);
        let layers = config.size("num_hidden_layers")?;
        // Layers of one kind share their tables: with and without a window they may turn otherwise.
        let rotary = [settings.rotary("full_attention")?, settings.rotary("sliding_attention")?];
        let of_layer = |layer| {
            let window = settings.window(layer)?;
            block(&settings, window, &rotary[usize::from(gemma && window.is_some())], rng)
        };
        let layers = (0..layers).map(of_layer).collect::<Result<_>>()?;
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

/// A block whose layers have this window and turn so.
fn block(
    settings: &Settings<'_>,
    window: Option<usize>,
    rotary: &RotaryPositions,
    rng: &mut Rng,
) -> Result<LlamaBlock> {
    let &Settings { config, features, init, gemma } = settings;
    let hidden = config.size("intermediate_size")?;
    let bias = config.flag_or("mlp_bias", false);
    let dense = |inputs, outputs, rng: &mut Rng| {
        spec::Dense::new(outputs).bias(bias).kernel_init(init).layer(inputs, rng)
    };
    let default = if gemma { Activation::GeluTanh } else { Activation::Silu };
    let key = if gemma { "hidden_activation" } else { "hidden_act" };
    let attention = settings.attention(window)?.layer(features, rng)?.rotary(rotary);
    let [gate, up] = [dense(features, hidden, rng)?, dense(features, hidden, rng)?];
    let down = dense(hidden, features, rng)?;
    let post = || gemma.then(|| settings.norm(features)).transpose();
    Ok(LlamaBlock {
        attention_norm: settings.norm(features)?,
        attention,
        attention_post_norm: post()?,
        feed_forward_norm: settings.norm(features)?,
        feed_forward: FeedForward::with_gate(gate, up, down, config.activation(key, default)?),
        feed_forward_post_norm: post()?,
    })
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
        prefixes: &["model.language_model.", "language_model.", "model."],
        unused: if config.flag_or("tie_word_embeddings", gemma) { UNUSED } else { &UNUSED[..4] },
    }
}
