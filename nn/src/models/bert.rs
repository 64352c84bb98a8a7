//! BERT (Devlin et al. 2019) and its relatives: MiniLM, RoBERTa (Liu et al. 2019) and DistilBERT (Sanh et al. 2019). Blocks that
//! normalise last, over the sum of three embeddings.

use cairn_autograd::Var;
use cairn_tensor::{Rng, Tensor};

use super::{Architecture, Config, EncoderModel, Layout, Name, Names, Network};
use crate::{
    Activation, Context, Dropout, Embedding, Error, Init, LayerNorm, Module, Result, TransformerEncoder, spec,
};

pub(super) const ARCHITECTURE: Architecture = Architecture {
    names: &["bert", "roberta", "xlm-roberta", "distilbert"],
    build,
    causal: false,
    table: names,
};

/// BERT, without a head.
#[derive(Debug, Clone, Module)]
pub struct Bert {
    /// `[vocabulary, features]`
    pub tokens: Embedding,
    /// `[positions, features]`
    pub positions: Embedding,
    /// Which of two texts a token is of, `[2, features]`; here the first. DistilBERT has none.
    pub types: Option<Embedding>,
    /// After the sum of the embeddings.
    pub norm: LayerNorm,
    /// The blocks.
    pub blocks: TransformerEncoder,
    #[module(skip)]
    dropout: Dropout,
    /// The position of the first token.
    first: usize,
}

fn build(config: &Config, init: Init, rng: &mut Rng) -> Result<Network> {
    Ok(Network::Encoder(Box::new(Bert::new(config, init, rng)?)))
}

impl Bert {
    /// Of these settings, with weights drawn so.
    ///
    /// # Errors
    /// For settings that are missing or make no sense; when memory does not hold the weights.
    pub fn new(config: &Config, init: Init, rng: &mut Rng) -> Result<Self> {
        let kind = config.model_type()?;
        let short = kind == "distilbert";
        let key = |long, other| if short { other } else { long };
        if config.text("position_embedding_type").is_some_and(|kind| kind != "absolute") {
            return Err(Error::Unsupported { what: "relative positions in BERT".into() });
        }
        let features = config.size(key("hidden_size", "dim"))?;
        let heads = config.size(key("num_attention_heads", "n_heads"))?;
        let epsilon = config.number_or("layer_norm_eps", 1e-12)? as f32;
        let dropout = config.number_or(key("hidden_dropout_prob", "dropout"), 0.1)? as f32;
        let block =
            spec::TransformerEncoderLayer::new(heads, config.size(key("intermediate_size", "hidden_dim"))?)
                .activation(config.activation(key("hidden_act", "activation"), Activation::Gelu)?)
                .epsilon(epsilon)
                .dropout(dropout)
                .init(init);
        let table = |rows, rng: &mut Rng| spec::Embedding::new(rows, features).init(init).layer(rng);
        let positions = config.size_or("max_position_embeddings", 512)?;
        let first = first_position(config, positions)?;
        let types = (!short).then(|| table(config.size_or("type_vocab_size", 2)?, rng)).transpose()?;
        Ok(Bert {
            tokens: table(config.size("vocab_size")?, rng)?,
            positions: table(positions, rng)?,
            types,
            norm: LayerNorm::new(features)?.epsilon(epsilon)?,
            blocks: TransformerEncoder::new(
                config.size(key("num_hidden_layers", "n_layers"))?,
                &block,
                features,
                rng,
            )?,
            dropout: Dropout::new(dropout),
            first,
        })
    }
}

/// The position of the first token of so many positions: RoBERTa numbers them from one after its padding's id.
fn first_position(config: &Config, positions: usize) -> Result<usize> {
    if !config.model_type()?.contains("roberta") {
        return Ok(0);
    }
    let padding = config.number_or("pad_token_id", 1.0)?;
    if padding.fract() != 0.0 || padding < 0.0 || padding + 1.0 >= positions as f64 {
        let why = format!("`pad_token_id` is {padding}, which leaves none of {positions} positions");
        return Err(config.bad(why));
    }
    Ok(padding as usize + 1)
}

impl EncoderModel for Bert {
    fn forward(&self, tokens: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let time = tokens.shape().last().copied().unwrap_or(0);
        let positions = Tensor::arange(self.first as u32, (self.first + time) as u32, 1)?;
        // What all texts have in common is added up before, once.
        let mut common = self.positions.forward(&positions)?;
        if let Some(types) = &self.types {
            common = common.add(&types.forward(&Tensor::zeros([1])?)?)?;
        }
        let x = self.norm.forward(&self.tokens.forward(tokens)?.add(&common)?)?;
        self.blocks.forward(&self.dropout.forward(&x, cx)?, cx)
    }

    fn context(&self) -> usize {
        self.positions.weight.shape()[0].saturating_sub(self.first)
    }
}

pub(super) fn names(config: &Config) -> Names {
    let layers = if config.text("model_type") == Some("distilbert") { distilled() } else { whole() };
    Names {
        layers,
        prefixes: &["bert.", "roberta.", "distilbert."],
        // Numbers of positions, and heads.
        unused: &["position_ids", "pooler.", "cls.", "lm_head.", "vocab_", "classifier.", "qa_outputs."],
    }
}

fn whole() -> Vec<Name> {
    use Layout::{Dense, Same};
    vec![
        Name::new("tokens", Same, &["embeddings.word_embeddings"], &["token_embd"]),
        Name::new("positions", Same, &["embeddings.position_embeddings"], &["position_embd"]),
        Name::new("types", Same, &["embeddings.token_type_embeddings"], &["token_types"]),
        Name::new("norm", Same, &["embeddings.LayerNorm"], &["token_embd_norm"]),
        Name::new(
            "blocks.layers.*.attention.projection",
            Dense,
            &[
                "encoder.layer.*.attention.self.query",
                "encoder.layer.*.attention.self.key",
                "encoder.layer.*.attention.self.value",
            ],
            &["blk.*.attn_q", "blk.*.attn_k", "blk.*.attn_v"],
        ),
        Name::new(
            "blocks.layers.*.attention.output",
            Dense,
            &["encoder.layer.*.attention.output.dense"],
            &["blk.*.attn_output"],
        ),
        Name::new(
            "blocks.layers.*.attention_norm",
            Same,
            &["encoder.layer.*.attention.output.LayerNorm"],
            &["blk.*.attn_output_norm"],
        ),
        Name::new(
            "blocks.layers.*.feed_forward.up",
            Dense,
            &["encoder.layer.*.intermediate.dense"],
            &["blk.*.ffn_up"],
        ),
        Name::new(
            "blocks.layers.*.feed_forward.down",
            Dense,
            &["encoder.layer.*.output.dense"],
            &["blk.*.ffn_down"],
        ),
        Name::new(
            "blocks.layers.*.feed_forward_norm",
            Same,
            &["encoder.layer.*.output.LayerNorm"],
            &["blk.*.layer_output_norm"],
        ),
    ]
}

/// DistilBERT's, of which there is no GGUF.
fn distilled() -> Vec<Name> {
    use Layout::{Dense, Same};
    vec![
        Name::new("tokens", Same, &["embeddings.word_embeddings"], &[]),
        Name::new("positions", Same, &["embeddings.position_embeddings"], &[]),
        Name::new("norm", Same, &["embeddings.LayerNorm"], &[]),
        Name::new(
            "blocks.layers.*.attention.projection",
            Dense,
            &[
                "transformer.layer.*.attention.q_lin",
                "transformer.layer.*.attention.k_lin",
                "transformer.layer.*.attention.v_lin",
            ],
            &[],
        ),
        Name::new("blocks.layers.*.attention.output", Dense, &["transformer.layer.*.attention.out_lin"], &[]),
        Name::new("blocks.layers.*.attention_norm", Same, &["transformer.layer.*.sa_layer_norm"], &[]),
        Name::new("blocks.layers.*.feed_forward.up", Dense, &["transformer.layer.*.ffn.lin1"], &[]),
        Name::new("blocks.layers.*.feed_forward.down", Dense, &["transformer.layer.*.ffn.lin2"], &[]),
        Name::new("blocks.layers.*.feed_forward_norm", Same, &["transformer.layer.*.output_layer_norm"], &[]),
    ]
}
