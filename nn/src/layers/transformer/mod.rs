//! Transformer blocks and stacks of them (Vaswani et al. 2017): attention and a feed-forward part, each with normalisation, dropout and
//! the input added.
//!
//! The blocks are PyTorch's `TransformerEncoderLayer` and `TransformerDecoderLayer`, with its options and defaults. A causal encoder
//! block is the block of a GPT. Normalisation is after each part, as first published, or before it (`norm_first`), which trains
//! without warm-up (Xiong et al. 2020). Masks come by the context, and, of another sequence, beside it: see
//! [`SequenceMask`](crate::SequenceMask).

mod decoder;
mod encoder;
mod feed_forward;
mod patches;
mod positions;
mod seq2seq;

pub use decoder::{Memory, TransformerDecoder, TransformerDecoderLayer};
pub use encoder::{TransformerEncoder, TransformerEncoderLayer};
pub use feed_forward::FeedForward;
pub use patches::PatchEmbedding;
pub use positions::{PositionEmbedding, sinusoids};
pub use seq2seq::Transformer;

use cairn_autograd::Var;

use super::{Dropout, LayerNorm};
use crate::{Context, Error, Module, Result};

/// The settings that descriptions of both blocks have, from their fields of these names.
macro_rules! settings {
    ($block:ident) => {
        impl $block {
            /// Drops attention weights, hidden values and the parts' outputs in training with this probability.
            #[must_use]
            pub fn dropout(self, dropout: f32) -> Self {
                $block { dropout, ..self }
            }

            /// With another activation in the feed-forward part.
            #[must_use]
            pub fn activation(self, activation: Activation) -> Self {
                $block { activation, ..self }
            }

            /// Whether normalisation comes before each part, or after the sum.
            #[must_use]
            pub fn norm_first(self, norm_first: bool) -> Self {
                $block { norm_first, ..self }
            }

            /// With this ε in the normalisations.
            #[must_use]
            #[doc(alias = "layer_norm_eps")]
            pub fn epsilon(self, epsilon: f32) -> Self {
                $block { epsilon, ..self }
            }

            /// What ends a stack of such blocks, if they normalise first.
            pub(in super::super) fn last_norm(&self, features: usize) -> Result<Option<LayerNorm>> {
                self.norm_first.then(|| self.norm(features)).transpose()
            }

            fn norm(&self, features: usize) -> Result<LayerNorm> {
                crate::spec::LayerNorm::new().epsilon(self.epsilon).layer(features)
            }
        }
    };
}
use settings;

/// So many blocks, one after the other. Of a number that no memory holds the first is made, and no other.
fn stack<B: Module>(blocks: usize, mut block: impl FnMut() -> Result<B>) -> Result<Vec<B>> {
    let mut all = Vec::new();
    while all.len() < blocks {
        let next = block()?;
        if all.is_empty() {
            reserve(&mut all, blocks, next.parameter_count())?;
        }
        all.push(next);
    }
    Ok(all)
}

/// Room for so many blocks; an error, too, where there is none for their weights, of which each takes half a byte at the least.
fn reserve<B>(all: &mut Vec<B>, blocks: usize, values: usize) -> Result<()> {
    let refused = |_| {
        let (what, must) = ("the number of blocks", "one whose weights memory holds");
        Error::BadSetting { what, value: blocks as f64, must }
    };
    let mut weights: Vec<u8> = Vec::new();
    weights.try_reserve_exact(blocks.saturating_mul(values) / 2).map_err(refused)?;
    // Memory that is of no use would not be asked for.
    std::hint::black_box(&mut weights);
    all.try_reserve_exact(blocks).map_err(refused)
}

/// A part of a block, with the normalisation that goes with it.
type Part<'a> = (&'a LayerNorm, Box<dyn FnOnce(&Var, &mut Context) -> Result<Var> + 'a>);

/// Parts one after the other, each added to what it was given, with normalisation before the part or after the sum. A sum and the
/// normalisation of it are one pass over memory.
fn residual<'a>(
    x: &Var,
    norm_first: bool,
    dropout: &Dropout,
    cx: &mut Context,
    parts: impl IntoIterator<Item = Part<'a>>,
) -> Result<Var> {
    let mut x = x.clone();
    let mut parts = parts.into_iter().peekable();
    if !norm_first {
        for (norm, part) in parts {
            let y = part(&x, cx)?;
            (_, x) = norm.forward_sum(&x, &dropout.forward(&y, cx)?)?;
        }
        return Ok(x);
    }
    let Some((norm, _)) = parts.peek() else { return Ok(x) };
    let mut normal = norm.forward(&x)?;
    while let Some((_, part)) = parts.next() {
        let y = dropout.forward(&part(&normal, cx)?, cx)?;
        match parts.peek() {
            Some((norm, _)) => (x, normal) = norm.forward_sum(&x, &y)?,
            None => x = x.add(&y)?,
        }
    }
    Ok(x)
}

/// A block's output; where the context says so, nothing but `x` is kept of it for the backward pass.
pub(crate) fn recomputed<B: Module + Clone + Send + Sync + 'static>(
    block: &B,
    x: &Var,
    cx: &mut Context,
    forward: impl Fn(&B, &Var, &mut Context) -> Result<Var> + Send + Sync + 'static,
) -> Result<Var> {
    if !cx.recomputes() {
        return forward(block, x, cx);
    }
    let trained = block.parameters().into_iter().map(|(_, parameter)| parameter);
    let trained: Vec<_> = trained.filter(cairn_autograd::Parameter::is_trainable).collect();
    // A clone has the same parameters.
    let (block, own) = (block.clone(), cx.fork());
    x.checkpoint(&trained, move |x| forward(&block, x, &mut own.clone()))
}

pub(super) mod spec {
    pub use super::decoder::spec::*;
    pub use super::encoder::spec::*;
    pub use super::patches::spec::*;
    pub use super::positions::spec::*;
    pub use super::seq2seq::spec::*;
}
