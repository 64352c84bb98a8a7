//! A GPT (Radford et al. 2018) from layers: embeddings of tokens and positions, causal blocks, and the embedding's transpose as head.

use cairn_autograd::{Var, no_grad};
use cairn_nn::Activation::Gelu;
use cairn_nn::generate::Decoder;
use cairn_nn::{Context, Embedding, Init, KeyValueCache, Module, Result, TransformerEncoder, spec};
use cairn_tensor::{Rng, Tensor};

#[derive(Module)]
pub(crate) struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: TransformerEncoder,
}

impl Gpt {
    pub(crate) fn new(words: usize, context: usize, sizes: [usize; 3], rng: &mut Rng) -> Result<Self> {
        let [blocks, heads, width] = sizes;
        let block = spec::TransformerEncoderLayer::new(heads, 4 * width).causal(true).norm_first(true);
        let table = |rows| spec::Embedding::new(rows, width).init(Init::Normal(0.02));
        Ok(Gpt {
            tokens: table(words).layer(rng)?,
            positions: table(context).layer(rng)?,
            blocks: TransformerEncoder::new(blocks, &block.activation(Gelu).dropout(0.0), width, rng)?,
        })
    }

    /// Scores of the token after each, `[batch, time, words]`, for ids `[batch, time]`.
    pub(crate) fn forward(&self, ids: &Tensor<u32>, cx: &mut Context) -> Result<Var> {
        let positions = Tensor::arange(0, ids.shape()[1] as u32, 1)?;
        self.head(&self.blocks.forward(&self.embed(ids, &positions)?, cx)?)
    }

    fn embed(&self, ids: &Tensor<u32>, positions: &Tensor<u32>) -> Result<Var> {
        Ok(self.tokens.forward(ids)?.add(&self.positions.forward(positions)?)?)
    }

    fn head(&self, x: &Var) -> Result<Var> {
        Ok(x.matmul(&self.tokens.weight.var().t()?)?)
    }

    /// Room for texts as long as the model can read.
    pub(crate) fn cache(&self, texts: usize) -> Result<KeyValueCache> {
        self.blocks.cache(texts, self.positions.weight.shape()[0])
    }
}

impl Decoder for Gpt {
    type State = KeyValueCache;

    fn next(&self, tokens: &[&[u32]], cache: &mut KeyValueCache) -> Result<Tensor> {
        let (ids, positions) = cache.read(tokens)?;
        let y = no_grad(|| self.blocks.forward_cached(&self.embed(&ids, &positions)?, cache))?;
        Ok(no_grad(|| self.head(&cache.last(&y)?))?.value().clone())
    }

    fn pick(&self, cache: &mut KeyValueCache, rows: &[usize]) -> Result<()> {
        cache.pick(rows)
    }
}
