//! GPT-2 (Radford et al. 2019): learnt positions, blocks that normalise first, and the embedding's transpose as head, unless there is one of
//! its own.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Tensor};

use super::{Architecture, CausalModel, Config, Layout, Name, Names, Network};
use crate::{
    Activation, Context, Dropout, Embedding, Init, KeyValueCache, Linear, Module, Result, TransformerEncoder,
    spec,
};

pub(super) const ARCHITECTURE: Architecture =
    Architecture { names: &["gpt2"], build, causal: true, table: names };
/// The settings of what scores of attention are divided by, where they say other than usual.
const BY_ROOT: &str = "scale_attn_weights";
const BY_LAYER: &str = "scale_attn_by_inverse_layer_idx";

/// GPT-2.
#[derive(Debug, Clone, Module)]
pub struct Gpt2 {
    /// `[vocabulary, features]`
    pub tokens: Embedding,
    /// `[positions, features]`
    pub positions: Embedding,
    /// The blocks and the last normalisation.
    pub blocks: TransformerEncoder,
    /// `[features, vocabulary]`; the embedding's transpose where there is none.
    pub head: Option<Linear>,
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
        let vocabulary = config.size("vocab_size")?;
        let head = spec::Dense::new(vocabulary).bias(false).kernel_init(init);
        Ok(Gpt2 {
            tokens: table(vocabulary, rng)?,
            positions: table(config.size_or("n_positions", 1024)?, rng)?,
            blocks: blocks(config, &block, init, rng)?,
            head: (!is_tied(config)).then(|| head.layer(features, rng)).transpose()?,
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
        match &self.head {
            Some(head) => head.forward(states),
            None => self.tokens.scores(states),
        }
    }

    fn cache(&self, rows: usize, capacity: usize) -> Result<KeyValueCache> {
        self.blocks.cache(rows, capacity)
    }

    fn context(&self) -> usize {
        self.positions.weight.shape()[0]
    }
}

fn is_tied(config: &Config) -> bool {
    config.flag_or("tie_word_embeddings", true)
}

/// Whether scores of attention are divided by the root of a head's size and nothing else.
pub(super) fn scales_as_usual(config: &Config) -> bool {
    config.flag_or(BY_ROOT, true) && !config.flag_or(BY_LAYER, false)
}

/// The blocks. In some models scores are divided by the number of the layer, too, or not by the root of a head's size.
fn blocks(
    config: &Config,
    block: &spec::TransformerEncoderLayer,
    init: Init,
    rng: &mut Rng,
) -> Result<TransformerEncoder> {
    let (features, layers) = (config.size("n_embd")?, config.size("n_layer")?);
    if scales_as_usual(config) {
        return TransformerEncoder::new(layers, block, features, rng);
    }
    let heads = config.size("n_head")?;
    let root = if config.flag_or(BY_ROOT, true) { ((features / heads) as f64).sqrt() } else { 1.0 };
    let attention = |layer: usize| {
        let number = if config.flag_or(BY_LAYER, false) { (layer + 1) as f64 } else { 1.0 };
        spec::MultiHeadAttention::new(heads).causal(true).init(init).scale((root * number).recip())
    };
    let norm = TransformerEncoder::new(0, block, features, rng)?.norm;
    let layers = (0..layers).map(|layer| block.clone().attention(attention(layer)).layer(features, rng));
    Ok(TransformerEncoder { layers: layers.collect::<Result<_>>()?, norm })
}

fn names(config: &Config) -> Names {
    use Layout::{Convolution, Dense, Same};
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
            Name::new("head", Dense, &["lm_head"], &["output"]),
        ],
        prefixes: &["transformer."],
        // Masks, and a head that is the embedding again.
        unused: if is_tied(config) {
            &[".attn.bias", ".attn.masked_bias", "lm_head.weight"]
        } else {
            &[".attn.bias", ".attn.masked_bias"]
        },
    }
}
