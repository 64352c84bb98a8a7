//! GPT-2 (Radford et al. 2019): learnt positions, blocks that normalise first, and the embedding's transpose as head.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Tensor};

use super::{Architecture, CausalModel, Config, Layout, Name, Names, Network};
use crate::{
    Activation, Context, Dropout, Embedding, Init, KeyValueCache, Module, Result, TransformerEncoder, spec,
};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { names: &["gpt2"], build, causal: true, table: |_| names() };

/// GPT-2.
#[derive(Debug, Clone, Module)]
pub struct Gpt2 {
    /// `[vocabulary, features]`, and the head's weight.
    pub tokens: Embedding,
    /// `[positions, features]`
    pub positions: Embedding,
    /// The blocks and the last normalisation.
    pub blocks: TransformerEncoder,
    #[module(skip)]
    dropout: Dropout,
}

fn build(config: &Config, init: Init, rng: &mut Rng) -> Result<Network> {
    Ok(Network::Causal(Box::new(Gpt2::new(config, init, rng)?)))
}

impl Gpt2 {
    /// Of these settings; weights drawn so, but for positions half as wide.
    ///
    /// # Errors
    /// For settings that are missing or make no sense; when memory does not hold the weights.
    pub fn new(config: &Config, init: Init, rng: &mut Rng) -> Result<Self> {
        let features = config.size("n_embd")?;
        let hidden = config.size_or("n_inner", 4 * features)?;
        let block = spec::TransformerEncoderLayer::new(config.size("n_head")?, hidden)
            .causal(true)
            .norm_first(true)
            .activation(config.activation("activation_function", Activation::GeluTanh)?)
            .epsilon(config.number_or("layer_norm_epsilon", 1e-5)? as f32)
            .dropout(config.number_or("resid_pdrop", 0.1)? as f32)
            .init(init);
        let table = |rows, rng: &mut Rng| spec::Embedding::new(rows, features).init(init).layer(rng);
        Ok(Gpt2 {
            tokens: table(config.size("vocab_size")?, rng)?,
            positions: table(config.size_or("n_positions", 1024)?, rng)?,
            blocks: TransformerEncoder::new(config.size("n_layer")?, &block, features, rng)?,
            dropout: Dropout::new(config.number_or("embd_pdrop", 0.1)? as f32),
        })
    }

    fn embedded(&self, tokens: &Tensor<u32>, positions: &Tensor<u32>) -> Result<Var> {
        Ok(self.tokens.forward(tokens)?.add(&self.positions.forward(positions)?)?)
    }
}

impl CausalModel for Gpt2 {
    fn states(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let time = tokens.shape().last().copied().unwrap_or(0);
        let x = self.embedded(tokens, &Tensor::arange(0, time as u32, 1)?)?;
        self.blocks.forward(&self.dropout.forward(&x, cx)?, cx)
    }

    fn states_cached(
        &self,
        tokens: &Tensor<u32>,
        positions: &Tensor<u32>,
        cache: &mut KeyValueCache,
    ) -> Result<Var> {
        self.blocks.forward_cached(&self.embedded(tokens, positions)?, cache)
    }

    fn scores(&self, states: &Var) -> Result<Var> {
        self.tokens.scores(states)
    }

    fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        self.blocks.cache(rows, capacity)
    }

    fn context(&self) -> usize {
        self.positions.weight.shape()[0]
    }
}

fn names() -> Names {
    use Layout::{Convolution, Same};
    Names {
        layers: vec![
            Name::new("tokens", Same, &["wte"], &["token_embd"]),
            Name::new("positions", Same, &["wpe"], &["position_embd"]),
            Name::new("blocks.layers.*.attention_norm", Same, &["h.*.ln_1"], &["blk.*.attn_norm"]),
            Name::new(
                "blocks.layers.*.attention.projection",
                Convolution,
                &["h.*.attn.c_attn"],
                &["blk.*.attn_qkv"],
            ),
            Name::new(
                "blocks.layers.*.attention.output",
                Convolution,
                &["h.*.attn.c_proj"],
                &["blk.*.attn_output"],
            ),
            Name::new("blocks.layers.*.feed_forward_norm", Same, &["h.*.ln_2"], &["blk.*.ffn_norm"]),
            Name::new("blocks.layers.*.feed_forward.up", Convolution, &["h.*.mlp.c_fc"], &["blk.*.ffn_up"]),
            Name::new(
                "blocks.layers.*.feed_forward.down",
                Convolution,
                &["h.*.mlp.c_proj"],
                &["blk.*.ffn_down"],
            ),
            Name::new("blocks.norm", Same, &["ln_f"], &["output_norm"]),
        ],
        prefixes: &["transformer."],
        // Masks, and the head, which is the embedding again.
        unused: &[".attn.bias", ".attn.masked_bias", "lm_head.weight"],
    }
}
