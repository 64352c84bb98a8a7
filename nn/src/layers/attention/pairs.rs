//! Which steps may attend to which, said for each pair of a query and a key.
//!
//! Libraries call all such masks `attn_mask` and disagree about what `true` means in one: in PyTorch's
//! `scaled_dot_product_attention` and in Keras a query may attend to a key where it is true, in PyTorch's `MultiheadAttention` and
//! `Transformer` where it is false. Here the function that takes the mask says it in its name.

use cairn_tensor::{Shape, Tensor};

use crate::{Error, Result};

/// A mask of pairs of steps, `[queries, keys]` for all sequences and heads, or `[batch, heads or 1, queries, keys]` (1 in place of the
/// batch, too, where it is the same for all).
///
/// A [context](crate::Context::with_attention_mask) hands it to every attention of a sequence to itself, or, as
/// [`with_memory_mask`](crate::Context::with_memory_mask), to every attention to another sequence. It comes in addition to what layers know by
/// themselves: a causal layer stays causal, and padding stays out of sight. A query that may attend to nothing gets zeros. Steps with a
/// [cache](crate::KeyValueCache) take no mask.
///
/// ```
/// use cairn_nn::{AttentionMask, Context, MultiHeadAttention};
/// use cairn_tensor::{Tensor, rng};
/// let attention = MultiHeadAttention::new(8, 2, &mut rng(0))?;
/// let x = Tensor::normal([1, 3, 8], 0.0, 1.0, &mut rng(1))?;
/// // Every step sees itself alone: as one that is there alone.
/// let itself = Tensor::from_vec(vec![true, false, false, false, true, false, false, false, true], [3, 3])?;
/// let mut cx = Context::eval().with_attention_mask(AttentionMask::visible(&itself)?);
/// let y = attention.forward(&x.clone().into(), &mut cx)?;
/// let alone = attention.forward(&x.narrow(1, 2, 1)?.into(), &mut Context::eval())?;
/// assert_eq!(&y.value().narrow(1, 2, 1)?, alone.value());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias("attn_mask", "attention_mask", "src_mask", "tgt_mask", "memory_mask"))]
pub struct AttentionMask(pub(super) Pairs);

/// What is said of each pair.
#[derive(Debug, Clone)]
pub(super) enum Pairs {
    /// Whether the query may attend to the key.
    Visible(Tensor<bool>),
    /// What is added to its score.
    Added(Tensor),
}

impl AttentionMask {
    /// `true` where a query may attend to a key: as `attn_mask` of PyTorch's `scaled_dot_product_attention`, and as in Keras.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a mask of other than two or four axes. That it fits the sequences is seen when it meets them.
    pub fn visible(mask: &Tensor<bool>) -> Result<Self> {
        check(mask.dims())?;
        Ok(AttentionMask(Pairs::Visible(mask.clone())))
    }

    /// `true` where a query may not attend to a key: as `attn_mask`, `src_mask`, `tgt_mask` and `memory_mask` of PyTorch's
    /// `MultiheadAttention`, `TransformerEncoder`, `TransformerDecoder` and `Transformer`.
    ///
    /// # Errors
    /// As [`visible`](Self::visible).
    pub fn hidden(mask: &Tensor<bool>) -> Result<Self> {
        check(mask.dims())?;
        Ok(AttentionMask(Pairs::Visible(mask.not()?)))
    }

    /// What is added to the scores, after they are scaled, capped and before the softmax: -∞ hides a key. These are numbers that do not train;
    /// biases by distance that do are [`RelativePositions`](crate::RelativePositions).
    ///
    /// # Errors
    /// As [`visible`](Self::visible).
    #[doc(alias = "attention bias")]
    pub fn added(scores: &Tensor) -> Result<Self> {
        check(scores.dims())?;
        Ok(AttentionMask(Pairs::Added(scores.clone())))
    }
}

/// With three axes it would be open whether the first is the batch or the heads.
fn check(shape: &Shape) -> Result<()> {
    match shape.len() {
        2 | 4 => Ok(()),
        _ => Err(Error::BadInput {
            input: shape.clone(),
            why: "a mask of attention is [queries, keys] or [batch, heads or 1, queries, keys]".into(),
        }),
    }
}
